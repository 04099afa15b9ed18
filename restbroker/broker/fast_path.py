"""The fast path of a job: the same nine steps as in `processor.py`, without a task of its own, for plain jobs.

A plain job is one that no step has to wait for or look at twice:
- its payload, arguments and token are right, as `admission.py` finds for all jobs; nothing is known of an earlier run;
- it is not signed, has no slot and no `traceparent`, and need not run at most once; its target has no rate limit;
- its connector has a plan for the endpoint (`Plan`): the request differs in its body alone;
- the lease is fresh, and a kept-alive connection over plain TCP is idle once the breaker admits it.
All of that is decided before its first byte. A plain answer is whole, has a length, keeps its connection, and is one
that the plan knows to mean "delivered". Any other answer, an end, an error or a deadline hands the exchange over, with
the bytes that came so far, to the general path: that reads on, judges and settles it, and nothing is sent again.

The ready buffer offers each job to `take`; the task that listens for the connections calls `_Exchange.receive`. Always
holds: each job that was taken is settled here, handed over, or dropped as one that was sent; `note_done` follows each.
"""

import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

import attrs
import trio

from restbroker.broker.ack_buffer import AckBuffer
from restbroker.broker.admission import Admission, Admitted
from restbroker.broker.breaker import Breaker
from restbroker.broker.job_in_progress import JobInProgress
from restbroker.broker.link import Outlet
from restbroker.broker.ready_buffer import ReadyBuffer
from restbroker.broker.settler import Settler
from restbroker.broker.target_plan import TargetPlan
from restbroker.job.job import Job
from restbroker.job.outcome import Delivered, Reason
from restbroker.servers.contract import Plan, Planner
from restbroker.transport.head import whole
from restbroker.transport.idle import Begun, Connection
from restbroker.transport.known_heads import KnownHeads, Rest
from restbroker.transport.lean import LeanClient
from restbroker.transport.wire import PlainWire

_SHORT_BYTES: Final = 64
"""The longest body whose outcome is kept."""
_OUTCOMES: Final = 100
"""How many outcomes of one endpoint are kept."""

Resume = Callable[[JobInProgress, Admitted, Begun | None], Awaitable[None]]


@attrs.define(eq=False)
class _Endpoint:
    """A plan, the head of its requests, and outcomes of short answers: {(status, body): outcome}."""

    plan: Plan
    head: bytes
    outcomes: dict[tuple[int, bytes], Delivered] = attrs.field(factory=dict)

    def outcome(self, status: int, body: bytes) -> Delivered | None:
        """Return what the answer means, as the plan says."""
        found = self.outcomes.get((status, body))
        if found is None:
            found = self.plan.outcome(status, body)
            if found is not None and len(body) <= _SHORT_BYTES and len(self.outcomes) < _OUTCOMES:
                self.outcomes[status, body] = found
        return found


@attrs.define(eq=False)
class _Exchange:
    """A plain job with what is needed to send it; then its request, and what came of the answer so far."""

    path: "FastPath"
    job: JobInProgress
    payload: Job
    admitted: Admitted
    endpoint: _Endpoint
    body: bytes
    connection: Connection | None = None
    message: bytes = b""
    started_s: float = 0.0
    due_s: float = 0.0
    sent: int = 0
    data: bytes = b""

    def begin(self, connection: Connection, now_s: float) -> float:
        """Note that it is sent over this connection now, and return when its answer is due, both on Trio's clock."""
        self.connection, self.started_s = connection, now_s
        self.due_s = due_s = now_s + self.admitted.endpoint.timeout_s
        return due_s

    def send(self) -> bool:
        """Send the request and listen for its answer; return False if not all of it left at once."""
        assert self.connection is not None  # noqa: S101 - it has begun
        wire = self.connection.wire
        assert isinstance(wire, PlainWire)  # noqa: S101 - no other is lent
        self.message = message = whole(self.endpoint.head, self.body)
        self.job.start_sending()
        try:
            self.sent = wire.send_now(message)
        except OSError:
            return False
        if self.sent != len(message):
            return False
        wire.listen(self.receive)
        return True

    def receive(self, got: bytes | Exception) -> None:
        """Go on with what came: some bytes, none at the end, or what broke the connection."""
        if isinstance(got, bytes) and got and self.sent == len(self.message):
            self.data = data = self.data + got if self.data else got
            answer = self.path.heads.read(data)
            if answer is Rest.MISSING:
                return
            if answer is not Rest.ODD:
                outcome = self._outcome(*answer)
                if outcome is not None:
                    self.path.finish(self, outcome)
                    return
        elif isinstance(got, bytes):
            self.data += got
        self.path.hand_over(self, got if isinstance(got, Exception) else None)

    def _outcome(self, status: int, body: bytes) -> Delivered | None:
        try:
            return self.endpoint.outcome(status, body)
        except Exception:  # noqa: BLE001 - a bug of the connector, which the general path meets again and reports
            return None


@attrs.define(eq=False)
class FastPath:
    """The fast path of one pool. `resume` is what the processor does with a job that goes on there.

    `note_job` is called for each job that is settled here.
    """

    plan: TargetPlan
    planner: Planner
    client: LeanClient
    outlet: Outlet
    ready: ReadyBuffer
    admission: Admission
    breaker: Breaker
    settler: Settler
    acks: AckBuffer
    stopping: trio.Event
    resume: Resume
    note_job: Callable[[], None]
    heads: KnownHeads = attrs.field(factory=KnownHeads)
    _endpoints: dict[str, _Endpoint] = attrs.field(factory=dict)
    _held: deque[_Exchange] = attrs.field(factory=deque)
    """Those that wait for the breaker; nothing of them was sent."""
    _in_progress: dict[str, _Exchange] = attrs.field(factory=dict)
    """Those that were sent, by ticket."""
    _handed: trio.Nursery | None = None
    _over: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)
    _clock: trio.abc.Clock = attrs.field(factory=trio.lowlevel.current_clock)

    async def run(self) -> None:
        """Take jobs until the pool stops and none is in progress. When cancelled, jobs keep what is known of them."""
        async with trio.open_nursery() as self._handed:
            self.ready.offer_to(self.take)
            self.breaker.call_when_free(self._start_held)
            try:
                await self.stopping.wait()
                while self._in_progress:
                    await self._over.park()
            finally:
                self.ready.offer_to(None)
                self.breaker.call_when_free(None)
                self._held.clear()
                for exchange in tuple(self._in_progress.values()):
                    self._drop(exchange)

    def take(self, job: JobInProgress) -> bool:
        """Send the job if it is a plain one, or hold it until the breaker admits it; return False to leave it."""
        if not self.outlet.lease.is_fresh:
            return False
        try:
            exchange = self._prepare(job)
        except Exception:  # noqa: BLE001 - a bug, which the general path meets again and reports
            return False
        if exchange is None or job.ticket not in self.outlet.reservations.jobs:
            return False
        breaker = self.breaker
        if breaker.waiting or self._held or not breaker.enter_now():
            self._held.append(exchange)
            return True
        now_s = self._clock.current_time()
        connection = self.client.lend(now_s)
        if connection is None:
            breaker.leave()
            return False
        self._send(exchange, connection, now_s)
        return True

    def _prepare(self, job: JobInProgress) -> _Exchange | None:
        """Return what is needed to send a plain job; None if it is none."""
        admission = self.admission
        if job.forgotten or job.size_bytes or admission.crashes.counts:
            return None
        payload = admission.read(job, time.time())
        if not isinstance(payload, Job) or payload.may_have_run or "traceparent" in payload.fields:
            return None
        admitted = admission.admit(job, payload)
        if isinstance(admitted, Reason) or admitted.endpoint.slot is not None or job.at_most_once or job.fingerprint:
            return None
        command = admitted.submission.command
        plan = self.planner.plan(command.endpoint)
        if plan is None:
            return None
        body = plan.body(command.arguments)
        if body is None:
            return None
        endpoint = self._endpoints.get(command.endpoint)
        if endpoint is None or endpoint.plan is not plan:
            endpoint = self._endpoints[command.endpoint] = _Endpoint(plan, self.client.head_of(plan.request))
        return _Exchange(self, job, payload, admitted, endpoint, body)

    def _send(self, exchange: _Exchange, connection: Connection, now_s: float) -> None:
        self._in_progress[exchange.job.ticket] = exchange
        self.client.watch(connection, exchange.begin(connection, now_s))
        if not exchange.send():
            self.hand_over(exchange, None)

    def _start_held(self) -> None:
        """Send those that are held, in their order, as far as the breaker admits them."""
        held, breaker = self._held, self.breaker
        while held and not breaker.waiting and breaker.enter_now():
            exchange = held.popleft()
            job, now_s = exchange.job, self._clock.current_time()
            if job.ticket not in self.outlet.reservations.jobs:
                breaker.leave()
                self.ready.note_done()
            elif self._is_current(exchange) and (connection := self.client.lend(now_s)) is not None:
                self._send(exchange, connection, now_s)
            else:
                breaker.leave()
                self._go_on(exchange, None)

    def _is_current(self, exchange: _Exchange) -> bool:
        """Tell whether the job may still be sent as it was prepared."""
        plan = self.planner.plan(exchange.admitted.submission.command.endpoint)
        return plan is exchange.endpoint.plan and self.outlet.lease.is_fresh

    def finish(self, exchange: _Exchange, outcome: Delivered) -> None:
        """Settle a job that was delivered, as the processor does, and have the next ones started."""
        job, now_s = exchange.job, self._clock.current_time()
        took_s = now_s - exchange.started_s
        self._take_back(exchange, now_s, fit=True)
        self.breaker.note_left()
        self.note_job()
        try:
            self.breaker.observe(outcome, job.command, took_s, is_retry=exchange.payload.attempt > 1)
            exchange.endpoint.plan.note_delivered()
            job.answer()
            self.settler.settle(job, exchange.payload, exchange.admitted.endpoint.spec, outcome, duration_s=took_s)
        except Exception as error:  # noqa: BLE001 - whatever it is; its text may hold secrets
            self.settler.park_bug(job, error)
        self.acks.add(job)
        self.breaker.let_in()
        self._note_done()

    def hand_over(self, exchange: _Exchange, error: Exception | None) -> None:
        """Have the general path go on with an exchange, in a task of its own."""
        connection = exchange.connection
        assert connection is not None  # noqa: S101 - it was sent
        self._forget(exchange, connection)
        begun = Begun(
            connection=connection,
            message=exchange.message,
            sent=exchange.sent,
            started_s=exchange.started_s,
            due_s=exchange.due_s,
            received=exchange.data,
            error=error,
        )
        self._go_on(exchange, begun)

    def cancel(self, job: JobInProgress) -> bool:
        """Park a job that a person cancels; return False if it is neither held nor in progress here."""
        exchange = self._in_progress.get(job.ticket)
        if exchange is not None:
            self._drop(exchange)
        elif (exchange := next((one for one in self._held if one.job is job), None)) is not None:
            self._held.remove(exchange)
        else:
            return False
        self.settler.cancel(job, exchange.payload)
        self.acks.add(job)
        self._note_done()
        return True

    def _go_on(self, exchange: _Exchange, begun: Begun | None) -> None:
        assert self._handed is not None  # noqa: S101 - `run` drops what is in progress before it ends
        self._handed.start_soon(self._resume, exchange, begun)

    async def _resume(self, exchange: _Exchange, begun: Begun | None) -> None:
        try:
            await self.resume(exchange.job, exchange.admitted, begun)
        finally:
            self._note_done()

    def _drop(self, exchange: _Exchange) -> None:
        """Close the connection of a job that was sent; the job stays as it is."""
        self._take_back(exchange, self._clock.current_time(), fit=False)
        self.breaker.leave()

    def _take_back(self, exchange: _Exchange, now_s: float, *, fit: bool) -> None:
        connection = exchange.connection
        assert connection is not None  # noqa: S101 - it was sent
        self._forget(exchange, connection)
        self.client.take_back(connection, now_s, fit=fit)

    def _forget(self, exchange: _Exchange, connection: Connection) -> None:
        assert isinstance(connection.wire, PlainWire)  # noqa: S101 - no other is lent
        connection.wire.listen(None)
        del self._in_progress[exchange.job.ticket]

    def _note_done(self) -> None:
        self.ready.note_done()
        if not self._in_progress and self._over:
            self._over.unpark_all()
