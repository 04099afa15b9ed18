"""The parts of a secret header value that a server may repeat by themselves: without scheme, or one part of a cookie.

Used by `job.hiding` for the login of a request, and by `job.redact` for a job's arguments.
"""

import base64
import contextlib
import re
from collections.abc import Iterator
from itertools import chain
from urllib.parse import unquote

from restbroker.job import escapes
from restbroker.job.spellings import SHORTEST_ANYWHERE

# Parts of a header's value: in quotes, or between blanks and the like; and the name of a pair ("=" at the end pads).
_QUOTED = re.compile(r"""(["'])(.*?)\1""")
_BETWEEN = re.compile(r"[\s;,]+")
_PAIR = re.compile(r"\A[^=]++=(?!=*\Z)")
_CODED = ("basic", "apikey")
"""The schemes under which `user:secret` stands in base64."""
# A header's value, which is more than a secret alone: with its scheme, or in pairs, as of a cookie.
_HEADER = re.compile(r"(?i)(?:basic|bearer|token|digest|apikey) +\S|[\w.-]++=\S")


def parts_of(secret: str) -> set[str]:
    """Return the repeatable parts of a secret that looks like a header's value; an empty set for any other secret."""
    return repeatable_parts(secret) if _HEADER.match(secret) else set()


def repeatable_parts(header: str) -> set[str]:
    """Return the parts that a server may repeat by themselves: the credentials without scheme, and their parts."""
    scheme, _, credentials = header.partition(" ")
    behind = credentials.strip() if scheme.isalpha() else header
    # Not so in a header that someone wrote by hand.
    with contextlib.suppress(ValueError):
        if scheme.lower() in _CODED:
            return {behind, escapes.text_of(base64.b64decode(behind, validate=True)).partition(":")[2]}
    return {behind} | {part for part in _parts(behind) if len(part) >= SHORTEST_ANYWHERE}


def _parts(value: str) -> Iterator[str]:
    """Yield what a server takes from a header's value: `X` of `name=X`, `name="X"`, `X; Y` and `id:X`, also decoded."""
    between = (_PAIR.sub("", one, count=1).strip("\"'") for one in _BETWEEN.split(value))
    for part in chain((quoted for _, quoted in _QUOTED.findall(value)), between):
        for one in {part, unquote(part)}:
            behind = one.partition(":")[2]
            yield from (one, "" if behind.startswith("//") else behind)
