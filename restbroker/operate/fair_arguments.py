"""Tells whether the arguments in `FairBy` are ones that a command of the target has.

Called by `console.load_config` for a configuration that is to be used or checked. Always holds: no server is asked; of
a target whose commands take arguments that nobody lists, nothing is told.
"""

from collections.abc import Iterator
from contextlib import suppress

from restbroker.config.core import Config
from restbroker.config.problems import Notice
from restbroker.config.target import Target
from restbroker.errors import ConfigError
from restbroker.operate.names import nearest
from restbroker.servers import registry


def unknown_arguments(config: Config) -> Iterator[Notice]:
    """Yield a notice for each argument in a `FairBy` that no command of its target has."""
    for target in config.targets:
        if target.fair_by is None or not target.fair_by.names:
            continue
        known = _known_arguments(target)
        for name in target.fair_by.names if known else ():
            if name not in known:
                yield _notice(target, name, known)


def _known_arguments(target: Target) -> set[str]:
    """Return the arguments of all commands, in any version that the server may have; none if these are not known."""
    with suppress(ConfigError):  # of a package that cannot be used: it is told elsewhere
        specs = [spec for one in registry.candidates_of(target, None) for spec in one.commands.values()]
        if any(spec.takes_more for spec in specs):
            return set()
        names = {name for spec in specs for argument in spec.arguments for name in (argument.name, *argument.aliases)}
        fills_host, fills_user = (any(spec.fills_host for spec in specs), any(spec.fills_user for spec in specs))
        return names | ({"host"} if fills_host else set()) | ({"user"} if fills_user else set())
    return set()


def _notice(target: Target, name: str, known: set[str]) -> Notice:
    message = (
        f"FairBy of the target {target.name} names {name}, which no known command of {target.kind} has as an argument: "
        "it tells no jobs apart."
    )
    near = nearest(name, known)
    hint = "`restbroker commands NAME` shows a command's arguments." if near is None else f"Did you mean {near}?"
    return Notice("FairByUnknown", message, hint)
