"""Compares what Redis lists as ours with what we know: after an outage, and at the end of a generation.

The intake calls `reconcile` before it fetches again; the generation calls `settle_unfinished` at its end, shielded and
bounded, and `requeue` before, if it was replaced. Always holds: the list is read from Redis, since memory may have lost
track; what was sent and not answered is uncertain, and goes back only where it is safe to repeat, as one that may have
run; what was not sent goes back; what Redis forgot to have settled is settled again if we remember how.
"""

from collections.abc import Callable

import attrs
import trio

from restbroker.broker.acker import Acker
from restbroker.broker.admission import Admission
from restbroker.broker.agent import Agent
from restbroker.broker.job_in_progress import SENDING, JobInProgress
from restbroker.broker.settler import Settler
from restbroker.errors import StoreRefused
from restbroker.job.job import Job
from restbroker.job.settlement import Requeue
from restbroker.light import define, frozen
from restbroker.store import in_progress, queues, server
from restbroker.store import jobs as store_jobs
from restbroker.store.in_progress import JobsInProgress
from restbroker.store.tickets import queue_of, ticket_number

_LOOKS = 2
"""How often Redis' list is read at the end: a fetch may have stood there until then, and taken jobs after the first."""


@frozen
class StopResult:
    """The numbers of jobs in progress at a stop. `requeued` jobs went back to their queues unsent.

    `uncertain` jobs were sent and not answered, wherever they are now. `complete`: nothing remains for a reaper; else
    `reserved` is how many jobs do, as far as known.
    """

    requeued: int = 0
    uncertain: int = 0
    complete: bool = True
    reserved: int = 0

    def plus(self, other: "StopResult") -> "StopResult":
        """Return the sum of both."""
        return StopResult(
            self.requeued + other.requeued,
            self.uncertain + other.uncertain,
            complete=self.complete and other.complete,
            reserved=self.reserved + other.reserved,
        )


@define(eq=False)
class Recovery(Agent):
    """The recovery of one pool."""

    drop_lost: Callable[[], None]
    """Ends the waits of jobs that are not reserved any more."""
    admission: Admission
    settler: Settler
    acker: Acker

    async def reconcile(self) -> list[JobInProgress]:
        """Make Redis' list and `reservations` agree; return the jobs that are to be run, in the order of their tickets.

        Unknown tickets beyond the last known are of a fetch whose answer was lost: they are adopted. The others were
        settled, and Redis lost its last second (a restart, a failover), so that it lists them again: they are settled
        again if we remember how, else they run again as jobs that may have run; so do those that come from their queue
        again. A job that is not sent yet and that Redis does not list is in its queue again, since Redis lost its last
        second: it is dropped, even if the worker has it already. Raise `StoreUnavailable` or `StoreRefused`.
        """
        # Once this is answered, Redis has noticed the end of a connection that was closed before, and runs no fetch of
        # it any more: what that took is listed then.
        await self.store.call(server.time_s)
        held = await self.store.call(in_progress.read_jobs, self.identity.name)
        known, recent = self.reservations.jobs, self.acker.recently_settled
        unknown = [job for ticket in held.tickets if ticket not in known and (job := self._take_over(ticket, held))]
        lost = [job for ticket, job in known.items() if ticket not in held.tickets]
        sent = (job.raw for job in lost if job.was_sent)
        recent.record_loss(sent, trio.current_time() - self.health.away_s)
        self.ready.drop_unless(held.tickets)
        for job in lost:
            if job.delivery < SENDING and job.settlement is None:
                self.reservations.release(job.ticket)
        self.drop_lost()
        self.reservations.skip_to(held.last)
        self.ready.allow(held.hwm)
        await self.acker.commit([job for job in unknown if job.settlement is not None])
        return sorted((job for job in unknown if job.settlement is None), key=lambda job: job.number)

    async def settle_unfinished(self, *, by_order: bool) -> StopResult:
        """Settle or requeue all jobs that remain, remove the identity from Redis, and return how many jobs there were.

        Wait while Redis is away: the caller bounds that. `by_order`: the process was ordered to stop. A job that Redis
        refuses to settle stays in progress, for a reaper, and is reported.
        """
        try:
            return await self._settle_unfinished(by_order=by_order)
        except StoreRefused as error:
            self.identity.warn_once("StoreRefused", error.message, error.hint)
            return StopResult(complete=False)

    async def _settle_unfinished(self, *, by_order: bool) -> StopResult:
        result, retired = StopResult(), False
        for _ in range(_LOOKS):
            result = result.plus(await self._settle_listed(by_order=by_order))
            # Said before it is so: a heartbeat that comes just behind it is no fence.
            self.identity.retire()
            retired = await self.health.call_until_up(self.store, store_jobs.retire, self.identity.name)
            if retired or not result.complete:
                break
        # A version that comes next may know no hands.
        await self.health.call_until_up(self.store, queues.empty_hands, self.plan.target.queues)
        return attrs.evolve(result, complete=retired and result.complete)

    async def _settle_listed(self, *, by_order: bool) -> StopResult:
        held = await self.health.call_until_up(self.store, in_progress.read_jobs, self.identity.name)
        found = [self.reservations.jobs.get(ticket) or self._stray(ticket, held) for ticket in held.tickets]
        jobs = [job for job in found if job is not None]
        uncertain = {job for job in jobs if job.settlement is None and job.is_uncertain}
        for job in jobs:
            try:
                if job in uncertain:
                    self.settler.cut_off(job, by_order=by_order)
                if job.settlement is None:
                    self.settler.requeue(job)
            except Exception as error:  # noqa: BLE001 - whatever it is, it must cost no other job its settlement
                self.settler.settle_bug(job, error)
        requeued = sum(isinstance(job.settlement, Requeue) and job not in uncertain for job in jobs)
        refused = await self.acker.settle(jobs)
        return StopResult(requeued, len(uncertain), complete=not refused)

    async def requeue(self, *, worker_gone: bool) -> None:
        """Requeue the jobs that the worker did not take and, with `worker_gone`, those that it took and did not send.

        To be called when the pool has been stopped; `worker_gone`: the worker has ended. All other jobs, and those that
        Redis refuses to requeue, are left to `settle_unfinished`. Safe to cancel.
        """
        try:
            held = await self.health.call_until_up(self.store, in_progress.read_jobs, self.identity.name)
        except StoreRefused as error:
            self.identity.warn_once("StoreRefused", error.message, error.hint)
            return
        back: list[JobInProgress] = []
        for ticket in held.tickets:
            job = self.reservations.jobs.get(ticket)
            if job is None and ticket_number(ticket) > self.reservations.last_number:
                job = self._stray(ticket, held)
            if job is None or job.settlement is not None:
                continue
            if job.started_at_s is None or (worker_gone and not job.is_uncertain):
                try:
                    self.settler.requeue(job)
                except Exception as error:  # noqa: BLE001 - as in `_settle_unfinished`
                    self.settler.settle_bug(job, error)
                back.append(job)
        await self.acker.commit(back)

    def _take_over(self, ticket: str, held: JobsInProgress) -> JobInProgress | None:
        """Return the job of a ticket that only Redis lists; None: no pool with our queues made this ticket.

        If Redis has forgotten that it was settled, it has its settlement if we remember it.
        """
        queue, number = queue_of(ticket, self.plan.target.queues), ticket_number(ticket)
        if queue is None:
            return None
        raw, size_bytes = held.jobs.get(ticket, b""), held.large.get(ticket, 0)
        forgotten = number <= self.reservations.last_number
        job = JobInProgress(
            ticket=ticket, number=number, queue=queue, raw=raw, size_bytes=size_bytes, forgotten=forgotten
        )
        settlement = self.acker.recently_settled.get(ticket)
        if settlement is not None:
            job.decide(settlement)
        return job

    def _stray(self, ticket: str, held: JobsInProgress) -> JobInProgress | None:
        """Return the job of a ticket that only Redis lists, at the end of a generation, when it will not be run here.

        Either its fetch was cut off before it got here: it was not sent. Or it was settled, which Redis has forgotten:
        it is settled again if we remember how, else it may have run.
        """
        job = self._take_over(ticket, held)
        if job is None or job.settlement is not None or job.size_bytes or not self.ready.has_started(job.number):
            return job
        # Its count of runs is that of Redis; that it may run is what its state says.
        job = JobInProgress(ticket, job.number, job.queue, job.raw, delivery=SENDING)
        payload = self.admission.read(job, None)
        if isinstance(payload, Job) and (proof := self.admission.proof_of(payload)) is not None:
            # So that it is stored like the others, without its token.
            job.prove(payload, proof, None)
        return job
