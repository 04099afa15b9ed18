"""A roster service for Prosody, in threads of the test, that serves what it is told and can fail in each known way.

For tests of who asks it, where restbroker's own service is not the subject. Always holds: a request is kept before it
is answered; a user without a roster gets `{}`.
"""

import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Literal, Self

import attrs

from tests.support.receiver import Received, Receiver

Way = Literal["hang", "close", "cut"]
"""Never answers until the block ends; hangs up without a word; hangs up in the middle of the body."""


@attrs.frozen
class Get:
    """A request for a roster. `target` is what stood in the request line."""

    user: str
    target: str
    headers: Mapping[str, str]


@attrs.define(eq=False)
class RosterService:
    """Serves on `port` while its `with` block runs. What `answers` says of a user comes before his roster."""

    port: int
    rosters: dict[str, object] = attrs.field(factory=dict)
    """By user; each is served as JSON."""
    answers: dict[str, Way | int | bytes] = attrs.field(factory=dict)
    """A way to fail, a status instead of 200, or a body that need not be JSON."""
    before: Callable[[str], object] = lambda _user: None
    """Called with the user before he is answered, after his roster was looked up; may block."""
    gets: list[Get] = attrs.field(factory=list)
    peak: int = 0
    """The most requests that were open at the same time."""
    _open: int = 0
    _lock: threading.Lock = attrs.field(factory=threading.Lock)
    _over: threading.Event = attrs.field(factory=threading.Event)
    _http: Receiver = attrs.field(init=False)

    @property
    def asked(self) -> Counter[str]:
        return Counter(get.user for get in list(self.gets))

    def __enter__(self) -> Self:
        self._http = Receiver(self._serve, port=self.port).__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._http.__exit__()

    def _serve(self, received: Received) -> bytes:
        user = received.target.partition("?")[0].rpartition("/")[2]
        with self._lock:
            self.gets.append(Get(user, received.target, received.headers))
            self._open += 1
            self.peak = max(self.peak, self._open)
        try:
            return self._answer(self.answers.get(user, 200), json.dumps(self.rosters.get(user, {})).encode(), user)
        finally:
            with self._lock:
                self._open -= 1

    def _answer(self, how: Way | int | bytes, body: bytes, user: str) -> bytes:
        self.before(user)
        if how == "hang":
            self._over.wait()
        if how in ("hang", "close"):
            return b""
        body = how if isinstance(how, bytes) else body
        status, length = how if isinstance(how, int) else 200, len(body) + 10 * (how == "cut")
        return f"HTTP/1.1 {status} Words\r\nContent-Length: {length}\r\n\r\n".encode() + body
