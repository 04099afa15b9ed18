"""Whether a job's token is one that the configuration allows."""

import hmac
from collections.abc import Iterable

from restbroker.rules.json_types import Json


def allowed(given: Json, tokens: Iterable[str]) -> bool:
    """True if `given` equals one of `tokens`. Compares all of them in constant time; an empty token never matches."""
    if not isinstance(given, str) or not given:
        return False
    offered = given.encode("utf-8")
    matches = [hmac.compare_digest(offered, token.encode("utf-8")) for token in tokens if token]
    return any(matches)
