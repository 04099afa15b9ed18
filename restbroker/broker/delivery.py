"""The life of a job, from its fetch until it is acknowledged; and one job in delivery.

1. **Fetched.** Redis has moved the job from its queue into the hash of this pool (`intake.py`). From now on, whatever
   happens here, Redis lists it: if this process dies, a reaper requeues it, or makes it dead if it is marked (4). It
   then counts as possibly run if the worker may have started it (the high-water mark, `ready_buffer.py`).
2. **Admitted.** Its payload is read, and its token and arguments are checked (`admission.py`). It becomes dead if it is
   no job or is refused, or if it may have run and may not be sent once more. With order per key (`job.order`) it also
   does if Redis read another key in it. A signed job that was done before is acknowledged, and not sent again. A job
   that expired, now or in the instant before it is sent, is dropped and counted (`job.expiry`); it becomes dead if it
   may have run, or if expired jobs are kept. A job of which a part is done expires no more.
3. **Waiting**: for a place in its command's slot, until the breaker admits it, for its share of the rate limit, for a
   fresh lease, and, if its connector says so, for its time (`gates.py`). It stays reserved, and stands in one list.
   While it waits for its slot or its time, it takes none of the worker's places. If too many wait for the slot, it is
   deferred, and no try is used up.
4. **Claimed**, if it has an `idempotency_key`: if another job has the key, it is not sent, and counts as a duplicate.
   **Marked**, if its command must run at most once: Redis notes that it is about to be sent. The mark stays until the
   job is settled: a crash then makes it dead, though nothing may have been sent. So if it comes back unsent and its
   target is down, now or while it waits in 3, it is requeued, unmarked.
5. **Sent.** In the instant before the first byte leaves, `may_send` checks once more that the job is ours, the breaker
   admits it and the lease is fresh. From then on it may have run.
6. **Answered**, or not: the connector makes an outcome of it.
7. **Judged.** The breaker notes the outcome (`judging.py`). What was not sent, or met a server that refuses the broker
   itself, goes back to 3. So does a job of which a part is done; if it must run at most once, it is `Uncertain`
   instead. If a job stays unsent three times while others are answered, it is deferred, and that is a try. Where the
   server refuses a job and lets the probe in, it refuses this job alone: with a 403, or when it did so three times, the
   job is dead. Every other outcome becomes a settlement: acknowledged, retried, deferred or dead, with its replies
   (`settler.py`). A time-out after the first byte is `Uncertain`: dead if the command must run at most once, retried if
   it is safe to repeat, else retried `UncertainRetries` times and then dead. A time-out before the first byte is
   `Unsent`: back to 3.
8. **Settled.** The acker has Redis remove it and apply the settlement in one step, in a batch with others (`acker.py`);
   until Redis confirms that, the job stays reserved, also through an outage.
9. **Acknowledged.** It is released and reported.

Always holds: a delivery ends once. Then its job has a settlement, for the acker; or it waits for its time; or the pool
stops, and it stays reserved for `recovery.py`; or it is not ours any more, and is released. So no step can lose a job.
Only three kinds are gone without being done: what says `"dead": false`, where others are dead; what expired; and
duplicates.

A job can run twice if it was sent and not answered (a crash before 8, a time-out, a stop that cuts it off) and is
repeated by the rule in 7; never if it is marked.

At TERM the worker takes no other job, and the pool's stop ends the waits in 3; who waits for an answer of Redis goes on
until it has come. What was sent has `ShutdownTimeout` to be answered, and is then cut off (`phases.py`). When the
worker has ended and the acker has settled what was decided, `recovery.py` settles the rest: what was not sent is
requeued; what was cut off is dead if it must run at most once, requeued as possibly run if it is safe to repeat, else
treated as a time-out.

A person who cancels a job ends its wait, its request or its task, between 2 and 7, and it becomes dead.

All of that is one generator, `Life.live` (`life.py`), which yields each wait and goes on once that is over; `worker.py`
takes its steps. `Delivery` is one job in delivery: what it waits for, and what was sent of it. A *round* is one way
from 4 to 7. To its connector a delivery is the link, over which it sends; to the HTTP client it is the sink, which gets
the answer; to what it waits for it is the sleeper, which that wakes. What only prepares the command has a sink of its
own, `Preparation`: so no check of the job depends on what was sent last. `deliver` of a connector is a coroutine. If it
waits for nothing but its link, its life advances it by hand: each `await` of the link is a *step*, a request or a
question for Redis. A connector that says that it is `stepwise` does so, or awaits `link.task()` before. All others have
a task for each round, in which the same link waits. A plan of the connector can take the first step (`steps.py`).
"""

import time
from collections.abc import Callable, Coroutine, Generator
from enum import Enum
from typing import Any, Protocol, TypeAlias, TypeVar

import attrs

from restbroker.broker.admission import AdmittedJob
from restbroker.broker.breaker import Breaker
from restbroker.broker.gates import Gate, RedisGates, Slot
from restbroker.broker.health import Lease
from restbroker.broker.job_in_progress import JobInProgress, Reservations
from restbroker.broker.steps import IN_TASK, Preparation, continue_as_task, step
from restbroker.broker.waits import Asked, Wait
from restbroker.job.command import Call
from restbroker.light import define
from restbroker.store.claims import ClaimRequest, OtherHolder
from restbroker.transport.exchange import Exchange
from restbroker.transport.message import MaybeSent, NotSent, Request, Response, Transport, Withdrawn

T = TypeVar("T")
A = TypeVar("A")

_UNSENT_LIMIT = 3
"""How often one job may stay unsent while others succeed; then it counts as a failed try."""
_DENIAL_LIMIT = 3
"""How often one job may meet a 401 or a wrong page while the probe is let in; a server that just came up does that."""


class JobTakenAway(Withdrawn):
    """The job is not reserved here any more: a reaper has it, or it is in its queue again. It must not be sent."""


class JobExpired(Withdrawn):
    """The job expired. It must not be sent."""


class JobIsDuplicate(Withdrawn):
    """The job must not be sent: another one, `other`, has its idempotency key, or it was pushed twice itself."""

    def __init__(self, other: OtherHolder) -> None:
        super().__init__(other.job.jid)
        self.other = other


class SendingStopped(Withdrawn):
    """While the job waited for a connection, the breaker tripped, the lease ran out, or the pool began to stop."""


class Part(Enum):
    """What a round has done of its job. `TOOK`: the last request that has an effect was sent, and not refused.

    `TOOK_AND_ASKED`: a question followed that: if no other sending does, a part of the job is missing.
    """

    NONE = 0
    TOOK = 1
    TOOK_AND_ASKED = 2


NONE, TOOK, TOOK_AND_ASKED = Part

Live: TypeAlias = Callable[["Delivery"], Generator["Wait | Delivery", None, None]]


class Driver(Protocol):
    """What takes the steps of lives. No method raises."""

    def resume(self, delivery: "Delivery") -> None:
        """Let its life go on now, or, if others do, behind them."""
        ...

    def resume_soon(self, delivery: "Delivery") -> None:
        """Let its life go on once all answers that came with its own were read."""
        ...

    def end_cancelled(self, delivery: "Delivery") -> None:
        """End a life whose task a person's cancel ended."""
        ...


@define(eq=False)
class SendChecks:
    """What is checked before a request of one pool leaves."""

    transport: Transport
    reservations: Reservations
    breaker: Breaker
    lease: Lease
    gates: RedisGates


class Delivery:
    """One job in delivery. Its life waits for one thing at most, and what came of that is in `came`.

    It may have up to three places: one of the worker's, one of the breaker's, and one in the slot of its command.
    """

    ends_unsent = False
    """As a wait for its answer: but for that, only a person ends it."""

    # What most deliveries leave as it is belongs to the class: an attribute of each would cost a tenth of the job.
    admitted: AdmittedJob
    wait: "Wait | Delivery | None" = None
    """What its life waits for; None: it goes on, is about to, or is over."""
    came: Any = None
    """What came of its last wait: an answer, or an exception."""
    has_worker_place: bool = True
    """Whether it takes one of the worker's places; while it waits for its slot, it does not."""
    has_breaker_place: bool = False
    """Whether it has a place in the breaker."""
    slot: Slot | None = None
    """The slot in which it has a place, beside the breaker's limit."""
    may_be_marked: bool = False
    """Whether Redis was asked to mark it."""
    exchange: Exchange | None = None
    """The request that is under way as a step."""
    is_in_task: bool = False
    """Whether its round goes on in a task."""
    cancelled: bool = False
    """Whether a person cancelled it, so that it dies unless it was answered."""
    unsent: int = 0
    denials: int = 0
    part: Part = NONE
    """What this round has done of the job."""
    _is_closed: bool = False
    _drop_expiry: Callable[[], None] | None = None
    """Ends the watch over its expiry."""

    def __init__(self, driver: Driver, checks: SendChecks, job: JobInProgress, live: "Live") -> None:
        self.driver = driver
        self.checks = checks
        self.job = job
        self.answers = checks.breaker.answers
        self.life = live(self)

    # What its life waits for
    def come(self, came: object = None) -> None:
        """Go on with what its wait was for; a place that came is taken."""
        self.wait, self.came = None, came
        if self._drop_expiry is not None:
            self._drop_expiry()
        self.driver.resume(self)

    def cut_short(self) -> None:
        """End, as its task was cancelled; unless a person did that, the job stays as it is."""
        if self.cancelled:
            self.driver.end_cancelled(self)

    def result(self) -> Any:  # noqa: ANN401 - the life knows for what it waited
        """Return what came of its wait, or raise it."""
        came, self.came = self.came, None
        if isinstance(came, Exception):
            try:
                raise came
            finally:
                del came  # its traceback names this frame
        return came

    def watch_expiry(self, drop: Callable[[], None]) -> None:
        """Note what ends the watch over its expiry, once its wait is over."""
        self._drop_expiry = drop

    def close(self) -> None:
        """End its life where it waits: what becomes of the job is decided. Nothing more of it is sent."""
        self._is_closed, wait, self.wait = True, self.wait, None
        if self._drop_expiry is not None:
            self._drop_expiry()
        if wait is not None:
            wait.withdraw()
        self.life.close()

    def begin(self, _sleeper: object) -> None:
        """Do nothing: as a wait, for its answer, it began with the request."""

    def withdraw(self) -> None:
        """End its request, of which nothing comes any more."""
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.cancel()

    def cancel(self) -> None:
        """Note that a person cancelled it, and cancel its task, if it has one; else it goes on already."""
        self.cancelled = True
        if self.wait is not None:
            self.wait.withdraw()

    # Its places
    def lend_place(self) -> None:
        """Note that another job takes its place of the worker, while it waits for its slot."""
        self.has_worker_place = False

    def enter_slot(self, slot: Slot) -> None:
        """Note that it has a place in its slot, and, as the job had that it follows, one of the worker."""
        self.slot, self.has_worker_place = slot, True

    def enter_breaker(self) -> None:
        """Note that it has a place in the breaker, unless it has one in a slot."""
        self.has_breaker_place = self.slot is None

    def leave_breaker(self) -> None:
        """Give its place in the breaker back, if it has one."""
        if self.has_breaker_place:
            self.has_breaker_place = False
            self.checks.breaker.semaphore.leave()

    def leave_slot(self) -> bool:
        """Give its place in a slot back; return whether the next job has that now, and its place of the worker."""
        slot, self.slot = self.slot, None
        return slot is not None and slot.leave()

    # Its rounds
    def end_round(self) -> None:
        """Note that nothing of the next round was sent."""
        self.part, self.came = NONE, None

    def follow(self, take: Callable[[], T]) -> T:
        """Take the first step of `deliver` in a round whose request was sent already: that step counts as it."""
        part, self.part = self.part, NONE
        try:
            return take()
        finally:
            self.part = part

    async def run_in_task(self, run: Coroutine[Any, Any, T]) -> T:
        """Begin `deliver` in a task, or go on with it, so that the link waits in that, too."""
        self.is_in_task = True
        try:
            return await continue_as_task(run)
        finally:
            self.is_in_task = False

    def call(self) -> Call:
        """Return what the connector is called with."""
        payload, admitted = self.admitted.payload, self.admitted
        traceparent = payload.traceparent
        return Call(
            admitted.command,
            payload.attempt,
            payload.may_have_run or self.job.effected,
            admitted.endpoint.default_host,
            admitted.endpoint.timeout_s,
            payload.ok_if_exists,
            () if traceparent is None else (("traceparent", traceparent),),
            payload.identity,
        )

    def count_unsent(self) -> bool:
        """Count one more time unsent, if others were answered meanwhile; tell whether that was too often."""
        answers = self.checks.breaker.answers
        self.unsent, self.answers = self.unsent + (answers > self.answers), answers
        return self.unsent >= _UNSENT_LIMIT

    def count_denial(self) -> bool:
        """Count one more denial, and tell whether that was too often."""
        self.denials += 1
        return self.denials >= _DENIAL_LIMIT

    # The connector's link
    async def ask(self, request: Request) -> Response:
        """Send a request without effect, such as a look-up, and return the answer. The job does not count as sent.

        Raise `NotSent`, or `MaybeSent` if there was no answer; after a `send` that the target did not refuse, raise
        `NotSent` in both cases.
        """
        if self.part is TOOK:
            self.part = TOOK_AND_ASKED
        try:
            if self.is_in_task:
                return await self.checks.transport.send(request)
            answer: Response = await step(Preparation(request, self.answered))
        except MaybeSent as problem:
            if self.part is NONE:
                raise
            # Behind a sending nothing more is sent then.
            raise NotSent(problem.message, timed_out=problem.timed_out) from problem
        return answer

    def send(self, request: Request) -> Coroutine[Any, Any, Response]:
        """Send a request that has an effect, and return the answer; claim and mark the job in Redis first, if need be.

        Raise `JobTakenAway`, `JobExpired`, `JobIsDuplicate` or `SendingStopped` if it may not be sent, or what
        `Transport.send` raises. Await it at once. This method is not `async`, since each level of coroutines costs time
        at every wake-up.
        """
        if self.part is not NONE:
            # It goes on behind what was answered; of this one no byte has left.
            self.part = NONE
            self.job.hold(effected=True)
        if self.job.at_most_once or self.job.claims is not None:
            return self._send_through_gates(request)
        return self._send_now(request)

    async def task(self) -> None:
        """Go on in a task, unless there is one already."""
        if not self.is_in_task:
            await step(IN_TASK)

    def _send_now(self, request: Request) -> Coroutine[Any, Any, Response]:
        return self._send_in_task(request) if self.is_in_task else step(request)

    async def _send_in_task(self, request: Request) -> Response:
        try:
            return await self.checks.transport.send(request, self)
        except NotSent:
            self._take_back()
            raise

    def _take_back(self) -> None:
        """Note that no byte of the last request left, though it may have begun."""
        self.part = NONE
        self.job.hold()

    def _ask_redis(self, gate: Gate[T, A], what: T) -> Coroutine[Any, Any, A]:
        return gate.ask(what) if self.is_in_task else step(Asked(gate, what, ends_unsent=False))

    async def _send_through_gates(self, request: Request) -> Response:
        """Send the request once the job has its claims and, if it must run at most once, is marked."""
        gates, job = self.checks.gates, self.job
        claim: ClaimRequest | None = gates.claim_request(job)
        if claim is not None:
            self.may_send()
            taken = await self._ask_redis(gates.claims, claim)
            if taken is False:
                raise JobTakenAway
            if taken is not True:
                raise JobIsDuplicate(taken)
        if job.at_most_once:
            self.may_send()
            self.may_be_marked = True
            if not await self._ask_redis(gates.marks, job.ticket):
                raise JobTakenAway
            job.mark()
            # Not even one that is safe to repeat by the catalogue: who set AtMostOnce says that it is not.
            request = attrs.evolve(request, repeatable=False)
        return await self._send_now(request)

    # The sink of its requests that have an effect
    def may_send(self) -> None:
        """Raise if the job must not be sent.

        `JobTakenAway`: it is in other hands; `JobExpired`: it expired; `SendingStopped`: nothing may be sent now.
        """
        checks = self.checks
        job = self.job
        if not checks.reservations.has(job):
            raise JobTakenAway
        if job.expires_at_s is not None and job.is_expired(time.time()):
            raise JobExpired
        if self._is_closed or not checks.breaker.admits or checks.breaker.stopped or not checks.lease.is_fresh:
            raise SendingStopped

    def start_sending(self) -> None:
        """Note in the job that its first byte may leave from now on."""
        self.job.start_sending()
        self.part = TOOK

    def clear_sending(self) -> None:
        """Note that the server refused the last request: the next one is no further part of the same job."""
        self.part = NONE

    def answered(self, response: Response | Exception) -> None:
        """Go on with the answer, or with why there is none."""
        self.came, self.exchange = response, None
        if self.wait is not None:  # else its life goes on with it itself, or is over
            self.wait = None
            self.driver.resume_soon(self)

    def failed(self, error: Exception) -> None:
        """Go on without an answer."""
        if isinstance(error, NotSent):
            self._take_back()
        self.answered(error)

    def abandoned(self) -> None:
        """Leave the job as it is: the client ends with the worker, or behind it."""
        self.exchange = None
