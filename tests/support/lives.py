"""The lives of one pool's jobs, with a worker, and neither Redis nor a server: tests answer for both."""

import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import attrs
import trio
import trio.testing

from restbroker.broker.acker import AckBuffer
from restbroker.broker.admission import Admission, Endpoints
from restbroker.broker.breaker import Breaker
from restbroker.broker.delivery import Delivery, SendChecks
from restbroker.broker.gates import Gate, RedisGates, Slots
from restbroker.broker.health import Lease, boot_time_s
from restbroker.broker.job_in_progress import JobInProgress, Reservations
from restbroker.broker.life import Life
from restbroker.broker.ready_buffer import BatchSize, ReadyBuffer
from restbroker.broker.settler import Reports, Settler
from restbroker.broker.target_plan import TargetPlan
from restbroker.broker.tokens import Tokens
from restbroker.broker.worker import Worker
from restbroker.config.secret import Secret
from restbroker.config.target import Target, Url
from restbroker.config.tokens import Token
from restbroker.job.backoff import SidekiqBackoff
from restbroker.job.command import Call, Catalogue, CommandSpec
from restbroker.job.outcome import Delivered, Denied, Outcome, Probe, Reason
from restbroker.job.policy import Policy
from restbroker.servers.contract import Link
from restbroker.store.jobs import Limits
from restbroker.transport.client import LeanClient
from restbroker.transport.exchange import ExchangeState
from restbroker.transport.message import Request, Response

PLACES = 3
FINE = Probe(ok=True, denied=False, version="1.0", detail="fine")
OK = Response(200, {}, b"0", 0.001)
Way = Callable[[Call, Link], Awaitable[Outcome]]


async def by_request(call: Call, link: Link) -> Outcome:
    answer = await link.send(Request("POST", f"/{call.command.endpoint}", call.timeout_s))
    if answer.status == 401:
        return Denied(Reason("Denied", "You may not.", status=401))
    return Delivered("0", 0, answer.status)


async def by_task(call: Call, link: Link) -> Outcome:
    await link.task()
    await trio.sleep_forever()
    raise AssertionError


@attrs.define(eq=False)
class Connector:
    """`way`: how it delivers; it says that it needs no task."""

    way: Way = by_request
    stepwise: bool = True
    catalogue: Catalogue = attrs.field(factory=lambda: Catalogue("1.0", {}))
    spec: Callable[[str], CommandSpec | None] = {
        name: CommandSpec(name, (), "safe") for name in ("safe", "slow", "once")
    }.get

    async def deliver(self, call: Call, link: Link) -> Outcome:
        return await self.way(call, link)


@attrs.define(eq=False)
class Exchange:
    """A request that waits for its answer."""

    delivery: Delivery
    state: ExchangeState = ExchangeState.RECEIVING

    def cancel(self) -> None:
        self.state = ExchangeState.OVER

    def answer(self, response: Response = OK) -> None:
        assert self.state is not ExchangeState.OVER
        self.state = ExchangeState.OVER
        self.delivery.answered(response)

    def fail(self, error: Exception) -> None:
        self.state = ExchangeState.OVER
        self.delivery.failed(error)


@attrs.define(eq=False)
class Service:
    """What sends requests: all of them are `sent`; `started` counts those that were not, too."""

    is_over: bool = False
    sent: list[Exchange] = attrs.field(factory=list)
    started: int = 0
    reads_on: bool = False
    """Whether there is always more to be read, so that it does not call."""
    refusals: list[Exception] = attrs.field(factory=list)
    """Why the next requests find no connection, from the last on."""

    def start(self, _request: Request, sink: Delivery, _message: bytes | None = None) -> Exchange:
        self.started += 1
        exchange = Exchange(sink)
        if self.refusals:
            exchange.fail(self.refusals.pop())
            return exchange
        try:
            sink.may_send()
            sink.start_sending()
        except Exception as error:  # noqa: BLE001 - as the service does
            exchange.fail(error)
        else:
            self.sent.append(exchange)
        return exchange

    def call_soon(self, call: Callable[[], None]) -> None:
        if not self.reads_on:
            call()


@attrs.define(eq=False)
class Question:
    """A call of Redis: who asks waits for `answer`."""

    asked: list[Any] = attrs.field(factory=list)
    answer: Any = None
    _come: trio.Event = attrs.field(factory=trio.Event)

    async def __call__(self, what: list[Any]) -> Sequence[Any]:
        self.asked += what
        await self._come.wait()
        return [self.answer] * len(what)

    async def come(self, answer: object) -> None:
        self.answer = answer
        self._come.set()
        await trio.testing.wait_all_tasks_blocked()


@attrs.define(eq=False)
class Lives:
    """One pool. Its gates ask `shares` and `marks`. `warned`: the codes of what was warned of."""

    life: Life
    worker: Worker
    connector: Connector
    service: Service
    lease: Lease
    shares: Question
    marks: Question
    slots: Slots
    warned: list[str]
    fields: dict[str, object] = attrs.field(factory=dict)
    """What each job says besides."""
    _number: int = 0

    @property
    def breaker(self) -> Breaker:
        return self.life.breaker

    def put(self, count: int = 1, command: str = "safe") -> list[JobInProgress]:
        """Has so many jobs come, and begin where there are places."""
        jobs = []
        for _ in range(count):
            self._number += 1
            plain = {"class": "Add", "args": [command, {}, "t"], "jid": f"{self._number:024}", "queue": "q"}
            body = {**plain, **self.fields}
            jobs.append(JobInProgress(f"{self._number}:1", self._number, "q", json.dumps(body).encode()))
        self.life.reservations.add(jobs)
        self.life.ready.allow(self._number)
        self.life.ready.send_nowait(jobs)
        return jobs

    def delivery(self, job: JobInProgress) -> Delivery:
        return self.life.deliveries[job]

    def settled(self) -> list[JobInProgress]:
        """The jobs that the acker has got, each as often as that."""
        return self.life.acks.jobs

    def fates(self) -> dict[int, str]:
        return {job.number: type(job.settlement).__name__ for job in self.settled()}

    @property
    def free_places(self) -> int:
        """How many more jobs the worker could have now."""
        return self.life.ready.places - self.life.ready.demand.busy

    def assert_over(self) -> None:
        """No life is left, each job was settled once at most, and each place is free."""
        assert self.life.deliveries == {}
        assert len(set(self.settled())) == len(self.settled())
        assert (self.free_places, self.breaker.semaphore.capacity) == (self.life.ready.places, PLACES)
        lines = [self.breaker.semaphore.line, self.breaker.semaphore.beside]
        for slot in self.slots._slots.values():  # noqa: SLF001
            assert slot.in_use == 0
            lines.append(cast("Any", slot.waiting))
        assert not any(lines)
        assert len(self.life.timers) == sum(entry[2].then is None for entry in self.life.timers._heap)  # noqa: SLF001


async def let_in(_reason: Reason) -> bool:
    await trio.lowlevel.checkpoint()
    return True


@asynccontextmanager
async def living(
    way: Way = by_request,
    *,
    slots: dict[str, int] | None = None,
    rate: bool = False,
    once: tuple[str, ...] = (),
) -> AsyncIterator[Lives]:
    """A pool whose worker runs until the end of the block, where it is cut off."""
    target = Target(
        "t",
        "any",
        Url("http", "127.0.0.1", 9, ""),
        ("q",),
        concurrency=PLACES,
        slots=slots or {},
        at_most_once=once,
    )
    connector, client, service = Connector(way), LeanClient(target, ssl.create_default_context()), Service()
    client.service = cast("Any", service)
    plan = TargetPlan(
        target,
        cast("Any", connector),
        client,
        Tokens((Token("t", (Secret("t"),)),)),
        Policy(SidekiqBackoff()),
        Limits(emission_us=1_000_000) if rate else Limits(),
    )
    warned: list[str] = []
    identity: Any = SimpleNamespace(
        name="i", report=lambda _event: None, warn_once=lambda code, *_what: warned.append(code), has_marked=False
    )
    health: Any = SimpleNamespace(clock_ahead_s=0.0)
    lease, reservations, breaker = Lease(), Reservations(), Breaker("t", lambda _event: None, PLACES)
    lease.confirm(boot_time_s() + 3600)
    ready = ReadyBuffer(plan.places, BatchSize())
    gates, shares, marks = RedisGates(plan, identity, cast("Any", None), health), Question(), Question()
    gates.shares, gates.marks = Gate(cast("Any", shares)), Gate(cast("Any", marks))
    slots_ = Slots(target.slots)
    life = Life(
        plan=plan,
        reservations=reservations,
        ready=ready,
        admission=Admission(
            plan=plan,
            identity=identity,
            endpoints=Endpoints(target, cast("Any", connector), slots_),
            health=health,
        ),
        gates=gates,
        breaker=breaker,
        checks=SendChecks(client, reservations, breaker, lease, gates),
        settler=Settler(plan, identity, Reports(plan, identity), health),
        acks=AckBuffer(ready),
        stopping=trio.Event(),
        probe_after_denial=let_in,
    )
    worker = Worker(life)
    breaker.record_probe(FINE)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.run)
        await trio.testing.wait_all_tasks_blocked()
        yield Lives(life, worker, connector, service, lease, shares, marks, slots_, warned)
        nursery.cancel_scope.cancel()
