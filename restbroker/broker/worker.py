"""The worker of a target: it takes jobs from the ready buffer, and takes each of them through its delivery.

It is one task, and has as many jobs under way as the target's `Concurrency` and slots allow. The header of
`delivery.py` describes the life of a job; the parts of this file have its numbers. A job needs no task to wait for
something: it stands in a list (`gates.py`, `breaker.py`), whose owner calls the worker when its turn has come. What is
answered is judged, settled, and followed by the next job in the same turn. What needs a task of its own, such as a
connector that waits for something else than its link, is a child of the worker's nursery, so that one scope ends all.

Always holds: whoever calls the worker gets no exception: a bug costs only the job over which it came. Once
`_has_ended`, no round and no task begins. The places that a job has, of the worker, of the
breaker and in a slot, it gives back once each, at the latest when its delivery ends.
"""

import heapq
import math
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Concatenate, ParamSpec, TypeVar, assert_never

import attrs
import trio

from restbroker.broker import steps
from restbroker.broker.acceptance import CLOCKS_DIFFER
from restbroker.broker.acker import AckBuffer
from restbroker.broker.admission import Admission, AdmittedJob
from restbroker.broker.breaker import Breaker
from restbroker.broker.delivery import Delivery, JobExpired, JobIsDuplicate, SendChecks
from restbroker.broker.gates import ASK_AGAIN_S, Gate, RedisGates, Timers
from restbroker.broker.job_in_progress import SENDING, JobInProgress, Reservations
from restbroker.broker.judging import Judge
from restbroker.broker.ready_buffer import ReadyBuffer
from restbroker.broker.settler import SLOTS_FULL, Settler
from restbroker.broker.steps import IN_TASK, AwaitedWithoutTask, Plans, RedisStep, Run, Step, continue_as_task
from restbroker.broker.target_plan import TargetPlan
from restbroker.job import settle
from restbroker.job.job import MOST_CRASHES, NotAJob
from restbroker.job.order import KEY_UNCLEAR, Order, is_ordered, key_of
from restbroker.job.outcome import Deferred, Delivered, Denied, Outcome, Reason, Rejected, Uncertain, Unsent
from restbroker.job.settle import reason_of
from restbroker.light import define, field
from restbroker.servers.contract import NotYet, Planner
from restbroker.store.tickets import ticket_key
from restbroker.transport.client import LeanClient
from restbroker.transport.exchange import ExchangeState
from restbroker.transport.message import MaybeSent, NotSent, Request, Response, Withdrawn

P = ParamSpec("P")
T = TypeVar("T")
A = TypeVar("A")

_OVER = ExchangeState.OVER
_FORBIDDEN = 403
"""The status of the one denial that may concern a single command."""
_LOGIN_REFUSED = (401, 403)
"""Statuses of a request that was not run, since its login may not have that done."""
_UNSENT_WAIT_S = 0.2
"""Seconds until a job that was not sent is tried again."""


@define(eq=False)
class Worker:
    """The worker of one pool. Setting `stopping` ends the waits here. `probe_after_denial` is the prober's."""

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
    _deliveries: dict[JobInProgress, Delivery] = field(factory=dict)
    _delayed: list[tuple[float, int, JobInProgress]] = field(factory=list)
    """The jobs whose connector wants them to wait: (time due, number, job), a heap."""
    _finished: list[tuple[Delivery, Outcome | None, Exception | None]] = field(factory=list)
    """What came of rounds, to be judged."""
    _is_judging: bool = False
    _client: LeanClient | None = field(init=False)
    """The transport, if its requests can be made without a task."""
    _advance: Callable[[Run, object, Exception | None], Step] | None = field(init=False)
    """What advances the connector by a step; None: it needs a task."""
    _judging: Judge = field(init=False)
    _plans: Plans | None = field(init=False, default=None)
    """The plans of a connector that has some."""
    _for_tasks: deque[Delivery] = field(factory=deque)
    """Those for each of which a task has been started: Trio begins tasks in any order, and jobs begin in theirs."""
    _tasks: trio.Nursery | None = None
    _timers: Timers = field(factory=Timers)
    _changed: trio.lowlevel.ParkingLot = field(factory=trio.lowlevel.ParkingLot)
    _has_ended: bool = False

    def __attrs_post_init__(self) -> None:
        """Find out once what does not change."""
        self._judging = Judge(self.plan, self.reservations, self.breaker)
        transport = self.plan.transport
        self._client = transport if isinstance(transport, LeanClient) else None
        self._advance = None
        if getattr(self.plan.connector, "stepwise", False) and self._client is not None:
            self._advance = steps.advance if self.plan.is_ours else steps.advance_untasked
            if isinstance(self.plan.connector, Planner):
                self._plans = Plans(self.plan.connector, self._client)

    async def run(self) -> None:
        """Take jobs until the pool stops and none is in delivery. When cancelled, jobs keep what is known of them."""
        async with trio.open_nursery() as beside:
            beside.start_soon(self.gates.run)
            beside.start_soon(self._timers.run)
            beside.start_soon(self._watch_trips)
            try:
                async with trio.open_nursery() as self._tasks:
                    try:
                        self.ready.serve(self.take)
                        await self.stopping.wait()
                        self._end_waits(lambda delivery: not delivery.is_asking)
                        while self._deliveries:
                            await self._changed.park()
                    finally:
                        # Before the tasks end: what one of them leaves must not start another job.
                        self._has_ended = True
                        self.ready.serve(None)
            finally:
                # The client's listener may have ended between an answer and what follows it.
                self._judge_all()
                for delivery in list(self._deliveries.values()):
                    self._abandon(delivery)
                self._deliveries.clear()
            beside.cancel_scope.cancel()

    # 1. Fetched
    def take(self, job: JobInProgress) -> bool:
        """Take a job as far as it goes now; return False if it is settled by then and takes no place."""
        delivery: Delivery | None = None
        try:
            admitted = self._admit(job)
            if admitted is not None:
                delivery = Delivery(self, self.checks, job, admitted, self.plan.target.default_host)
                self._deliveries[job] = delivery
                if (
                    job.fingerprint is None
                    and job.expires_at_s is None
                    and admitted.endpoint.slot is None
                    and not self.gates.has_rate
                    and self.breaker.semaphore.try_enter()
                ):
                    # Most jobs: nothing has to be waited for, and all else is checked before the first byte.
                    delivery.has_breaker_place = True
                    self._start(delivery)
                else:
                    self._look_up(delivery)
                return True
        except Exception as error:  # noqa: BLE001 - whatever it is; its text may hold secrets
            if delivery is not None:
                self._fail(delivery, error)
                return True
            self.settler.settle_bug(job, error)
        self.acks.add(job)
        return False

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
        if self.plan.order is not None and (reason := self._order_refusal(job, admitted, self.plan.order)) is not None:
            self.settler.settle(job, admitted.payload, admitted.endpoint.spec, Rejected(reason))
            return None
        if admitted.payload.maybe_run:
            return self._check_resend(job, admitted)
        return admitted

    def _order_refusal(self, job: JobInProgress, admitted: AdmittedJob, order: Order) -> Reason | None:
        """Return why a job may not be sent, whose target does the jobs of one key in this order; None: it may."""
        own, given = ticket_key(job.ticket), admitted.command.arguments
        is_old = job.number <= self.reservations.old_keys_until
        key = own if is_old else key_of(order, self.plan.target.fairness, admitted.payload.fields, given)
        is_same = key is not None and (key == own or not (is_ordered(key) or is_ordered(own)))
        return None if is_same else KEY_UNCLEAR

    def _check_resend(self, job: JobInProgress, admitted: AdmittedJob) -> AdmittedJob | None:
        """Return `admitted`, for a job that may have run; None if it may not be sent again, and is settled so."""
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

    def _look_up(self, delivery: Delivery) -> None:
        """Have Redis say whether a signed job was done before."""
        job = delivery.job
        if job.fingerprint is not None:
            self._ask(delivery, self.gates.replays, job.fingerprint, self._take_replay)
        else:
            self._enter_slot(delivery)

    def _take_replay(self, delivery: Delivery, stored_for_s: float) -> None:
        if stored_for_s < math.inf:
            delivery.job.limit_copy(stored_for_s)
            self._enter_slot(delivery)
        else:
            self.settler.end_replay(delivery.job)
            self._end(delivery)

    # 3. Waiting
    def _enter_slot(self, delivery: Delivery) -> None:
        """Enter the slot of its command, or wait for it, without one of the worker's places."""
        slot = delivery.admitted.endpoint.slot
        if slot is None or self.stopping.is_set():
            self._wait_to_start(delivery)
            return

        def take() -> None:
            self._take_slot(delivery)

        match slot.enter(take):
            case "in":
                delivery.job.in_slot = True
                self._wait_to_start(delivery)
            case "waiting":
                delivery.has_worker_place = False
                self._wait(delivery, partial(slot.waiting.remove, take))
                self.ready.release()
            case "full":
                self.settler.postpone(delivery.job, delivery.admitted.payload, SLOTS_FULL)
                self._end(delivery)
            case other:
                assert_never(other)

    def _take_slot(self, delivery: Delivery) -> None:
        """Go on with the places of a job that left the slot: that in the slot, and that of the worker."""
        delivery.has_worker_place = delivery.job.in_slot = True
        self._clear_wait(delivery)
        if not self._has_ended:
            self._do(delivery, self._wait_to_start)

    def _wait_to_start(self, delivery: Delivery) -> None:
        """Begin a round as soon as the breaker admits it, it has a share of the rate limit, and the lease is fresh."""
        job, breaker = delivery.job, self.breaker
        if delivery.cancelled:
            self._settle_cancelled(delivery)
        elif self.stopping.is_set() or not self._may_wait(delivery):
            self._end_unsent(delivery)
        elif breaker.admits if job.in_slot else self._enter_breaker(delivery):
            self._go_through(delivery)
        else:
            waiting = breaker.semaphore.beside if job.in_slot else breaker.semaphore.line
            take_place = partial(self._take_place, delivery)
            waiting.append(take_place)
            self._wait(delivery, partial(waiting.remove, take_place))

    def _enter_breaker(self, delivery: Delivery) -> bool:
        """Give it a place in the breaker, if there is one now, and no one waits for it; tell whether it has one."""
        delivery.has_breaker_place = self.breaker.semaphore.try_enter()
        return delivery.has_breaker_place

    def _may_wait(self, delivery: Delivery) -> bool:
        """Tell whether it may wait to be sent: it is ours and did not expire, and if marked, its target is not down."""
        job = delivery.job
        if not self.reservations.has(job) or job.is_expired(time.time()):
            return False
        return self.breaker.admits or not delivery.may_be_marked

    def _take_place(self, delivery: Delivery) -> bool:
        """Go on with the place in the breaker that it waited for; return False if it does not take that."""
        self._clear_wait(delivery)
        if self._has_ended or delivery.is_over:
            return False
        try:
            if not self._may_wait(delivery):
                self._end_unsent(delivery)
                return False
        except Exception as error:  # noqa: BLE001 - whatever it is; its text may hold secrets
            self._fail(delivery, error)
            return False
        delivery.has_breaker_place = not delivery.job.in_slot
        self._do(delivery, self._go_through)
        return True

    def _go_through(self, delivery: Delivery) -> None:
        """Have the rate limit charged for its start, if there is one."""
        if self.gates.is_charged(delivery.job):
            self._take_share(delivery, 0.0)
        else:
            self._ask(delivery, self.gates.shares, delivery.job, self._take_share)

    def _take_share(self, delivery: Delivery, wait_s: float) -> None:
        """Begin the round, or wait so many seconds outside the breaker."""
        if not wait_s and self.checks.lease.is_fresh and not self.stopping.is_set():
            self._start(delivery)
        else:
            self._leave_breaker(delivery)
            self._pause(delivery, wait_s or ASK_AGAIN_S)

    def _pause(self, delivery: Delivery, seconds: float) -> None:
        """Have another round after about so many seconds."""
        if self.stopping.is_set() or delivery.cancelled:
            self._wait_to_start(delivery)
            return
        due_s = trio.current_time() + seconds * random.uniform(0.75, 1.25)  # noqa: S311 - spreads load, protects nothing
        timer = self._timers.at(due_s, partial(self._end_pause, delivery))
        self._wait(delivery, partial(self._timers.cancel, timer))

    def _end_pause(self, delivery: Delivery) -> None:
        self._clear_wait(delivery)
        self._do(delivery, self._wait_to_start)

    def _delay(self, delivery: Delivery, wait_s: float) -> None:
        """End the delivery of a job whose connector wants it to wait so many seconds; then it is ready again."""
        if delivery.cancelled:
            self._settle_cancelled(delivery)
            return
        due_s, job = trio.current_time() + wait_s, delivery.job
        heapq.heappush(self._delayed, (due_s, job.number, job))
        self._timers.at(due_s, self._end_delays)
        self._end(delivery)

    def _end_delays(self) -> None:
        due: list[JobInProgress] = []
        while self._delayed and self._delayed[0][0] <= trio.current_time():
            due.append(heapq.heappop(self._delayed)[2])
        self.ready.put_back(*due)

    def _end_unsent(self, delivery: Delivery) -> None:
        """End a delivery that may not wait any longer: unless the job expired or may be marked, it stays reserved."""
        job = delivery.job
        if self.reservations.has(job):
            if job.is_expired(time.time()):
                self.settler.expire(job, delivery.admitted.payload)
            elif delivery.may_be_marked and not self.breaker.stopped:
                self.settler.requeue(job)
        self._end(delivery)

    # What a wait consists of, and what ends it
    def _wait(self, delivery: Delivery, leave: Callable[[], None], *, is_asking: bool = False) -> None:
        """Note how its wait is ended; meanwhile it may expire."""
        delivery.leave, delivery.is_asking = leave, is_asking
        remaining_s = delivery.job.remaining_s(time.time())
        if remaining_s < math.inf:
            due_s = trio.current_time() + max(0.0, remaining_s)
            delivery.expiry = self._timers.at(due_s, partial(self._expire, delivery))

    def _clear_wait(self, delivery: Delivery) -> None:
        """Note that what it waited for has come."""
        delivery.leave = None
        if delivery.expiry is not None:
            self._timers.cancel(delivery.expiry)
            delivery.expiry = None

    def _leave(self, delivery: Delivery) -> None:
        """End its wait, for which nothing has come."""
        leave = delivery.leave
        self._clear_wait(delivery)
        if leave is not None:
            leave()

    def _ask(self, delivery: Delivery, gate: Gate[T, A], what: T, then: Callable[[Delivery, A], None]) -> None:
        """Go on with `then` once Redis has answered."""
        question = gate.put(what, partial(self._take_answer, delivery, then))
        self._wait(delivery, partial(gate.withdraw, question), is_asking=True)

    def _take_answer(self, delivery: Delivery, then: Callable[[Delivery, A], None], answer: A | Exception) -> None:
        self._clear_wait(delivery)
        if isinstance(answer, Exception):
            self._fail(delivery, answer)
        else:
            self._do(delivery, then, answer)

    def _expire(self, delivery: Delivery) -> None:
        leave, is_asking = delivery.leave, delivery.is_asking
        self._clear_wait(delivery)
        if leave is None:
            return
        if not delivery.job.is_expired(time.time()):
            self._wait(delivery, leave, is_asking=is_asking)  # the clock was set back meanwhile
            return
        leave()
        self._do(delivery, self._end_unsent)

    def _end_waits(self, are_over: Callable[[Delivery], bool]) -> None:
        """End the deliveries that wait for a round, of which `are_over` is true."""
        for delivery in list(self._deliveries.values()):
            if delivery.leave is not None and delivery.run is None and are_over(delivery):
                self._leave(delivery)
                self._do(delivery, self._end_unsent)

    async def _watch_trips(self) -> None:
        """End the waits of those that may be marked whenever the target goes down: a crash would make them dead."""
        while True:
            await self.breaker.wait_to_trip()
            self._end_waits(lambda delivery: delivery.may_be_marked)
            if not await self.breaker.wait_to_admit():
                return

    def drop_lost(self) -> None:
        """End the waits of jobs that are not ours any more."""
        self._end_waits(lambda delivery: not self.reservations.has(delivery.job))
        self._delayed = [entry for entry in self._delayed if self.reservations.has(entry[2])]
        heapq.heapify(self._delayed)

    def waiting_tickets(self) -> frozenset[str]:
        """Return the tickets of the jobs that wait for their slot or for their time, without a place."""
        in_slots = [job.ticket for job, delivery in self._deliveries.items() if not delivery.has_worker_place]
        return frozenset([*in_slots, *(job.ticket for _, _, job in self._delayed)])

    # 4. to 6. Claimed and marked, sent, answered: by the connector, over its link
    def _start(self, delivery: Delivery) -> None:
        """Begin a round: without a task if the connector and the client can do that."""
        if self._has_ended:
            return
        service = None if self._client is None else self._client.service
        if self._advance is None or service is None or service.is_over:
            self._start_task(delivery)
            return
        if self._plans is not None and (planned := self._plans.for_call(delivery.job, delivery.admitted)) is not None:
            delivery.planned, delivery.message = planned
            delivery.is_effect, delivery.took, delivery.started_s = True, False, time.perf_counter()
            exchange = service.start(planned[0].request, delivery, planned[1])
            if exchange.state is not _OVER:
                delivery.exchange = exchange
            return
        delivery.begin_round()
        delivery.run = self.plan.connector.deliver(delivery.call(), delivery)
        self.advance(delivery, None, None)

    def _follow_plan(self, delivery: Delivery, got: object, error: Exception | None) -> None:
        """Have `deliver` go on with what came to the request that it would have sent first."""
        delivery.is_taken_over = True
        assert self._advance is not None and self._client is not None  # noqa: S101, PT018 - it was started so
        delivery.run = run = self.plan.connector.deliver(delivery.call(), delivery)
        first: Step | None = None
        bug = None
        try:
            first = self._advance(run, None, None)
        except (StopIteration, NotYet, NotSent, MaybeSent, Withdrawn):
            pass  # it needs no request any more
        except Exception as raised:  # noqa: BLE001 - a connector's bug must not end the worker
            bug = self.plan.bug("The connector", raised)
        if type(first) is not Request or delivery.is_taken_over:
            # `deliver` takes another way than its plan, while no one knows what the target made of the request.
            self._stop_round(delivery)
            was_sent = delivery.job.delivery >= SENDING
            dropped = Uncertain(reason_of(delivery.admitted.endpoint.spec, bug or _DROPPED)) if was_sent else None
            self.finish(delivery, dropped, None if was_sent else error)
        elif (
            isinstance(got, Response)
            and got.status in _LOGIN_REFUSED
            and self._client.heads.message(first) != delivery.message
        ):
            # It has another login by now; what was refused for the old one was not run.
            self._exchange(delivery, first)
        else:
            self.advance(delivery, got, error)

    def advance(self, delivery: Delivery, got: object, error: Exception | None) -> None:
        """Advance the connector to its next step, and take that; judge the round if it was the last."""
        if delivery.planned is not None:
            delivery.planned = None
            self._do(delivery, self._follow_plan, got, error)
            return
        run, advance = delivery.run, self._advance
        assert run is not None and advance is not None  # noqa: S101, PT018 - it was started so
        while True:
            try:
                step = advance(run, got, error)
            except StopIteration as end:
                delivery.run = None
                self.finish(delivery, end.value, None)
                return
            except Exception as problem:  # noqa: BLE001 - a connector's bug must not end the worker
                delivery.run = None
                self.finish(delivery, None, problem)
                return
            if type(step) is Request:
                self._exchange(delivery, step)
                return
            if type(step) is RedisStep:
                question = step.gate.put(step.what, partial(self._take_step, delivery))
                delivery.leave, delivery.is_asking = partial(step.gate.withdraw, question), True
                return
            if step is IN_TASK:
                self._start_task(delivery)
                return
            got, error = None, AwaitedWithoutTask()

    def _exchange(self, delivery: Delivery, request: Request) -> None:
        assert self._client is not None and self._client.service is not None  # noqa: S101, PT018 - else it has a task
        exchange = self._client.service.start(request, delivery)
        if exchange.state is not _OVER:
            delivery.exchange = exchange

    def _take_step(self, delivery: Delivery, answer: object) -> None:
        delivery.leave = None
        got, error = (None, answer) if isinstance(answer, Exception) else (answer, None)
        self._do(delivery, self.advance, got, error)

    def _start_task(self, delivery: Delivery) -> None:
        """Begin or go on with a round in a task."""
        if self._has_ended:
            return
        assert self._tasks is not None  # noqa: S101 - `run` runs
        delivery.scope, delivery.is_effect = trio.CancelScope(), True
        self._for_tasks.append(delivery)
        self._tasks.start_soon(self._run_round)

    async def _run_round(self) -> None:
        delivery = self._for_tasks.popleft()
        assert delivery.scope is not None  # noqa: S101 - made with the task
        outcome: Outcome | None = None
        error: Exception | None = None
        is_done = False
        try:
            with delivery.scope:
                await trio.lowlevel.checkpoint_if_cancelled()
                try:
                    if delivery.run is None:
                        delivery.begin_round()
                        outcome = await self.plan.connector.deliver(delivery.call(), delivery)
                    else:
                        outcome = await continue_as_task(delivery.run)
                except Exception as problem:  # noqa: BLE001 - a connector's bug must not end the worker
                    error = problem
                is_done = True
        finally:
            # Also if the pool is cut off meanwhile: a person's word counts.
            if delivery.cancelled and not is_done:
                self._do(delivery, self._settle_cancelled)
        if is_done:
            delivery.scope = delivery.run = None
            self.finish(delivery, outcome, error)

    # 7. Judged
    def finish(self, delivery: Delivery, outcome: Outcome | None, error: Exception | None) -> None:
        """Judge what came of a round: an outcome, or the exception of the connector."""
        self._finished.append((delivery, outcome, error))
        if len(self._finished) > 1 or self._is_judging:
            return
        if self._client is None or self._client.service is None:
            self._judge_all()
        else:
            # Once all answers that came with its own were read.
            self._client.service.call_soon(self._judge_all)

    def _judge_all(self) -> None:
        """Judge what came of rounds, settle it, and have the next jobs started."""
        self._is_judging = True
        try:
            while self._finished:
                # What ends meanwhile is taken in the next turn: many that fail at once are no recursion.
                finished, self._finished = self._finished, []
                delivered: dict[str, int] = {}
                settled: list[JobInProgress] = []
                now_s = time.perf_counter()
                for delivery, outcome, error in finished:
                    if delivery.is_over:
                        continue
                    job, admitted, took_s = delivery.job, delivery.admitted, now_s - delivery.started_s
                    try:
                        if delivery.planned is not None:
                            delivery.planned.plan.on_outcome()
                        if type(outcome) is not Delivered or outcome.by_us or not delivery.has_breaker_place:
                            self._judge(delivery, outcome, error, took_s)
                            continue
                        # Most jobs: those that came together count together.
                        self.settler.settle(job, admitted.payload, admitted.endpoint.spec, outcome, took_s)
                    except Exception as bug:  # noqa: BLE001 - whatever it is; its text may hold secrets
                        self._fail(delivery, bug)
                        continue
                    del self._deliveries[job]
                    delivery.is_over, delivery.has_breaker_place = True, False
                    delivered[job.command] = delivered.get(job.command, 0) + 1
                    settled.append(job)
                if settled:
                    self.acks.add_all(settled)
                    self.breaker.record_delivered(delivered)
                    self.ready.release(len(settled))
        finally:
            self._is_judging = False
        if not self._deliveries:
            self._changed.unpark_all()

    def _judge(self, delivery: Delivery, outcome: Outcome | None, error: Exception | None, took_s: float) -> None:
        """Settle the job by what came of a round, or have another round."""
        job, admitted = delivery.job, delivery.admitted
        delivery.may_be_marked = job.at_most_once
        try:
            final = self._judging.interpret(delivery, outcome, error, took_s)
        except NotYet as why:
            self._delay(delivery, why.wait_s)
            return
        except JobExpired:
            self.settler.expire(job, admitted.payload)
            self._end(delivery)
            return
        except JobIsDuplicate as why:
            self.settler.end_duplicate(job, admitted.payload, why.other)
            self._end(delivery)
            return
        if isinstance(final, Unsent) and delivery.count_unsent():
            final = Deferred(final.reason)
        # Only now may another job take its place: what the breaker made of this outcome holds for that one, too.
        self._leave_breaker(delivery)
        match final:
            case None:
                self._wait_to_start(delivery)
            case Unsent():
                self._pause(delivery, _UNSENT_WAIT_S)
            case Denied():
                self._probe_soon(delivery, final, took_s)
            case Delivered() | Rejected() | Deferred() | Uncertain():
                self.settler.settle(job, admitted.payload, admitted.endpoint.spec, final, duration_s=took_s)
                self._end(delivery)
            case _:
                assert_never(final)

    def _probe_soon(self, delivery: Delivery, denied: Denied, took_s: float) -> None:
        """Have a probe find out, in a task, whether the denial concerns this job alone."""
        if not self._has_ended:
            assert self._tasks is not None  # noqa: S101 - `run` runs
            delivery.scope = trio.CancelScope()
            self._tasks.start_soon(self._probe, delivery, delivery.scope, denied, took_s)

    async def _probe(self, delivery: Delivery, scope: trio.CancelScope, denied: Denied, took_s: float) -> None:
        is_let_in: bool | None = None
        try:
            with scope:
                is_let_in = await self.probe_after_denial(denied.reason)
        except Exception as error:  # noqa: BLE001 - whatever it is; its text may hold secrets
            delivery.scope = None
            self._fail(delivery, error)
            return
        finally:
            if delivery.cancelled and is_let_in is None:
                self._do(delivery, self._settle_cancelled)
        if is_let_in is not None:
            delivery.scope = None
            self._do(delivery, self._judge_denial, denied, is_let_in, took_s)

    def _judge_denial(self, delivery: Delivery, denied: Denied, is_let_in: bool, took_s: float) -> None:  # noqa: FBT001
        """Refuse a job that is denied though the probe is let in, at once or when that was too often."""
        denied_too_often = delivery.count_denial()
        if not is_let_in:
            self._wait_to_start(delivery)
        elif denied.reason.status == _FORBIDDEN or denied_too_often:
            final = Rejected(denied.reason, denied.text)
            spec = delivery.admitted.endpoint.spec
            self.settler.settle(delivery.job, delivery.admitted.payload, spec, final, duration_s=took_s)
            self._end(delivery)
        else:
            self._pause(delivery, ASK_AGAIN_S)

    # 8. Settled, by the acker
    def _leave_breaker(self, delivery: Delivery) -> None:
        if delivery.has_breaker_place:
            delivery.has_breaker_place = False
            self.breaker.semaphore.leave()

    def _end(self, delivery: Delivery) -> None:
        """End a delivery, once: its job has a settlement, or stays reserved, or waits for its time."""
        if delivery.is_over:
            return
        job, slot = delivery.job, delivery.admitted.endpoint.slot
        delivery.is_over = True
        self._deliveries.pop(job, None)
        if job.settlement is not None:
            self.acks.add(job)
        self._leave_breaker(delivery)
        is_followed = False
        if slot is not None and job.in_slot:
            job.in_slot = False
            is_followed = slot.leave()  # by one that has the place of the worker, too
        if delivery.has_worker_place and not is_followed:
            self.ready.release()
        if not self._deliveries:
            self._changed.unpark_all()

    def _abandon(self, delivery: Delivery) -> None:
        """End a delivery that is cut off: its job stays as it is."""
        delivery.is_over = True
        self._stop_round(delivery)
        self._leave_breaker(delivery)

    def _stop_round(self, delivery: Delivery) -> None:
        """End what a delivery waits for, its request and its connector, which have no task."""
        self._leave(delivery)
        exchange, run = delivery.exchange, delivery.run
        delivery.exchange = delivery.run = None
        if exchange is not None:
            exchange.cancel()
        if run is not None:
            try:
                run.close()
            except Exception as raised:  # noqa: BLE001 - its job has its end
                bug = self.plan.bug("The connector", raised)
                self.settler.identity.warn_once(bug.code, bug.message, bug.hint)

    def _do(
        self, delivery: Delivery, step: Callable[Concatenate[Delivery, P], None], *args: P.args, **kwargs: P.kwargs
    ) -> bool:
        """Take a step; return False if an unforeseen exception costs the job its life."""
        try:
            step(delivery, *args, **kwargs)
        except Exception as error:  # noqa: BLE001 - whatever it is; its text may hold secrets
            self._fail(delivery, error)
            return False
        return True

    def _fail(self, delivery: Delivery, error: Exception) -> None:
        if delivery.scope is None:
            self._stop_round(delivery)
        self.settler.settle_bug(delivery.job, error)
        self._end(delivery)

    # A person cancels
    def cancel(self, job: JobInProgress) -> bool:
        """End the delivery of a job, which becomes dead; return False if it is not in delivery, or has a settlement.

        One that has its answer already is settled as usual.
        """
        delivery = self._deliveries.get(job)
        if delivery is None or job.settlement is not None:
            return False
        if delivery.leave is not None or delivery.exchange is not None:
            self._stop_round(delivery)
            self._do(delivery, self._settle_cancelled)
            return True
        delivery.cancelled = True
        if delivery.scope is not None:
            delivery.scope.cancel()
        return True

    def _settle_cancelled(self, delivery: Delivery) -> None:
        """Settle the job that a person cancelled as dead, unless it was settled or went away in the last moment."""
        job = delivery.job
        delivery.scope = None
        if job.settlement is None and self.reservations.has(job):
            assert job.payload is not None  # noqa: S101 - no one can cancel before it was read
            self.settler.cancel(job, job.payload)
        self._end(delivery)


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
