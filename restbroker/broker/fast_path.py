"""The fast path of a job: the same nine steps as in `processor.py`, without a task of its own, for plain jobs.

A plain job is one that no step has to wait for or look at twice:
- its payload, arguments and token are right, as `admission.py` finds for all jobs; nothing is known of an earlier run;
- it has not expired, is not signed, claims nothing (`job.claims`), has no slot and no `traceparent`, and need not
  run at most once; nothing limits the rate of its target;
- its connector has a plan for the endpoint (`Plan`): the request differs in its body alone;
- the lease is fresh, and a kept-alive connection over plain TCP is idle once the breaker admits it.
All of that is decided before its first byte. A plain answer is whole, has a length, keeps its connection, and is one
that the plan knows to mean "delivered". Any other answer, an end, an error or a deadline hands the exchange over, with
the bytes that came so far, to the general path: that reads on, judges and settles it, and nothing is sent again.

The ready buffer offers each job to `take`; the task that listens for the connections calls `Exchange.receive`, and
`_settle` once all answers that came together were read. Always holds: each job that was taken is settled here, handed
over, or dropped as one that was sent, and `note_done` follows each; or it waits for the breaker until the pool's stop,
and is requeued with all others that were not sent.
"""

import time
from collections import Counter
from collections.abc import Callable, Collection
from typing import Final

import attrs
import trio

from restbroker.broker.ack_buffer import AckBuffer
from restbroker.broker.admission import AdmittedJob
from restbroker.broker.breaker import Breaker
from restbroker.broker.delivery import SendChecks
from restbroker.broker.exchange import Exchange, PlainEndpoint, PlainJobs
from restbroker.broker.job_in_progress import JobInProgress
from restbroker.broker.ready_buffer import ReadyBuffer
from restbroker.broker.settler import Settler
from restbroker.broker.target_plan import TargetPlan
from restbroker.job.outcome import Delivered
from restbroker.transport.answer import KnownHeads
from restbroker.transport.idle import Connection, PartialExchange
from restbroker.transport.lean import LeanClient

_MOST_ODD: Final = 32
"""After so many answers in a row that were no plain ones, jobs are left to the general path, for `_REST_S` seconds.

To begin an exchange here and to end it there costs a fifth more than to have it there alone (measured).
"""
_REST_S: Final = 1.0

Resume = Callable[[JobInProgress, AdmittedJob, PartialExchange | None], None]
"""The job has a place in the breaker and one of the worker, which are given back by who goes on with it."""


@attrs.define(eq=False)
class FastPath:
    """The fast path of one pool. `resume` is what the worker does with a job that goes on there.

    `jobs`: by target's name, how many jobs were settled here.
    """

    plan: TargetPlan
    plain_jobs: PlainJobs
    client: LeanClient
    send_checks: SendChecks
    ready: ReadyBuffer
    breaker: Breaker
    settler: Settler
    acks: AckBuffer
    stopping: trio.Event
    resume: Resume
    jobs: Counter[str]
    heads: KnownHeads = attrs.field(factory=KnownHeads)
    _held: dict[JobInProgress, Exchange] = attrs.field(factory=dict)
    """Those that wait in the breaker's line; nothing of them was sent."""
    _in_progress: dict[JobInProgress, Exchange] = attrs.field(factory=dict)
    """Those that were sent."""
    _delivered: list[tuple[Exchange, Delivered]] = attrs.field(factory=list)
    """Those whose answers have just come, and what these mean."""
    _odd_in_row: int = 0
    """How many exchanges were handed over since the last plain answer."""
    _rests_until_s: float = 0.0
    _spare: list[Connection] = attrs.field(factory=list)
    """The connections of those that are being settled, for the next ones."""
    _runs: bool = False
    _over: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)
    _clock: trio.abc.Clock = attrs.field(factory=trio.lowlevel.current_clock)

    async def run(self) -> None:
        """Take jobs until the pool stops and none is in progress. When cancelled, jobs keep what is known of them."""
        self._runs = True
        try:
            await self.stopping.wait()
            while self._in_progress:
                await self._over.park()
        finally:
            self._runs = False
            for exchange in self._held.values():
                self.breaker.semaphore.leave_line(exchange.take_place)
            self.ready.note_done(len(self._held))
            self._held.clear()
            for exchange in tuple(self._in_progress.values()):
                self._drop(exchange)

    def take(self, job: JobInProgress) -> bool:
        """Send the job if it is a plain one, or hold it until the breaker admits it; return False to leave it."""
        if (
            not self._runs
            or not self.send_checks.lease.is_fresh
            or (self._odd_in_row >= _MOST_ODD and self._is_resting())
        ):
            return False
        try:
            exchange = self.plain_jobs.prepare(job, self)
            if exchange is None or not self.send_checks.reservations.has(job):
                return False
        except Exception:  # noqa: BLE001 - a bug, which the general path meets again and reports
            return False
        expires, breaker = job.expires_at_s is not None, self.breaker
        if expires and job.is_expired(time.time()):
            return False
        if not breaker.semaphore.try_enter():
            if expires:
                return False  # there it expires while it waits
            self._held[job] = exchange
            breaker.semaphore.wait_in_line(exchange.take_place)
            return True
        if not self._send(exchange):
            breaker.semaphore.leave()
            return False
        return True

    def _is_resting(self) -> bool:
        """Tell whether to leave jobs to the general path for now; once it is over, see what answers are like."""
        if self._clock.current_time() < self._rests_until_s:
            return True
        self._odd_in_row = 0
        return False

    def _send(self, exchange: Exchange) -> bool:
        """Send over a connection that is fit for use, that of a job before or an idle one; return False without one."""
        now_s = self._clock.current_time()
        connection: Connection | None = None
        try:
            connection = self._spare.pop() if self._spare else self.client.lend(now_s)
            if connection is None:
                return False
            due_s = now_s + exchange.endpoint.endpoint.timeout_s
            self.client.watch(connection, due_s)
            exchange.job.start_sending()
        except Exception:  # noqa: BLE001 - a bug, which the general path meets again and reports
            if connection is not None:
                self.client.take_back(connection, now_s, fit=True)
            return False
        self._in_progress[exchange.job] = exchange
        if not exchange.send(connection, self.client.readiness, now_s, due_s):
            self.continue_in_task(exchange, None)
        return True

    def start_held(self, exchange: Exchange) -> bool:
        """Send what was held, now that it has a place in the breaker, by either path; return False if it is gone."""
        job, checks = exchange.job, self.send_checks
        del self._held[job]
        try:
            is_ours = checks.reservations.has(job)
            may_send = is_ours and checks.lease.is_fresh and self.plain_jobs.is_current(exchange)
        except Exception:  # noqa: BLE001 - a bug, which the general path meets again and reports
            is_ours, may_send = True, False
        if not is_ours:
            self.ready.note_done()
            return False
        return (may_send and self._send(exchange)) or self._start_task(exchange, None)

    def finish(self, exchange: Exchange, outcome: Delivered) -> None:
        """Settle a job that was delivered, once all answers that came with its own were read."""
        if not self._delivered:
            self.client.readiness.call_afterwards(self._settle)
        self._delivered.append((exchange, outcome))

    def _settle(self, not_quiet: Collection[object]) -> None:
        """Settle the jobs that were delivered, as the processor does, and have the next ones started.

        On the wires in `not_quiet` something came behind the answer.
        """
        delivered, self._delivered = self._delivered, []
        breaker, now_s = self.breaker, self._clock.current_time()
        by_endpoint: dict[PlainEndpoint, int] = {}
        for exchange, outcome in delivered:
            job, endpoint = exchange.job, exchange.endpoint
            del self._in_progress[job]
            try:
                if endpoint not in by_endpoint:
                    by_endpoint[endpoint] = 0
                    endpoint.plan.note_delivered()
                job.answer()
                took_s = now_s - exchange.started_s
                self.settler.settle(job, exchange.payload, endpoint.endpoint.spec, outcome, duration_s=took_s)
            except Exception as error:  # noqa: BLE001 - whatever it is; its text may hold secrets
                self.settler.settle_bug(job, error)
            by_endpoint[endpoint] += 1
        for endpoint, count in by_endpoint.items():
            breaker.note_delivered(endpoint.endpoint.endpoint, count)
        self.jobs[self.plan.target.name] += len(delivered)
        self._odd_in_row = 0
        self.acks.add_all([exchange.job for exchange, _ in delivered])
        lent = [connection for exchange, _ in delivered if (connection := exchange.connection) is not None]
        quiet = [connection for connection in lent if connection.wire not in not_quiet] if not_quiet else lent
        self._spare = self.client.lend_again(quiet, now_s)
        if len(self._spare) < len(lent):
            for connection in set(lent).difference(self._spare):
                self.client.take_back(connection, now_s, fit=True)
        breaker.semaphore.wake_waiting()
        self._note_done(len(delivered))
        while self._spare:
            self.client.take_back(self._spare.pop(), now_s, fit=True)

    def continue_in_task(self, exchange: Exchange, error: Exception | None) -> None:
        """Have the general path go on with an exchange, in a task of its own."""
        self._odd_in_row += 1
        self._rests_until_s = self._clock.current_time() + _REST_S
        partial = exchange.end(error)
        del self._in_progress[exchange.job]
        if not self._start_task(exchange, partial):
            self.client.take_back(partial.connection, self._clock.current_time(), fit=False)
            self.breaker.semaphore.leave()

    def cancel(self, job: JobInProgress) -> bool:
        """Settle a job that a person cancels, as dead; return False if it is neither held nor in progress here."""
        exchange = self._in_progress.get(job)
        if exchange is not None:
            self._drop(exchange)
        elif (exchange := self._held.pop(job, None)) is not None:
            self.breaker.semaphore.leave_line(exchange.take_place)
        else:
            return False
        try:
            self.settler.cancel(job, exchange.payload)
        except Exception as error:  # noqa: BLE001 - whatever it is; its text may hold secrets
            self.settler.settle_bug(job, error)
        self.acks.add(job)
        self._note_done()
        return True

    def _start_task(self, exchange: Exchange, partial: PartialExchange | None) -> bool:
        """Have the general path go on in a task; return False if a bug prevents it, over which the job becomes dead."""
        try:
            admitted = exchange.admitted_job()
        except Exception as error:  # noqa: BLE001 - whatever it is; its text may hold secrets
            self.settler.settle_bug(exchange.job, error)
            self.acks.add(exchange.job)
            self._note_done()
            return False
        self.resume(exchange.job, admitted, partial)
        if not self._in_progress and self._over:
            self._over.unpark_all()
        return True

    def _drop(self, exchange: Exchange) -> None:
        """Close the connection of a job that was sent; the job stays as it is."""
        del self._in_progress[exchange.job]
        assert exchange.connection is not None  # noqa: S101 - it was sent
        self.client.take_back(exchange.connection, self._clock.current_time(), fit=False)
        self.breaker.semaphore.leave()

    def _note_done(self, count: int = 1) -> None:
        self.ready.note_done(count)
        if not self._in_progress and self._over:
            self._over.unpark_all()
