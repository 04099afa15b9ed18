"""Ends the pauses of queues and targets that people made for a limited time, and reports it.

One task per process; of all processes, one gets each pause that ends from Redis. Always holds: one small script call
every two seconds, however much is paused; a pause without an end is left alone.
"""

import random
from typing import Final

import attrs
import trio

from restbroker.broker.health import StoreHealth
from restbroker.errors import StoreRefused
from restbroker.store import pauses
from restbroker.store.connection import Connection
from restbroker.telemetry.events import OperatorWarning, PauseEnded, Report

LOOK_S: Final = 2.0


@attrs.define(eq=False)
class Pauses:
    """Ends pauses, for one process. `store`: a connection that no urgent call uses."""

    store: Connection
    health: StoreHealth
    report: Report
    _told: set[str] = attrs.field(factory=set)

    async def run(self) -> None:
        """Look for pauses that are due, about every two seconds until cancelled."""
        while True:
            await self.end_due()
            await trio.sleep(LOOK_S * random.uniform(0.7, 1.0))  # noqa: S311 - spreads looks of many processes

    async def end_due(self) -> None:
        """End the pauses that are due now, and report them; what Redis refuses is reported once."""
        try:
            ended = await self.health.call_until_up(self.store, pauses.end_due)
        except StoreRefused as error:
            # A target's pause ends without us, and a queue's can be ended by hand.
            if error.message not in self._told:
                self._told.add(error.message)
                self.report(
                    OperatorWarning(
                        "PausesRefused", f"Pauses of queues do not end on time: {error.message}", error.hint
                    )
                )
            return
        for one in ended:
            self.report(PauseEnded(one.kind, one.name, one.who, one.why))
