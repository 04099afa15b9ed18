"""What all listeners of a source share, with the buffer of the events of all its streams that wait for Redis.

Made by `reader`, which takes the events out, and passed to each `listener`, which puts them in. Always holds: there is
one for each source; events stay in the order in which they came over each stream; the buffer is bounded in bytes,
however long Redis is away: a listener that finds it full waits and reads no more, so that further events wait in the
connection and at the server.
"""

import math
import time
from collections import deque
from collections.abc import Callable
from typing import Final

import attrs
import trio

from restbroker.config.target import Target
from restbroker.job.event import ServerEvent
from restbroker.servers.openfire.chat.logins import SharedLogins
from restbroker.servers.openfire.stream.options import Options
from restbroker.servers.openfire.stream.problems import ProblemReporter

AT_ONCE: Final = 200
_BYTES_AT_ONCE: Final = 1024 * 1024
"""The bytes after which no more events are taken at once.

Redis must have them well within the time that it is given: many large events at once take longer.
"""
QUIET_S: Final = 600.0
"""The seconds without an event after which the stream is reopened.

Another reader may have taken it, which the server does not tell.
"""


@attrs.define(eq=False)
class EventBuffer:
    """The buffer of one source.

    `on_full` is called with the number of bytes that wait when it gets full, and not again until all were taken.
    """

    most_bytes: int
    on_full: Callable[[int], None] = lambda _: None
    _events: deque[tuple[ServerEvent, int]] = attrs.field(factory=deque)
    _size_bytes: int = 0
    """The bytes of all events, also of those that were taken last: they are in memory until Redis has them."""
    _taken_bytes: int = 0
    _waiting: int = 0
    _was_full: bool = False
    _changed: trio.Event = attrs.field(factory=trio.Event)

    async def put(self, event: ServerEvent, size_bytes: int) -> None:
        """Add an event, after waiting for room; one larger than the whole buffer waits until that is empty.

        When cancelled, the event is not in the buffer.
        """
        self._waiting += 1
        try:
            while self._size_bytes and self._size_bytes + size_bytes > self.most_bytes:
                self._report_full()
                await self._changed.wait()
        finally:
            self._waiting -= 1
        self._events.append((event, size_bytes))
        self._size_bytes += size_bytes
        self._wake()

    async def take(self) -> list[ServerEvent]:
        """Drop the events of the last call, wait for others, and return the oldest, as many as one push takes.

        Safe to cancel: the others stay.
        """
        self._settle()
        while not self._events:
            self._was_full = self._was_full and self._waiting > 0
            await self._changed.wait()
        return self.take_now()

    def take_now(self) -> list[ServerEvent]:
        """Return the same as `take` without waiting; none if the buffer is empty."""
        self._settle()
        taken: list[ServerEvent] = []
        while self._events and len(taken) < AT_ONCE and self._taken_bytes < _BYTES_AT_ONCE:
            event, size_bytes = self._events.popleft()
            taken.append(event)
            self._taken_bytes += size_bytes
        return taken

    def __len__(self) -> int:
        """Return the number of events, without those that were taken."""
        return len(self._events)

    def _settle(self) -> None:
        self._size_bytes -= self._taken_bytes
        if self._taken_bytes:
            self._taken_bytes = 0
            self._wake()

    def _report_full(self) -> None:
        if not self._was_full:
            self._was_full = True
            self.on_full(self._size_bytes)

    def _wake(self) -> None:
        changed, self._changed = self._changed, trio.Event()
        changed.set()


def _channel() -> tuple[trio.MemorySendChannel[tuple[str, str]], trio.MemoryReceiveChannel[tuple[str, str]]]:
    # No one comes into a room while Redis is away, so that few are told to leave one.
    return trio.open_memory_channel(math.inf)


@attrs.define(eq=False)
class ListenerContext:
    """The objects that the listeners of one source share."""

    source: str
    settings: Options
    target: Target
    logins: SharedLogins
    buffer: EventBuffer
    reporter: ProblemReporter
    now_s: Callable[[], float] = time.time
    quiet_s: float = QUIET_S
    expulsions: tuple[trio.MemorySendChannel[tuple[str, str]], trio.MemoryReceiveChannel[tuple[str, str]]] = (
        attrs.field(factory=_channel)
    )
    """The two ends of a channel of users and the rooms that had them leave."""
