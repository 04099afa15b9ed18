"""One open stream, and how its reading ends. `listener` makes one for each stream that it opens.

Always holds: all that the server sent over a stream is read before it is closed, however long its events wait for
Redis.
"""

import math
from typing import Final

import attrs
import trio

from restbroker.transport.stream import EventStream

_GRACE_S: Final = 1.0
"""The seconds without an event after which a connection that was left is closed.

The server sends nothing more over it, but what it sent before may fill it, after a suspension or an outage of Redis.
"""


@attrs.define(eq=False)
class OpenStream:
    """One stream, and how its reading ends: by itself, or once it is left and empty."""

    stream: EventStream
    last_event_s: float
    """Its last event was sent after this, or it was opened then. Epoch seconds."""
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    over: trio.Event = attrs.field(factory=trio.Event)
    is_replaced: bool = False
    _is_suspended: bool = False

    def leave(self) -> None:
        """End the reading once nothing comes any more: another stream takes its place, here or in another process."""
        self.is_replaced = True
        self._end_soon()

    def suspend(self) -> None:
        """Suspend the end that `leave` began while an event is put into the buffer, which may wait for Redis."""
        self._is_suspended = True
        self.scope.deadline = math.inf

    def resume(self) -> None:
        """Resume the end after `suspend`: the event is in the buffer, and more may follow it."""
        self._is_suspended = False
        self._end_soon()

    def _end_soon(self) -> None:
        if self.is_replaced and not self._is_suspended:
            self.scope.deadline = trio.current_time() + _GRACE_S
