"""Sessions with a cookie, logins, and the mark that shows that a form came from a page of ours.

Called by `web.guard`. Always holds: memory is bounded; of a login only a digest is kept; a comparison always takes the
same time; nothing of it outlives the process, so that a restart logs everyone out.
"""

import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256
from ipaddress import IPv6Address, ip_address
from typing import TypeVar

import attrs

K = TypeVar("K")
T = TypeVar("T")

LIFE_S = 12 * 60 * 60.0
_MOST_LOGINS = 1000
_MOST_ADDRESSES = 16_384
"""All of these may try 1,365 logins a second together, as many as can be checked: to forget the oldest frees none."""
_KNOWN_S = 24 * 60 * 60.0


@attrs.define(eq=False)
class Sessions:
    """The logins of visitors; `now_s` returns seconds that never jump.

    A visitor is identified by a name, which is secret, and kept in their cookie.
    """

    now_s: Callable[[], float]
    _key: bytes = attrs.field(factory=lambda: secrets.token_bytes(32), repr=False)
    _logins: OrderedDict[bytes, float] = attrs.field(factory=OrderedDict, repr=False)

    def new(self) -> str:
        """Return a new name for a visitor who has none."""
        return secrets.token_urlsafe(32)

    def log_in(self) -> str:
        """Return a new name that is logged in; a name from before the login never is."""
        name = self.new()
        _put_last(self._logins, _digest(name), self.now_s() + LIFE_S, _MOST_LOGINS)
        return name

    def is_logged_in(self, name: str) -> bool:
        """Tell whether this visitor has logged in within the last `LIFE_S` seconds, and not logged out."""
        until_s = self._logins.get(_digest(name))
        return until_s is not None and self.now_s() < until_s

    def log_out(self, name: str) -> None:
        """Log this visitor out: remove the login under `name`."""
        self._logins.pop(_digest(name), None)

    def end_all(self) -> None:
        """Forget all logins."""
        self._logins.clear()

    def mark(self, name: str) -> str:
        """Return the mark that each form on this visitor's pages carries."""
        return hmac.new(self._key, name.encode(), sha256).hexdigest()

    def is_marked(self, name: str, mark: str) -> bool:
        """Tell whether a form with this mark came from a page of this visitor."""
        return bool(name) and hmac.compare_digest(self.mark(name).encode(), mark.encode("utf-8", "replace"))


@attrs.define
class _Bucket:
    """How many tries were left at the time `at_s`."""

    tokens: float
    at_s: float


@attrs.define(eq=False)
class LoginAttempts:
    """Limits how often a wrong login may be tried from one address (IPv6: one /64); right ones do not count.

    An address from which someone logged in within a day has ten tries a second: behind a proxy everyone has the same
    one. No address uses up the tries of another.
    """

    now_s: Callable[[], float]
    per_address: int = 5
    per_known_address: int = 10
    _buckets: OrderedDict[str, _Bucket] = attrs.field(factory=OrderedDict)
    _known: OrderedDict[str, float] = attrs.field(factory=OrderedDict)
    """When someone last logged in from an address."""

    def may_try(self, address: str) -> bool:
        """Tell whether another try from this address is allowed."""
        return self._tokens_left(_network(address)) >= 1

    def note_failed(self, address: str) -> None:
        """Count a wrong try from this address."""
        network = _network(address)
        left = self._tokens_left(network)
        _put_last(self._buckets, network, _Bucket(left - 1, self.now_s()), _MOST_ADDRESSES)

    def note_right(self, address: str) -> None:
        """Note that someone logged in from this address."""
        _put_last(self._known, _network(address), self.now_s(), _MOST_LOGINS)

    def _tokens_left(self, network: str) -> float:
        is_known = self.now_s() - self._known.get(network, -_KNOWN_S) < _KNOWN_S
        most, refill_s = (self.per_known_address, 1.0) if is_known else (self.per_address, 60.0)
        bucket = self._buckets.get(network)
        return most if bucket is None else min(most, bucket.tokens + (self.now_s() - bucket.at_s) * most / refill_s)


def _put_last(found: OrderedDict[K, T], name: K, value: T, most: int) -> None:
    """Set the newest of at most `most` values; the oldest makes room."""
    found.pop(name, None)
    while len(found) >= most:
        found.popitem(last=False)
    found[name] = value


def _network(address: str) -> str:
    """Return the network whose addresses one person has: of IPv6 the first 64 bits."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if not isinstance(found, IPv6Address):
        return str(found)
    return f"{int(found) >> 64:x}::/64" if found.ipv4_mapped is None else str(found.ipv4_mapped)


def is_same(given: str, wanted: str) -> bool:
    """Tell whether two texts are the same, in a time that does not show where they differ."""
    return hmac.compare_digest(_digest(given), _digest(wanted))


def _digest(text: str) -> bytes:
    return sha256(text.encode("utf-8", "surrogatepass")).digest()
