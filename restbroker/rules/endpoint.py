"""Which endpoints a job may name. The worker asks before anything is sent.

Always holds: an endpoint that passes can be appended to a target's path without escaping it.
"""

import re

from restbroker.rules.json_types import Json
from restbroker.rules.outcome import Reason

_SEGMENT = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9_.~-]*", re.ASCII)
_LIMIT_CHARACTERS = 256


def check(endpoint: Json) -> str | Reason:
    """The endpoint itself if it is a safe relative path, else why it is refused.

    Safe means segments of letters, digits and `_ . ~ -`, joined by single slashes: no `..`, no query, no fragment,
    no escapes, nothing absolute. (The Go original sent `../../admin/x?y=1` as it was.)
    """
    if not isinstance(endpoint, str):
        return _refuse(f"The endpoint (first argument) is {kind_of(endpoint)}, not a text.")
    if len(endpoint) > _LIMIT_CHARACTERS:
        return _refuse(f"The endpoint is {len(endpoint)} characters long; {_LIMIT_CHARACTERS} is the limit.")
    if all(_SEGMENT.fullmatch(segment) for segment in endpoint.split("/")):
        return endpoint
    # Only as far as it is plain: what follows may hold a password ("register?user=…&password=…").
    plain = re.match(r"[A-Za-z0-9_/.~-]*", endpoint, re.ASCII)
    shown = plain[0][:40] if plain is not None else ""
    return _refuse(f"The endpoint, which begins with {shown!r}, is not a plain command name.")


def _refuse(message: str) -> Reason:
    return Reason("BadEndpoint", message, 'Name the command alone, for example "register": no slash before it, no "?".')


def kind_of(value: Json) -> str:
    """What a JSON value is, in words for an error message."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case dict():
            return "an object"
        case _:
            return "a list"
