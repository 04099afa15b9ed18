"""Keeps Redis in order, for all processes: pauses end on time, nothing is kept for no one, its file has no torn end.

One task each per process, of which Redis has one go first. `RedisUpkeep` ends pauses that were made for a limited time,
pauses queues that are flooded, and deletes the bytes of large jobs that nothing names. `Rewrite` has each run of Redis
write its append-only file again, so that the next start finds no half of a script in it. Always holds: no job waits for
any of it; a pause without an end is left alone; the rewrite is requested once in a run of Redis, and again only if it
failed, by a user that may; what Redis refuses is reported once by each process, which goes on without.
"""

import random
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import trio

from restbroker.broker.health import ProcessTask
from restbroker.errors import StoreRefused
from restbroker.light import define
from restbroker.store import large, pauses, rewrite, unadmitted
from restbroker.telemetry.events import OperatorWarning, PauseEnded, StoreRewrite

PAUSES_S: Final = 2.0
FLOODS_S: Final = 10.0
_LARGE_S: Final = 300.0
REWRITE_S: Final = 3.0
LOOK_S: Final = 15.0
"""The same once the file is whole: until then a restart of Redis that cut no connection is not seen."""
_AGAIN_S: Final = 60.0
"""Seconds between two requests of one process, if Redis could not write the file."""
_HINT: Final = "`restbroker dead summary` says why. Find out who sends them, and delete or retry them: it then goes on."
_SEE_LOG: Final = "Check Redis' log, and free space on its disk. restbroker asks again each minute."
_PAUSES: Final = "Pauses of queues do not begin or end on time: "
_LARGE: Final = "The bytes of jobs that are too large stay in Redis: "
_WHAT: Final = "Redis does not rewrite its append-only file, which a power loss may have cut in the middle of a change"


async def _repeat(each_s: float, do: Callable[[], Awaitable[object]]) -> None:
    """Call `do` about every `each_s` seconds until cancelled."""
    while True:
        await trio.sleep(each_s * random.uniform(0.7, 1.0))  # noqa: S311 - spreads looks of many processes
        await do()


@define(eq=False)
class RedisUpkeep(ProcessTask):
    """The upkeep of one process."""

    dead_limit: int = 0
    _counted_at_s: float = 0.0

    async def run(self) -> None:
        """Look after all until cancelled: small calls every two seconds, however much is paused, and a rare one."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_repeat, PAUSES_S, self._look_at_queues)
            delete = partial(self.unless_refused, "LargeRefused", _LARGE, large.delete_unnamed)
            nursery.start_soon(_repeat, _LARGE_S, delete)

    async def _look_at_queues(self) -> None:
        # While a queue is paused because of a flood, the end of that is looked for each time, too.
        are_paused, now_s = await self.unless_refused("PausesRefused", _PAUSES, pauses.are_noted), trio.current_time()
        if are_paused:
            await self._end_pauses()
        if are_paused or now_s >= self._counted_at_s + FLOODS_S:
            self._counted_at_s = now_s
            await self._pause_flooded()

    async def _end_pauses(self) -> None:
        # A target's pause ends without us, and a queue's can be ended by hand.
        for ended in await self.unless_refused("PausesRefused", _PAUSES, pauses.end_due) or ():
            self.report(PauseEnded(ended.kind, ended.name, ended.who, ended.why))

    async def _pause_flooded(self) -> None:
        found = await self.unless_refused("PausesRefused", _PAUSES, unadmitted.pause_flooded, self.dead_limit)
        for queue in found or ():
            dead = f"{unadmitted.MOST:,} of its dead jobs came from events or without a right token"
            self.report(OperatorWarning("QueueFlooded", f"The queue {queue!r} is paused: {dead}.", _HINT))


@define(eq=False)
class Rewrite(ProcessTask):
    """Requests the rewrite. `name`: this process' name in Redis."""

    name: str
    _done_for: str | None = None
    """The run of Redis that needs nothing more of this process."""
    _requested_for: str | None = None
    _again_at_s: float = 0.0
    _looked_at_s: float = 0.0
    _outages: int = 0

    async def run(self) -> None:
        """Call `check` every few seconds until cancelled, since a restart of Redis may show in its run id alone."""
        await self.check()
        await _repeat(REWRITE_S, self._check_if_due)

    async def _check_if_due(self) -> None:
        is_whole = self._done_for is not None and self._outages == self.health.outages
        if not is_whole or trio.current_time() >= self._looked_at_s + LOOK_S:
            await self.check()

    async def check(self) -> None:
        """Request a rewrite if this run of Redis needs one and no other process does; report once if it fails."""
        file = None
        self._looked_at_s, self._outages = trio.current_time(), self.health.outages
        try:
            file = await self.until_up(rewrite.append_only_file)
            if file.run_id == self._done_for:
                return
            self._done_for = None
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
        if not await self.until_up(rewrite.acquire_lock, self.name, run_id):
            return
        await self.until_up(rewrite.rewrite)
        if self._requested_for != run_id:
            self.report(StoreRewrite())
        self._requested_for, self._again_at_s = run_id, trio.current_time() + _AGAIN_S

    def _warn(self, run_id: str, why: str, hint: str | None) -> None:
        """Report this warning, once for each run of Redis."""
        self.report_once(run_id, OperatorWarning("RewriteRefused", f"{_WHAT}: {why}", hint))
