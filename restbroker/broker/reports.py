"""What is reported of settled jobs: of most only how long they took, a whole group at once; of each other one an event.

The worker has an event made where there is more to report, since the outcome is at hand then; the committer calls
`tell` once Redis has confirmed a group, and before that `records`, which are kept in Redis. Always holds: no token is
in what is reported, no matter where a producer put it.
"""

from collections.abc import Iterable
from functools import partial

from restbroker.broker.job_in_progress import JobInProgress
from restbroker.broker.worker_pool import WorkerPool
from restbroker.job import hiding
from restbroker.job.job import spare_jid
from restbroker.job.outcome import Delivered
from restbroker.job.settle import Final
from restbroker.job.settlement import Ack, Drop, Settlement
from restbroker.store import history
from restbroker.store.history import JobEnd, Records
from restbroker.telemetry.events import JobFinished, JobsDelivered


def finished(
    pool: WorkerPool, item: JobInProgress, settlement: Settlement, outcome: Final, duration_s: float
) -> JobFinished:
    """Return the event of a job that ended with this settlement and outcome, after `duration_s` seconds."""
    what = _what(pool, item, type(outcome).__name__.lower(), type(settlement).__name__.lower(), duration_s)
    if isinstance(outcome, Delivered):
        return JobFinished(*what, outcome.status, note=outcome.note, admitted=item.admitted)
    reason = outcome.reason
    return JobFinished(*what, reason.status, reason.code, reason.message, reason.cure, admitted=item.admitted)


def repeated(pool: WorkerPool, item: JobInProgress) -> JobFinished:
    """Return the event of a signed job that was done before, and was not sent."""
    return JobFinished(*_what(pool, item, "duplicate", "ack", 0.0))


def of(pool: WorkerPool, item: JobInProgress) -> JobFinished | None:
    """Return the event of a job; None if it did not end here, but is settled again since Redis forgot that it was."""
    if item.event is None and item.status is not None:
        return JobFinished(*_what(pool, item, "delivered", "ack", item.took_s), item.status, admitted=item.admitted)
    return item.event


def records(pool: WorkerPool, items: Iterable[JobInProgress], keep_s: float) -> Records:
    """Return the records of these jobs, to be kept for `keep_s` seconds: one for each that has a settlement.

    The record of a job that does not end with its settlement is empty.
    """
    return Records(round(keep_s * 1000), [_record(pool, item) for item in items if item.settlement is not None])


def _record(pool: WorkerPool, item: JobInProgress) -> bytes:
    """Return a job's record, or b"" for one that has not ended, or lies in a set, where it tells its own story."""
    event = of(pool, item) if isinstance(item.settlement, Ack | Drop) else None
    if event is None:
        return b""
    took_ms = event.duration_s * 1000
    return history.to_record(
        JobEnd(event.jid, event.target, event.command, event.outcome, event.status, took_ms, event.code)
    )


def tell(pool: WorkerPool, items: Iterable[JobInProgress]) -> None:
    """Report these jobs, which Redis has just settled."""
    delivered: list[JobInProgress] = []
    by_endpoint: dict[str, list[float]] = {}
    took_s: dict[str, list[float]] = {}
    for item in items:
        if item.event is not None:
            pool.report(item.event)
        elif item.status is not None:
            delivered.append(item)
            if item.command not in by_endpoint:
                by_endpoint[item.command] = took_s.setdefault(_shown(pool, item.command), [])
            by_endpoint[item.command].append(item.took_s)
    if delivered:
        pool.report(JobsDelivered(pool.plan.target.name, took_s, partial(_each, pool, delivered)))


def _each(pool: WorkerPool, items: Iterable[JobInProgress]) -> list[JobFinished]:
    return [event for item in items if (event := of(pool, item)) is not None]


def _what(
    pool: WorkerPool, item: JobInProgress, outcome: str, fate: str, duration_s: float
) -> tuple[str, str, str, str, str, str, int, float]:
    jid, attempt = (spare_jid(pool.identity, item.ticket), 1) if item.job is None else (item.job.jid, item.job.attempt)
    command, shown_jid = _shown(pool, item.command or "?"), _shown(pool, jid)
    return pool.plan.target.name, item.queue, command, shown_jid, outcome, fate, attempt, duration_s


def _shown(pool: WorkerPool, text: str) -> str:
    """Return a producer's own text, or a mask if it put the token into the wrong place."""
    for token in pool.plan.tokens.values:
        if token in text:
            return hiding.MASK
    return text
