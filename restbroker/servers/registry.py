"""The kinds of servers: one folder and one line here for each. Everybody else reaches a server's code through this.

Called by the command line, the check and `app`. Always holds: a folder's module is imported only when what it
brings is asked for, and neither this file nor `options` and `catalogue` load Trio or an HTTP client. A folder has

- `options`: the attrs class `Options`, what a target of this kind takes beyond the common keys, each field a key; it
  may judge the whole target (`config.kind`);
- `catalogue`: the functions `for_version` and `for_target`, as `catalogue` and `catalogue_of` below; of a kind whose
  versions take different commands, also `candidates`; of a kind that `reference` lists, also `requests`;
- `connector`: the function `open_connector`, as below;
- `check`: the function `check`, as below;
- `suggest`: the function `suggest`, as below;
- `logins`: the function `open_logins`, as below, where acting as a user needs a login;
- `ctl`: `MANNER`, as `manner` below, where the server has a command line of its own for whose place ours is to do.
"""

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Final, Literal

from restbroker.config.key import Kinds, Members
from restbroker.errors import ConfigError

if TYPE_CHECKING:  # pushing a job does without most of them, and without Trio
    from restbroker.config.target import Target
    from restbroker.job.command import Catalogue
    from restbroker.servers.allowed import Allowed
    from restbroker.servers.contract import Connector, Logins, Ports
    from restbroker.servers.ctl import Manner
    from restbroker.servers.findings import Finding

_FOLDERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "ejabberd": "restbroker.servers.ejabberd",
        "http": "restbroker.servers.http",
        "mongooseim": "restbroker.servers.mongooseim",
        "openfire-chat": "restbroker.servers.openfire.chat",
        "openfire-rest": "restbroker.servers.openfire.rest",
        "prosody-rest": "restbroker.servers.prosody",
        "prosody-roster": "restbroker.rosters.refresh",
    }
)

_WITH_LOGINS: Final = frozenset({"openfire-chat"})
_WITH_CTL: Final = frozenset({"ejabberd", "mongooseim"})
_WITH_VERSIONS: Final = frozenset({"ejabberd", "mongooseim"})

KINDS: Final = tuple(_FOLDERS)
"""The kinds of servers; the flat keys of `env.json` mean the first."""


def kinds() -> Mapping[str, Members]:
    """The class of options of each kind, whose fields are made with `config.key.key`; for `config.load`."""
    return Kinds(_FOLDERS)


def catalogue(kind: str, version: str | None = None) -> "Catalogue":
    """The commands of this version of a server; of the newest that is known for None. Raises `ConfigError`."""
    found: Catalogue = _part(kind, "catalogue").for_version(version)
    return found


def catalogue_of(target: "Target", found: str | None, endpoint: str = "") -> "Catalogue":
    """The commands of a target: of its configured version, else of `found`, which a running process saw there.

    `endpoint` counts where its path chooses another version of the interface (ejabberd's `register/v1`).
    """
    commands: Catalogue = _part(target.kind, "catalogue").for_target(target, found, endpoint)
    return commands


def candidates_of(target: "Target", found: str | None, endpoint: str = "") -> "tuple[Catalogue, ...]":
    """What the server of this target may take, oldest first, for whoever tells a person what it takes.

    One catalogue where its version is known: the one that a running process `found`, else the configured one. Several
    where it may be one of several versions; what holds for the server then holds for one of them.
    """
    if target.kind not in _WITH_VERSIONS:
        return (catalogue_of(target, found, endpoint),)
    possible: tuple[Catalogue, ...] = _part(target.kind, "catalogue").candidates(found, target, endpoint)
    return possible


def candidates(kind: str, version: str | None) -> "tuple[Catalogue, ...]":
    """The same of a kind, without a target."""
    if kind not in _WITH_VERSIONS:
        return (catalogue(kind, version),)
    possible: tuple[Catalogue, ...] = _part(kind, "catalogue").candidates(version)
    return possible


def requests(kind: str) -> Mapping[str, str]:
    """Of a kind whose commands are one request each, what they send: `POST /users`. For the page that lists them."""
    found: Mapping[str, str] = _part(kind, "catalogue").requests()
    return found


def open_connector(target: "Target", ports: "Ports") -> "Connector":
    """The connector of this target; nothing is sent yet. Raises `ConfigError`."""
    connector: Connector = _part(target.kind, "connector").open_connector(target, ports)
    return connector


def open_logins(target: "Target", ports: "Ports") -> "Logins":
    """The logins of this target's users; nothing is sent yet. Raises `ConfigError` for a kind that has none."""
    if target.kind not in _WITH_LOGINS:
        kinds = ", ".join(sorted(_WITH_LOGINS))
        raise ConfigError(f"The target {target.name} has no logins of users.", f"Only those of kind {kinds} have.")
    logins: Logins = _part(target.kind, "logins").open_logins(target, ports)
    return logins


def manner(kind: str) -> "Manner | None":
    """How this kind's own command line is spoken to; None for one that has none."""
    if kind not in _WITH_CTL:
        return None
    found: Manner = _part(kind, "ctl").MANNER
    return found


async def check(target: "Target") -> "list[Finding]":
    """Looks at this target and changes nothing there. What a person can act on is a finding. Safe to cancel."""
    findings: list[Finding] = await _part(target.kind, "check").check(target)
    return findings


def suggest(target: "Target", allowed: "Allowed") -> str | None:
    """What the server's own configuration should say, so that it allows this and no more: lines to be copied there,
    with comments of the server's form. None: there is nothing to say. No secret is in it, and no server is asked.
    """
    text: str | None = _part(target.kind, "suggest").suggest(target, allowed)
    return text


_Part = Literal["catalogue", "connector", "check", "suggest", "logins", "ctl"]


def _part(kind: str, name: _Part) -> ModuleType:
    if kind not in _FOLDERS:
        known = ", ".join(_FOLDERS)
        raise ConfigError(f'There is no kind of target called "{kind}".', f"These exist: {known}.")
    return import_module(f"{_FOLDERS[kind]}.{name}")
