"""A roster service for Prosody, in threads of the test, that serves what the test gives and fails as it says.

For tests of who asks it, where restbroker's own service is not the subject. Always holds: a request is counted before
it is answered; a user without a roster gets `{}`.
"""

import json
import threading
from collections import Counter
from collections.abc import Callable
from typing import Self

import attrs

from tests.support.receiver import Received, Receiver


@attrs.define(eq=False)
class RosterService:
    """Serves on `port` while its `with` block runs. What `answers` says of a user comes before his roster."""

    port: int
    rosters: dict[str, object] = attrs.field(factory=dict)
    """By user; each is served as JSON."""
    answers: dict[str, int | bytes] = attrs.field(factory=dict)
    """A status instead of 200, or a body that need not be JSON."""
    before: Callable[[str], object] = lambda _user: None
    """Called with the user before he is answered, after his roster was looked up; may block."""
    requests: Counter[str] = attrs.field(factory=Counter)
    """How often each user was asked for."""
    peak: int = 0
    """The most requests that were open at the same time."""
    _open: int = 0
    _lock: threading.Lock = attrs.field(factory=threading.Lock)
    _http: Receiver = attrs.field(init=False)

    def __enter__(self) -> Self:
        self._http = Receiver(self._serve, port=self.port).__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.__exit__()

    def _serve(self, received: Received) -> bytes:
        user = received.target.partition("?")[0].rpartition("/")[2]
        with self._lock:
            self.requests[user] += 1
            self._open += 1
            self.peak = max(self.peak, self._open)
        try:
            how, body = self.answers.get(user, 200), json.dumps(self.rosters.get(user, {})).encode()
            self.before(user)
        finally:
            with self._lock:
                self._open -= 1
        status, body = (200, how) if isinstance(how, bytes) else (how, body)
        return f"HTTP/1.1 {status} Words\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
