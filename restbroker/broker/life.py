"""The life of a job, from its admission to its settlement: `Life.live`, top to bottom, by the numbers of `delivery.py`.

It is a generator: it yields each wait (`waits.py`), and goes on once that is over; what came is in the delivery. The
worker takes its steps (`worker.py`). What ends a wait early (a person, expiry, loss, the pool's stop, a trip) decides
first what becomes of the job (`settle_cancelled`, `settle_unsent`), and then closes the life; nothing is ever thrown
into one. Always holds: however a life ends, its `finally` gives back each place that the job has, of the worker, of the
breaker and in a slot, once, and hands its settlement to the acker; nothing in there waits, or raises.
"""

import math
import random
import time
from collections.abc import Awaitable, Callable, Generator
from enum import Enum
from functools import partial
from typing import Final, Literal, TypeAlias, TypeVar

import attrs
import trio

from restbroker.broker import steps
from restbroker.broker.acceptance import CLOCKS_DIFFER
from restbroker.broker.acker import AckBuffer
from restbroker.broker.admission import Admission, AdmittedJob
from restbroker.broker.breaker import Breaker
from restbroker.broker.delivery import Delivery, JobExpired, JobIsDuplicate, SendChecks
from restbroker.broker.gates import ASK_AGAIN_S, RedisGates, Slot, Timers
from restbroker.broker.job_in_progress import SENDING, JobInProgress, Reservations
from restbroker.broker.judging import Judge
from restbroker.broker.ready_buffer import ReadyBuffer
from restbroker.broker.settler import SLOTS_FULL, Settler
from restbroker.broker.steps import IN_TASK, AwaitedWithoutTask, Plans, Preparation, Run, Step
from restbroker.broker.target_plan import TargetPlan
from restbroker.broker.waits import Asked, Delays, InLine, InTask, Moment, Tasks, Wait
from restbroker.job import settle
from restbroker.job.job import MOST_CRASHES, NotAJob
from restbroker.job.order import KEY_UNCLEAR, is_ordered, key_of
from restbroker.job.outcome import Deferred, Delivered, Denied, Outcome, Reason, Rejected, Uncertain, Unsent
from restbroker.job.settle import reason_of
from restbroker.light import define, field
from restbroker.servers.contract import NotYet, Planner
from restbroker.store.tickets import ticket_key
from restbroker.transport.client import LeanClient
from restbroker.transport.message import MaybeSent, NotSent, Request, Response, Withdrawn

T = TypeVar("T")
Waiting: TypeAlias = Generator[Wait | Delivery, None, T]
"""A part of a life, which may wait, and returns this."""

_FORBIDDEN = 403
"""The status of the one denial that may concern a single command."""
_LOGIN_REFUSED = (401, 403)
"""Statuses of a request that was not run, since its login may not have that done."""
_UNSENT_WAIT_S = 0.2
"""Seconds until a job that was not sent is tried again."""


class _Over(Enum):
    """What a job that was not sent may come to: its end."""

    OVER = 0


_OVER: Final = _Over.OVER
_Final: TypeAlias = Delivered | Rejected | Deferred | Uncertain
_Judged: TypeAlias = Outcome | Literal[_Over.OVER] | None
"""What comes of a round; None: another one begins."""


@define(eq=False)
class Life:
    """What the lives of one pool's jobs use. `deliveries`: those that have not ended.

    Setting `stopping` ends their waits. `probe_after_denial` is the prober's.
    """

    plan: TargetPlan
    reservations: Reservations
    ready: ReadyBuffer
    admission: Admission
    gates: RedisGates
    breaker: Breaker
    checks: SendChecks
    settler: Settler
    acks: AckBuffer
    stopping: trio.Event
    probe_after_denial: Callable[[Reason], Awaitable[bool]]
    timers: Timers = field(factory=Timers)
    tasks: Tasks = field(factory=Tasks)
    delays: Delays = field(init=False)
    deliveries: dict[JobInProgress, Delivery] = field(factory=dict)
    client: LeanClient | None = field(init=False)
    """The transport, if its requests can be made without a task."""
    delivered: list[JobInProgress] = field(factory=list)
    """Those of this turn, which give their places back together (`leave_together`)."""
    _advance: Callable[[Run, object, Exception | None], Step] = field(init=False, default=steps.begin_task)
    """What advances the connector by a step."""
    _plans: Plans | None = field(init=False, default=None)
    """The plans of a connector that has some."""
    _judging: Judge = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Find out once what does not change."""
        plan, connector = self.plan, self.plan.connector
        self._judging = Judge(plan, self.reservations, self.breaker)
        self.delays = Delays(self.ready, self.timers)
        self.client = plan.transport if isinstance(plan.transport, LeanClient) else None
        if getattr(connector, "stepwise", False) and self.client is not None:
            self._advance = steps.advance if plan.is_ours else steps.advance_untasked
            if isinstance(connector, Planner) and self._advance is not steps.begin_task:
                self._plans = Plans(connector, self.client)

    def live(self, delivery: Delivery) -> Waiting[None]:  # noqa: C901, PLR0912, PLR0915 - it reads from top to bottom
        """Take a job from its admission to its settlement."""
        job, leaves_together = delivery.job, False
        try:
            # 2. Admitted
            payload = self.admission.read(job, time.time())
            found = payload if isinstance(payload, NotAJob) else self.admission.admit(job, payload)
            admitted = found if isinstance(found, AdmittedJob) else None
            if admitted is None or admitted.payload.maybe_run or self.plan.order is not None:
                admitted = self._look_closer(job, found)
                if admitted is None:
                    return
            delivery.admitted = admitted
            # 3. Waiting: most jobs need not, and all else is checked before the first byte
            slot, is_timed = admitted.endpoint.slot, self.gates.has_rate or job.expires_at_s is not None
            if slot is None and not is_timed and job.fingerprint is None and self.breaker.semaphore.try_enter():
                delivery.has_breaker_place = True
            elif not (yield from self._wait(delivery, slot)):
                return
            while self.tasks.nursery is not None:
                # 4. to 6. Claimed, marked, sent, answered: most jobs as the connector's plan says
                began_s = time.perf_counter()
                planned = None if self._plans is None else self._plans.for_call(job, admitted)
                if planned is None:
                    ended = yield from self._round(delivery, None)
                else:
                    service, endpoint, message = planned
                    exchange = service.start(endpoint.request, delivery, message)
                    if delivery.came is None:
                        delivery.exchange = exchange
                        yield delivery
                    ended = endpoint.outcome(delivery.came)
                    if ended is None:
                        ended = yield from self._round(delivery, message)
                # 7. Judged
                job.round_ended_s = ended_s = time.perf_counter()
                took_s = ended_s - began_s
                if type(ended) is Delivered and not ended.by_us and delivery.has_breaker_place:
                    final: _Final | None = ended
                else:
                    judged = self._judge(delivery, ended, took_s)
                    if judged is None or isinstance(judged, (Unsent, Denied)):
                        judged = yield from self._wait_again(delivery, judged)
                    if judged is _OVER:
                        return
                    final = judged
                # 8. Settled: those that were delivered together give their places back together
                if final is not None:
                    self.settler.settle(job, admitted.payload, admitted.endpoint.spec, final, took_s)
                    if delivery.has_breaker_place:
                        self.delivered.append(job)
                        leaves_together = True
                    return
        except Exception as bug:  # noqa: BLE001 - whatever it is; its text may hold secrets
            self.settler.settle_bug(job, bug)
        finally:
            if not leaves_together:
                self._give_back(delivery)

    # 2. Admitted
    def _look_closer(self, job: JobInProgress, admitted: AdmittedJob | NotAJob | Reason) -> AdmittedJob | None:
        """Return a job that has a key, or may have run, if it may be sent; None if it is not let in, and is settled."""
        if isinstance(admitted, NotAJob):
            self.settler.refuse(job, admitted)
            return None
        if isinstance(admitted, Reason):
            assert job.payload is not None  # noqa: S101 - it was read
            if admitted.code == CLOCKS_DIFFER.code:
                self.settler.postpone(job, job.payload, admitted)
            else:
                self.settler.settle(job, job.payload, None, Rejected(admitted))
            return None
        if (order := self.plan.order) is not None:
            own, given = ticket_key(job.ticket), admitted.command.arguments
            is_old = job.number <= self.reservations.old_keys_until
            key = own if is_old else key_of(order, self.plan.target.fairness, admitted.payload.fields, given)
            if key is None or not (key == own or not (is_ordered(key) or is_ordered(own))):
                self.settler.settle(job, admitted.payload, admitted.endpoint.spec, Rejected(KEY_UNCLEAR))
                return None
        return self._check_resend(job, admitted) if admitted.payload.maybe_run else admitted

    def _check_resend(self, job: JobInProgress, admitted: AdmittedJob) -> AdmittedJob | None:
        """Return a job that may have run, as it is to be sent again; None if it must not be, and is settled."""
        payload, spec = admitted.payload, admitted.endpoint.spec
        uncertain_retries = self.plan.policy.uncertain_retries
        if payload.crashes >= MOST_CRASHES:
            self.settler.settle(job, payload, spec, Uncertain(_POISON, is_final=True))
            return None
        if job.at_most_once:
            # Had it been about to be sent in a crash, its mark would have made it dead.
            payload, uncertain_retries = attrs.evolve(payload, maybe_run=payload.maybe_run - payload.crashes), 0
        if not settle.may_send(payload, spec, uncertain_retries, at_most_once=job.at_most_once):
            self.settler.settle(job, payload, spec, Uncertain(reason_of(spec, _TOO_OFTEN)))
            return None
        return attrs.evolve(admitted, payload=payload)

    # 3. Waiting
    def _wait(self, delivery: Delivery, slot: Slot | None) -> Waiting[bool]:
        """Wait for all that comes before the first round; return whether that may begin, or the life is over."""
        job = delivery.job
        if job.fingerprint is not None:
            yield Asked(self.gates.replays, job.fingerprint)
            stored_for_s: float = delivery.result()
            if stored_for_s == math.inf:
                self.settler.end_replay(job)
                return False
            job.limit_copy(stored_for_s)
        if slot is not None and not self.stopping.is_set():
            if not slot.try_enter():
                if slot.is_full:
                    self.settler.postpone(job, delivery.admitted.payload, SLOTS_FULL)
                    return False
                delivery.lend_place()
                yield InLine(slot.waiting, then=self.ready.release)
            delivery.enter_slot(slot)
        return (yield from self._may_begin(delivery))

    def _may_begin(self, delivery: Delivery) -> Waiting[bool]:
        """Wait until the breaker admits it, the rate limit has a share, and the lease is fresh, as `_wait` does."""
        job, semaphore = delivery.job, self.breaker.semaphore
        while not (delivery.cancelled or self.stopping.is_set()) and self._may_wait(delivery):
            is_in = semaphore.try_enter() if delivery.slot is None else self.breaker.admits
            if not is_in:
                yield InLine(semaphore.line if delivery.slot is None else semaphore.beside)
            delivery.enter_breaker()
            if not (is_in or self._may_wait(delivery)):
                break
            wait_s = 0.0
            if not self.gates.is_charged(job):
                yield Asked(self.gates.shares, job)
                wait_s = delivery.result()
            if not wait_s and self.checks.lease.is_fresh and not self.stopping.is_set():
                return True
            delivery.leave_breaker()
            yield from self._pause(delivery, wait_s or ASK_AGAIN_S)
        (self.settle_cancelled if delivery.cancelled else self.settle_unsent)(delivery)
        return False

    def _may_wait(self, delivery: Delivery) -> bool:
        """Tell whether it may wait to be sent: it is ours and did not expire, and if marked, its target is not down."""
        job = delivery.job
        if not self.reservations.has(job) or job.is_expired(time.time()):
            return False
        return self.breaker.admits or not delivery.may_be_marked

    def _pause(self, delivery: Delivery, seconds: float) -> Waiting[None]:
        """Wait about so many seconds, unless it is to end."""
        if not (self.stopping.is_set() or delivery.cancelled):
            spread = random.uniform(0.75, 1.25)  # noqa: S311 - spreads load, protects nothing
            yield Moment(self.timers, trio.current_time() + seconds * spread)

    def settle_unsent(self, delivery: Delivery) -> None:
        """Settle what may not wait any longer: unless the job expired or may be marked, it stays reserved."""
        job = delivery.job
        if not self.reservations.has(job):
            return
        if job.is_expired(time.time()):
            self.settler.expire(job, delivery.admitted.payload)
        elif delivery.may_be_marked and not self.breaker.stopped:
            self.settler.requeue(job)

    def settle_cancelled(self, delivery: Delivery) -> None:
        """Settle the job that a person cancelled as dead, unless it was settled or went away in the last moment."""
        job = delivery.job
        if job.settlement is None and self.reservations.has(job):
            assert job.payload is not None  # noqa: S101 - no one can cancel before it was read
            self.settler.cancel(job, job.payload)

    # 4. to 6. Claimed and marked, sent, answered: by the connector, over its link
    def _round(  # noqa: C901, PLR0912 - one step after the other
        self, delivery: Delivery, message: bytes | None
    ) -> Waiting[Outcome | Exception | None]:
        """Have the connector deliver it, from step to step or in a task; return what it returns or raises.

        `message`: the request of its plan, which was sent, and of which the plan cannot say what came.
        """
        advance, run = self._advance, None
        service = None if self.client is None else self.client.service
        try:
            run = self.plan.connector.deliver(delivery.call(), delivery)
            step: Step | Uncertain | None = IN_TASK
            if message is not None:
                step = self._follow_plan(delivery, run, message)
            elif service is not None and not service.is_over:
                step = advance(run, None, None)
            while service is not None and step is not IN_TASK:
                exchange = None
                if type(step) is Request:
                    exchange = service.start(step, delivery)
                elif type(step) is Preparation:
                    exchange = service.start(step.request, step)
                elif type(step) is Asked:
                    yield step
                elif isinstance(step, Uncertain):
                    return step
                elif step is not None:
                    step = advance(run, None, AwaitedWithoutTask())
                    continue
                if exchange is not None and delivery.came is None:
                    delivery.exchange = exchange
                    yield delivery
                came, delivery.came = delivery.came, None
                try:
                    step = advance(run, None, came) if isinstance(came, Exception) else advance(run, came, None)
                finally:
                    del came  # its traceback names this frame
            yield InTask(self.tasks, partial(self._run_in_task, delivery, run))
            outcome: Outcome = delivery.result()
            return outcome
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        except GeneratorExit:
            if run is not None:
                self._close(run)
            raise
        except Exception as problem:  # noqa: BLE001 - a connector's bug must not end the worker
            return problem

    def _follow_plan(self, delivery: Delivery, run: Run, message: bytes) -> Step | Uncertain | None:
        """Take the first step of a connector whose plan has sent it; return it if it is to be sent again, else None.

        Return `Uncertain` if the connector takes another way, or raise what came.
        """
        assert self.client is not None  # noqa: S101 - it was planned
        first: Step | None = None
        bug = None
        try:
            first = delivery.follow(partial(self._advance, run, None, None))
        except (StopIteration, NotYet, NotSent, MaybeSent, Withdrawn):
            pass  # it needs no request any more
        except Exception as raised:  # noqa: BLE001 - a connector's bug must not end the worker
            bug = self.plan.bug("The connector", raised)
        came = delivery.came
        if type(first) is Request:
            is_refused = isinstance(came, Response) and came.status in _LOGIN_REFUSED
            if not is_refused or self.client.heads.message(first) == message:
                return None
            # It has another login by now; what was refused for the old one was not run.
            delivery.result()
            return first
        # Nobody knows what the target made of the request of the plan, unless that never left.
        self._close(run)
        if delivery.job.delivery < SENDING:
            delivery.result()
        return Uncertain(reason_of(delivery.admitted.endpoint.spec, bug or _DROPPED))

    async def _run_in_task(self, delivery: Delivery, run: Run) -> Outcome:
        """Have the connector go on in this task; return and raise what it does.

        What its own tasks raise as they are cancelled with it would end the worker: it is told, and goes no further.
        """
        try:
            return await delivery.run_in_task(run)
        except BaseExceptionGroup as group:
            cancelled, others = group.split(trio.Cancelled)
            if cancelled is None or not isinstance(others, ExceptionGroup):
                raise
            self._tell_bug(others)
            raise cancelled from None

    def _close(self, run: Run) -> None:
        """End a connector's coroutine where it waits; do nothing if it has ended."""
        try:
            run.close()
        except Exception as raised:  # noqa: BLE001 - its job has its end
            self._tell_bug(raised)

    def _tell_bug(self, raised: Exception) -> None:
        bug = self.plan.bug("The connector", raised)
        self.settler.identity.warn_once(bug.code, bug.message, bug.hint)

    # 7. Judged
    def _judge(self, delivery: Delivery, ended: Outcome | Exception | None, took_s: float) -> _Judged:
        """Return what came of a round, once the breaker has noted it, so that another job may take its place."""
        job, payload = delivery.job, delivery.admitted.payload
        try:
            final = self._judging.interpret(delivery, ended, took_s)
        except NotYet as why:
            if delivery.cancelled:
                self.settle_cancelled(delivery)
            else:
                self.delays.put(job, why.wait_s)
            return _OVER
        except JobExpired:
            self.settler.expire(job, payload)
            return _OVER
        except JobIsDuplicate as why:
            self.settler.end_duplicate(job, payload, why.other)
            return _OVER
        finally:
            delivery.end_round()
            del ended  # its traceback names this frame
        delivery.leave_breaker()
        return Deferred(final.reason) if isinstance(final, Unsent) and delivery.count_unsent() else final

    def _wait_again(
        self, delivery: Delivery, why: Unsent | Denied | None
    ) -> Waiting[Rejected | Literal[_Over.OVER] | None]:
        """Wait until another round may begin, and return None; or return what becomes of the job."""
        if isinstance(why, Unsent):
            yield from self._pause(delivery, _UNSENT_WAIT_S)
        elif isinstance(why, Denied):
            yield InTask(self.tasks, partial(self.probe_after_denial, why.reason))
            is_let_in, denied_too_often = delivery.result(), delivery.count_denial()
            if is_let_in and (why.reason.status == _FORBIDDEN or denied_too_often):
                # It concerns this job alone.
                return Rejected(why.reason, why.text)
            if is_let_in:
                yield from self._pause(delivery, ASK_AGAIN_S)
        return None if (yield from self._may_begin(delivery)) else _OVER

    # 8. Settled, by the acker; its places are given back
    def _give_back(self, delivery: Delivery) -> None:
        """Give its places back: its job has a settlement, or stays reserved, or waits for its time."""
        job = delivery.job
        del self.deliveries[job]
        try:
            if job.settlement is not None:
                self.acks.add([job])
        except Exception as bug:  # noqa: BLE001 - the acker's; a place that is not given back is gone for good
            self.settler.settle_bug(job, bug)
        delivery.leave_breaker()
        is_followed = delivery.leave_slot()  # by one that has the place of the worker, too
        if delivery.has_worker_place and not is_followed:
            self.ready.release()

    def leave_together(self) -> None:
        """Give back the places of those that were delivered in this turn, and have the next ones begin."""
        jobs, self.delivered = self.delivered, []
        counts: dict[str, int] = {}
        for job in jobs:
            del self.deliveries[job]
            counts[job.command] = counts.get(job.command, 0) + 1
        try:
            self.acks.add(jobs)
        except Exception as bug:  # noqa: BLE001 - as above
            self.settler.settle_bug(jobs[0], bug)
        self.breaker.record_delivered(counts)
        self.ready.release(len(jobs))


_DROPPED = Reason(
    "Uncertain",
    "restbroker sent the command but read no answer, and does not repeat it: that would be another request.",
    "Check on the server whether it was done. A retry sends it again.",
)
_POISON = Reason(
    "Poison",
    "Processes died six times while this job was in progress: it kills them, or something else does.",
    "Check restbroker's logs of those times. A retry sends it again.",
)
_TOO_OFTEN = Reason(
    "Uncertain",
    "restbroker sent the command several times without an answer; it may have run each time, and is not safe to "
    "repeat.",
    "Check on the server whether it was done. A retry sends it again.",
)
