"""Limits the requests that are read or wait for Redis. `events.webhook` takes a place for each that it accepts.

Always holds: no source can take another's places; where only the body shows who posts, one address has at most half of
the source's places; all places together bound the bodies that are in memory.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import attrs
import trio

AT_ONCE: Final = 100
"""The requests of all sources together whose body is read, or that wait for Redis."""
_LEAST: Final = 10
"""The places that a source has at least, however many sources there are."""
_WAIT_S: Final = 10.0
"""Seconds that a request waits for others to be done."""


class QuotaFull(Exception):
    """No place became free in time."""


@attrs.define(eq=False)
class _Share:
    room: trio.Semaphore
    users: int = 0
    """The requests that have a place or wait for one."""


@attrs.define(eq=False)
class Quota:
    """The places for one source's requests, each of which needs one while it is read or waits for Redis.

    `sources`: how many sources share `AT_ONCE`. `is_shared_out`: no address may have more than half of the places.
    """

    sources: int
    is_shared_out: bool
    _count: int = attrs.field(init=False)
    _room: trio.Semaphore = attrs.field(init=False)
    _shares: dict[str, _Share] = attrs.field(factory=dict)
    """The share of each address, while a request from there has a place or waits for one."""

    def __attrs_post_init__(self) -> None:
        self._count = max(_LEAST, AT_ONCE // self.sources)
        self._room = trio.Semaphore(self._count)

    @asynccontextmanager
    async def slot(self, address: str) -> AsyncIterator[None]:
        """Hold a place for a request from this address during the block; raise `QuotaFull` if none is free in 10 s."""
        until_s = trio.current_time() + _WAIT_S
        if not self.is_shared_out:
            async with _hold(self._room, until_s):
                yield
            return
        share = self._shares.setdefault(address, _Share(trio.Semaphore(self._count // 2)))
        share.users += 1
        try:
            async with _hold(share.room, until_s), _hold(self._room, until_s):
                yield
        finally:
            share.users -= 1
            if not share.users:
                del self._shares[address]


@asynccontextmanager
async def _hold(room: trio.Semaphore, until_s: float) -> AsyncIterator[None]:
    try:
        # Mostly there is one, and then nothing need bound the wait for it: that costs as much as a part of the work.
        room.acquire_nowait()
    except trio.WouldBlock:
        with trio.move_on_at(until_s) as waiting:
            await room.acquire()
        if waiting.cancelled_caught:
            raise QuotaFull from None
    try:
        yield
    finally:
        room.release()
