"""Which endpoints a job may name. The worker checks them before anything is sent.

Always holds: an endpoint that passes can be appended to a target's path without escaping it.
"""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TypeAlias

from restbroker.job.json_types import Json
from restbroker.job.names import has_a_name, has_a_sign
from restbroker.job.reason import Reason

_SAFE = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9_.~-]*(?:/[A-Za-z0-9_~-][A-Za-z0-9_.~-]*)*", re.ASCII)
_LIMIT_CHARACTERS = 256
_SHOWN_CHARACTERS = 40
_QUOTED_CHARACTERS = 80
Hide: TypeAlias = Callable[[str, int], str]
"""A function that takes secrets out of a text and cuts it to a number of characters."""


def truncate(text: str, limit: int) -> str:
    """Return the text cut, with nothing hidden: for callers that show none of it, or know no secrets."""
    return text[:limit]


def check(endpoint: Json, hide: Hide = truncate) -> str | Reason:
    """Return the endpoint itself if it is a safe relative path, else why it is refused.

    `hide` is applied before any of it is quoted: the end of a token that was cut could not be recognised any more.

    Safe means segments of letters, digits and `_ . ~ -`, joined by single slashes: no `..`, no query, no fragment, no
    escapes, nothing absolute. (The Go original sent `../../admin/x?y=1` as it was.)
    """
    if not isinstance(endpoint, str):
        return _refuse(f"The endpoint (first argument) is {kind_of(endpoint)}, not a string.")
    if len(endpoint) > _LIMIT_CHARACTERS:
        return _refuse(f"The endpoint is {len(endpoint)} characters long; {_LIMIT_CHARACTERS} is the limit.")
    if _is_safe(endpoint):
        return endpoint
    # Only as far as it is plain: what follows may hold a password ("register?user=…&password=…"). And no long text,
    # which is a token in the wrong place rather than a command.
    plain = re.match(r"[A-Za-z0-9_/.~-]*", hide(endpoint, _LIMIT_CHARACTERS), re.ASCII)
    shown = plain[0] if plain is not None and 0 < len(plain[0]) <= _SHOWN_CHARACTERS else None
    begins = "" if shown is None else f", which begins with {shown!r},"
    return _refuse(f"The endpoint{begins} is not a plain command name.")


# Asked for every job, and mostly about the same few.
@lru_cache(maxsize=500)
def _is_safe(endpoint: str) -> bool:
    return _SAFE.fullmatch(endpoint) is not None


def _refuse(message: str) -> Reason:
    return Reason("BadEndpoint", message, 'Name the command alone, for example "register": no slash before it, no "?".')


def kind_of(value: Json) -> str:
    """Return what a JSON value is, in words for an error message: "a number"."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case dict():
            return "an object"
        case _:
            return "a list"


def either(names: Sequence[str]) -> str:
    """Return the names as a person lists them: `a, b or c`."""
    return " or ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)


def quote(text: str) -> str:
    """Return a text in quotes for an error message; only its length if `bare` would."""
    return repr(text) if bare(text) is text else bare(text)


def bare(text: str) -> str:
    """Return a text for an error message; of one longer than 80 characters, or that names a secret, only its length.

    It is not cut: a secret that is cut could not be recognised any more.
    """
    is_open = len(text) <= _QUOTED_CHARACTERS and not (has_a_sign(text) and has_a_name(text))
    return text if is_open else f"(of {len(text)} characters)"
