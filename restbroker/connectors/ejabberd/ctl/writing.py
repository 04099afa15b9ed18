"""Prints an answer of ejabberd's API as `ejabberdctl` prints the same result.

Always holds: only stdout and the exit code are made here; what the API does not tell is written nowhere, or in the
words of docs/ctl.md. Compared with ejabberdctl 23.01, result by result, by tests/servers/test_ctl.py; the separators of
24.02 and newer were read in its source.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from restbroker.connectors.ejabberd.catalogue import api_of
from restbroker.connectors.ejabberd.ctl.errors import atom, failed
from restbroker.connectors.ejabberd.ctl.reading import has_versions, unknown
from restbroker.rules.command import Catalogue
from restbroker.rules.ctl import Answered, Asked, Printed
from restbroker.rules.json_types import Json

FAILURE: Final = 1
"""What a command answers that failed and says nothing of why."""
_STATUS: Final = re.compile(r"(The node \S+ is \w+)\. Status: (\w+?)\s*(ejabberd \S+ is running in that node)\s*")
_ATOMS: Final = frozenset({"list_cluster"})
"""Commands whose list holds names of Erlang's, which it puts in quotes where they are no plain words."""
_ERLANG_LISTS: Final = frozenset({"displayed_groups"})
"""Values of `srg_get_info` that are lists: the API joins them with line breaks, ejabberdctl shows the list."""


def write(catalogue: Catalogue, asked: Asked, answered: Answered) -> Printed | None:
    """What ejabberdctl prints of it; None where there is nothing of the server's to print."""
    if answered.code == "UnknownCommand":
        return unknown(catalogue, asked.written)
    spec = catalogue.commands.get(asked.name)
    result = "" if spec is None else spec.result
    if answered.code == "CommandFailed" and result == "integer":
        # ejabberdctl takes this 1 for a number like any other.
        return Printed(f"{FAILURE}\n")
    if not answered.is_done or _is_no(result, answered):
        return failed(asked.name, answered)
    if result == "rescode" or answered.status != 200:
        # Another status: done, since an earlier try of this job had done it.
        return Printed()
    text = _text(asked, result, answered, _separator(catalogue, asked))
    return Printed(f"{text}\n" if text else "")


def _is_no(result: str, answered: Answered) -> bool:
    return answered.outcome == "negative" and result == "rescode"


def _text(asked: Asked, result: str, answered: Answered, separator: str) -> str:
    body = answered.answer
    if body is None and answered.text.strip() != "null":
        return answered.text
    match result:
        case "list":
            return "\n".join(_line(asked, item, separator) for item in _items(body))
        case "tuple" if isinstance(body, Mapping):
            return _tuple(body.values(), separator)
        case "restuple" | "string" if asked.name == "status":
            return _status(str(_bare(body)))
        case "atom":
            return atom(_plain(_bare(body), separator))
        case _:
            return _plain(_bare(body), separator)


def _items(body: Json) -> Sequence[Json]:
    """The list's items: what the API makes an object of was a list of name and value."""
    if isinstance(body, Mapping):
        return [[name, value] for name, value in body.items()]
    return body if isinstance(body, list) else [body]


def _line(asked: Asked, item: Json, separator: str) -> str:
    match item:
        case list():
            return _tuple(item, separator)
        case {"key": str(key), "value": str(value)} if asked.name == "srg_get_info" and key in _ERLANG_LISTS:
            listed = ",".join(f'"{name}"' for name in value.split("\n") if name)
            return f"{key}\t[{listed}]"
        case Mapping():
            return _tuple(item.values(), separator)
        case str() if asked.name in _ATOMS:
            return atom(item)
        case _:
            return _plain(item, separator)


def _tuple(values: Iterable[Json], separator: str) -> str:
    return "\t".join(_plain(value, separator) for value in values)


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
    """A scalar without the envelope that ejabberd up to 23.10 puts it in (`{"num_sessions":3}`)."""
    if isinstance(body, Mapping) and len(body) == 1:
        (body,) = body.values()
    return body


def _status(text: str) -> str:
    return _STATUS.sub(r"\1 with status: \2\n\3", text)


def _separator(catalogue: Catalogue, asked: Asked) -> str:
    """What stands between the items of a list within a line."""
    if not has_versions(catalogue):
        return "\n"
    return ";" if api_of(asked.endpoint) == 0 else ","
