"""Tells whether what keys name is there: arguments in `FairBy` and `OrderBy`, commands, targets and queues of tokens.

Called by `console.load_config` for a configuration that is to be used or checked. Always holds: no server is asked; of
a target whose commands, or their arguments, nobody lists, nothing is told.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase

from restbroker.config.core import Config
from restbroker.config.problems import Notice
from restbroker.config.target import USUALLY_AT_MOST_ONCE, Target
from restbroker.errors import ConfigError
from restbroker.job.auth import reaches
from restbroker.job.command import CommandSpec
from restbroker.operate.names import nearest
from restbroker.servers import registry


def unknown_names(config: Config) -> Iterator[Notice]:
    """Yield a notice for each argument and command that a target does not know, and each token that fits nowhere."""
    for token in config.tokens:
        if not any(reaches(token, target.name, target.queues) for target in config.targets):
            message = f'No queue of any target fits both Targets and Queues of the token "{token.name}": '
            hint = f"Correct the names in Tokens.{token.name}, or remove the token."
            yield Notice("TokenFitsNowhere", f"{message}every job that carries it dies.", hint)
    for target in config.targets:
        commands = _named_commands(target)
        if not (target.fair_by or target.order_by or commands):
            continue  # a catalogue takes a while to load
        specs = _specs(target)
        yield from _unknown_arguments(target, specs)
        yield from _unknown_commands(target, commands, sorted({spec.name for spec in specs}))


def _specs(target: Target) -> Sequence[CommandSpec]:
    """Return all commands, in any version that the server may have; none if these are not known."""
    with suppress(ConfigError):  # of a package that cannot be used: it is told elsewhere
        commands = registry.catalogue_of(target, None).commands.values()
        return [form for spec in commands for form in (spec, *spec.others)]
    return ()


def _named_commands(target: Target) -> Sequence[tuple[str, str]]:
    """Return the keys that name commands, each with each of its names; without those that it has by default."""
    keys = {"AtMostOnce": target.at_most_once, "Slots": tuple(target.slots), "Expire": tuple(target.expire_s)}
    return [(key, glob) for key, globs in keys.items() for glob in globs if glob not in USUALLY_AT_MOST_ONCE]


def _unknown_arguments(target: Target, specs: Sequence[CommandSpec]) -> Iterator[Notice]:
    if any(spec.takes_more for spec in specs):
        return
    known = {name for spec in specs for argument in spec.arguments for name in (argument.name, *argument.aliases)}
    known |= {"host"} if any(spec.fills_host for spec in specs) else set()
    known |= {"user"} if any(spec.fills_user for spec in specs) else set()
    fair_by = () if target.fair_by is None else target.fair_by.names
    order_by = () if target.order_by is None else target.order_by.names
    named = [("FairBy", name, "it tells no jobs apart") for name in fair_by]
    named += [("OrderBy", name, "no job has a key, and none is done in order") for name in order_by]
    for key, name, effect in named if known else ():
        if name not in known:
            message = (
                f"{key} of the target {target.name} names {name}, which no known command of {target.kind} has as an "
                f"argument: {effect}."
            )
            near = nearest(name, known)
            hint = (
                "`restbroker commands NAME` shows a command's arguments." if near is None else f"Did you mean {near}?"
            )
            yield Notice(f"{key}Unknown", message, hint)


def _unknown_commands(target: Target, named: Sequence[tuple[str, str]], known: Sequence[str]) -> Iterator[Notice]:
    for key, glob in named if known else ():
        if not any(fnmatchcase(name, glob.partition("/")[0]) for name in known):
            near = nearest(glob, known)
            hint = "`restbroker commands` lists them." if near is None else f"Did you mean {near}?"
            message = f"{key} of the target {target.name} names {glob}, which is no known command of {target.kind}."
            yield Notice("CommandUnknown", message, f"{hint} If a module of the server adds it, all is well.")
