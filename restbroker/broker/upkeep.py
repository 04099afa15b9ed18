"""Deletes from Redis what nothing needs any more, for all processes.

One task per process; Redis has one of them do it, once an hour. Always holds: nothing that a job needs waits for it.
"""

import random
from typing import Final

import attrs
import trio

from restbroker.broker.health import StoreHealth
from restbroker.errors import StoreRefused
from restbroker.store import large
from restbroker.store.connection import Connection
from restbroker.telemetry.events import OperatorWarning, Report

_LOOK_S: Final = 300.0


@attrs.define(eq=False)
class Upkeep:
    """The upkeep of one process. `store`: a connection that no urgent call uses."""

    store: Connection
    health: StoreHealth
    report: Report
    _reported: set[str] = attrs.field(factory=set)

    async def run(self) -> None:
        """Look about every five minutes until cancelled. What Redis refuses is reported once."""
        while True:
            await trio.sleep(_LOOK_S * random.uniform(0.7, 1.0))  # noqa: S311 - spreads looks of many processes
            await self.look()

    async def look(self) -> None:
        """Delete what nothing needs, if no process looked within the last hour."""
        try:
            await self.health.call_until_up(self.store, large.delete_unnamed)
        except StoreRefused as error:
            if error.message not in self._reported:
                self._reported.add(error.message)
                message = f"The bytes of jobs that are too large stay in Redis: {error.message}"
                self.report(OperatorWarning("LargeRefused", message, error.hint))
