"""The server that the jobs of a run go to: the stand-in ejabberd, which breaks on command.

Used by `verify` and `faults`. Its records say which job ran how often. Always holds: a request is
recorded before a fault can hit it, and counts as answered before the answer's first byte is sent.
"""

import random
from collections import defaultdict
from typing import Final

import attrs
import trio

from restbroker.trial.ejabberd import Ejabberd
from restbroker.trial.server import Exchange, Server

_QUICK_S: Final = (0.0, 0.02)
_SLOW_S: Final = (0.3, 0.8)


@attrs.define(eq=False)
class StandIn:
    """The server of a run. `statuses`: job → the statuses that answered its requests, in order; None: no answer yet.

    `resets` is how many more requests will get no answer, `were_reset` how many got none. `slow` makes answers take
    their time, so that the brokers are busy when something breaks.
    """

    ejabberd: Ejabberd
    rng: random.Random
    slow: bool = False
    resets: int = 0
    were_reset: int = 0
    statuses: dict[str, list[int | None]] = attrs.field(factory=lambda: defaultdict(list))
    done: set[str] = attrs.field(factory=set)
    server: Server = attrs.field(default=attrs.Factory(lambda self: Server(self.handle), takes_self=True))
    _unanswered: int = 0

    async def go_down(self) -> int:
        """Cut every connection and refuse new ones; return how many requests got no answer because of it."""
        before = self._unanswered
        await self.server.go_down()  # a request may still come in meanwhile
        return self._unanswered - before

    async def handle(self, exchange: Exchange) -> None:
        """Answer a request for a job after a while, unless it is to be reset; answer a probe at once."""
        job = exchange.headers.get("traceparent")
        if job is None:  # a probe
            await self.ejabberd.handle(exchange)
            return
        statuses = self.statuses[job]
        statuses.append(None)
        number = len(statuses) - 1
        try:
            await trio.sleep(self.rng.uniform(*(_SLOW_S if self.slow else _QUICK_S)))
            if self.resets > 0:
                self.resets -= 1
                self.were_reset += 1
                return
            status, value = self.ejabberd.execute(exchange)
            statuses[number] = status
            self.done.add(job)
            await exchange.answer(status, value)
        finally:
            self._unanswered += not exchange.is_answered
