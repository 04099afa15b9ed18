"""Ends the pauses that people made for a while, of queues and targets, and says so.

One task per process; Redis gives each pause that ends to one of them. Always holds: one small script call every two
seconds, whatever is paused; what nobody gave an end is left alone.
"""

import random
from typing import Final

import attrs
import trio

from restbroker.broker.health import StoreHealth
from restbroker.errors import StoreRefused
from restbroker.store import pauses
from restbroker.store.connection import Connection
from restbroker.telemetry.events import PauseEnded, Report, Warned

LOOK_S: Final = 2.0


@attrs.define(eq=False)
class Pauses:
    """`store`: a connection that nothing urgent waits for."""

    store: Connection
    health: StoreHealth
    report: Report
    _told: set[str] = attrs.field(factory=set)

    async def run(self) -> None:
        """Looks until cancelled."""
        while True:
            await self.look()
            await trio.sleep(LOOK_S * random.uniform(0.7, 1.0))  # noqa: S311 - spreads looks of many processes

    async def look(self) -> None:
        """Ends what is due now."""
        try:
            ended = await self.health.insist(self.store, pauses.end_due)
        except StoreRefused as error:
            # A target's pause ends without us, and a queue's can be ended by hand.
            if error.message not in self._told:
                self._told.add(error.message)
                self.report(Warned("PausesRefused", f"Pauses of queues do not end: {error.message}", error.cure))
            return
        for one in ended:
            self.report(PauseEnded(one.kind, one.name, one.who, one.why))
