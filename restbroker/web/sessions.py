"""Sessions with a cookie, logins, and the mark that shows that a form came from a page of ours.

Called by `web.guard`. Always holds: memory is bounded; of a login only a digest is kept; a comparison always takes the
same time; nothing of it outlives the process, so that a restart logs everyone out.
"""

import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256

import attrs

LIFE_S = 12 * 60 * 60.0
_MOST_LOGINS = 1000
_MOST_ADDRESSES = 1000


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
        while len(self._logins) >= _MOST_LOGINS:
            self._logins.popitem(last=False)
        self._logins[_digest(name)] = self.now_s() + LIFE_S
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
    """Limits how often a wrong login may be tried, by address and by all together; right ones do not count."""

    now_s: Callable[[], float]
    per_address: int = 5
    in_total: int = 30
    refill_s: float = 60.0
    """How many seconds it takes until all tries are available again."""
    _addresses: OrderedDict[str, _Bucket] = attrs.field(factory=OrderedDict)
    _total: _Bucket | None = None

    def may_try(self, address: str) -> bool:
        """Tell whether another try from this address is allowed."""
        bucket = self._addresses.get(address)
        return self._tokens_left(bucket, self.per_address) >= 1 and self._tokens_left(self._total, self.in_total) >= 1

    def note_failed(self, address: str) -> None:
        """Count a wrong try from this address."""
        left = self._tokens_left(self._addresses.pop(address, None), self.per_address)
        while len(self._addresses) >= _MOST_ADDRESSES:
            self._addresses.popitem(last=False)
        self._addresses[address] = _Bucket(left - 1, self.now_s())
        self._total = _Bucket(self._tokens_left(self._total, self.in_total) - 1, self.now_s())

    def _tokens_left(self, bucket: _Bucket | None, most: int) -> float:
        if bucket is None:
            return most
        return min(most, bucket.tokens + (self.now_s() - bucket.at_s) * most / self.refill_s)


def is_same(given: str, wanted: str) -> bool:
    """Tell whether two texts are the same, in a time that does not show where they differ."""
    return hmac.compare_digest(_digest(given), _digest(wanted))


def _digest(text: str) -> bytes:
    return sha256(text.encode("utf-8", "surrogatepass")).digest()
