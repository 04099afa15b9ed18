"""`restbroker ctl` for ejabberd: reads the arguments of `ejabberdctl`, and prints its output.

Reached through the registry. Always holds: loads no Trio. A command that `ejabberdctl` refuses before it asks ejabberd
is refused with its words and exit code, and pushes no job. Only stdout and the exit code are made here; what the API
leaves out is left out, or as docs/ctl.md describes. Columns stand in the catalogue's order, never in the answer's: with
Erlang/OTP 27 ejabberd sorts them by name. The API returns the words of a refusal without the Erlang term around them,
which `ejabberdctl` shows; the tables have that term for each command, as measured on 23.01 and 24.12.

Compared with ejabberdctl 23.01, result by result, by tests/servers/nightly/test_ejabberd.py, and with what those of
24.12 and 26.07 printed, as recorded; how these take lists of objects was read in their source, and not compared.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import chain, repeat
from typing import Final

from restbroker.errors import UsageError
from restbroker.job import rubyjson
from restbroker.job.coerce import coerce
from restbroker.job.command import ArgumentSpec, Catalogue, CommandSpec
from restbroker.job.json_types import Json
from restbroker.servers.api.texts import parse_json, read_toml
from restbroker.servers.ctl import CtlCommand, CtlDialect, CtlOutput, CtlRefusal, JobReply
from restbroker.servers.ejabberd.catalogue import API_SINCE, ATTRIBUTES, UNTOLD, api_of

_WORDS: Final = read_toml(__file__, "ctl.toml")
_OF_THE_SERVER: Final = frozenset({"stop", "restart"})
_USER: Final = (ArgumentSpec("user", "string"), ArgumentSpec("host", "string"))
_ATOM: Final = re.compile(r"[a-z][A-Za-z0-9_@]*", re.ASCII)
_EXTENDED: Final[Mapping[int, str]] = {409: "conflict", 404: "not_exists"}
_OTHERWISE: Final = "cannot_register"
"""The word of the only other error that has a number of its own (23.01)."""
_NO_TEXT: Final = "400 Bad Request"
_UNKNOWN_HOST: Final = "Unknown host passed in "

_UNHANDLED: Final = "Unhandled exception occurred executing the command:\n** {words}\n"
_FAILURE: Final = 1
"""What a command answers that failed and does not say why."""
_STATUS: Final = re.compile(r"(The node \S+ is \w+)\. Status: (\w+?)\s*(ejabberd \S+ is running in that node)\s*")
_ERLANG_LISTS: Final = frozenset({"displayed_groups"})
"""Values of `srg_get_info` that are lists: the API joins them with line breaks, ejabberdctl shows the list."""
_OLD_SEPARATOR: Final = "\n"
"""What stands between the items of a list in a line, where the interface has no versions."""
_UNKNOWN: Final = ("", "")
_OTHER_COLUMNS: Final = (
    "note: this server's answer has columns that restbroker does not know for its version; they are in the "
    "order that it sent, which may not be ejabberdctl's."
)


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
        return _unknown_command(catalogue, written)
    # What ejabberd does not have itself has no place: the `id` of a message.
    own = (argument for argument in spec.arguments if argument.type == "list" or not argument.optional)
    takes = (*(_USER if spec.fills_user else ()), *own)
    if len(takes) != len(given):
        return _wrong_count(written, takes, len(given))
    try:
        arguments = _convert(spec, takes, given, as_json=not _has_versions(catalogue))
    except UsageError as error:
        # ejabberdctl shows what broke inside of it; its exit code is this.
        return CtlOutput(f"Error: {error.message}\n", 1)
    pinned = version is not None and _has_versions(catalogue)
    return CtlCommand(name, f"{name}/v{int(version or 0)}" if pinned else name, arguments, written)


def _unknown_command(catalogue: Catalogue, written: str) -> CtlOutput:
    """Return the output of ejabberdctl for a command that does not exist."""
    others = [name for name in catalogue.commands if name != written.replace("-", "_")]
    near = min(others, key=lambda name: (_distance(written, name), name))
    return CtlOutput(f"Error: unknown command '{written}'. Did you mean '{near}'?\n", 1)


def _has_versions(catalogue: Catalogue) -> bool:
    """Tell whether this ejabberd has several versions of its interface: then it takes lists as `a:b,c:d`, not JSON."""
    year, _, month = catalogue.version.partition(".")
    return (int(year), int(month)) >= API_SINCE


def _not_ours(word: str) -> CtlRefusal | None:
    if word == "help":
        return CtlRefusal(
            "restbroker does not have ejabberd's own help.",
            "`restbroker commands` lists its commands; `restbroker commands NAME` shows one.",
        )
    if word in _WORDS["on_the_machine"]:
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
    names = _WORDS["parts"].get(f"{argument.name}-{len(parts)}")
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


def _failure_output(name: str, answered: JobReply) -> CtlOutput | None:
    """Return the output and exit code that ejabberdctl has for this failure.

    Return None for a refusal that it never gets (of a login, token or proxy).
    """
    if answered.outcome == "negative" or answered.code == "CommandFailed":
        return CtlOutput(
            f"Error: {'false' if name in ATTRIBUTES.questions else _WORDS['of_no'].get(name, 'error')}\n", 1
        )
    if answered.status in (None, 401, 403) or answered.outcome == "uncertain":
        return None
    match parse_json(answered.text):
        case {"code": int(code), "message": str(message)} if code:
            kind = _EXTENDED.get(answered.status or 0, _OTHERWISE)
            return CtlOutput(f"Error: {kind}: {message}\n", 1)
        case {"message": str(message)}:
            return CtlOutput(f"Error: {_WORDS['of_text'].get(name, 'error')}\n{message}\n", 1)
        case "internal_error" as words if name not in UNTOLD:
            return CtlOutput(_UNHANDLED.format(words=words), 1)
        case str(words) if words in ("internal_error", _NO_TEXT):
            # It ran, and its result cannot be made JSON (24.12); or it refused an argument.
            note = f"ejabberd's API cannot express what {name} says ({words}): run `ejabberdctl {name}` on its machine."
            return CtlOutput("", 1, note=note)
        case str(words):
            return CtlOutput(_refusal(name, words, answered.status or 0), 1)
        case _:
            return None


def _atom(text: str) -> str:
    """Return the text as Erlang shows an atom, in quotes if need be."""
    if _ATOM.fullmatch(text):
        return text
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _refusal(name: str, words: str, status: int) -> str:
    form = next(
        (form for form, names in _WORDS["forms"].items() if any(fnmatchcase(name, glob) for glob in names)), "returned"
    )
    if words.startswith(_UNKNOWN_HOST):
        return f"{{error,<<{_quote(words)}>>}}\n"
    term = words if _ATOM.fullmatch(words) else _quote(words)
    if status == 404:
        return f"{{not_found,{_quote(words)}}}\n"
    if form != "thrown":
        term = f"<<{term}>>" if form == "binary" and term != words else term
        return f"Error: error\nError: {term}\n"
    bare = term == words and not words.endswith(("_not_found", "_internal_command"))
    return f"{term}\n" if bare else f"{{error,{term}}}\n"


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def write(catalogue: Catalogue, command: CtlCommand, answered: JobReply) -> CtlOutput | None:
    """Return the output of ejabberdctl for this answer; None for an answer that ejabberdctl never gets.

    `command` was read with this catalogue.
    """
    if answered.code == "UnknownCommand":
        return _unknown_command(catalogue, command.typed_name)
    spec = catalogue.commands[command.name]
    if answered.code == "CommandFailed" and spec.result == "integer":
        # ejabberdctl takes this 1 for a number like any other.
        return CtlOutput(f"{_FAILURE}\n")
    if not answered.is_done or (answered.outcome == "negative" and spec.result == "rescode"):
        return _failure_output(command.name, answered)
    if spec.result == "rescode" or answered.status != 200:
        # Another status: done, since an earlier try of this job had done it.
        return CtlOutput()
    text = _text(spec, answered, _separator(catalogue, command))
    return CtlOutput(f"{text}\n" if text else "", note=_note(spec, answered.answer))


def _text(spec: CommandSpec, answered: JobReply, separator: str) -> str:
    body = answered.answer
    if body is None and answered.text.strip() != "null":
        return answered.text
    match spec.result:
        case "list":
            return "\n".join(_line(spec, item, separator) for item in _items(body))
        case "tuple" if isinstance(body, Mapping):
            return _tuple(spec, body, separator)
        case "restuple" | "string" if spec.name == "status":
            return _STATUS.sub(r"\1 with status: \2\n\3", str(_bare(body)))
        case "atom":
            return _atom(_plain(_bare(body), separator))
        case _:
            return _plain(_bare(body), separator)


def _items(body: Json) -> Sequence[Json]:
    """Return the list's items; what the API makes an object of was a list of name and value."""
    if isinstance(body, Mapping):
        return [[name, value] for name, value in body.items()]
    return body if isinstance(body, list) else [body]


def _line(spec: CommandSpec, item: Json, separator: str) -> str:
    match item:
        case {"key": str(key), "value": str(value)} if spec.name == "srg_get_info" and key in _ERLANG_LISTS:
            listed = ",".join(f'"{name}"' for name in value.split("\n") if name)
            return f"{key}\t[{listed}]"
        case {"key": str(key), "value": ""} if spec.name == "srg_get_info" and separator == _OLD_SEPARATOR:
            return f"{key}\t[]"  # an empty text and an empty list are the same in Erlang (measured on 23.01)
        case _:
            return _tuple(spec, item, separator)


def _tuple(spec: CommandSpec, item: Json, separator: str) -> str:
    return "\t".join(_column(field, value, separator) for field, value in _columns(spec, item))


def _columns(spec: CommandSpec, item: Json) -> Iterable[tuple[tuple[str, str], Json]]:
    """Return each column as its name and type, which are empty if they are not known, and its value."""
    match item:
        case Mapping() if {*item} == {name for name, _ in spec.fields}:
            return [(field, item[field[0]]) for field in spec.fields]
        case Mapping():
            return [(_UNKNOWN, value) for value in item.values()]
        case _:
            return zip(chain(spec.fields, repeat(_UNKNOWN)), item if isinstance(item, list) else [item], strict=False)


def _column(field: tuple[str, str], value: Json, separator: str) -> str:
    match field:
        case (_, "atom"):
            return _atom(_plain(value, separator))
        case ("scope" | "scopes", "string"):
            # A list of binaries as Erlang shows one, of which the API makes lines.
            return "[" + ",".join(f'<<"{scope}">>' for scope in str(value).split("\n")) + "]"
        case _:
            return _plain(value, separator)


def _note(spec: CommandSpec, body: Json) -> str | None:
    """Return a warning of columns whose order the catalogue cannot tell; None if it can."""
    tuples = [body] if spec.result == "tuple" else body if spec.result == "list" and isinstance(body, list) else []
    names = {name for name, _ in spec.fields}
    is_known = all({*pair} == names for pair in tuples if isinstance(pair, Mapping))
    return None if is_known else _OTHER_COLUMNS


def _plain(value: Json, separator: str) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case list():
            return separator.join(_plain(item, separator) for item in value)
        case None:
            return ""
        case _:
            return str(value)


def _bare(body: Json) -> Json:
    """Return a scalar without the envelope that ejabberd up to 23.10 puts it in (`{"num_sessions":3}`)."""
    if isinstance(body, Mapping) and len(body) == 1:
        (body,) = body.values()
    return body


def _separator(catalogue: Catalogue, command: CtlCommand) -> str:
    """Return what stands between the items of a list within a line."""
    if not _has_versions(catalogue):
        return _OLD_SEPARATOR
    return ";" if api_of(command.endpoint) == 0 else ","


DIALECT: Final = CtlDialect("ejabberdctl", read, write, asks_state="status")
