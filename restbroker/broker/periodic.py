"""Pushes the jobs of periodic commands when they are due.

One task per process; of all processes, one pushes each job, whoever comes first (`store.periodic`): there is no leader,
and none is missed as long as one process runs. Always holds: only Redis' clock says what is due; of several moments
that are due, as after an outage, the last one alone becomes a job, if it is not too late; it calls Redis when a command
is due, and every half a minute. A job for which the next one is skipped is looked for if its lock is old
(`store.holders`): once it is nowhere at two looks, its lock is taken over.
"""

import random
from collections.abc import Callable, Sequence
from typing import Final

import trio

from restbroker.broker.health import ProcessTask
from restbroker.errors import RestbrokerError
from restbroker.job import claims
from restbroker.job.schedule import CronSchedule, job_id
from restbroker.light import define, field, frozen
from restbroker.store import holders, periodic
from restbroker.store.periodic import DueTick
from restbroker.store.queues import HeldLock
from restbroker.telemetry.events import PeriodicDue

_LOOK_S: Final = 30.0
_AGAIN_S: Final = 5.0
"""Seconds until what Redis refused is tried again."""
_SPREAD_S: Final = 0.5
"""Within so many seconds the processes ask: the first pushes, and the others find it done."""
_MOST_COUNTED: Final = 1000
"""After an outage, at most so many missed moments are counted."""


@frozen
class PeriodicJob:
    """A periodic command, and how to make its job. `late_s`: how late a job may be pushed, in seconds.

    `make(jid, now_s)` returns the job's bytes; `now_s` are epoch seconds by Redis' clock. `lock`: the name of the lock
    that holds the next job back until this one has ended, at most `keep_s` seconds; None: none.
    """

    name: str
    schedule: CronSchedule
    queue: str
    late_s: float
    make: Callable[[str, float], bytes] = field(repr=False)
    lock: str | None = None
    keep_s: float = 0.0


@define(eq=False)
class PeriodicPusher(ProcessTask):
    """Pushes the jobs of these commands."""

    jobs: Sequence[PeriodicJob]
    _begun: set[str] = field(factory=set)
    _missing: dict[str, tuple[str, float]] = field(factory=dict)
    """The locks of commands whose jobs were nowhere at a first look: their values, and when it was (Trio's clock)."""

    async def run(self) -> None:
        """Push what is due, until cancelled."""
        while True:
            wait_s = await self.push_due()
            await trio.sleep(wait_s + random.uniform(0.0, _SPREAD_S))  # noqa: S311 - spreads many processes

    async def push_due(self) -> float:
        """Push what is due now, and return in how many seconds to ask again. What Redis refuses is reported once."""
        try:
            now_s, states = await self.until_up(periodic.read)
        except RestbrokerError as error:
            self._warn("all", error)
            return _AGAIN_S
        called_at_s, next_s = trio.current_time(), now_s + _LOOK_S
        for job in self.jobs:
            state = states.get(job.name)
            try:
                mark_s = await self._deal_with(job, None if state is None else state.mark_s, now_s)
            except RestbrokerError as error:
                self._warn(job.name, error)
                next_s = min(next_s, now_s + _AGAIN_S)
            else:
                next_s = min(next_s, next(job.schedule.ticks(max(mark_s, now_s)), next_s))
                if job.name in self._missing:
                    next_s = min(next_s, now_s + holders.AGAIN_S)
        return max(0.0, next_s - now_s - (trio.current_time() - called_at_s))

    async def _deal_with(self, job: PeriodicJob, known_s: int | None, now_s: float) -> int:
        """Push the job if it is due, and return up to when the command was dealt with.

        Raise `StoreRefused` if Redis refuses it, `UsageError` if there can be no such job.
        """
        mark_s = known_s or 0
        if known_s is None or job.name not in self._begun:
            mark_s = await self.until_up(periodic.begin, job.name, job.schedule.digest)
            self._begun.add(job.name)
        value, is_missing = "", False
        if job.name in self._missing:
            value, looked_at_s = self._missing[job.name]
            if trio.current_time() - looked_at_s < holders.AGAIN_S:
                return mark_s
            del self._missing[job.name]
            is_missing = await self._is_missing(job, value)
        while (tick_s := job.schedule.newest(mark_s, now_s)) is not None:
            between = job.schedule.count(mark_s, tick_s, _MOST_COUNTED)
            jid = job_id(job.name, tick_s)
            due = DueTick(
                name=job.name,
                digest=job.schedule.digest,
                mark_s=mark_s,
                tick_s=tick_s,
                late_s=job.late_s,
                between=between,
                jid=jid,
                queue=job.queue,
                payload=job.make(jid, now_s),
                lock=job.lock,
                keep_s=job.keep_s,
                looked_for=value,
                is_missing=is_missing,
            )
            answer, mark_s = await self.until_up(periodic.tick, due)
            if isinstance(answer, HeldLock):
                value, is_missing = answer.value, False
                if await self._is_missing(job, value):
                    self._missing[job.name] = value, trio.current_time()
                    break
                continue
            if answer in ("pushed", "missed", "paused", "overlap"):
                self._report_due(job, due, answer)
            if answer == "early":
                break
        return mark_s

    def _report_due(self, job: PeriodicJob, due: DueTick, answer: str) -> None:
        at = job.schedule.local(due.tick_s).isoformat()
        pushed = due.jid if answer == "pushed" else None
        alarming = answer in ("missed", "overlap")
        event = PeriodicDue(job.name, answer, at=at, jid=pushed, missed_before=due.between or None, alarming=alarming)
        self.report(event)

    async def _is_missing(self, job: PeriodicJob, value: str) -> bool:
        """Look once for the job that holds the command's lock."""
        jid = claims.lock_holder(value)
        return await self.until_up(holders.search, jid, job.queue) == "missing"

    def _warn(self, name: str, error: RestbrokerError) -> None:
        what = "Periodic commands are not pushed" if name == "all" else f"The periodic command {name} is not pushed"
        self.warn_once("PeriodicRefused", f"{what}: {error.message}", error.hint)
