"""Reads `register alice example.org secret`: arguments by their place, as the catalogue lists them.

Always holds: a command that `ejabberdctl` refuses before it asks ejabberd is refused with its words and exit code, and
pushes no job. Compared with ejabberdctl 23.01 by tests/servers/nightly/test_ctl.py; how 24.02 and newer take lists of
objects was read in its source, and not compared.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from restbroker.errors import UsageError
from restbroker.job import rubyjson
from restbroker.job.coerce import coerce
from restbroker.job.command import ArgumentSpec, Catalogue, CommandSpec
from restbroker.job.json_types import Json
from restbroker.servers.ctl import CtlCommand, CtlOutput, CtlRefusal
from restbroker.servers.ejabberd.catalogue import API_SINCE

_ON_THE_MACHINE: Final = frozenset(
    {
        *("start", "foreground", "foreground-quiet", "live", "iexlive", "debug", "iexdebug", "etop", "ping"),
        *("stopped", "mnesia", "mnesia_info_ctl"),
    }
)
_OF_THE_SERVER: Final = frozenset({"stop", "restart"})
_USER: Final = (ArgumentSpec("user", "string"), ArgumentSpec("host", "string"))
_PARTS: Final[Mapping[tuple[str, int], tuple[str, ...]]] = {
    ("options", 2): ("name", "value"),
    ("users", 2): ("jid", "nick"),
    ("users", 3): ("user", "host", "nick"),
    ("affiliations", 2): ("jid", "affiliation"),
}
"""The names of the parts of `a:b`, by argument and number of parts."""


def read(catalogue: Catalogue, words: Sequence[str], version: str | None) -> CtlCommand | CtlOutput | CtlRefusal:
    """Return the command in these words, the output of an ejabberdctl that refuses them, or our own refusal.

    `version` is that of `--version`, None without it.
    """
    if version is not None and re.fullmatch(r"[+-]?[0-9]{1,9}", version) is None:
        return CtlOutput(f'Invalid API version number: "{version}"\n', 1)
    if not words:
        return CtlRefusal("No command is given.", "For example: restbroker ctl registered_users example.org")
    written, given = words[0], words[1:]
    if (refused := _not_ours(written)) is not None:
        return refused
    name = written.replace("-", "_")
    spec = catalogue.commands.get(name)
    if spec is None:
        return unknown_command(catalogue, written)
    # What ejabberd does not have itself has no place: the `id` of a message.
    own = (argument for argument in spec.arguments if argument.type == "list" or not argument.optional)
    takes = (*(_USER if spec.fills_user else ()), *own)
    if len(takes) != len(given):
        return _wrong_count(written, takes, len(given))
    try:
        arguments = _convert(spec, takes, given, as_json=not has_versions(catalogue))
    except UsageError as error:
        # ejabberdctl shows what broke inside of it; its exit code is this.
        return CtlOutput(f"Error: {error.message}\n", 1)
    pinned = version is not None and has_versions(catalogue)
    return CtlCommand(name, f"{name}/v{int(version or 0)}" if pinned else name, arguments, written)


def unknown_command(catalogue: Catalogue, written: str) -> CtlOutput:
    """Return the output of ejabberdctl for a command that does not exist."""
    others = [name for name in catalogue.commands if name != written.replace("-", "_")]
    near = min(others, key=lambda name: (_distance(written, name), name))
    return CtlOutput(f"Error: unknown command '{written}'. Did you mean '{near}'?\n", 1)


def has_versions(catalogue: Catalogue) -> bool:
    """Tell whether this ejabberd has several versions of its interface: then it takes lists as `a:b,c:d`, not JSON."""
    year, _, month = catalogue.version.partition(".")
    return (int(year), int(month)) >= API_SINCE


def _not_ours(word: str) -> CtlRefusal | None:
    if word == "help":
        return CtlRefusal(
            "restbroker does not have ejabberd's own help.",
            "`restbroker commands` lists its commands; `restbroker commands NAME` shows one.",
        )
    if word in _ON_THE_MACHINE:
        hint = f"Run ejabberdctl {word} there, or what starts its service (systemctl)."
        return CtlRefusal(f"{word} concerns the Erlang node, on ejabberd's machine.", hint)
    if word in _OF_THE_SERVER:
        hint = f"Run systemctl or ejabberdctl {word} there; `restbroker enqueue {word}` sends it as a command."
        return CtlRefusal(f"If the server is down, a queued {word} would {word} it as soon as it is up.", hint)
    return None


def _wrong_count(written: str, takes: Sequence[ArgumentSpec], given: int) -> CtlOutput:
    usage = " ".join([f"usage: restbroker ctl {written}", *(argument.name for argument in takes)])
    short = len(takes) - given
    says = f"{short} more argument" if short > 0 else f"{-short} less argument"
    return CtlOutput(f"Error: the command '{written}' requires {says}.\n", 1, note=usage)


def _convert(
    spec: CommandSpec, takes: Sequence[ArgumentSpec], given: Sequence[str], *, as_json: bool
) -> Mapping[str, Json]:
    values: dict[str, Json] = {}
    for argument, text in zip(takes, given, strict=True):
        match argument.type:
            case "list" if as_json:
                values[argument.name] = _json(argument, text)
            case "list" if argument.element == "object":
                values[argument.name] = [_object(argument, part) for part in _split(text, ",")]
            case "list":
                values[argument.name] = list(_split(text, ","))
            case _:
                values[argument.name] = text
    return coerce(spec, values)


def _split(text: str, sign: str) -> Sequence[str]:
    # As Erlang's string:tokens: nothing between two signs is no part.
    return [part.strip() for part in text.split(sign) if part]


def _object(argument: ArgumentSpec, text: str) -> Json:
    parts = _split(text, ":")
    names = _PARTS.get((argument.name, len(parts)))
    if names is None:
        raise UsageError(f"the argument {argument.name} is a list such as a:b,c:d.", "")
    return dict(zip(names, parts, strict=True))


def _json(argument: ArgumentSpec, text: str) -> Json:
    try:
        return rubyjson.loads(text.encode("utf-8", "surrogateescape"))
    except rubyjson.Unreadable:
        raise UsageError(f"the argument {argument.name} must be JSON.", "") from None


def _distance(one: str, other: str) -> int:
    """Return how many letters to add, take away or change (Levenshtein), which is how ejabberdctl finds suggestions."""
    row = list(range(len(other) + 1))
    for above, letter in enumerate(one, start=1):
        left, row[0] = row[0], above
        for at, found in enumerate(other, start=1):
            left, row[at] = row[at], min(row[at] + 1, row[at - 1] + 1, left + (letter != found))
    return row[-1]
