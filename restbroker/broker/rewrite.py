"""Has each run of Redis write its append-only file again, so that the next start finds no half of a script in it.

One task per process; Redis has one of them go first. Always holds: the rewrite is requested once in a run of Redis, and
again only if it failed, by a user that may; where none may, each process reports that once, and goes on without.
"""

import random
from typing import Final

import attrs
import trio

from restbroker.broker.health import StoreHealth
from restbroker.errors import StoreRefused
from restbroker.store import rewrite
from restbroker.store.connection import Connection
from restbroker.telemetry.events import OperatorWarning, Report, StoreRewrite

LOOK_S: Final = 1.0
_AGAIN_S: Final = 60.0
"""Seconds between two requests of one process, if Redis could not write the file."""


@attrs.define(eq=False)
class Rewrite:
    """Requests the rewrite. `store`: a connection that no urgent call uses; `name`: this process' name in Redis."""

    store: Connection
    health: StoreHealth
    report: Report
    name: str
    _done_for: str | None = None
    """The run of Redis that needs nothing more of this process."""
    _requested_for: str | None = None
    _again_at_s: float = 0.0
    _reported_for: str | None = None

    async def run(self) -> None:
        """Call `check` about every second until cancelled, since a restart of Redis may show in its run id alone."""
        while True:
            await self.check()
            await trio.sleep(LOOK_S * random.uniform(0.7, 1.0))  # noqa: S311 - spreads looks of many processes

    async def check(self) -> None:
        """Request a rewrite if this run of Redis needs one and no other process does; report once if it fails."""
        file = None
        try:
            file = await self.health.call_until_up(self.store, rewrite.append_only_file)
            if file.run_id == self._done_for:
                return
            if file.is_under_way:
                return
            if not file.is_on or file.is_whole:
                self._done_for = file.run_id
            elif self._requested_for != file.run_id or trio.current_time() >= self._again_at_s:
                await self._request(file.run_id)
            elif file.has_failed:
                self._warn(file.run_id, "It tried, and failed.", _SEE_LOG)
        except StoreRefused as error:
            run_id = "" if file is None else file.run_id
            self._done_for = run_id
            self._warn(run_id, error.message, error.hint)

    async def _request(self, run_id: str) -> None:
        if not await self.health.call_until_up(self.store, rewrite.acquire_lock, self.name, run_id):
            return
        await self.health.call_until_up(self.store, rewrite.rewrite)
        if self._requested_for != run_id:
            self.report(StoreRewrite())
        self._requested_for, self._again_at_s = run_id, trio.current_time() + _AGAIN_S

    def _warn(self, run_id: str, why: str, hint: str | None) -> None:
        """Report this warning, once for each run of Redis."""
        if self._reported_for != run_id:
            self._reported_for = run_id
            self.report(OperatorWarning("RewriteRefused", f"{_WHAT}: {why}", hint))


_SEE_LOG = "Check Redis' log, and free space on its disk; restbroker asks again each minute."
_WHAT = "Redis does not rewrite its append-only file, which a power loss may have cut in the middle of a change"
