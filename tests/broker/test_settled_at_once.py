"""While few jobs come their settlements leave in the step in which they were decided: none is lost or done twice."""

import select
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from types import SimpleNamespace
from typing import cast

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from restbroker.errors import StoreUnavailable
from restbroker.job.fairness import Fairness
from restbroker.job.order import Order
from restbroker.job.settlement import Ack
from restbroker.store.client import Client, StoreSettings, open_client
from restbroker.store.codes import Code
from restbroker.store.connection import Connection, DeadlineKeeper, Settled, Watch
from restbroker.store.in_progress import FetchedJob, JobsInProgress, read_jobs
from restbroker.store.settling import FinishRequest
from restbroker.telemetry.events import JobFinished, StoreBack, StoreLost
from tests.broker.conftest import Harness, Held
from tests.support.redis_server import RedisServer

JOBS = 20


class Noting(Connection):
    """Notes the settlements that are sent without a task; `on_answer` may keep their answers from being read."""

    def __init__(self, client: Client, at_once: "AtOnce") -> None:
        super().__init__(client)
        self.client = client
        self.watch: Watch | None = None
        self.awaited = ""
        """The first ticket of the settlement that is not answered yet."""
        self._at_once = at_once

    def send_finish(
        self, request: FinishRequest, now_s: float, *, watch: Watch, deadlines: DeadlineKeeper, done: Settled
    ) -> bool:
        def answered(answer: list[Code] | StoreUnavailable | None, found: Sequence[FetchedJob]) -> None:
            self.awaited = ""
            self._at_once.brought += len(found)
            done(answer, found)

        was_sent = super().send_finish(request, now_s, watch=watch, deadlines=deadlines, done=answered)
        if was_sent:
            self.watch, self.awaited = watch, request.items[0][0]
            self._at_once.sent.append([ticket for ticket, _ in request.items])
        return was_sent

    def on_readable(self) -> bool:
        if self.awaited and self._at_once.on_answer(self):
            if self.awaited and self.watch is not None:
                # As after any answer that has not come whole.
                self._have_watched(self.watch)
            return True
        return super().on_readable()

    def stop_watching(self) -> None:
        """The listener for many connections has ended."""
        assert self.watch is not None
        self.watch.forget(self.client.descriptor)
        self.lose_watch()

    def lose_watch(self) -> None:
        self.watch = None
        super().lose_watch()


@attrs.define(eq=False)
class AtOnce:
    """A broker whose connections note the `sent` settlements, by the tickets of each."""

    harness: Harness
    sent: list[list[str]] = attrs.field(factory=list)
    on_answer: Callable[[Noting], bool] = lambda _: False
    """Is called when an answer has come; returns whether that is kept from the broker."""
    brought: int = 0
    """How many jobs came with answers."""
    pushed: int = 0

    def be_deaf(self) -> None:
        """No one who listens for many connections reads the answers, but that of the first job."""
        self.on_answer = lambda one: not one.awaited.startswith("1:") and one.watch is not None

    @property
    def settled(self) -> int:
        return int(bytes(self.harness.client.command("GET", "stat:processed") or b"0"))  # type: ignore[arg-type]  # a number

    def has_settled(self, count: int) -> bool:
        return self.settled == count

    @property
    def finished(self) -> int:
        return len(self.harness.of(JobFinished))

    @property
    def store(self) -> Noting:
        found = self.harness.pool.acker.store
        assert isinstance(found, Noting)
        return found

    def send(self, request: FinishRequest, done: Settled = lambda *_: None) -> bool:
        upkeep = self.harness.pool.acker.upkeep
        return self.store.send_finish(
            request, time.time(), watch=upkeep.readiness, deadlines=upkeep.deadlines, done=done
        )

    def request(self, *tickets: str) -> FinishRequest:
        pool = self.harness.pool
        target = pool.plan.target
        items = [(ticket, Ack()) for ticket in tickets]
        return FinishRequest(pool.identity.name, target.name, target.queues, 0, items, may_be_marked=False)

    def push(self) -> None:
        self.harness.push(first=self.pushed)
        self.pushed += 1

    async def run(self, count: int) -> None:
        """Jobs come one by one."""
        for _ in range(count):
            self.push()
            await self.harness.until(lambda: self.settled == self.finished == self.pushed, "it is settled, and noted")

    async def send_one(self) -> None:
        """One job is settled, and the answer is not read."""
        self.push()
        await self.harness.until(lambda: self.settled == self.pushed, "it is settled, and the answer not read")

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """A broker that has its connection open, and whose Redis knows the script, since one job is done."""
        async with self.harness.broker():
            await self.run(1)
            yield

    def assert_done_once(self) -> None:
        assert len(self.harness.target.sent) == self.finished == self.pushed
        assert not self.harness.client.command("KEYS", "restbroker:ip:*")


@pytest.fixture
def at_once(harness: Harness) -> AtOnce:
    found = AtOnce(harness)

    def connect(settings: StoreSettings) -> Connection:
        return Noting(open_client(settings, harness.patience_s), found)

    harness.connect = connect
    return found


async def test_jobs_that_come_one_by_one_are_settled_without_a_task(at_once: AtOnce) -> None:
    async with at_once.opened():
        await at_once.run(JOBS)
    assert len(at_once.sent) >= JOBS
    at_once.assert_done_once()


@pytest.mark.promise("No command is lost", "an answer of Redis is lost")
async def test_one_whose_answer_is_lost_is_reported_and_done_once(at_once: AtOnce) -> None:
    losses: list[Noting] = []

    def lose(one: Noting) -> bool:
        # Not in the outage that the last one began.
        if len(losses) < 3 and len(losses) == len(at_once.harness.of(StoreBack)):
            losses.append(one)
            one.expire()
            return True
        return False

    at_once.on_answer = lose
    async with at_once.opened():
        await at_once.run(JOBS)
    assert len(losses) == len(at_once.harness.of(StoreLost)) == len(at_once.harness.of(StoreBack)) == 3
    at_once.assert_done_once()


async def test_job_refused_by_redis_now_is_settled_by_the_acker(at_once: AtOnce) -> None:
    async with at_once.opened():
        for _ in range(5):
            at_once.harness.client.command("SCRIPT", "FLUSH")
            await at_once.run(1)
    assert not at_once.harness.of(StoreLost)
    assert len(at_once.sent) >= 5
    at_once.assert_done_once()


@pytest.mark.promise("At least once, and seldom more", "a fence while a settlement is answered")
async def test_a_fence_between_settlement_and_answer_loses_no_report(at_once: AtOnce, harness: Harness) -> None:
    at_once.be_deaf()
    async with at_once.opened():
        await at_once.send_one()
        await harness.fence(harness.identity)
        await harness.until(lambda: at_once.finished == 2, "it is reported")
        await at_once.run(1)
    at_once.assert_done_once()


@pytest.mark.parametrize("signals", [("stop",), ("stop", "at_once")])
async def test_a_stop_between_settlement_and_answer_loses_no_report(
    at_once: AtOnce, harness: Harness, signals: tuple[str, ...]
) -> None:
    at_once.be_deaf()
    async with at_once.opened():
        await at_once.send_one()
        harness.control.why = "test"
        for signal in signals:
            getattr(harness.control, signal).set()
    at_once.assert_done_once()


async def test_other_calls_come_behind_it(at_once: AtOnce, harness: Harness) -> None:
    harness.patience_s = 30.0
    at_once.be_deaf()
    async with at_once.opened():
        await at_once.send_one()
        async with trio.open_nursery() as nursery:
            listed: list[JobsInProgress] = []

            async def look() -> None:
                name = harness.pool.identity.name
                listed.append(await at_once.store.call(read_jobs, name))

            nursery.start_soon(look)
            await trio.sleep(0.05)
            assert listed == []
            at_once.store.stop_watching()
        assert not listed[0].tickets
        await harness.until(lambda: at_once.finished == 2, "it is reported")


@pytest.mark.promise("No command is lost", "Redis is killed while a settlement is answered")
async def test_redis_is_killed_between_settlement_and_answer(
    at_once: AtOnce, harness: Harness, make_redis: Callable[..., RedisServer]
) -> None:
    redis = harness.on(make_redis(appendonly="yes", appendfsync="always"))
    kills: list[Noting] = []

    def kill(one: Noting) -> bool:
        if len(kills) == 3:
            return False
        kills.append(one)
        redis.kill()
        harness.client.close()
        redis.start()
        one.expire()
        return True

    at_once.on_answer = kill
    async with harness.broker():
        for number in range(1, 7):
            at_once.push()
            await harness.until(lambda number=number: at_once.finished == number, "it is done")  # type: ignore[misc]  # of a default
    assert len(kills) == 3
    assert len(harness.target.sent) == 6


async def test_while_one_is_answered_others_gather_and_follow_together(at_once: AtOnce, harness: Harness) -> None:
    harness.target.answer = held = Held()
    async with harness.broker():
        await harness.until(lambda: harness.status.pools, "it serves")
        for _ in range(3):
            at_once.push()
        await harness.until(lambda: len(harness.target.sent) == 3, "all are sent")
        held.let.set()
        await harness.until(lambda: at_once.settled == 3, "all are settled")
    assert sum(map(len, at_once.sent)) <= 3
    at_once.assert_done_once()


@pytest.mark.promise("One key after the other", "an answer of Redis that brings the next job is lost")
@pytest.mark.parametrize("fair", [None, Fairness(("host",))])
@pytest.mark.parametrize("losses", [0, 2])
async def test_an_answer_without_a_task_brings_the_next_job_of_the_key(
    at_once: AtOnce, harness: Harness, losses: int, fair: Fairness | None
) -> None:
    harness.order, harness.fairness = Order(), fair
    lost: list[Noting] = []

    def lose(one: Noting) -> bool:
        if len(lost) == losses:
            return False
        lost.append(one)
        one.expire()
        return True

    at_once.on_answer = lose
    async with harness.broker():
        await harness.until(lambda: harness.status.pools, "it serves")
        args = [["safe", {"n": number, "host": "h"}, "t"] for number in range(JOBS)]
        for number, arg in enumerate(args):
            harness.push(first=number, args=arg, order_key="k")
        at_once.pushed = JOBS
        await harness.until(lambda: at_once.finished == JOBS, "all are done")
    assert [call.command.arguments["n"] for call in harness.target.calls] == list(range(JOBS))
    assert len(lost) == losses
    assert losses or at_once.brought > JOBS // 2
    at_once.assert_done_once()


@pytest.mark.parametrize("land", ["not", "early", "late", "cancelled"])
async def test_an_answer_that_comes_late_is_read_when_it_comes(
    at_once: AtOnce, harness: Harness, make_redis: Callable[..., RedisServer], land: str
) -> None:
    """A waiter may come before anyone has looked for it, or after, and may leave again."""
    redis = harness.on(make_redis())
    async with at_once.opened():
        answers: list[object] = []
        redis.suspend()
        assert at_once.send(at_once.request("99:1"), lambda codes, _: answers.append(codes))
        async with trio.open_nursery() as nursery:
            if land == "late":
                await trio.sleep(0.05)
            if land != "not":
                nursery.start_soon(at_once.store.wait_for_reply)
            await trio.sleep(0.05)
            assert not answers
            if land == "cancelled":
                nursery.cancel_scope.cancel()
            redis.resume()
        await harness.until(lambda: answers, "it is read")
        assert isinstance(answers[0], list)
        await at_once.run(3)


async def test_while_a_task_waits_for_an_answer_no_one_else_reads_it(
    at_once: AtOnce, harness: Harness, make_redis: Callable[..., RedisServer]
) -> None:
    redis = harness.on(make_redis())
    async with at_once.opened():
        answers: list[object] = []
        redis.suspend()
        calls: list[Callable[[], object]] = []
        listener = SimpleNamespace(is_kept=True, call_next=calls.append)
        deadlines = harness.pool.acker.upkeep.deadlines
        assert at_once.store.send_finish(
            at_once.request("99:1"),
            time.time(),
            watch=cast("Watch", listener),
            deadlines=deadlines,
            done=lambda codes, _: answers.append(codes),
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(at_once.store.wait_for_reply)
            await wait_all_tasks_blocked()
            redis.resume()
            while not select.select([at_once.store.client.descriptor], [], [], 1.0)[0]:
                pass
            calls[0]()
            assert not answers
            # It has the connection next, and would meet the task that waits.
            await at_once.store.run(("allowed", [], ["get"]))
        assert isinstance(answers[0], list)


async def test_bytes_a_socket_refuses_now_are_sent_by_the_acker(at_once: AtOnce) -> None:
    async with at_once.opened():
        many = [f"{number}:1" for number in range(5000)]
        assert not at_once.send(at_once.request(*many))


async def test_a_call_that_waits_comes_before_the_next_settlement(at_once: AtOnce, harness: Harness) -> None:
    """Where Redis is far away, settlements follow one another at once, and marks would wait for their last."""
    async with at_once.opened():
        sends: list[bool] = []

        def send() -> bool:
            sends.append(len(sends) < 50 and at_once.send(at_once.request("99:1"), lambda *_: start_next()))
            return sends[-1]

        def start_next() -> None:
            send()

        await harness.until(send, "the connection is free")
        del sends[:-1]
        await at_once.store.call(read_jobs, harness.pool.identity.name)
    assert sends == [True, False]


async def test_mark_is_told_where_a_job_waits_for_it_or_many_are_settled(at_once: AtOnce) -> None:
    """Else the next fetch tells it, and a settlement costs less."""

    def mark(count: int) -> int:
        return acker._batch_of(list(acker.reservations.jobs.values())[:1] * count).request.hwm  # noqa: SLF001 - what it would send

    harness = at_once.harness
    harness.target.answer = held = Held()
    async with harness.broker():
        harness.push()
        await harness.until(lambda: len(harness.target.calls) == 1, "it is sent")
        acker = harness.pool.acker
        assert (mark(1), mark(8), mark(9)) == (0, 0, acker.ready.high_water)
        harness.push(first=1, count=7)
        await harness.until(lambda: len(acker.ready), "one waits")
        assert mark(1) == acker.ready.high_water > 0
        held.let.set()
        await harness.until_ended(8)


@pytest.mark.promise("No command is lost", "Redis is killed while jobs are settled")
async def test_each_job_is_counted_once_though_redis_dies(
    harness: Harness, make_redis: Callable[..., RedisServer], hurry: MockClock
) -> None:
    redis = harness.on(make_redis(appendonly="yes", appendfsync="always"))
    async with harness.broker():
        for number in range(8):
            harness.target.answer = held = Held()
            harness.push(first=3 * number, count=3)
            await harness.until(lambda calls=3 * (number + 1): len(harness.target.calls) == calls, "they are sent")  # type: ignore[misc]
            held.let.set()
            for _ in range(number):
                await trio.lowlevel.checkpoint()
            redis.kill()
            harness.client.close()
            redis.start()
            await harness.until_ended(3 * (number + 1))
    assert harness.client.command("GET", "stat:processed") == b"24"
    assert len(harness.target.sent) == 24


def called(harness: Harness, command: str) -> int:
    """How often Redis ran this command."""
    stats = bytes(harness.client.command("INFO", "commandstats")).decode()  # type: ignore[arg-type]  # bytes
    return int(stats.partition(f"cmdstat_{command}:calls=")[2].partition(",")[0] or 0)


def counted(harness: Harness) -> list[object]:
    """What Sidekiq's Web shows as processed: in all, and today."""
    total, *days = sorted(harness.client.command("KEYS", "stat:processed*"))  # type: ignore[type-var,arg-type]  # bytes
    return [int(bytes(harness.client.command("GET", key) or b"0")) for key in (total, *days)]  # type: ignore[arg-type]


async def test_single_plain_jobs_are_settled_without_a_script(at_once: AtOnce) -> None:
    harness = at_once.harness
    async with at_once.opened():
        scripts, alone = called(harness, "evalsha"), called(harness, "exec")
        await at_once.run(JOBS)
        assert called(harness, "exec") - alone > JOBS / 2
        assert called(harness, "evalsha") - scripts < JOBS * 1.5, "those that took them"
        assert counted(harness) == [JOBS + 1] * 2
        (day,) = {*harness.client.command("KEYS", "stat:processed:*")}  # type: ignore[misc]
        assert harness.client.command("TTL", "stat:processed") == -1
        assert harness.client.command("TTL", day) > 157_000_000  # type: ignore[operator]
    at_once.assert_done_once()


@pytest.mark.promise("No command is lost", "Redis is full")
async def test_full_redis_counts_each_job_all_the_same(
    harness: Harness, make_redis: Callable[..., RedisServer]
) -> None:
    redis = harness.on(make_redis())
    async with harness.broker():
        for number in range(6):
            harness.target.answer = held = Held()
            harness.push(first=number)
            await harness.until(lambda calls=number + 1: len(harness.target.calls) == calls, "it is sent")  # type: ignore[misc]
            redis.command(f"CONFIG SET maxmemory {number % 2}")
            held.let.set()
            await harness.until_ended(number + 1)
            redis.command("CONFIG SET maxmemory 0")
    assert counted(harness) == [6, 6]
    assert len(harness.target.sent) == 6


@pytest.mark.parametrize("right", ["multi", "exec", "incrby"])
async def test_missing_right_has_jobs_settled_and_reported_once(
    harness: Harness, make_redis: Callable[..., RedisServer], right: str
) -> None:
    redis = harness.on(make_redis())
    redis.command(f"ACL SETUSER default -{right}")
    async with harness.broker():
        for number in range(5):
            harness.push(first=number)
            await harness.until_ended(number + 1)
            await harness.until(lambda: not harness.pool.reservations.jobs, "it is settled")
    assert sorted(event.jid for event in harness.of(JobFinished)) == [f"jid-safe-{number}" for number in range(5)]
    redis.command(f"ACL SETUSER default +{right}")
    assert right == "incrby" or counted(harness) == [5, 5]
    assert not harness.client.command("KEYS", "restbroker:ip:*")


@pytest.mark.parametrize("why", ["its lease is old", "it was fenced"])
async def test_jobs_that_others_may_have_taken_are_counted_by_scripts(at_once: AtOnce, why: str) -> None:
    """Without a script each would be counted, here and where it is done again."""
    harness = at_once.harness
    async with at_once.opened():
        harness.target.answer = held = Held()
        at_once.push()
        await harness.until(lambda: len(harness.target.calls) == 2, "it is sent")
        pool = harness.pool
        if why == "its lease is old":
            pool.lease.confirm(-1e9)
        else:
            pool.identity.fenced.set()
        assert not pool.acker._batch_of(list(pool.reservations.jobs.values())).request.is_ours  # noqa: SLF001 - what it would send
        held.let.set()


async def test_a_job_that_redis_has_back_is_counted_once(at_once: AtOnce) -> None:
    """As after a crash that cost its last second: there the job was never taken."""
    harness = at_once.harness
    async with at_once.opened():
        usual, harness.target.answer = harness.target.answer, (held := Held())
        at_once.push()
        await harness.until(lambda: len(harness.target.calls) == 2, "it is sent")
        harness.target.answer = usual
        (job,) = harness.pool.reservations.jobs.values()
        in_progress = harness.client.keys.in_progress(harness.pool.identity.name)
        harness.client.command("HDEL", in_progress, job.ticket)
        harness.client.command("LPUSH", f"queue:{job.queue}", job.raw)
        harness.client.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        for count in range(2, 6):
            await harness.until(partial(at_once.has_settled, count), "it is done again, and others after it")
            harness.push(first=count)
        held.let.set()
        await harness.until(lambda: not harness.pool.reservations.jobs, "the first is settled, too")
        assert at_once.settled == 6


async def test_first_job_of_a_day_is_settled_by_a_script(at_once: AtOnce, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the day's counter ends in time."""
    days, ends = [0], list[object]()
    monkeypatch.setattr("restbroker.broker.acker.time.time", lambda: 86_400.0 * days[0] + 1)
    async with at_once.opened():
        for day in (0, 1, 2):
            days[0] = day
            await at_once.run(3)
            ends.append(at_once.harness.client.command("TTL", f"stat:processed:1970-01-0{day + 1}"))
    assert min(ends) > 157_000_000  # type: ignore[type-var,operator]
