"""While few jobs come their settlements leave in the step in which they were decided: none is lost or done twice."""

import time
from collections.abc import Callable
from typing import Any

import pytest
import trio

from restbroker.broker.worker_pool import WorkerPool
from restbroker.errors import StoreUnavailable
from restbroker.job.fairness import Fairness
from restbroker.job.order import Order
from restbroker.job.settlement import Ack
from restbroker.store import identities, jobs
from restbroker.store.connection import Connection
from restbroker.telemetry.events import JobFinished, StoreBack, StoreLost
from tests.broker.conftest import Harness, Held
from tests.support.redis_server import RedisServer


def pool_of(harness: Harness) -> WorkerPool:
    return harness.status.pools[0]


def settled(harness: Harness) -> int:
    return int(bytes(harness.client.command("GET", "stat:processed") or b"0"))  # type: ignore[arg-type]


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The tickets of each settlement that was sent without a task."""
    seen: list[list[str]] = []
    send = Connection.send_finish

    def noted(one: Connection, request: jobs.FinishRequest, now_s: float, **more: Any) -> bool:
        was_sent = send(one, request, now_s, **more)
        if was_sent:
            seen.append([ticket for ticket, _ in request.items])
        return was_sent

    monkeypatch.setattr(Connection, "send_finish", noted)
    return seen


@pytest.fixture
def _deaf(monkeypatch: pytest.MonkeyPatch) -> None:
    """No one who listens for many connections reads the answers, but that of the first job."""
    read = Connection.on_readable

    def on_readable(one: Connection) -> bool:
        sent = one._sent  # noqa: SLF001
        is_first = sent is not None and sent.steps.request.items[0][0].startswith("1:")
        return read(one) if is_first or sent is None or one._watch is None else True  # noqa: SLF001

    monkeypatch.setattr(Connection, "on_readable", on_readable)


async def test_jobs_that_come_one_by_one_are_settled_without_the_ackers_task(
    harness: Harness, sent: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with harness.broker():
        harness.push()
        await harness.until(lambda: settled(harness) == 1, "the connection is open, and the script known")
        monkeypatch.setattr(pool_of(harness).acker.store, "finish", None)
        for number in range(1, 30):
            harness.push(first=number)
            await harness.until(lambda number=number: settled(harness) == number + 1, "it is settled")  # type: ignore[misc]
    assert len(sent) >= 29
    assert len(harness.target.sent) == len(harness.of(JobFinished)) == 30


@pytest.mark.promise("No command is lost", "an answer of Redis is lost")
async def test_one_whose_answer_is_lost_is_reported_once_and_done_once(
    harness: Harness, sent: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    read, losses = Connection.on_readable, [0]

    def on_readable(one: Connection) -> bool:
        if one._sent is not None and losses[0] < 3:  # noqa: SLF001 - an answer has come
            losses[0] += 1
            one.expire()
            return True
        return read(one)

    monkeypatch.setattr(Connection, "on_readable", on_readable)
    async with harness.broker():
        for number in range(20):
            harness.push(first=number)
            await harness.until(lambda number=number: settled(harness) == number + 1, "it is settled")  # type: ignore[misc]
        await harness.until(lambda: len(harness.of(JobFinished)) == 20, "all are reported")
    assert losses == [3]
    assert len(harness.of(StoreLost)) == len(harness.of(StoreBack)) == 3
    assert len(harness.target.sent) == len(harness.of(JobFinished)) == settled(harness) == 20


async def test_one_that_redis_refuses_for_the_moment_is_settled_by_the_ackers_task(
    harness: Harness, sent: list[list[str]]
) -> None:
    async with harness.broker():
        for number in range(5):
            harness.push(first=number)
            await harness.until(lambda number=number: settled(harness) == number + 1, "it is settled")  # type: ignore[misc]
            harness.client.command("SCRIPT", "FLUSH")
    assert not harness.of(StoreLost)
    assert len(sent) >= 4
    assert len(harness.target.sent) == len(harness.of(JobFinished)) == 5


@pytest.mark.usefixtures("_deaf")
@pytest.mark.promise("At least once, and seldom more", "a fence while a settlement is answered")
async def test_a_fence_between_a_settlement_and_its_answer_loses_no_report(
    harness: Harness, sent: list[list[str]]
) -> None:
    async with harness.broker():
        harness.push()
        await harness.until(lambda: settled(harness) == 1, "the connection is open")
        harness.push(first=1)
        await harness.until(lambda: sent and settled(harness) == 2, "it is settled, and the answer not read")
        (identity,) = identities.live_identities(harness.client)
        await harness.fence(identity)
        await harness.until(lambda: len(harness.of(JobFinished)) == 2, "it is reported")
        harness.push(first=2)
        await harness.until(lambda: settled(harness) == 3, "the next generation goes on")
    assert len(harness.target.sent) == len(harness.of(JobFinished)) == 3
    assert not harness.client.command("KEYS", "restbroker:ip:*")


@pytest.mark.usefixtures("_deaf")
@pytest.mark.parametrize("signals", [("stop",), ("stop", "at_once")])
async def test_a_stop_between_a_settlement_and_its_answer_loses_no_report(
    harness: Harness, sent: list[list[str]], signals: tuple[str, ...]
) -> None:
    async with harness.broker():
        harness.push()
        await harness.until(lambda: settled(harness) == 1, "the connection is open")
        harness.push(first=1)
        await harness.until(lambda: sent and settled(harness) == 2, "it is settled, and the answer not read")
        harness.control.why = "test"
        for signal in signals:
            getattr(harness.control, signal).set()
    assert sorted(event.jid for event in harness.of(JobFinished)) == ["jid-safe-0", "jid-safe-1"]
    assert len(harness.target.sent) == 2
    assert not harness.client.command("KEYS", "restbroker:i*")


@pytest.mark.usefixtures("_deaf")
async def test_what_is_asked_of_redis_meanwhile_comes_behind_it(harness: Harness, sent: list[list[str]]) -> None:
    harness.patience_s = 30.0
    async with harness.broker():
        harness.push()
        await harness.until(lambda: settled(harness) == 1, "the connection is open")
        harness.push(first=1)
        await harness.until(lambda: sent and settled(harness) == 2, "it is sent")
        store = pool_of(harness).acker.store
        async with trio.open_nursery() as nursery:
            listed: list[jobs.JobsInProgress] = []

            async def look() -> None:
                listed.append(await store.call(jobs.read_jobs, pool_of(harness).identity.name))

            nursery.start_soon(look)
            await trio.sleep(0.05)
            assert listed == []
            pool_of(harness).acker.upkeep.readiness.forget(store._client.descriptor)  # noqa: SLF001
            store.note_unwatched()  # as where whoever listens has ended
        assert not listed[0].tickets
        await harness.until(lambda: len(harness.of(JobFinished)) == 2, "it is reported")


@pytest.mark.promise("No command is lost", "Redis is killed while a settlement is answered")
async def test_redis_is_killed_between_a_settlement_and_its_answer(
    harness: Harness, make_redis: Callable[..., RedisServer], sent: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    redis = harness.on(make_redis(appendonly="yes", appendfsync="always"))
    read, kills = Connection.on_readable, [3]

    def on_readable(one: Connection) -> bool:
        if one._sent is not None and kills[0]:  # noqa: SLF001 - an answer has come
            kills[0] -= 1
            one._client.close()  # noqa: SLF001 - what came is gone with Redis
            one._watch = None  # noqa: SLF001
            redis.kill()
            harness.client.close()
            redis.start()
            sent_before = one._sent  # noqa: SLF001
            one._end(sent_before, StoreUnavailable("It was killed."))  # noqa: SLF001
            return True
        return read(one)

    monkeypatch.setattr(Connection, "on_readable", on_readable)
    async with harness.broker():
        for number in range(6):
            harness.push(first=number)
            await harness.until(
                lambda number=number: len(harness.of(JobFinished)) == number + 1,  # type: ignore[misc]
                "it is done",
            )
    assert len(harness.target.sent) == len(harness.of(JobFinished)) == 6


async def test_while_one_is_answered_others_gather_and_follow_together(
    harness: Harness, sent: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.target.answer = held = Held()
    async with harness.broker():
        await harness.until(lambda: harness.status.pools, "it serves")
        for number in range(3):
            harness.push(first=number)
        await harness.until(lambda: len(harness.target.sent) == 3, "all are sent")
        held.let.set()
        await harness.until(lambda: settled(harness) == 3, "all are settled")
    assert len(harness.of(JobFinished)) == 3
    assert sum(map(len, sent)) <= 3


@pytest.mark.parametrize(("name", "rule"), [("order", Order()), ("fairness", Fairness(("host",)))])
async def test_where_the_next_job_may_be_handed_on_the_acker_settles(
    harness: Harness, sent: list[list[str]], name: str, rule: Order | Fairness
) -> None:
    setattr(harness, name, rule)
    async with harness.broker():
        for number in range(5):
            harness.push(first=number)
            await harness.until(lambda number=number: settled(harness) == number + 1, "it is settled")  # type: ignore[misc]
    assert sent == []


async def test_a_settlement_that_no_socket_takes_at_once_is_sent_by_the_ackers_task(
    harness: Harness, sent: list[list[str]]
) -> None:
    async with harness.broker():
        harness.push()
        await harness.until(lambda: settled(harness) == 1, "the connection is open")
        store, upkeep = pool_of(harness).acker.store, pool_of(harness).acker.upkeep
        name, target = pool_of(harness).identity.name, pool_of(harness).plan.target
        many = [(f"{number}:1", Ack()) for number in range(5000)]
        request = jobs.FinishRequest(name, target.name, target.queues, 0, many)
        assert not store.send_finish(
            request, time.time(), watch=upkeep.readiness, deadlines=upkeep.deadlines, done=lambda _: None
        )


async def test_a_call_that_waits_comes_before_the_settlement_that_follows(harness: Harness) -> None:
    """Where Redis is far away, settlements follow one another at once, and marks would wait for their last."""
    async with harness.broker():
        harness.push()
        await harness.until(lambda: settled(harness) == 1, "the connection is open")
        store, upkeep = pool_of(harness).acker.store, pool_of(harness).acker.upkeep
        name, target = pool_of(harness).identity.name, pool_of(harness).plan.target
        request = jobs.FinishRequest(name, target.name, target.queues, 0, [("99:1", Ack())])
        sends: list[bool] = []

        def send() -> bool:
            sends.append(
                len(sends) < 50
                and store.send_finish(
                    request, time.time(), watch=upkeep.readiness, deadlines=upkeep.deadlines, done=lambda _: note()
                )
            )
            return sends[-1]

        def note() -> None:
            send()

        await harness.until(send, "the connection is free")
        del sends[:-1]
        await store.call(jobs.read_jobs, name)
    assert sends == [True, False]
