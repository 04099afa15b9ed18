"""A server in the place of ejabberd that does so many jobs at once and no more: beyond, it refuses or hangs.

For tests of the adaptive limit. Always holds: `status`, which is the probe, is answered whatever the load is.
"""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

import attrs
import trio

from tests.support.recorder import answer, listening, read_request

_STATUS = b'"The node ejabberd@localhost is started. Status: started ejabberd 24.12 is running in that node"'
Beyond = Literal["refuses", "hangs"]


@attrs.define(eq=False)
class Degrading:
    """Does `units` jobs at once, `best_per_s` in sum. What comes beyond gets a 503 at once, or no answer at all."""

    units: int
    best_per_s: float
    beyond: Beyond
    port: int = 0
    done_at_s: list[float] = attrs.field(factory=list)
    failed_at_s: list[float] = attrs.field(factory=list)
    _busy: int = 0

    async def serve(self, stream: trio.abc.Stream) -> None:
        async with stream:
            try:
                while (request := await read_request(stream, 0)) is not None:
                    if " /api/status " in request.line:
                        await answer(200, _STATUS)(stream)
                    elif not await self._work(stream):
                        return
            except trio.BrokenResourceError:
                pass  # the client gave up waiting

    async def _work(self, stream: trio.abc.Stream) -> bool:
        now_s = trio.current_time()
        if self._busy >= self.units:
            self.failed_at_s.append(now_s)
            if self.beyond == "refuses":
                return await answer(503, b'"too much to do"')(stream)
            return bool(await stream.receive_some())
        self._busy += 1
        await trio.sleep(self.units / self.best_per_s * random.uniform(0.5, 1.5))
        self._busy -= 1
        self.done_at_s.append(trio.current_time())
        return await answer()(stream)


@asynccontextmanager
async def degrading(units: int, best_per_s: float, beyond: Beyond) -> AsyncIterator[Degrading]:
    """Such a server on a free loopback port, until the end of the block."""
    server = Degrading(units, best_per_s, beyond)
    async with listening(server.serve) as server.port:
        yield server
