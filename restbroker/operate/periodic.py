"""Periodic commands as an operator sees and steers them: next and last times, what became of these, pause, run now.

Called by `restbroker periodic`, `check` and the pages. Always holds: what a person does leaves alone up to when a
command was dealt with, so that no time of it is pushed twice or lost for it; each action has an audit entry.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

from restbroker.config.periodic import PeriodicCommand
from restbroker.job.schedule import CronSchedule
from restbroker.light import frozen
from restbroker.operate import audit
from restbroker.operate.audit import AuditEntry
from restbroker.operate.context import ConfigContext
from restbroker.operate.enqueue import QueuedBefore, push
from restbroker.operate.find import SearchLimits
from restbroker.operate.follow import job_states
from restbroker.operate.request import PeriodicRequest
from restbroker.operate.words import pause_sentence
from restbroker.store import periodic
from restbroker.store.client import Client
from restbroker.store.pauses import Pause
from restbroker.store.periodic import PeriodicState, TickOutcome
from restbroker.store.server import time_s

_BOUNDS: Final = SearchLimits(seconds=2.0, jobs=5000, ends=50_000, gives_way=True)


@frozen
class ShownPeriodic:
    """A periodic command. Times are epoch seconds; `next` and `next_utc` are the next one in its zone and in UTC.

    `pushed_at_s`, `jid`: its last job. `job`: where that is, or how it ended (`follow.job_states`); None: unknown.
    `outcome`: what became of the last time that it was due; `blocked_by`: the job for which it was skipped. `missed`,
    `skipped`: how many times since the beginning.
    """

    name: str
    command: str
    target: str
    queue: str
    cron: str
    zone: str
    meaning: str
    next_s: int
    next: str
    next_utc: str
    pushed_at_s: float | None
    jid: str | None
    job: str | None
    outcome: TickOutcome | None
    blocked_by: str | None
    missed: int
    skipped: int
    pause: Pause | None

    @property
    def pause_text(self) -> str | None:
        """A sentence on who paused it, until when and why; None if it is not paused."""
        return None if self.pause is None else pause_sentence(self.name, self.pause)

    @property
    def last_text(self) -> str:
        """What became of the last time in words; "-" if there was none."""
        match self.outcome:
            case "missed":
                return "missed: no process ran in time"
            case "paused":
                return "skipped: paused"
            case "overlap":
                return f"skipped: {self.blocked_by} is not done"
            case _ if self.jid is None:
                return "-"
            case _:
                return _JOB_WORDS.get(self.job or "", self.job or "unknown")


_JOB_WORDS: Final = {
    "queue": "waiting",
    "schedule": "scheduled",
    "gone": "done, or deleted",
    "retry": "will be retried",
}


def list_periodic(client: Client, requests: Sequence[PeriodicRequest], known: ConfigContext) -> list[ShownPeriodic]:
    """Return these commands as they are now. Raise `StoreUnavailable` or `StoreRefused`."""
    now_s, states = periodic.read(client)
    jids = [state.jid for known in requests if (state := states.get(known.name)) is not None and state.jid is not None]
    jobs = job_states(client, jids, known, _BOUNDS)
    return [_row(known, states.get(known.name, PeriodicState()), jobs, now_s) for known in requests]


def _row(one: PeriodicRequest, state: PeriodicState, jobs: dict[str, str], now_s: float) -> ShownPeriodic:
    schedule = one.command.schedule
    (next_s,) = islice(schedule.ticks(max(now_s, state.mark_s or 0)), 1)
    return ShownPeriodic(
        name=one.name,
        command=one.command.command,
        target=one.target,
        queue=one.job.queue,
        cron=one.command.cron,
        zone=one.command.zone,
        meaning=schedule.explanation,
        next_s=next_s,
        next=moment(schedule, next_s),
        next_utc=moment(CronSchedule(one.command.cron), next_s),
        pushed_at_s=state.pushed_at_s,
        jid=state.jid,
        job=jobs.get(state.jid or ""),
        outcome=state.outcome,
        blocked_by=state.blocked_by,
        missed=state.missed,
        skipped=state.skipped,
        pause=state.pause,
    )


def next_times(command: PeriodicCommand, now_s: float, count: int) -> Iterator[str]:
    """Yield the next times at which a command is due, in its zone."""
    for tick in islice(command.schedule.ticks(now_s), count):
        yield moment(command.schedule, tick)


def moment(schedule: CronSchedule, at_s: float) -> str:
    """Return a moment in the schedule's zone, as `Fri 2026-11-27 04:30 +0100`."""
    return f"{schedule.local(at_s):%a %Y-%m-%d %H:%M %z}"


def run(client: Client, one: PeriodicRequest, who: str, why: str = "") -> tuple[str, QueuedBefore | None]:
    """Push a command's job now, paused or not; return its id, and the job that it would overlap with.

    In the latter case nothing was pushed. Raise as `enqueue.push` does.
    """
    jid = os.urandom(12).hex()
    audit.write(client, AuditEntry(who=who, action="run", place=_place(one.name), why=why, jids=(jid,)))
    holder = push(client, one.job, jid, time_s(client))
    if holder is None:
        periodic.write_push(client, one.name, jid)
    return jid, holder


def find(requests: Iterable[PeriodicRequest], name: str) -> PeriodicRequest:
    """Return the command of this name. Raise `UsageError`, with a suggestion, if none is configured."""
    from restbroker.operate.names import require

    found = {request.name: request for request in requests}
    require("periodic command", name, [*found])
    return found[name]


def _place(name: str) -> str:
    return f"periodic:{name}"
