"""The names of all commands that the tokens allow, so that a server's own configuration can allow just as much.

`operate.suggest` calls it for `restbroker check --suggest`; a kind's `suggest` writes it in its server's words. Always
holds: a command is in it only if some token allows a job with it (`job.auth`); a dangerous one must be allowed as such.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from restbroker.job.auth import Grant, command_refusal
from restbroker.job.command import DANGEROUS, Catalogue, CommandSpec
from restbroker.light import frozen

_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,100}", re.ASCII)


@frozen
class AllowedCommands:
    """The commands that tokens allow, sorted by name; `hosts` has patterns of the hosts that jobs may name, empty: any.

    `all_others`: a token also allows every command that is not known and not dangerous.
    """

    commands: tuple[str, ...]
    hosts: tuple[str, ...] = ()
    all_others: bool = False


def allowed_commands(grants: Sequence[Grant], catalogue: Catalogue) -> AllowedCommands:
    """Return which commands of this catalogue these tokens allow.

    If the catalogue is not whole, other commands that a token names count as well.
    """
    names = {*catalogue.commands, *(() if catalogue.is_whole else _named_commands(grants, catalogue))}
    commands = sorted(name for name in names if any(_allows(grant, name, catalogue) for grant in grants))
    bound = all(grant.hosts for grant in grants)
    hosts = sorted({host for grant in grants for host in grant.hosts}) if bound else ()
    free = (pattern for grant in grants if not grant.hosts for pattern in grant.allow)
    others = not catalogue.is_whole and any(pattern == "*" for pattern in free)
    return AllowedCommands(tuple(commands), tuple(hosts), others)


def _named_commands(grants: Iterable[Grant], catalogue: Catalogue) -> Iterator[str]:
    """Yield the commands that tokens name in full, which may be outside the catalogue (the server's own modules)."""
    for pattern in (pattern for grant in grants for pattern in grant.allow):
        name = pattern.removeprefix(DANGEROUS)
        # Behind `dangerous:` a word for many commands may stand, too (files).
        if _NAME.fullmatch(name) and (name == pattern or catalogue.dangerous_in(name)):
            yield name


def _allows(grant: Grant, name: str, catalogue: Catalogue) -> bool:
    spec = catalogue.commands.get(name)
    if command_refusal(grant, name, spec, catalogue.dangerous_in(name)) is not None:
        return False
    return not grant.hosts or (spec is not None and _can_name_a_host(spec))


def _can_name_a_host(spec: CommandSpec) -> bool:
    """Tell whether a job for it can say which host it is about; if not, a token that is bound to hosts refuses it."""
    return not spec.beyond and (spec.fills_host or any(argument.host_source is not None for argument in spec.arguments))
