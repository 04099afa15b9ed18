"""What comes from RabbitMQ on its way from the thread to Trio. Used by `reader`.

Always holds: in the order in which it came; bounded by the prefetch, since what was not acknowledged counts; Trio is
woken once for all that came together.
"""

import contextlib
from collections import deque

import attrs
import trio

from restbroker.events.amqp.read import Message


@attrs.define(eq=False)
class Inbox:
    """One for each connection."""

    _token: trio.lowlevel.TrioToken = attrs.field(factory=trio.lowlevel.current_trio_token)
    _messages: deque[Message] = attrs.field(factory=deque)
    _came: trio.Event = attrs.field(factory=trio.Event)
    _is_told: bool = False

    def put(self, message: Message) -> None:
        """In the thread."""
        self._messages.append(message)
        if not self._is_told:
            self._is_told = True
            # A thread that nobody waits for any more may outlive Trio.
            with contextlib.suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._wake)

    async def take(self, most: int) -> list[Message]:
        """What came, at least one, at most so many."""
        while not self._messages:
            self._came = trio.Event()
            await self._came.wait()
        return [self._messages.popleft() for _ in range(min(most, len(self._messages)))]

    def _wake(self) -> None:
        self._is_told = False
        self._came.set()
