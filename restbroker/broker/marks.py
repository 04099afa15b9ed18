"""Records, before its first byte leaves, that a job is about to be sent: for commands that must not run twice.

The link calls `mark`. Always holds: nothing is sent under `AtMostOnce` that Redis does not list as marked, so that a
crash parks it instead of running it again. Calls that come while one mark is written share the next write.
"""

from collections.abc import Callable

import attrs
import trio

from restbroker.broker.health import StoreHealth
from restbroker.store import jobs
from restbroker.store.connection import Connection


@attrs.define(eq=False)
class _Wish:
    ticket: str
    granted: bool | None = None


@attrs.define(eq=False)
class Marks:
    """The marks of one pool. `fence` is called when Redis no longer grants the identity its rights."""

    store: Connection
    health: StoreHealth
    fence: Callable[[], None]
    _wishes: list[_Wish] = attrs.field(factory=list)
    _turn: trio.Lock = attrs.field(factory=trio.Lock)

    async def mark(self, identity: str, ticket: str) -> bool:
        """Record that the job is about to be sent; return False if it is not ours any more, and must not be sent.

        Wait while Redis is away. Safe to cancel. Raise `StoreRefused`.
        """
        wish = _Wish(ticket)
        self._wishes.append(wish)
        try:
            async with self._turn:
                if wish.granted is None:
                    await self._write(identity)
        finally:
            if wish in self._wishes:
                self._wishes.remove(wish)
        return wish.granted is True

    async def _write(self, identity: str) -> None:
        wishes = list(self._wishes)
        tickets = [wish.ticket for wish in wishes]
        answer = await self.health.insist(self.store, jobs.mark, identity, tickets)
        if isinstance(answer, jobs.IdentityUnknown):
            self.fence()
            answer = [False] * len(wishes)
        for wish, granted in zip(wishes, answer, strict=True):
            wish.granted = granted
        self._wishes = [wish for wish in self._wishes if wish.granted is None]
