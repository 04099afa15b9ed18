"""Reads the form that MongooseIM posts for each message. Called by `hook`.

Always holds: pure; any bytes give a form or a `MalformedEvent`, in a time that grows with their number. What is said of
MongooseIM was measured with 6.8 (its cowlib writes the form):

- The fields are author, server, receiver, message, in this order. In a value all bytes but letters, digits, `-`, `.`
  and `_` are escaped. A space is `%20` or `+`, and both may stand in one value.
- Its documentation shows a form in which nothing is escaped, and old versions sent that. There the message, which comes
  last, may hold anything: it is taken as it is if it has a character that forms never have.
"""

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from restbroker.servers.event_contract import MalformedEvent

_MOST_FIELDS: Final = 64
_MESSAGE: Final = re.compile(rb"(?:^|&)message=")
# What forms of MongooseIM, browsers and curl consist of; with & and = between and behind names.
_ENCODED: Final = re.compile(rb"[A-Za-z0-9._~*!'()%+-]*")
_ENCODED_FIELDS: Final = re.compile(rb"[A-Za-z0-9._~*!'()%+&=-]*")


def read(body: bytes) -> dict[str, str]:
    """Return the form's fields by name; of a name that comes twice the first counts.

    Raise `MalformedEvent` if there are too many fields.
    """
    found = _MESSAGE.search(body)
    last: bytes | None = None
    if found is not None and _ENCODED_FIELDS.fullmatch(body, found.end()) is None:
        body, last = body[: found.start()], body[found.end() :]
    parts = body.split(b"&", _MOST_FIELDS) if body else []
    if len(parts) > _MOST_FIELDS:
        raise MalformedEvent(f"its form has more than {_MOST_FIELDS} fields")
    fields: dict[str, str] = {}
    for part in parts:
        name, _, value = part.partition(b"=")
        fields.setdefault(_text(name), _text(value))
    if last is not None:
        fields.setdefault("message", last.decode("utf-8", "replace"))
    return fields


def _text(written: bytes) -> str:
    """Decode a name or value, unless it has a character that no form has: then it was never escaped."""
    if _ENCODED.fullmatch(written) is not None:
        written = unquote_to_bytes(written.replace(b"+", b" "))
    return written.decode("utf-8", "replace")
