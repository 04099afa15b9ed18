"""Has each run of Redis write its append-only file again, so that the next start finds no half of a script in it.

One task per process; Redis has one of them go first. Always holds: it is asked for once in a run of Redis, by a user
that may; where none may, each process says so once, and goes on without.
"""

import random
from typing import Final

import attrs
import trio

from restbroker.broker.health import StoreHealth
from restbroker.errors import StoreRefused
from restbroker.store import rewrite
from restbroker.store.connection import Connection
from restbroker.telemetry.events import Report, StoreRewrite, Warned

LOOK_S: Final = 1.0


@attrs.define(eq=False)
class Rewrite:
    """`store`: a connection that nothing urgent waits for; `name`: this process' own."""

    store: Connection
    health: StoreHealth
    report: Report
    name: str
    _done_for: str | None = None
    """The run of Redis that needs nothing more of this process."""

    async def run(self) -> None:
        """Looks until cancelled: a restart of Redis may be seen by nobody but by its new name."""
        while True:
            await self.look()
            await trio.sleep(LOOK_S * random.uniform(0.7, 1.0))  # noqa: S311 - spreads looks of many processes

    async def look(self) -> None:
        """Asks, if this run of Redis needs it and nobody else does."""
        file = None
        try:
            file = await self.health.insist(self.store, rewrite.append_only_file)
            if file.run_id == self._done_for:
                return
            if not file.is_on or file.is_whole:
                self._done_for = file.run_id
                return
            if await self.health.insist(self.store, rewrite.take_turn, self.name, file.run_id):
                await self.health.insist(self.store, rewrite.rewrite)
                self._done_for = file.run_id
                self.report(StoreRewrite())
        except StoreRefused as error:
            run_id = "" if file is None else file.run_id
            if self._done_for != run_id:
                self._done_for = run_id
                self.report(Warned("RewriteRefused", f"{_WHAT}: {error.message}", error.cure))


_WHAT = "Redis does not write its append-only file again, which a power loss may have cut inside a script"
