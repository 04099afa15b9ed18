"""Prints an answer of ejabberd's API as `ejabberdctl` prints the same result.

Always holds: only stdout and the exit code are made here; what the API leaves out is left out, or as docs/ctl.md
describes. Columns stand in the catalogue's order, never in the answer's: with Erlang/OTP 27 ejabberd sorts
them by name. Compared with ejabberdctl 23.01, result by result, by tests/servers/nightly/test_ctl.py, and with what the
ejabberdctl of 24.12 and 26.07 printed, as recorded.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, repeat
from typing import Final

from restbroker.job.command import Catalogue, CommandSpec
from restbroker.job.json_types import Json
from restbroker.servers.ctl import CtlCommand, CtlOutput, JobReply
from restbroker.servers.ejabberd.catalogue import api_of
from restbroker.servers.ejabberd.ctl.arguments import has_versions, unknown_command
from restbroker.servers.ejabberd.ctl.errors import atom, failure_output

FAILURE: Final = 1
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


def write(catalogue: Catalogue, command: CtlCommand, answered: JobReply) -> CtlOutput | None:
    """Return the output of ejabberdctl for this answer; None for an answer that ejabberdctl never gets.

    `command` was read with this catalogue.
    """
    if answered.code == "UnknownCommand":
        return unknown_command(catalogue, command.typed_name)
    spec = catalogue.commands[command.name]
    if answered.code == "CommandFailed" and spec.result == "integer":
        # ejabberdctl takes this 1 for a number like any other.
        return CtlOutput(f"{FAILURE}\n")
    if not answered.is_done or _is_no(spec, answered):
        return failure_output(command.name, answered)
    if spec.result == "rescode" or answered.status != 200:
        # Another status: done, since an earlier try of this job had done it.
        return CtlOutput()
    text = _text(spec, answered, _separator(catalogue, command))
    return CtlOutput(f"{text}\n" if text else "", note=_note(spec, answered.answer))


def _is_no(spec: CommandSpec, answered: JobReply) -> bool:
    return answered.outcome == "negative" and spec.result == "rescode"


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
            return _status(str(_bare(body)))
        case "atom":
            return atom(_plain(_bare(body), separator))
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
            return atom(_plain(value, separator))
        case ("scope" | "scopes", "string"):
            # A list of binaries as Erlang shows one, of which the API makes lines.
            return "[" + ",".join(f'<<"{scope}">>' for scope in str(value).split("\n")) + "]"
        case _:
            return _plain(value, separator)


def _note(spec: CommandSpec, body: Json) -> str | None:
    """Return a warning of columns whose order the catalogue cannot tell; None if it can."""
    tuples = [body] if spec.result == "tuple" else body if spec.result == "list" and isinstance(body, list) else []
    names = {name for name, _ in spec.fields}
    is_known = all({*one} == names for one in tuples if isinstance(one, Mapping))
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


def _status(text: str) -> str:
    return _STATUS.sub(r"\1 with status: \2\n\3", text)


def _separator(catalogue: Catalogue, command: CtlCommand) -> str:
    """Return what stands between the items of a list within a line."""
    if not has_versions(catalogue):
        return _OLD_SEPARATOR
    return ";" if api_of(command.endpoint) == 0 else ","
