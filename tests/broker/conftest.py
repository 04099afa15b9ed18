"""A broker inside the test: real Redis, real workers, and a target that does what the test says."""

import json
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from restbroker.broker import broker
from restbroker.broker.broker import BrokerEnd
from restbroker.broker.plan import BrokerPlan, Service
from restbroker.broker.same_host import this_process
from restbroker.broker.signals import Control
from restbroker.broker.status.status import Status
from restbroker.broker.target_plan import TargetPlan
from restbroker.broker.tokens import Tokens
from restbroker.broker.worker_pool import WorkerPool
from restbroker.config.secret import Secret
from restbroker.config.target import Target, Url
from restbroker.config.tokens import Token
from restbroker.job import settle
from restbroker.job.backoff import SidekiqBackoff
from restbroker.job.command import Call, Catalogue, CommandSpec
from restbroker.job.fairness import Fairness
from restbroker.job.json_types import Json
from restbroker.job.order import Order, key_rules
from restbroker.job.outcome import Delivered, Outcome, Probe, Reason
from restbroker.job.policy import Policy
from restbroker.servers.contract import Link
from restbroker.store import heartbeats, identities, jobs
from restbroker.store.client import Client, StoreSettings, open_client
from restbroker.store.connection import Connection
from restbroker.store.jobs import Limits
from restbroker.store.waiter import Waiter
from restbroker.telemetry.events import Event, JobFinished, OperatorWarning, Report
from restbroker.transport.message import MaybeSent, NotSent, Request, Response, Sender
from tests.support.redis_server import RedisServer
from tests.support.single_events import single_events
from tests.support.store_calls import fetch
from tests.support.transitions import watched
from tests.support.wait import NEVER_S, until_async

FINE = Probe(ok=True, denied=False, version="1.0", detail="fine")
SPECS = {
    "safe": CommandSpec("safe", (), "safe"),
    "once": CommandSpec("once", (), "unsafe"),
    "create": CommandSpec("create", (), "already_done"),
    "ask": CommandSpec("ask", (), "unsafe", unanswered=Reason("AskUnanswered", "", "Ask whether it waits.")),
}
GONE = "h:1:gone:t"
"""The identity of a process that has crashed."""
Answer = Callable[[Request], Awaitable[Response]]


@attrs.define(eq=False)
class Scripted:
    """Transport and connector in one. `answers` are used up one by one, then `answer` serves until it is closed.

    What the transport's answer means is decided by `judge`.
    """

    answer: Answer
    answers: deque[Answer] = attrs.field(factory=deque)
    judge: Callable[[Call, Response], Outcome] = lambda _call, response: Delivered(response.body.decode(), 0, 200)
    probe_answer: Probe | NotSent | ZeroDivisionError = FINE
    calls: list[Call] = attrs.field(factory=list)
    sent: list[Request] = attrs.field(factory=list)
    probes: int = 0
    catalogue: Catalogue = attrs.field(factory=lambda: Catalogue("1.0", SPECS))
    before: Callable[[Call], None] = lambda _call: None
    closed: bool = False
    closings: int = 0
    """Two of each plan: it is the transport, and a service of the connector."""
    keeps: bool = True
    connected: Callable[[], Awaitable[None]] | None = None
    """Returns when there is a connection for the next request."""
    way: Callable[[Call, Link], Awaitable[Outcome]] | None = None
    """How a call is delivered, where that is not by one request."""

    def spec(self, endpoint: str) -> CommandSpec | None:
        return SPECS.get(endpoint)

    async def send(self, request: Request, sender: Sender | None = None) -> Response:
        assert not self.closed
        if self.connected is not None:
            await self.connected()
        if sender is not None:
            sender.may_send()
            sender.start_sending()
        self.sent.append(request)
        response = await (self.answers.popleft() if self.answers else self.answer)(request)
        if sender is not None and not 200 <= response.status < 300:
            sender.clear_sending()
        return response

    async def keep_none(self) -> None:
        self.keeps = False

    async def aclose(self) -> None:
        self.closed = True
        self.closings += 1

    async def deliver(self, call: Call, link: Link) -> Outcome:
        self.calls.append(call)
        self.before(call)
        if self.way is not None:
            return await self.way(call, link)
        return self.judge(call, await link.send(Request("POST", "/" + call.command.endpoint, call.timeout_s)))

    async def probe(self, _link: Link) -> Probe:
        self.probes += 1
        if isinstance(self.probe_answer, Exception):
            raise self.probe_answer
        return self.probe_answer

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        await trio.sleep_forever()


async def ok(_request: Request) -> Response:
    return Response(200, {}, b"0", 0.0)


async def refuse(_request: Request) -> Response:
    raise NotSent("refused")


async def lost(_request: Request) -> Response:
    raise MaybeSent("reset")


@attrs.frozen
class Held:
    """Answers once it is let."""

    let: trio.Event = attrs.field(factory=trio.Event)

    async def __call__(self, request: Request) -> Response:
        await self.let.wait()
        return await ok(request)


@attrs.define(eq=False)
class Harness:
    """One Redis, one target (`others` by name, each with a queue of its name), and brokers on them.

    `next_plan` is what the broker serves after a reload; None: it goes on as before.
    """

    redis: RedisServer
    client: Client
    target: Scripted
    others: dict[str, Scripted] = attrs.field(factory=dict)
    next_plan: BrokerPlan | None = None
    events: list[Event] = attrs.field(factory=list)
    control: Control = attrs.field(factory=Control)
    ended: BrokerEnd | None = None
    status: Status = attrs.field(factory=Status)
    token: str = "t"
    more_tokens: tuple[Token, ...] = ()
    tokens: tuple[Token, ...] = ()
    """All of them, instead of that one and more."""
    queues: tuple[str, ...] = ("rest",)
    weights: Mapping[str, int] = attrs.field(factory=dict)
    at_most_once: tuple[str, ...] = ()
    slots: Mapping[str, int] = attrs.field(factory=dict)
    expire_s: Mapping[str, float] = attrs.field(factory=dict)
    idempotency_s: float = 86_400.0
    fairness: Fairness | None = None
    order: Order | None = None
    limits: Limits = attrs.field(factory=Limits)
    history_s: float | None = None
    shows_bodies: bool = False
    event_commands: frozenset[str] = frozenset()
    concurrency: int = 3
    shutdown_timeout_s: float = 5.0
    request_timeout_s: float = 10.0
    report: Report = attrs.field(init=False)
    services: Callable[["Harness"], Sequence[Service]] = lambda _harness: ()
    connect: Callable[[StoreSettings], Connection] = attrs.field(init=False)
    patience_s: float = 3.0
    """How long an answer of Redis may take; a third of it where a stop waits."""
    snapshot: Callable[[WorkerPool], Mapping[str, Json]] = lambda _pool: {}
    policy: Policy = attrs.field(factory=lambda: Policy(SidekiqBackoff(), reply_queue="replies"))

    def __attrs_post_init__(self) -> None:
        self.report = lambda event: self.events.extend(single_events(event))
        self.connect = lambda settings: Connection(open_client(settings, self.patience_s))

    def push(self, command: str = "safe", count: int = 1, first: int = 0, into: str = "rest", **fields: Any) -> None:
        payloads = [
            {"class": "Add", "jid": f"jid-{command}-{number}", "args": [command, {"n": number}, "t"], **fields}
            for number in range(first, first + count)
        ]
        self.raw(*(json.dumps(payload).encode() for payload in payloads), into=into)

    def raw(self, *payloads: bytes, into: str = "rest") -> None:
        self.client.command("LPUSH", f"queue:{into}", *payloads)

    def size(self, key: str) -> int:
        kind = self.client.command("TYPE", key)
        counted = {b"list": "LLEN", b"zset": "ZCARD", b"hash": "HLEN", b"none": None}[bytes(kind)]  # type: ignore[arg-type]
        return 0 if counted is None else int(self.client.command(counted, key))  # type: ignore[arg-type]

    def members(self, zset: str) -> list[dict[str, Any]]:
        return [json.loads(member) for member in self.client.command("ZRANGE", zset, 0, -1)]  # type: ignore[union-attr, arg-type]

    def take(self, zset: str) -> dict[str, Any]:
        """Return the only job of a set, which leaves it."""
        (found,) = self.members(zset)
        self.client.command("DEL", zset)
        return found

    def entries(self, key: str) -> list[dict[str, Any]]:
        return [json.loads(member) for member in self.client.command("LRANGE", key, 0, -1)]  # type: ignore[union-attr, arg-type]

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def warnings(self) -> list[str]:
        """The codes of all that people were warned of."""
        return [event.code for event in self.of(OperatorWarning)]

    @property
    def outcomes(self) -> list[str]:
        """What became of each job that has ended."""
        return [event.outcome for event in self.of(JobFinished)]

    @property
    def pool(self) -> WorkerPool:
        """Its only pool."""
        (pool,) = self.status.pools
        return pool

    @property
    def identity(self) -> str:
        """The only one that lives."""
        (identity,) = identities.live_identities(self.client)
        return identity

    async def until(self, found: Callable[[], object], what: str, timeout_s: float = NEVER_S) -> None:
        try:
            await until_async(found, what, timeout_s)
        except AssertionError as error:
            raise AssertionError(f"{error}\n" + "\n".join(map(str, self.events[-30:]))) from None

    async def until_ended(self, count: int = 1) -> list[JobFinished]:
        """Wait until so many jobs have ended; return how all did."""
        await self.until(lambda: len(self.of(JobFinished)) >= count, f"{count} jobs end")
        found: list[JobFinished] = self.of(JobFinished)
        return found

    async def serve(self, count: int = 1) -> list[JobFinished]:
        """Run a broker until so many jobs have ended, and no more; return how they did."""
        async with self.broker():
            found = await self.until_ended(count)
        assert len(self.of(JobFinished)) == count
        return found

    async def serve_until(self, found: Callable[[], object], what: str, timeout_s: float = NEVER_S) -> None:
        async with self.broker():
            await self.until(found, what, timeout_s)

    def crashed(self, count: int = 1, *, marked: bool = False) -> None:
        """This number of jobs was in progress in a process of this host that is gone; all may have been started."""
        facts, rules = attrs.evolve(this_process("t"), started_at_ticks=1), key_rules(self.order, self.fairness)
        assert jobs.register(self.client, GONE, facts, self.queues, key_rules=rules)
        request = jobs.FetchRequest(GONE, "t", self.queues[:1], 0, count, count, key_rules=rules)
        fetched = fetch(self.client, request)
        assert isinstance(fetched, jobs.FetchResult)
        if marked:
            jobs.mark(self.client, GONE, [fetched.jobs[0].ticket])

    def on(self, redis: RedisServer) -> RedisServer:
        """It is on this Redis from now on."""
        self.redis, self.client = redis, open_client(StoreSettings(redis.url))
        return redis

    async def fence(self, identity: str) -> None:
        """Takes its rights away; it may beat between the look and the fence, which then has no effect."""
        await self.until(
            lambda: heartbeats.fence(self.client, identity, identities.live_identities(self.client)[identity]),
            "it is fenced",
        )

    async def crash(self) -> None:
        """Take its process for dead: it loses its rights, and its jobs are given back."""
        identity = self.identity
        await self.fence(identity)
        self.recover(identity)

    def recover(self, identity: str) -> None:
        """Gives back the jobs of one that is fenced, as a reaper does."""
        heartbeats.recover(
            self.client,
            identity,
            lambda fallen: settle.settle_crashed(fallen, time.time(), lambda _: None),
        )

    @asynccontextmanager
    async def broker(self) -> AsyncIterator[None]:
        """Runs a broker inside the block and stops it at its end, unless the test did."""
        self.control = Control()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._run)
            yield
            self.control.why = "test"
            self.control.stop.set()

    async def _run(self) -> None:
        self.ended = await broker.run(self.plan(), self.control, self._reload)

    async def _reload(self) -> BrokerPlan | None:
        return self.next_plan

    def plan(self) -> BrokerPlan:
        settings = StoreSettings(self.redis.url)
        target = Target(
            "t",
            "scripted",
            Url("http", "127.0.0.1", 1),
            self.queues,
            weights=self.weights,
            concurrency=self.concurrency,
            at_most_once=self.at_most_once,
            slots=self.slots,
            expire_s=self.expire_s,
            idempotency_s=self.idempotency_s,
            fair_by=self.fairness,
            order_by=self.order,
            on_dead="go" if self.order is None else self.order.on_dead,
            timeout_s=self.request_timeout_s,
        )
        return BrokerPlan(
            targets=[
                self._plan_of(target, self.target),
                *(
                    self._plan_of(attrs.evolve(target, name=name, queues=(name,)), other)
                    for name, other in self.others.items()
                ),
            ],
            services=self.services(self),
            open_connection=lambda: self.connect(settings),
            open_control=lambda: Connection(open_client(settings, self.patience_s / 3)),
            open_waiter=lambda: Waiter(lambda: open_client(settings, self.patience_s)),
            report=self.report,
            snapshot=self.snapshot,
            shutdown_timeout_s=self.shutdown_timeout_s,
            status=self.status,
        )

    def _plan_of(self, target: Target, scripted: Scripted) -> TargetPlan:
        tokens = Tokens(self.tokens or (Token("default", (Secret(self.token),)), *self.more_tokens))
        return TargetPlan(
            target,
            scripted,
            scripted,
            tokens,
            self.policy,
            self.limits,
            self.history_s,
            services=(scripted,),
            shows_bodies=self.shows_bodies,
            event_commands=self.event_commands,
        )


@pytest.fixture
def harness(redis_server: RedisServer) -> Iterator[Harness]:
    made = Harness(redis_server, open_client(StoreSettings(redis_server.url)), Scripted(ok))
    yield made
    # A test may have put another one there, for a Redis of its own.
    made.client.close()


@pytest.fixture
def hurry(harness: Harness) -> MockClock:
    """Trio's clock, ten times as fast: what the broker waits for by it comes sooner. Redis keeps its own time."""
    harness.patience_s *= 10
    return MockClock(rate=10)


@pytest.fixture
def jump(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Sets the clock of this process two hours ahead, so that jobs expire; Trio and Redis keep theirs."""
    now = time.time
    return lambda: monkeypatch.setattr(time, "time", lambda: now() + 7200)


@pytest.fixture(autouse=True)
def _legal(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No job of a broker in the test takes a step that is not in the table."""
    with watched(monkeypatch):
        yield
