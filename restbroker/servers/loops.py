"""How an event that became a request is recognised where it comes back, so that a loop ends at its first turn.

A target of kind `http` names restbroker in the header `Via` (RFC 9110, 7.6.3); a source refuses what has that name, and
the target knows the refusal by its words. The name is compared whole: a proxy may well be called restbroker.
"""

from collections.abc import Iterable
from typing import Final

_NAME: Final = "restbroker-http-target"
VIA: Final = f"1.1 {_NAME}"
REFUSAL: Final = "It was sent by a target of kind http of a restbroker: events would come again for ever."


def came_from_us(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Tell whether one of the `Via` headers of a request (names in lower case) names a target of restbroker."""
    hops = (hop.split() for name, value in headers if name == b"via" for hop in value.lower().split(b","))
    return any(len(words) > 1 and words[1] == _NAME.encode() for words in hops)
