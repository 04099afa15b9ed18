"""The life of a job, from the moment a worker takes it from the ready buffer until it has its settlement.

1. **Fetched.** Redis has moved the job from its queue into the hash of this pool (`poller.py`). From now on, whatever
   happens here, Redis lists it: if this process dies, a reaper requeues it, or makes it dead if it is marked (4). It
   then counts as possibly run if a worker may have started it (the high-water mark, `ready_buffer.py`).
2. **Admitted.** Its payload is read, and its token and arguments are checked (`admission.py`). It becomes dead if it is
   no job or is refused, or if it may have run and may not be sent once more. With order per key (`job.order`) it also
   does if it is to die behind its predecessor, or if Redis read another key in it. A signed job that was done before
   is acknowledged, and not sent again. A job that expired, now or in the instant before it is sent, is dropped and
   counted (`job.expiry`); it becomes dead if it may have run, or if expired jobs are kept. What was begun is finished.
3. **Waiting**: for a place in its command's slot, until the breaker admits it, for its share of the rate limit, for a
   fresh lease, and, if its connector says so, for its time. It stays reserved; for its slot and its time it waits
   without a worker (`slots.py`, `delayed.py`). If too many wait for the slot, it is deferred, and no try is used up. If
   it stays unsent three times while others are answered, it is deferred too, and that is a try.
4. **Claimed**, if it has an `idempotency_key`: if another job has the key, it is not sent, and counts as a duplicate.
   **Marked**, if its command must run at most once: Redis notes that it is about to be sent. The mark stays until the
   job is settled: a crash then makes it dead, though nothing may have been sent. So if it comes back unsent and its
   target is down, now or while it waits in 3, it is requeued, unmarked.
5. **Sent.** In the instant before the first byte leaves, the link checks once more that the job is ours, the breaker
   admits it and the lease is fresh (`link.py`, `fast_path.py`). From then on it may have run.
6. **Answered**, or not: the connector makes an outcome of it, and the breaker notes that. What was not sent, or met a
   server that refuses the broker itself, goes back to 3. So does a job of which a part is done; if it must run at most
   once, it is `Uncertain` instead. Where the server refuses a job and lets the probe in, it refuses this job alone:
   with a 403, or when it did so three times, the job is dead.
7. **Judged.** The outcome becomes a settlement: acknowledged, retried, deferred or dead, with its replies
   (`settler.py`). A time-out after the first byte is `Uncertain`: dead if the command must run at most once, retried if
   it is safe to repeat, else retried `UncertainRetries` times and then dead. A time-out before the first byte is
   `Unsent`: back to 3.
8. **Settled.** The acker has Redis remove it and apply the settlement in one step, in a group with others
   (`acker.py`); until Redis confirms that, the job stays reserved, also through an outage.
9. **Acknowledged.** It is released and reported.

Always holds: a job leaves a worker with a settlement, for the acker; or it waits in its slot or among the delayed jobs;
or the pool stops, and it stays reserved for `recovery.py`, as it does while the fast path has it; or it is not ours any
more, and is released. So no step can lose a job. Only what says `"dead": false` is gone where others are dead, and what
expired or is a duplicate.

A job can run twice if it was sent and not answered (a crash before 8, a time-out, a stop that cuts it off) and is
repeated by the rule in 7; never if it is marked.

At TERM no worker takes another job, and the pool's stop ends the waits in 3, except for Redis. What was sent has
`ShutdownTimeout` to be answered, and is then cut off. When the workers have ended, `recovery.py` settles the rest: what
was not sent is requeued; what was cut off is dead if it must run at most once, requeued as possibly run if it is safe
to repeat, else treated as a time-out.

A person who cancels a job ends the scope of its worker, if it has one, between 2 and 7, and it becomes dead.
"""

import math
import random
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, assert_never

import attrs
import trio

from restbroker.broker.acceptance import CLOCKS_DIFFER
from restbroker.broker.ack_buffer import AckBuffer
from restbroker.broker.admission import Admission, AdmittedJob
from restbroker.broker.breaker import Breaker
from restbroker.broker.delayed import DelayedJobs
from restbroker.broker.job_in_progress import SENDING, JobInProgress, Reservations
from restbroker.broker.link import (
    JobExpired,
    JobIsDuplicate,
    JobLink,
    JobTakenAway,
    SendChecks,
    SendingStopped,
    is_ours,
    outcome_of,
    redact_outcome,
    require_outcome,
)
from restbroker.broker.order_warnings import ON_DEAD_IGNORED
from restbroker.broker.ready_buffer import ReadyBuffer
from restbroker.broker.redis_checks import ASK_AGAIN_S, RedisChecks
from restbroker.broker.settler import SLOTS_FULL, Settler
from restbroker.broker.slots import Slot, Slots
from restbroker.broker.target_plan import TargetPlan
from restbroker.job import settle
from restbroker.job.command import Call, CommandSpec
from restbroker.job.job import Job, NotAJob
from restbroker.job.order import ON_DEAD_FIELD, PREDECESSOR_DIED
from restbroker.job.outcome import Deferred, Delivered, Denied, Outcome, Reason, Rejected, Uncertain, Unsent
from restbroker.job.settle import reason_of
from restbroker.servers.contract import NotYet
from restbroker.store.tickets import DIES, OTHER_KEY, ticket_how, ticket_key
from restbroker.transport.idle import PartialExchange

_UNSENT_LIMIT = 3
"""How often one job may stay unsent while others succeed; then it counts as a failed try."""
_DENIAL_LIMIT = 3
"""How often one job may meet a 401 or a wrong page while the probe is let in; a server that just came up does that."""
_FORBIDDEN = 403
"""The status of the one denial that may concern a single command."""
_UNSENT_WAIT_S = 0.2
"""Seconds until a job that was not sent is tried again."""


@attrs.define
class _Misses:
    """How often one job was unsent while others were answered (`answers` at the last look), and how often denied."""

    answers: int
    unsent: int = 0
    denials: int = 0

    def count_unsent(self, answers: int) -> bool:
        """Count one more, if others were answered meanwhile; tell whether that was too often."""
        self.unsent, self.answers = self.unsent + (answers > self.answers), answers
        return self.unsent >= _UNSENT_LIMIT

    def count_denial(self) -> bool:
        """Count one more, and tell whether that was too often."""
        self.denials += 1
        return self.denials >= _DENIAL_LIMIT


@attrs.define(eq=False)
class Worker:
    """One worker. `job`: the one that it has now.

    When a person cancels a job, that is `cancelled`, and `scope` is cancelled.
    """

    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    job: JobInProgress | None = None
    cancelled: JobInProgress | None = None

    def cancel(self, job: JobInProgress) -> None:
        """End its work on this job."""
        self.cancelled = job
        self.scope.cancel()


@attrs.define(eq=False)
class Processor:
    """Runs the workers of one pool.

    Setting `stopping` ends the pauses here; `WorkerPool.stop` also closes the ready buffer and stops the breaker, which
    ends the other waits. `probe_after_denial`: that of the prober.
    """

    plan: TargetPlan
    reservations: Reservations
    ready: ReadyBuffer
    admission: Admission
    redis_checks: RedisChecks
    slots: Slots
    delayed: DelayedJobs
    breaker: Breaker
    send_checks: SendChecks
    settler: Settler
    acks: AckBuffer
    stopping: trio.Event
    probe_after_denial: Callable[[Reason], Awaitable[bool]]
    _workers: set[Worker] = attrs.field(factory=set)

    # 1. Fetched; at its end, a job goes to the acker, for 8. and 9.
    async def run(self) -> None:
        """Work as one worker until the ready buffer is closed. When cancelled, the job keeps its states, for recovery.

        A job without a settlement stays reserved if the pool stops before it could be sent, or if it waits for a place
        in its slot or for its time; it was released if it is not ours any more. When a person cancels the job of this
        worker, the job becomes dead and the worker takes the next one.
        """
        while True:
            # One scope for many jobs: one for each would cost a microsecond. Once cancelled, `receive` takes no more.
            worker = Worker()
            self._workers.add(worker)
            try:
                with worker.scope:
                    try:
                        await self._work(worker)
                    except trio.ClosedResourceError:
                        return
            finally:
                self._workers.discard(worker)
                # Also if the pool is cut off meanwhile: a person's word counts.
                self._settle_cancelled(worker)

    async def _work(self, worker: Worker) -> None:
        """Take one job after the other through its life, until the acker has it; raise `trio.ClosedResourceError`.

        An unforeseen exception costs the job alone over which it came.
        """
        while True:
            job = worker.job = await self.ready.receive()
            try:
                admitted = self._admit(job)
                if admitted is not None and not (job.fingerprint and await self._end_if_replay(job)):
                    slot = admitted.endpoint.slot
                    await (self._deliver(job, admitted) if slot is None else self._deliver_in_slot(job, admitted, slot))
            except Exception as error:  # noqa: BLE001 - whatever it is; its text may hold secrets
                self.settler.settle_bug(job, error)
            if job.settlement is not None:
                self.acks.add(job)
            else:
                # What was cancelled in the tick in which its wait ended gets its settlement for that.
                await trio.lowlevel.checkpoint_if_cancelled()
            # A worker that waits must not keep its last job: that may take a hundred times its bytes.
            worker.job = admitted = None
            del job

    def resume(
        self, job: JobInProgress, admitted: AdmittedJob, partial: PartialExchange | None
    ) -> Coroutine[Any, Any, None]:
        """Return what delivers and settles a job that the fast path began, and that has a place in the breaker.

        A person can cancel the job, which becomes dead then, from this call on. Await what it returns in a task. When
        that is cancelled, the job keeps its states, for recovery. `partial`: the request that was sent and its answer
        so far; None if nothing was sent.
        """
        worker = Worker(job=job)
        self._workers.add(worker)
        return self._resume(worker, job, admitted, partial)

    async def _resume(
        self, worker: Worker, job: JobInProgress, admitted: AdmittedJob, partial: PartialExchange | None
    ) -> None:
        try:
            with worker.scope:
                try:
                    await self._deliver(job, admitted, partial, has_place=True)
                except Exception as error:  # noqa: BLE001 - whatever it is; its text may hold secrets
                    self.settler.settle_bug(job, error)
                if job.settlement is not None:
                    self.acks.add(job)
        finally:
            self._workers.discard(worker)
            self._settle_cancelled(worker)

    # 2. Admitted
    def _admit(self, job: JobInProgress) -> AdmittedJob | None:
        """Return the job and its endpoint; None if it is not let in, or may not be sent again, and is settled so."""
        payload = self.admission.read(job, time.time())
        if isinstance(payload, NotAJob):
            self.settler.refuse(job, payload)
            return None
        admitted = self.admission.admit(job, payload)
        if isinstance(admitted, Reason):
            if admitted.code == CLOCKS_DIFFER.code:
                self.settler.postpone(job, payload, admitted)
            else:
                self.settler.settle(job, job.payload or payload, None, Rejected(admitted))
            return None
        if (reason := self._order_refusal(job, admitted)) is not None:
            self.settler.settle(job, admitted.payload, admitted.endpoint.spec, Rejected(reason))
            return None
        return self._check_resend(job, admitted) if admitted.payload.maybe_run else admitted

    def _order_refusal(self, job: JobInProgress, admitted: AdmittedJob) -> Reason | None:
        """Return why a job may not be sent, whose target does the jobs of one key in order; None: it may."""
        ordered, how = self.plan.order, ticket_how(job.ticket)
        if how == DIES:
            return PREDECESSOR_DIED
        if ordered is None or how == OTHER_KEY:
            return None
        fields = admitted.payload.fields
        if fields.get(ON_DEAD_FIELD) is not None:
            self.admission.identity.report_once(ON_DEAD_FIELD, ON_DEAD_IGNORED)
        return ordered.refusal(ticket_key(job.ticket), fields, admitted.submission.command.arguments)

    def _check_resend(self, job: JobInProgress, admitted: AdmittedJob) -> AdmittedJob | None:
        """Return `admitted`, for a job that may have run; None if it may not be sent again, and is settled so."""
        payload, spec = admitted.payload, admitted.endpoint.spec
        uncertain_retries = self.plan.policy.uncertain_retries
        if job.at_most_once:
            # Had it been about to be sent before a crash, its mark would have made it dead.
            payload, uncertain_retries = self.admission.without_crashes(job, payload), 0
        if not settle.may_send(payload, spec, uncertain_retries, at_most_once=job.at_most_once):
            self.settler.settle(job, payload, spec, Uncertain(reason_of(spec, _TOO_OFTEN)))
            return None
        return attrs.evolve(admitted, payload=payload)

    async def _end_if_replay(self, job: JobInProgress) -> bool:
        """Tell whether a signed job was done before; then it is settled as that."""
        stored_for_s = 0.0 if job.fingerprint is None else await self.redis_checks.stored_for_s(job.fingerprint)
        if stored_for_s < math.inf:
            job.note_copy(stored_for_s)
            # The call runs to its end: what was cancelled meanwhile must not wait for its slot as well.
            await trio.lowlevel.checkpoint_if_cancelled()
            return False
        self.settler.end_replay(job)
        return True

    # 3. to 7. Delivered, by the steps below
    async def _deliver_in_slot(self, job: JobInProgress, admitted: AdmittedJob, slot: Slot) -> None:
        """Deliver the job within its slot; if it has no settlement then, it waits for a place there, or as in `run`."""
        match slot.enter(job):
            case "waiting":
                return
            case "full":
                self.settler.postpone(job, admitted.payload, SLOTS_FULL)
                return
            case "in":
                pass
            case other:
                assert_never(other)
        try:
            await self._deliver(job, admitted)
        finally:
            following = slot.leave(job)
            if following is not None:
                self.ready.put_back(following)

    async def _deliver(
        self,
        job: JobInProgress,
        admitted: AdmittedJob,
        partial: PartialExchange | None = None,
        *,
        has_place: bool = False,
    ) -> None:
        """Send the job until there is an outcome to settle.

        There is none if the pool stops, the job is not ours, or its time has not come. It expires while it waits.
        `partial`: what the fast path has sent already. `has_place`: the job entered the breaker. When cancelled,
        `job.delivery` says whether it may have left.
        """
        if not has_place and job.is_expired(time.time()):
            self.settler.expire(job, admitted.payload)
            return
        spec, misses, answers = admitted.endpoint.spec, None, self.breaker.answers
        begun, may_be_marked = has_place or self._enter_at_once(job), False
        while begun or await self._wait_until_ready(job, may_be_marked=may_be_marked):
            begun, may_be_marked = False, job.at_most_once
            try:
                outcome, took_s = await self._send(job, admitted, partial)
            except NotYet as why:
                # What was cancelled in this very tick gets its settlement for that, and must not wait as well.
                await trio.lowlevel.checkpoint_if_cancelled()
                self.delayed.add(job, why.wait_s)
                return
            except JobExpired:
                self.settler.expire(job, admitted.payload)
                return
            except JobIsDuplicate as why:
                self.settler.end_duplicate(job, admitted.payload, why.other)
                return
            partial = None
            if isinstance(outcome, Denied | Unsent):
                misses = misses or _Misses(answers)
                outcome = await self._after_miss(outcome, misses)
            if self._settle(job, admitted.payload, spec, outcome, took_s):
                return
        if job.is_expired(time.time()) and self.reservations.has(job):
            self.settler.expire(job, admitted.payload)
        elif may_be_marked and self.reservations.has(job) and not self.breaker.stopped:
            self.settler.requeue(job)

    # 3. Waiting
    def _enter_at_once(self, job: JobInProgress) -> bool:
        """Enter the breaker if nothing has to be waited for, and tell whether it did; the link checks all else."""
        return not (job.in_slot or self.redis_checks.has_rate) and self.breaker.semaphore.try_enter()

    async def _wait_until_ready(self, job: JobInProgress, *, may_be_marked: bool) -> bool:
        """Wait until a request may be started: then the breaker was entered, unless the job is in a slot.

        Return False if the pool stops, the job is not ours any more, it expires meanwhile, or it may be marked and its
        target goes down: a crash would make it dead as one that may have run.
        """
        while True:
            with trio.move_on_after(max(0.0, job.remaining_s(time.time()))):
                return await (self._wait_until_trip(job) if may_be_marked else self._wait_to_start(job))
            # Else the clock was set back meanwhile.
            if job.is_expired(time.time()):
                return False

    async def _wait_until_trip(self, job: JobInProgress) -> bool:
        """Wait as `_wait_to_start` does, but return False if the breaker trips meanwhile."""
        is_ready = False
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._cancel_at_trip, nursery.cancel_scope)
                is_ready = await self._wait_to_start(job)
                nursery.cancel_scope.cancel()
        except BaseException:
            # Who cancels the worker in this very tick takes the news of its place away.
            if is_ready and not job.in_slot:
                self.breaker.semaphore.leave()
            raise
        return is_ready

    async def _cancel_at_trip(self, scope: trio.CancelScope) -> None:
        await self.breaker.wait_to_trip()
        scope.cancel()

    async def _wait_to_start(self, job: JobInProgress) -> bool:
        """Wait as `_wait_until_ready` does, however long it takes."""
        breaker = self.breaker
        while self.reservations.has(job) and await (
            breaker.wait_to_admit() if job.in_slot else breaker.semaphore.enter()
        ):
            wait_s = ASK_AGAIN_S
            try:
                wait_s = await self.redis_checks.share_in_s(job)
                if not wait_s and self.send_checks.lease.is_fresh:
                    return True
                wait_s = wait_s or ASK_AGAIN_S
            finally:
                if wait_s and not job.in_slot:
                    breaker.semaphore.leave()
            await self._pause(wait_s)
        return False

    async def _pause(self, seconds: float) -> None:
        with trio.move_on_after(seconds * random.uniform(0.75, 1.25)):  # noqa: S311 - spreads load, protects nothing
            await self.stopping.wait()

    # 4. to 6. Claimed and marked, sent, answered
    def _call(self, job: JobInProgress, admitted: AdmittedJob) -> Call:
        payload, traceparent = admitted.payload, admitted.payload.traceparent
        return Call(
            admitted.submission.command,
            payload.attempt,
            payload.may_have_run or job.effected,
            self.plan.target.default_host,
            admitted.endpoint.timeout_s,
            payload.ok_if_exists,
            () if traceparent is None else (("traceparent", traceparent),),
            payload.identity,
        )

    async def _send(
        self, job: JobInProgress, admitted: AdmittedJob, partial: PartialExchange | None
    ) -> tuple[Outcome | None, float]:
        """Send the job once, as `_exchange` does, and leave the breaker, unless it is in a slot.

        Only then may another job take its place: what the breaker made of this outcome holds for that one, too.
        """
        link = JobLink(self.send_checks, job, partial)
        try:
            return await self._exchange(job, self._call(job, admitted), admitted.endpoint.spec, link)
        finally:
            link.drop_partial()
            if not job.in_slot:
                self.breaker.semaphore.leave()

    async def _exchange(
        self, job: JobInProgress, call: Call, spec: CommandSpec | None, link: JobLink
    ) -> tuple[Outcome | None, float]:
        """Send the job once, and return its outcome and the seconds that it took.

        The outcome is None if it was not sent, and is to wait, or was released.

        No text of an outcome shows a token, a secret argument, or, unless it is delivered, a secret of the target, no
        matter what the connector made of it. No exception of the connector gets out but `NotYet`, `JobExpired` and
        `JobIsDuplicate`, of an unsent job.
        """
        started_s = time.perf_counter()
        if link.partial is not None:
            started_s -= trio.current_time() - link.partial.started_s
        try:
            outcome = require_outcome(await self.plan.connector.deliver(call, link))
        except (JobTakenAway, SendingStopped, JobExpired, JobIsDuplicate) as why:
            return self._note_unsent(job, why), time.perf_counter() - started_s
        except Exception as error:  # noqa: BLE001 - a connector's bug must not end the worker
            outcome = outcome_of(self.plan, job, error, spec)
        finally:
            was_dropped = link.drop_partial()
        if was_dropped:
            # The connector took another way than before, while no one knows what the target made of the request.
            outcome = Uncertain(reason_of(spec, _DROPPED))
        took_s = time.perf_counter() - started_s
        outcome = self._interpret(job, call, spec, outcome=outcome, took_s=took_s)
        if isinstance(outcome, Denied | Unsent):
            job.hold(effected=link.has_continued)
            return Uncertain(_PART_DONE) if job.is_uncertain else outcome, took_s
        if isinstance(outcome, Deferred) and job.effected and job.at_most_once:
            return Uncertain(_PART_DONE), took_s
        if not isinstance(outcome, Uncertain):
            job.answer()
        return outcome, took_s

    def _interpret(
        self, job: JobInProgress, call: Call, spec: CommandSpec | None, outcome: Outcome, took_s: float
    ) -> Outcome:
        """Return what the connector's outcome means for this job, without secrets, once the breaker has noted it."""
        if not isinstance(outcome, Delivered):
            outcome = redact_outcome(self.plan, outcome, call, spec)
            if job.delivery < SENDING:
                outcome = settle.before_sending(outcome)
            elif job.at_most_once and isinstance(outcome, Denied):
                # Before the breaker sees it: no probe is asked whether it may be sent again.
                outcome = settle.apply_at_most_once(outcome)
        if job.delivery >= SENDING or not is_ours(outcome):
            self.breaker.observe(
                outcome, job.command, took_s, in_slot=job.in_slot, is_retry=call.attempt > 1, once=job.at_most_once
            )
        return settle.apply_at_most_once(outcome) if job.at_most_once else outcome

    # 6. Answered, or not: back to 3, if no outcome is left to judge
    def _note_unsent(
        self, job: JobInProgress, why: JobTakenAway | SendingStopped | JobExpired | JobIsDuplicate
    ) -> Uncertain | None:
        """Note that the job was not sent, and release it if it is not ours; `Uncertain` if it must not be begun again.

        None: it waits to be sent, unless it was released. Raise `JobExpired` and `JobIsDuplicate` again.
        """
        job.hold()
        if isinstance(why, JobExpired | JobIsDuplicate):
            raise why
        if isinstance(why, JobTakenAway) and not self.reservations.has(job):
            return None
        if job.is_uncertain:
            # Also if Redis gave it away: it applies nothing then, but if the job comes again, it is known that it ran.
            return Uncertain(_PART_DONE)
        if isinstance(why, JobTakenAway):
            self.reservations.release(job.ticket)
        return None

    async def _after_miss(self, outcome: Denied | Unsent, misses: _Misses) -> Deferred | Rejected | None:
        """Return the outcome to settle if it concerns this job alone; None if it is to be sent again, after a while."""
        if isinstance(outcome, Unsent):
            if misses.count_unsent(self.breaker.answers):
                return Deferred(outcome.reason)
            await self._pause(_UNSENT_WAIT_S)
            return None
        denied_too_often = misses.count_denial()
        if not await self.probe_after_denial(outcome.reason):
            return None
        if outcome.reason.status == _FORBIDDEN or denied_too_often:
            return Rejected(outcome.reason, outcome.text)
        await self._pause(ASK_AGAIN_S)
        return None

    # 7. Judged
    def _settle(
        self,
        job: JobInProgress,
        payload: Job,
        spec: CommandSpec | None,
        outcome: Delivered | Rejected | Deferred | Uncertain | None,
        took_s: float,
    ) -> bool:
        """Give the job the settlement for its outcome; return False if there is none, since it was not sent."""
        if outcome is not None:
            self.settler.settle(job, payload, spec, outcome, duration_s=took_s)
        return job.settlement is not None

    # A person cancels
    def cancel(self, job: JobInProgress) -> bool:
        """End the delivery of a job, so that its worker settles it as dead; return False if no worker has it.

        A worker that has its answer already settles it as usual.
        """
        worker = next((one for one in self._workers if one.job is job), None)
        if worker is None:
            return False
        worker.cancel(job)
        return True

    def _settle_cancelled(self, worker: Worker) -> None:
        """Settle the job that a person cancelled as dead, unless it was settled or went away in the last moment."""
        job = worker.cancelled
        if job is None or job.settlement is not None or not self.reservations.has(job):
            return
        try:
            assert job.payload is not None  # noqa: S101 - no one can cancel before it was read
            self.settler.cancel(job, job.payload)
        except Exception as error:  # noqa: BLE001 - whatever it is; its text may hold secrets
            self.settler.settle_bug(job, error)
        self.acks.add(job)


_PART_DONE = Reason(
    "Uncertain",
    "A part of the command ran; restbroker could not send the rest, and AtMostOnce forbids sending it again.",
    "Check on the server what was done. A retry sends the whole command again.",
)
_DROPPED = Reason(
    "Uncertain",
    "restbroker sent the command but read no answer, and does not repeat it: that would be another request.",
    "Check on the server whether it was done. A retry sends it again.",
)
_TOO_OFTEN = Reason(
    "Uncertain",
    "restbroker sent the command several times without an answer; it may have run each time, and is not safe to "
    "repeat.",
    "Check on the server whether it was done. A retry sends it again.",
)
