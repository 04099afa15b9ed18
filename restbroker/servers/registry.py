"""What each kind of server in `restbroker.kinds` brings. All other code reaches a server's code through this.

Called by the command line, the check and `app`. Always holds: a folder's module is imported only when what it brings is
needed, and neither this file nor `options` and `catalogue` load Trio or an HTTP client. Kinds that other packages bring
are looked up when the table lacks one (`packages`); they are made alike. A kind is one file that has the functions and
classes below, or a folder with these modules:

- `options`: the attrs class `Options`, what a target of this kind takes beyond the common keys, each field a key; it
  may judge the whole target (`config.kind`);
- `catalogue`: the function `for_version`, as `catalogue` below; if a target may have other commands than its server's
  version, also `for_target`, as `catalogue_of`;
- `connector`: the function `open_connector`, as below;
- `check`: the function `check`, as below;
- `suggest`: the function `suggest`, as below.

`packages.PARTS` says what a folder can leave out. One more part is for our own kinds alone: `ctl`, with `DIALECT`, as
`ctl_dialect` below, if the server has a command line of its own that `restbroker ctl` stands in for.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

import attrs

from restbroker import __version__
from restbroker.config.key import Kinds, Members, UnusableKind
from restbroker.errors import ConfigError
from restbroker.kinds import TARGETS
from restbroker.servers.packages import GROUP, PARTS, PRODUCT, Package, ambiguous, installed_packages, package_of

if TYPE_CHECKING:  # pushing a job does without most of them, and without Trio
    from restbroker.config.target import Target
    from restbroker.job.command import Catalogue
    from restbroker.job.reason import Reason
    from restbroker.servers.allowed_commands import AllowedCommands
    from restbroker.servers.contract import Connector, Ports
    from restbroker.servers.ctl import CtlDialect
    from restbroker.servers.findings import Finding

_OTHERS: Final = (
    f"Packages can add kinds (entry points of the group {GROUP});"
    " `restbroker commands --kinds` lists what is installed."
)


def kinds() -> Mapping[str, Members]:
    """Return the class of options of each kind, for `config.load`; its fields are made with `config.key.key`.

    Kinds of other packages are found in it by their names, but not listed.
    """
    return Kinds(TARGETS, _options, _failed_options)


def packages() -> Iterator[tuple[str, Package, ConfigError | None]]:
    """Yield every kind, its package, and what is wrong if it cannot be used (else None); our own come first.

    Read what is installed, and import all parts of the kinds of other packages.
    """
    yield from ((kind, _require_ours(kind), None) for kind in TARGETS)
    for kind, found in sorted(installed_packages().items()):
        for package in found:
            yield kind, package, _problem(kind, package)


def _problem(kind: str, package: Package) -> ConfigError | None:
    if kind in TARGETS:
        return ambiguous(kind, (_require_ours(kind), package), f"Uninstall {package.name}; restbroker's own counts.")
    try:
        package_of(kind)
        for part in PARTS:
            package.load(part)
    except ConfigError as error:
        return error
    return None


def catalogue(kind: str, version: str | None = None) -> "Catalogue":
    """Return the commands of this version of a server; for None, of the newest that is known. Raise `ConfigError`."""
    found: Catalogue = _package(kind).call("catalogue", version)
    return found


def catalogue_of(target: "Target", found: str | None, endpoint: str = "") -> "Catalogue":
    """Return the commands of a target: of its configured version, else of `found`, the one that a running process saw.

    `endpoint` counts if its path chooses another version of the interface (ejabberd's `register/v1`).
    """
    package = _package(target.kind)
    of_target = vars(package.part("catalogue")).get("for_target")
    if of_target is None:
        return catalogue(target.kind, found)
    commands: Catalogue = package.guarded("for_target", of_target, target, found, endpoint)
    return commands


def open_connector(target: "Target", ports: "Ports") -> "Connector":
    """Return a connector for this target; nothing is sent yet. Raise `ConfigError`."""
    connector: Connector = _package(target.kind).call("connector", target, ports)
    return connector


def is_xmpp(kind: str) -> bool:
    """Tell whether servers of this kind speak XMPP, so that no text that XML cannot hold is for them."""
    return _package(kind).is_xmpp


def ctl_dialect(kind: str) -> "CtlDialect | None":
    """Return how `restbroker ctl` stands in for this kind's own command line; None for a kind that has none."""
    found: CtlDialect | None = _require_ours(kind).load("ctl") if kind in TARGETS else None
    return found


async def check(target: "Target") -> "list[Finding]":
    """Check this target, changing nothing there, and return the findings. Safe to cancel.

    A failure that a person can act on is a finding, too. No finding has a secret of the target, even if its kind wrote
    one into it. Raise `ConfigError` for a kind whose package cannot be used.
    """
    from restbroker.config.target_secrets import remove_secrets  # for a check alone

    findings: list[Finding] = await _package(target.kind).load("check")(target)
    return [
        attrs.evolve(
            finding,
            message=remove_secrets(finding.message, target),
            why=remove_secrets(finding.why, target),
            hint=remove_secrets(finding.hint, target),
            version=remove_secrets(finding.version, target),
        )
        for finding in findings
    ]


def suggest(target: "Target", allowed: "AllowedCommands") -> str | None:
    """Return lines for the server's own configuration that allow only these commands; None if none can be suggested.

    They are to be copied there, and have comments of the server's form. They hold no secret, and no server is asked.
    """
    text: str | None = _package(target.kind).call("suggest", target, allowed)
    return text


def bug(kind: str, what: str, error: Exception) -> "Reason":
    """Return the reason that names an unforeseen error in the package of this kind; `what` failed. Never raises."""
    try:
        package = _find(kind)
    except ConfigError:  # it could be used when it was opened
        package = None
    return (package or Package(PRODUCT, __version__, PRODUCT)).bug(what, error)


def _package(kind: str) -> Package:
    package = _find(kind)
    if package is None:
        from restbroker.config.problems import printable_name  # for an error alone

        raise ConfigError(
            f'There is no kind of server called "{printable_name(kind)}".',
            f"These exist: {', '.join(_known_kinds())}. {_OTHERS}",
        )
    return package


def _find(kind: str) -> Package | None:
    return _require_ours(kind) if kind in TARGETS else package_of(kind)


def _known_kinds() -> list[str]:
    return [*TARGETS, *sorted(installed_packages())]


def _require_ours(kind: str) -> Package:
    return Package(PRODUCT, __version__, TARGETS[kind].folder)


def _failed_options(kind: str, error: Exception) -> str:
    package = _package(kind)
    if package.is_ours:
        raise error
    bug = package.bug("Options", error)
    return f"{bug.message} {bug.hint}"


def _options(kind: str) -> Members:
    try:
        package = _find(kind)
        if package is None:
            from restbroker.config.kind import expected_kind  # for an error alone

            raise UnusableKind(f"{expected_kind(_known_kinds(), kind)} {_OTHERS}")
        members: Members = package.load("options")
    except ConfigError as error:
        raise UnusableKind(f"{error.message} {error.hint}") from error
    return members
