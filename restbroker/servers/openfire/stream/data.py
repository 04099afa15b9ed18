"""Reads the JSON of Openfire's events, which the plugin builds as text, without escaping what is in it.

Called by `form`. Always holds: pure; any text is read, or found unreadable, in a time that grows as its length does:
anyone may send a user 3 MB. If a member stands there twice, the first counts: the server writes the sender before the
text, and a text can hold another `from`.
"""

import json
import re
from typing import Final, NoReturn

import attrs

from restbroker.job import rubyjson
from restbroker.job.json_types import Json

_NAMES: Final = (
    *("type", "to", "from", "body", "data", "state", "status", "show", "room", "inviter", "url", "reason", "password"),
    *("mucRoom", "averageWaitTime", "userCount", "oldestEntry", "userid", "postion", "timeRemaining", "timestamp"),
    *("remaingTime", "position", "workgroup", "id", "metaData", "xmpp"),
)
"""The members of all events, as the plugin spells them (read)."""
_BEGINNING: Final = re.compile(rf'(?:\A\s*\{{|,)\s*"({"|".join(_NAMES)})"\s*:\s*')


@attrs.frozen
class Data:
    """The data of an event. `members`: None if it cannot be read. `fault`: what is wrong with it, in words, or None."""

    members: dict[str, Json] | None
    fault: str | None = None


@attrs.define
class _Pairs:
    """Makes objects in which the first of two equal members counts.

    `is_twice`: the last object, which is the outermost, had a member twice.
    """

    is_twice: bool = False

    def __call__(self, pairs: list[tuple[str, Json]]) -> dict[str, Json]:
        found: dict[str, Json] = {}
        for name, value in pairs:
            found.setdefault(name, value)
        self.is_twice = len(found) < len(pairs)
        return found


def read_data(text: str) -> Data:
    """Return the members of an event's data; line breaks and quotes within a text count as part of it."""
    pairs = _Pairs()
    try:
        # Line breaks and other control characters within strings are no fault of who sent them.
        members = json.loads(text, strict=False, object_pairs_hook=pairs, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return _repair(text)
    if not isinstance(members, dict):
        return Data(None, "it is not a JSON object")
    found = _writable(members)
    if pairs.is_twice and found.fault is None:
        return Data(members, "a member appears twice, and the first one is used")
    return found


def _writable(members: dict[str, Json]) -> Data:
    """Return the members, or a fault if a job cannot contain them."""
    try:
        rubyjson.dumps({"args": [{"raw": members}]})
    except (ValueError, RecursionError):
        return Data(None, "it is JSON that a job cannot contain")
    return Data(members)


def _repair(text: str) -> Data:
    """Return the members of data that is not JSON: each value ends where the next known name begins.

    A value that is not JSON, such as an object with an unescaped text in it, is returned as the text that stands there.
    """
    begun, text = list(_BEGINNING.finditer(text)), text.rstrip()
    if not begun or begun[0].start() > 0 or not text.endswith("}"):
        return Data(None, "it is not JSON")
    ends = [*(one.start() for one in begun[1:]), len(text) - 1]
    members: dict[str, Json] = {}
    unread: list[str] = []
    for one, until in zip(begun, ends, strict=True):
        written = text[one.end() : until].strip()
        try:
            members.setdefault(one[1], _value(written))
        except (ValueError, RecursionError):
            unread.append(one[1])
            members.setdefault(one[1], written)
    found = _writable(members)
    if not unread or found.fault is not None:
        return found
    return Data(members, f"the value of {', '.join(unread)} is not JSON, and is given as a string")


def _value(written: str) -> Json:
    try:
        value: Json = json.loads(written, strict=False, object_pairs_hook=_Pairs(), parse_constant=_refuse)
    except ValueError:
        if len(written) > 1 and written[0] == written[-1] == '"':
            return written[1:-1]
        raise
    return value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
