"""A process that is frozen at any step of a job, and fenced: others go on with it, whatever it does when it wakes up.

Two brokers share one Redis. The first one runs in a thread of its own, which stops at the step, and all of its tasks
with it; if it is never let go on, it was killed.
"""

import json
import threading
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from functools import partial
from typing import Any, Final

import attrs
import pytest
import trio

from restbroker.broker import heartbeat, signals
from restbroker.broker.delivery import Delivery
from restbroker.broker.health import FENCE_AFTER_S
from restbroker.broker.status.status import Status
from restbroker.job import claims
from restbroker.job.command import Call
from restbroker.job.order import Order
from restbroker.job.outcome import Delivered, Outcome
from restbroker.servers.contract import Link
from restbroker.store import claims as store_claims
from restbroker.store import jobs, waiter
from restbroker.store import order as order_store
from restbroker.store.client import StoreSettings, open_client
from restbroker.store.connection import Connection
from restbroker.store.jobs import FetchAnswer, FetchRequest, FetchResult
from restbroker.store.settling import FinishRequest
from restbroker.telemetry.events import BrokerStarted, JobDied, JobFinished
from restbroker.transport.message import Request, Response
from tests.broker.conftest import Harness, Scripted, ok
from tests.support.wait import NEVER_S

CALLS: Final[dict[Callable[..., Any], tuple[str, str]]] = {
    store_claims.claim: ("before the claim", "claimed"),
    jobs.mark: ("before the mark", "marked"),
}


@attrs.define(eq=False)
class Freeze:
    """Stops the thread that comes to `step` first, until `thaw` is set."""

    step: str
    reached: threading.Event = attrs.field(factory=threading.Event)
    thaw: threading.Event = attrs.field(factory=threading.Event)

    def at(self, step: str) -> None:
        if step == self.step and not self.reached.is_set():
            self.reached.set()
            self.thaw.wait(NEVER_S)


class Stepped(Connection):
    """Comes to a step before each call of Redis, and to one before its answer is seen."""

    freeze: Freeze

    async def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        before, after = CALLS.get(function, ("", ""))
        self.freeze.at(before)
        result = await super().call(function, *args, **kwargs)
        self.freeze.at(after)
        return result

    async def fetch(self, request: FetchRequest) -> FetchAnswer:
        got = await super().fetch(request)
        if isinstance(got, FetchResult) and got.jobs:
            self.freeze.at("fetched")
        return got

    def send_finish(self, *_args: Any, **_kwargs: Any) -> bool:
        return False  # the acker's task settles, by `finish`

    async def finish(self, request: FinishRequest, now_s: float) -> Any:
        self.freeze.at("before the settlement")
        answer = await super().finish(request, now_s)
        self.freeze.at("settled")
        return answer

    async def finish_and_fetch(self, finished: FinishRequest, now_s: float, wanted: FetchRequest) -> Any:
        self.freeze.at("before the settlement")
        answers = await super().finish_and_fetch(finished, now_s, wanted)
        self.freeze.at("settled")
        return answers


@attrs.define(eq=False)
class Server:
    """The server of both brokers. `came`: by key, the numbers of the jobs in the order of their requests.

    What the second broker sends is answered once `let` is set.
    """

    came: dict[str, list[int]] = attrs.field(factory=lambda: defaultdict(list))
    is_reached: bool = False
    """Whether the second broker has sent a job of the key `a`."""
    let: trio.Event = attrs.field(factory=trio.Event)

    def target(self, freeze: Freeze | None = None) -> Scripted:
        """Return the server as the first broker sees it, which freezes, or the second one."""

        async def answer(request: Request) -> Response:
            key, _, number = request.path.removeprefix("/").partition("-")
            self.came[key].append(int(number))
            if freeze is not None:
                freeze.at("sent")
            elif key == "a":
                self.is_reached = True
                await self.let.wait()
            return await ok(request)

        async def way(call: Call, link: Link) -> Outcome:
            arguments = call.command.arguments
            response = await link.send(Request("POST", f"/{arguments['key']}-{arguments['n']}", 5.0))
            if freeze is not None:
                freeze.at("answered")
            return Delivered(response.body.decode(), 0, 200)

        async def connected() -> None:
            if freeze is not None:
                freeze.at("before the last look")

        made = Scripted(answer)
        made.way, made.connected = way, connected
        return made


@attrs.define(eq=False)
class Pair:
    """Two brokers; the jobs of `frozen` have come to its step, and Redis gives it no more rights."""

    frozen: Harness
    other: Harness
    server: Server
    freeze: Freeze

    async def thaw(self) -> None:
        """Let the frozen one go on, and wait until it has done all that it still does with what it had."""
        self.freeze.thaw.set()
        await self.frozen.until(lambda: len(self.frozen.of(BrokerStarted)) == 2, "it goes on under another name")

    def record(self, key: str) -> order_store.BusyKey | None:
        return order_store.read_key(self.other.client, "t", ("rest",), f"\x1e{key}".encode())

    def processed(self) -> int:
        return int(self.other.client.command("GET", "stat:processed") or 0)  # type: ignore[arg-type]


@asynccontextmanager
async def fenced_at(
    harness: Harness, step: str, push: Callable[[], None], patch: pytest.MonkeyPatch
) -> AsyncIterator[Pair]:
    """Have a broker take what `push` pushes, freeze it at the step until its lease has run out, and fence it."""
    freeze, server, is_over = Freeze(step), Server(), threading.Event()
    start_sending = Delivery.start_sending

    def note(delivery: Delivery) -> None:
        freeze.at("before the first byte")
        start_sending(delivery)

    def connect(settings: StoreSettings) -> Connection:
        connection = Stepped(open_client(settings, harness.patience_s))
        connection.freeze = freeze
        return connection

    async def serve() -> None:
        await harness.serve_until(is_over.is_set, "the test is over")

    patch.setattr(Delivery, "start_sending", note)
    # They come to the main thread only.
    patch.setattr(signals, "watch", no_signals)
    patch.setattr(heartbeat, "HEARTBEAT_S", 0.2)
    patch.setattr(waiter, "BLOCK_S", 0.2)
    harness.target, harness.connect, harness.concurrency = server.target(freeze), connect, 1
    with closing(open_client(StoreSettings(harness.redis.url))) as client:
        other = attrs.evolve(harness, client=client, target=server.target(), events=[], status=Status(), concurrency=3)
        push()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, trio.run, serve)
            try:
                await harness.until(freeze.reached.is_set, f"it is frozen: {step}")
                clock_gettime = time.clock_gettime
                patch.setattr(time, "clock_gettime", lambda clock: clock_gettime(clock) + FENCE_AFTER_S)
                await other.fence(other.identity)
                yield Pair(harness, other, server, freeze)
            finally:
                freeze.thaw.set()
                is_over.set()


async def no_signals(*_: object, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    task_status.started()
    await trio.sleep_forever()


# What the server sees of the key's jobs. A 0 before the first byte comes late: nothing looks at the lease after that.
PLAIN: Final = {
    "fetched": [0, 1, 2],
    "before the last look": [0, 1, 2],
    "before the first byte": [0, 0, 1, 2],
    "sent": [0, 0, 1, 2],
    "answered": [0, 0, 1, 2],
    "before the settlement": [0, 0, 1, 2],
    "settled": [0, 1, 2],
}
ONCE: Final = {
    "fetched": [0, 1, 2],
    "before the mark": [0, 1, 2],
    "marked": [1, 2],
    "before the last look": [1, 2],
    "before the first byte": [0, 1, 2],
    "sent": [0, 1, 2],
    "answered": [0, 1, 2],
    "before the settlement": [0, 1, 2],
    "settled": [0, 1, 2],
}
DIE_OF: Final = {"marked", "before the last look", "before the first byte", "sent", "answered", "before the settlement"}
"""At these steps a job under AtMostOnce is marked, and not settled."""


def push_in_order(harness: Harness, command: str) -> None:
    for number in range(3):
        for key, its in (("a", command), ("b", "safe")):
            args = [its, {"key": key, "n": number}, "t"]
            harness.push(args=args, jid=f"{key}-{number}", order_key=key)


@pytest.mark.promise("One key after the other", "a process dies, stops or freezes at any step")
@pytest.mark.promise("At least once, and seldom more", "a frozen process changes nothing in Redis")
@pytest.mark.parametrize(
    ("command", "step", "came"),
    [*(("safe", *pair) for pair in PLAIN.items()), *(("once", *pair) for pair in ONCE.items())],
)
async def test_frozen_process_overtakes_no_job_of_a_key_and_opens_none(
    harness: Harness, command: str, step: str, came: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.order, harness.at_most_once, harness.request_timeout_s = Order(on_dead="stop"), ("once",), 0.5
    dies = command == "once" and step in DIE_OF
    async with fenced_at(harness, step, partial(push_in_order, harness, command), monkeypatch) as pair:
        other, server = pair.other, pair.server
        async with other.broker():
            if dies:
                await other.until(lambda: (held := pair.record("a")) and held.state == "stopped", "it died of it")
            else:
                await other.until(lambda: server.is_reached, "the other one sends the next job of the key")
            await other.until(lambda: server.came["b"][-1:] == [2], "the other key goes on")
            before = pair.record("a")
            await pair.thaw()
            assert pair.record("a") == before
            if dies:
                assert before is not None
                assert order_store.steer(other.client, "t", ("rest",), "skip", [before]) == [True]
            server.let.set()
            await other.until(lambda: pair.processed() == 6 - dies, "all others are done")
            await other.until(lambda: not other.client.command("EXISTS", "restbroker:held:t"), "no key is held")
    assert server.came["a"] == came
    assert server.came["b"] == sorted(server.came["b"])
    assert set(server.came["b"]) == {0, 1, 2}
    assert [member["jid"] for member in other.members("dead")] == ["a-0"] * dies


KEY: Final = "order-17"
CLAIM: Final = "restbroker:once:" + claims.once_name("t", "default", KEY)
LOCK_NAME: Final = claims.lock_name("t", "default", KEY)
LOCK: Final = f"restbroker:unique:{LOCK_NAME}"
HELD: Final = "original 5"
# Whether the job has its claim at this step, and how often the server has seen it in the end.
UNIQUE: Final = {
    "fetched": (False, 1),
    "before the claim": (False, 1),
    "claimed": (True, 1),
    "before the last look": (True, 1),
    "sent": (True, 2),
    "answered": (True, 2),
    "before the settlement": (True, 2),
    "settled": (True, 1),
}


def push_unique(harness: Harness, command: str) -> None:
    lock = {"key": KEY, "lock": LOCK_NAME, "for": 600}
    args = [command, {"key": "u", "n": 0}, "t"]
    harness.push(args=args, jid="original", idempotency_key=KEY, restbroker_unique=lock)
    harness.client.command("SET", LOCK, HELD, "PX", 600_000)


def value_of(harness: Harness, key: str) -> Any:
    value = harness.client.command("GET", key)
    return None if value is None else value.decode()  # type: ignore[union-attr]


@pytest.mark.promise("No command is lost", "jobs of one key, or a push that is repeated: done once")
@pytest.mark.parametrize("step", UNIQUE)
async def test_unique_job_killed_at_any_step_is_done_once(
    harness: Harness, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_claimed, times = UNIQUE[step]
    async with fenced_at(harness, step, partial(push_unique, harness, "safe"), monkeypatch) as pair:
        other, is_settled = pair.other, step == "settled"
        assert value_of(other, LOCK) == (None if is_settled else HELD)
        assert (value_of(other, CLAIM) is not None) == is_claimed
        other.push(args=["safe", {"key": "u", "n": 0}, "t"], jid="copy", idempotency_key=KEY)
        async with other.broker():
            await other.until(lambda: pair.processed() == 2, "both are settled")
            await other.until(lambda: len(other.of(JobFinished)) == 2 - is_settled, "it reports them")
            outcomes = {event.jid: event.outcome for event in other.of(JobFinished)}
            # Which of them is done is open where none has claimed it.
            done = "original" if is_claimed or outcomes["original"] == "delivered" else "copy"
            assert outcomes == {jid: "delivered" if jid == done else "duplicate" for jid in outcomes}
            assert len(pair.server.came["u"]) == times
            left = (value_of(other, LOCK), json.loads(value_of(other, CLAIM))[:2])
            assert left == (None, [done, "done"])
            await pair.thaw()
            assert (value_of(other, LOCK), json.loads(value_of(other, CLAIM))[:2]) == left
            assert pair.processed() == 2
    assert len(pair.server.came["u"]) == times
    assert not other.client.command("EXISTS", "queue:rest", "retry", "dead")


async def test_the_lock_of_a_job_that_dies_of_its_process_is_given_up(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.at_most_once = ("once",)
    async with fenced_at(harness, "sent", partial(push_unique, harness, "once"), monkeypatch) as pair:
        other = pair.other
        assert value_of(other, LOCK) == HELD
        async with other.broker():
            await other.until(lambda: other.of(JobDied), "it is dead")
            assert value_of(other, LOCK) is None
            # It may have run: until its time is over or a person decides, nothing else does the same.
            assert json.loads(value_of(other, CLAIM))[0] == "original"
            await pair.thaw()
    assert pair.server.came["u"] == [0]
    assert [member["jid"] for member in other.members("dead")] == ["original"]
