"""What came over all streams of a source and waits for Redis. `listener` fills it, `reader` takes out of it.

Always holds: in the order in which it came over each stream; bounded, in number and in bytes: who finds it full waits,
and reads no more meanwhile, so that what comes waits in the connection.
"""

from collections import deque
from typing import Final

import attrs
import trio

from restbroker.rules.event import ServerEvent

MOST: Final = 1000
MOST_BYTES: Final = 8 * 1024 * 1024


@attrs.define(eq=False)
class Basket:
    """One for each source."""

    most: int = MOST
    most_bytes: int = MOST_BYTES
    _events: deque[tuple[ServerEvent, int]] = attrs.field(factory=deque)
    _size_bytes: int = 0
    _changed: trio.Event = attrs.field(factory=trio.Event)

    async def put(self, event: ServerEvent, size_bytes: int) -> None:
        """Waits for room. Cancelled, it is not in there."""
        while self._events and (len(self._events) >= self.most or self._size_bytes + size_bytes > self.most_bytes):
            await self._change()
        self._events.append((event, size_bytes))
        self._size_bytes += size_bytes
        self._tell()

    async def take(self, most: int) -> list[ServerEvent]:
        """What came first: one at least, so many at most."""
        while not self._events:
            await self._change()
        return self.rest(most)

    def rest(self, most: int) -> list[ServerEvent]:
        """The same, without waiting; none where it is empty."""
        taken = [self._events.popleft() for _ in range(min(most, len(self._events)))]
        self._size_bytes -= sum(size for _, size in taken)
        if taken:
            self._tell()
        return [event for event, _ in taken]

    async def _change(self) -> None:
        await self._changed.wait()

    def _tell(self) -> None:
        changed, self._changed = self._changed, trio.Event()
        changed.set()
