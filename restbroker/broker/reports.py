"""Reports the settled jobs of one pool: one event with the durations of a group, and one for each unusual job.

The settler makes the event of an unusual job, while it has the outcome. The acker calls `records` for a group that it
settles, to be kept in Redis, and `send` once Redis has confirmed it. Always holds: no token is in an event or record,
no matter where a producer put it.
"""

from collections.abc import Iterable, Sequence
from functools import partial

import attrs

from restbroker.broker.identity import Identity
from restbroker.broker.job_in_progress import JobInProgress
from restbroker.broker.target_plan import TargetPlan
from restbroker.job import hiding
from restbroker.job.job import spare_jid
from restbroker.job.outcome import Delivered
from restbroker.job.settle import Final
from restbroker.job.settlement import Ack, Drop, Settlement
from restbroker.store import history
from restbroker.store.history import JobEnd, Records
from restbroker.telemetry.events import JobFinished, JobsDelivered


@attrs.define(eq=False)
class Reports:
    """The reports of one pool."""

    plan: TargetPlan
    identity: Identity

    def of_end(
        self, job: JobInProgress, settlement: Settlement, outcome: Final, duration_s: float = 0.0
    ) -> JobFinished:
        """Return the event of a job that ends with this settlement and outcome, after `duration_s` seconds."""
        what = self._what(job, type(outcome).__name__.lower(), type(settlement).__name__.lower(), duration_s)
        if isinstance(outcome, Delivered):
            return JobFinished(*what, outcome.status, note=outcome.note, admitted=job.admitted)
        reason = outcome.reason
        return JobFinished(*what, reason.status, reason.code, reason.message, reason.hint, admitted=job.admitted)

    def of_replay(self, job: JobInProgress) -> JobFinished:
        """Return the event of a signed job that was done before, and was not sent."""
        return JobFinished(*self._what(job, "duplicate", "ack", 0.0))

    def of(self, job: JobInProgress) -> JobFinished | None:
        """Return the event of a job; None for one that was reported before, and is settled again as Redis lost that."""
        if job.event is None and job.status is not None:
            return JobFinished(*self._what(job, "delivered", "ack", job.took_s), job.status, admitted=job.admitted)
        return job.event

    def records(self, jobs: Iterable[JobInProgress]) -> Records | None:
        """Return the records of these jobs, one for each that has a settlement; None if this target keeps none.

        The record of a job that does not end with its settlement is empty.
        """
        keep_s = self.plan.history_s
        if keep_s is None:
            return None
        return Records(round(keep_s * 1000), [self._record(job) for job in jobs if job.settlement is not None])

    def send(self, jobs: Iterable[JobInProgress]) -> None:
        """Report these jobs, which Redis has just settled."""
        delivered: list[JobInProgress] = []
        by_endpoint: dict[str, list[float]] = {}
        took_s: dict[str, list[float]] = {}
        for job in jobs:
            if job.event is not None:
                self.identity.report(job.event)
            elif job.status is not None:
                delivered.append(job)
                if job.command not in by_endpoint:
                    by_endpoint[job.command] = took_s.setdefault(self.mask(job.command), [])
                by_endpoint[job.command].append(job.took_s)
        if delivered:
            self.identity.report(JobsDelivered(self.plan.target.name, took_s, partial(self._each, delivered)))

    def _each(self, jobs: Sequence[JobInProgress]) -> list[JobFinished]:
        return [event for job in jobs if (event := self.of(job)) is not None]

    def _record(self, job: JobInProgress) -> bytes:
        """Return a job's record, or b"" for one that has not ended, or lies in a set, where its entry has it all."""
        event = self.of(job) if isinstance(job.settlement, Ack | Drop) else None
        if event is None:
            return b""
        took_ms = event.duration_s * 1000
        return history.to_record(
            JobEnd(
                jid=event.jid,
                target=event.target,
                command=event.command,
                outcome=event.outcome,
                status=event.status,
                took_ms=took_ms,
                code=event.code,
            )
        )

    def _what(
        self, job: JobInProgress, outcome: str, fate: str, duration_s: float
    ) -> tuple[str, str, str, str, str, str, int, float]:
        payload = job.payload
        if payload is None:
            jid, attempt = spare_jid(self.identity.name, job.ticket), 1
        else:
            jid, attempt = payload.jid, payload.attempt
        command, jid = self.mask(job.command or "?"), self.mask(jid)
        return self.plan.target.name, job.queue, command, jid, outcome, fate, attempt, duration_s

    def mask(self, text: str) -> str:
        """Return a producer's own text, or a mask if they put the token into the wrong place."""
        for token in self.plan.tokens.values:
            if token in text:
                return hiding.MASK
        return text
