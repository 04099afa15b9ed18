"""Ends the pauses of queues and targets that were made for a limited time, and pauses queues that are flooded.

One task per process; of all processes, one gets each pause that ends or begins from Redis, and reports it. Always
holds: two small calls every two seconds, however much is paused; a pause without an end is left alone.
"""

import random
from collections.abc import Callable
from typing import Final, TypeVar

import attrs
import trio

from restbroker.broker.health import StoreHealth
from restbroker.errors import StoreRefused
from restbroker.store import pauses, unadmitted
from restbroker.store.connection import Connection
from restbroker.telemetry.events import OperatorWarning, PauseEnded, Report

LOOK_S: Final = 2.0
T = TypeVar("T")


@attrs.define(eq=False)
class Pauses:
    """Ends and begins pauses, for one process. `store`: a connection that no urgent call uses."""

    store: Connection
    health: StoreHealth
    report: Report
    dead_limit: int = 0
    _reported: set[str] = attrs.field(factory=set)

    async def run(self) -> None:
        """Look for pauses that are due, about every two seconds until cancelled."""
        while True:
            await self.end_due()
            await self.pause_flooded()
            await trio.sleep(LOOK_S * random.uniform(0.7, 1.0))  # noqa: S311 - spreads looks of many processes

    async def end_due(self) -> None:
        """End the pauses that are due now, and report them; what Redis refuses is reported once."""
        for one in await self._call(pauses.end_due) or ():
            self.report(PauseEnded(one.kind, one.name, one.who, one.why))

    async def pause_flooded(self) -> None:
        """Pause the queues that have too many dead jobs of events or without a right token, and report it; likewise."""
        for queue in await self._call(unadmitted.pause_flooded, self.dead_limit) or ():
            dead = f"{unadmitted.MOST:,} of its dead jobs came from events or without a right token"
            message = f"The queue {queue!r} is paused: {dead}."
            self.report(OperatorWarning("QueueFlooded", message, _HINT))

    async def _call(self, function: Callable[..., T], *args: object) -> T | None:
        try:
            return await self.health.call_until_up(self.store, function, *args)
        except StoreRefused as error:
            # A target's pause ends without us, and a queue's can be ended by hand.
            if error.message not in self._reported:
                self._reported.add(error.message)
                message = f"Pauses of queues do not begin or end on time: {error.message}"
                self.report(OperatorWarning("PausesRefused", message, error.hint))
            return None


_HINT: Final = "`restbroker dead summary` says why. Find out who sends them; delete or retry them: it goes on then."
