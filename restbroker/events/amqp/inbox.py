"""Passes the messages of RabbitMQ from the thread to Trio. Used by `reader`.

Always holds: messages stay in the order in which they came; they are bounded by the prefetch, since a message counts
until it is acknowledged; Trio is woken once for all that came together.
"""

import contextlib
from collections import deque

import attrs
import trio

from restbroker.events.amqp.read import Message


@attrs.define(eq=False)
class Inbox:
    """The messages of one connection that wait for Trio."""

    _token: trio.lowlevel.TrioToken = attrs.field(factory=trio.lowlevel.current_trio_token)
    _messages: deque[Message] = attrs.field(factory=deque)
    _came: trio.Event = attrs.field(factory=trio.Event)
    _is_woken: bool = False

    def put(self, message: Message) -> None:
        """Add a message and wake Trio; called in the thread. Does nothing more where Trio has ended."""
        self._messages.append(message)
        if not self._is_woken:
            self._is_woken = True
            # A thread that no one waits for any more may outlive Trio.
            with contextlib.suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._wake)

    async def take(self, most: int) -> list[Message]:
        """Wait until a message is there; remove and return the oldest, at most `most`. Safe to cancel."""
        while not self._messages:
            self._came = trio.Event()
            await self._came.wait()
        return [self._messages.popleft() for _ in range(min(most, len(self._messages)))]

    def _wake(self) -> None:
        self._is_woken = False
        self._came.set()
