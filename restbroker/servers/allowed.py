"""What tokens allow all together, as the names of commands: for a server's own configuration to allow as much.

`operate.suggest` makes it for `restbroker check --suggest`; connectors write it in their server's words. Always holds:
a command is in it only if a token's job for it can be let in (`job.auth`); a dangerous one needs to be allowed as
such.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import attrs

from restbroker.job.auth import Grant, refused_command
from restbroker.job.command import DANGEROUS, Catalogue, CommandSpec

_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,100}", re.ASCII)


@attrs.frozen
class AllowedCommands:
    """`commands` in the order of their names. `hosts`: patterns of the virtual hosts that jobs may name; empty: any.

    `all_others`: beside these, a token allows every command that nothing is known of and that is not dangerous.
    """

    commands: tuple[str, ...]
    hosts: tuple[str, ...] = ()
    all_others: bool = False


def allowed_commands(grants: Sequence[Grant], catalogue: Catalogue) -> AllowedCommands:
    """What these tokens allow of this catalogue; of one that is not whole, also other commands that a token names."""
    names = {*catalogue.commands, *(() if catalogue.is_whole else _commands_named(grants, catalogue))}
    commands = sorted(name for name in names if any(_allows(grant, name, catalogue) for grant in grants))
    bound = all(grant.hosts for grant in grants)
    hosts = sorted({host for grant in grants for host in grant.hosts}) if bound else ()
    free = (pattern for grant in grants if not grant.hosts for pattern in grant.allow)
    others = not catalogue.is_whole and any(pattern == "*" for pattern in free)
    return AllowedCommands(tuple(commands), tuple(hosts), others)


def _commands_named(grants: Iterable[Grant], catalogue: Catalogue) -> Iterator[str]:
    """What is written in full and not in the catalogue, such as a command of the server's own modules."""
    for pattern in (pattern for grant in grants for pattern in grant.allow):
        name = pattern.removeprefix(DANGEROUS)
        # Behind `dangerous:` a word for many commands may stand, too (files).
        if _NAME.fullmatch(name) and (name == pattern or catalogue.dangerous_in(name)):
            yield name


def _allows(grant: Grant, name: str, catalogue: Catalogue) -> bool:
    spec = catalogue.commands.get(name)
    if refused_command(grant, name, spec, catalogue.dangerous_in(name)) is not None:
        return False
    return not grant.hosts or (spec is not None and _can_name_a_host(spec))


def _can_name_a_host(spec: CommandSpec) -> bool:
    """Whether a job for it can say which host it is about, without which a token that is bound to hosts refuses it."""
    return not spec.beyond and (spec.fills_host or any(argument.place is not None for argument in spec.arguments))
