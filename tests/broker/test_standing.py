"""While a pool is idle a fetch stands in Redis: it takes what may be taken, and what ends it loses no job."""

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from restbroker.broker import intake, reaper
from restbroker.broker import standing as fetches
from restbroker.broker.recovery import Recovery
from restbroker.errors import ConnectionEnded
from restbroker.job.fairness import Fairness
from restbroker.job.order import Order
from restbroker.job.outcome import Reason
from restbroker.store import identities, jobs, pauses, waiter
from restbroker.store.client import open_client
from restbroker.store.connection import Connection
from restbroker.store.waiter import Waiter
from restbroker.telemetry.events import BrokerStarted, BrokerStopped, JobFinished, OperatorWarning, StoreBack, StoreLost
from restbroker.transport.message import NotSent
from tests.broker.conftest import FINE, Harness, Held, Scripted, ok
from tests.support.redis_server import RedisServer

DOWN = Reason("TargetUnreachable", "It is down.")


def standing(harness: Harness) -> int:
    """How many fetches stand in Redis: behind a blocked command there is a script."""
    clients = bytes(harness.client.command("CLIENT", "LIST")).decode()  # type: ignore[arg-type]
    return sum(" cmd=blmove " in line and " qbuf=0 " not in line for line in clients.splitlines())


async def until_it_stands(harness: Harness, count: int = 1) -> None:
    await harness.until(lambda: standing(harness) == count, "it stands")


def finished(harness: Harness) -> list[str]:
    return sorted(event.jid for event in harness.of(JobFinished))


WAYS: dict[str, Callable[[Harness], object]] = {
    "a rate": lambda harness: setattr(harness, "limits", jobs.Limits(emission_us=10, burst=100)),
    "a share": lambda harness: setattr(harness, "limits", jobs.Limits(in_flight=100)),
    "order": lambda harness: setattr(harness, "order", Order()),
    "turns": lambda harness: setattr(harness, "fairness", Fairness(("host",))),
}


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Each comparison with Redis."""
    names: list[str] = []
    reconcile = Recovery.reconcile

    async def noted(recovery: Recovery) -> object:
        names.append(recovery.identity.name)
        return await reconcile(recovery)

    monkeypatch.setattr(Recovery, "reconcile", noted)
    return names


@pytest.fixture
def _long(monkeypatch: pytest.MonkeyPatch) -> None:
    """No fetch is answered because its time is over."""
    monkeypatch.setattr(waiter, "BLOCK_S", 3600.0)


@pytest.mark.usefixtures("_long")
@pytest.mark.parametrize("queues", [("rest",), ("rest", "b"), ("rest", "b", "c")])
async def test_standing_fetch_takes_each_job_once_and_compares_nothing(
    harness: Harness, queues: tuple[str, ...], compared: list[str]
) -> None:
    fetches: list[jobs.FetchRequest] = []
    harness.queues, chance = queues, random.Random(0)
    async with harness.broker():
        await until_it_stands(harness, len(queues))
        fetch = harness.pool.acker.store.fetch

        async def noted(request: jobs.FetchRequest) -> jobs.FetchAnswer:
            fetches.append(request)
            return await fetch(request)

        harness.pool.acker.store.fetch = noted  # type: ignore[method-assign]
        for number in range(150):
            harness.push(first=number, into=chance.choice(queues))
            if chance.random() < 0.5:
                await harness.until_ended(number + 1)
        await harness.until_ended(150)
        await until_it_stands(harness, len(queues))
    assert compared == []
    assert len(fetches) < 20, "only where jobs come faster than they are done"
    assert max(Counter(call.command.arguments["n"] for call in harness.target.calls).values()) == 1
    assert harness.size("queue:rest") == 0


@pytest.mark.usefixtures("_long")
@pytest.mark.parametrize("how", WAYS)
async def test_fetches_stand_also_where_each_answer_is_looked_at(harness: Harness, how: str) -> None:
    WAYS[how](harness)
    async with harness.broker():
        for number in range(10):
            await until_it_stands(harness)
            harness.push(first=number)
            await harness.until_ended(number + 1)
        await until_it_stands(harness)
    assert len(harness.target.sent) == 10


@pytest.mark.usefixtures("_long")
async def test_a_paused_queue_is_left_alone_until_it_is_resumed(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one is served all the time."""
    monkeypatch.setattr(intake, "_LOOK_AGAIN_S", 0.1)
    harness.queues = ("rest", "b")
    async with harness.broker():
        await until_it_stands(harness, 2)
        pauses.pause_queue(harness.client, "b", "ann", "for a moment", None)
        harness.push(into="b")
        harness.push(first=1)
        await harness.until(lambda: finished(harness) == ["jid-safe-1"], "the other is done")
        await until_it_stands(harness)
        assert harness.size("queue:b") == 1
        pauses.resume_queue(harness.client, "b")
        await until_it_stands(harness, 2)
        harness.push(first=2, into="b")
        await harness.until_ended(3)


@pytest.mark.usefixtures("_long")
async def test_while_its_target_is_paused_it_takes_nothing(harness: Harness) -> None:
    async with harness.broker():
        await until_it_stands(harness)
        pauses.pause_target(harness.client, "t", "ann", "for a moment", None)
        harness.push()
        await harness.until(lambda: harness.pool.hindrance == "paused", "it holds")
        assert (harness.size("queue:rest"), harness.target.calls) == (1, [])
        pauses.resume_target(harness.client, "t")
        await harness.until_ended()


@pytest.mark.usefixtures("_long")
async def test_job_pushed_after_its_breaker_tripped_stays_queued(harness: Harness) -> None:
    async with harness.broker():
        await until_it_stands(harness)
        harness.target.probe_answer = NotSent("It is down.")
        harness.pool.breaker.trip(DOWN)
        await until_it_stands(harness, 0)
        harness.push()
        await trio.sleep(0.1)
        assert harness.size("queue:rest") == 1
        harness.target.probe_answer = FINE
        await harness.until_ended()


@pytest.mark.parametrize("moment", range(3))
async def test_job_pushed_as_its_breaker_trips_is_done_after_reset(
    harness: Harness, moment: int, hurry: MockClock
) -> None:
    async with harness.broker():
        for number in range(5):
            await until_it_stands(harness)
            harness.target.probe_answer = NotSent("It is down.")
            if moment:
                harness.push(first=number)
            if moment == 1:
                await trio.lowlevel.checkpoint()
            harness.pool.breaker.trip(DOWN)
            if not moment:
                harness.push(first=number)
            await trio.sleep(0.1)
            harness.target.probe_answer = FINE
            await harness.until_ended(number + 1)
    assert len(harness.target.sent) == 5


@pytest.mark.usefixtures("_long")
async def test_once_the_process_is_quiet_it_takes_nothing(harness: Harness) -> None:
    async with harness.broker():
        await until_it_stands(harness)
        harness.control.quiet.set()
        await until_it_stands(harness, 0)
        harness.push()
        await trio.sleep(0.1)
    assert (harness.size("queue:rest"), harness.of(JobFinished)) == (1, [])


@pytest.mark.promise("No command is lost", "a process dies between its wait and the fetch behind it")
@pytest.mark.parametrize("by", ["the reaper", "the stop"])
async def test_job_left_in_a_hand_is_put_back_where_none_fetches(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    monkeypatch.setattr(reaper, "SCAN_S", 0.05 if by == "the reaper" else 3600.0)
    monkeypatch.setattr(reaper, "LOOK_S", 0.05)
    async with harness.broker():
        await until_it_stands(harness)
        harness.control.quiet.set()
        await until_it_stands(harness, 0)
        harness.client.command("LPUSH", "restbroker:hand:rest", "{}")
        if by == "the reaper":
            await harness.until(lambda: harness.size("queue:rest"), "it is back")
    assert (harness.size("queue:rest"), harness.size("restbroker:hand:rest")) == (1, 0)


@pytest.mark.promise("No command is lost", "Redis forgets its scripts while a fetch stands in it")
@pytest.mark.usefixtures("_long")
@pytest.mark.parametrize("how", [None, "order", "a share"])
async def test_job_that_wakes_a_fetch_without_script_is_done(harness: Harness, how: str | None) -> None:
    if how is not None:
        WAYS[how](harness)
    async with harness.broker():
        for number in range(3):
            await until_it_stands(harness)
            harness.client.command("SCRIPT", "FLUSH")
            harness.push(first=number)
            await harness.until_ended(number + 1)


@pytest.mark.usefixtures("_long")
async def test_job_taken_last_before_the_process_is_quiet_is_done(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.queues, harness.target.answer = ("rest", "b"), Held()
    held = harness.target.answer
    async with harness.broker():
        await until_it_stands(harness, 2)
        # All that it wants: then only that of the other queue stands.
        harness.push(count=7)
        await harness.until(lambda: harness.size("queue:rest") == 0, "all are taken")
        await until_it_stands(harness)
        monkeypatch.setattr(Waiter, "on_readable", lambda _: True)
        harness.push(first=7, into="b")
        await harness.until(lambda: harness.size("queue:b") == 0, "it is taken")
        harness.control.quiet.set()
        held.let.set()
        await harness.until(lambda: "jid-safe-7" in finished(harness), "it is done")
    assert len(harness.target.sent) == len(finished(harness))


@pytest.mark.promise("No command is lost", "a stop while jobs arrive at an idle pool")
@pytest.mark.parametrize("queues", [("rest",), ("rest", "b", "c")])
async def test_job_pushed_during_a_stop_is_done_or_queued(harness: Harness, queues: tuple[str, ...]) -> None:
    harness.queues = queues
    for number in range(30):
        harness.target.closed = False
        async with harness.broker():
            await until_it_stands(harness, len(queues))
            for place, queue in enumerate(queues):
                harness.push(first=10 * number + place, into=queue)
                if place == number % 3:
                    harness.control.why = "test"
                    harness.control.stop.set()
            if number % 2:
                await trio.lowlevel.checkpoint()
    pushed = {f"jid-safe-{10 * number + place}" for number in range(30) for place in range(len(queues))}
    left = [job["jid"] for queue in queues for job in harness.entries(f"queue:{queue}")]
    assert sorted([*finished(harness), *left]) == sorted(pushed)
    assert len(harness.target.sent) == len(finished(harness))
    assert not harness.client.command("KEYS", "restbroker:i*")


@pytest.mark.promise("No command is lost", "a stop while jobs arrive at an idle pool")
@pytest.mark.parametrize("end", ["quiet", "stop", "trip"])
async def test_job_taken_unread_at_the_end_is_done_or_queued(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, end: str, compared: list[str]
) -> None:
    async with harness.broker():
        await until_it_stands(harness)
        monkeypatch.setattr(Waiter, "on_readable", lambda _: True)
        harness.push()
        await harness.until(lambda: harness.size("queue:rest") == 0, "it is taken")
        if end == "trip":
            harness.pool.breaker.trip(DOWN)
        else:
            getattr(harness.control, end).set()
        if end != "stop":
            await harness.until_ended()
            assert len(compared) == 1
    assert (len(finished(harness)), harness.size("queue:rest")) == ((0, 1) if end == "stop" else (1, 0))
    assert len(harness.target.sent) == len(finished(harness))


async def test_job_taken_after_last_look_at_generation_is_requeued(harness: Harness) -> None:
    class Late(Connection):
        async def call(self, function: Callable[..., Any], *args: Any, **more: Any) -> Any:
            if function is jobs.retire and not harness.client.command("EXISTS", "late"):
                harness.client.command("SET", "late", 1)
                harness.client.command("HSET", f"restbroker:ip:{args[0]}", "1:1", b"{}", "last", 1)
            return await super().call(function, *args, **more)

    harness.connect = lambda settings: Late(open_client(settings))
    async with harness.broker():
        await until_it_stands(harness)
    (stopped,) = harness.of(BrokerStopped)
    assert (stopped.clean, stopped.reserved, stopped.requeued) == (True, 0, 1)
    assert (harness.size("queue:rest"), harness.client.command("KEYS", "restbroker:i*")) == (1, [])


async def test_fence_ends_it_and_the_next_generation_has_its_own(harness: Harness) -> None:
    async with harness.broker():
        await until_it_stands(harness)
        identity = harness.identity
        await harness.fence(identity)
        harness.push(count=3)
        await harness.until_ended(3)
        assert identity not in identities.live_identities(harness.client)
    assert len(harness.target.sent) == 3


async def test_a_reload_hands_over_while_jobs_arrive(harness: Harness) -> None:
    targets = [harness.target]
    async with harness.broker():
        for number in range(10):
            await harness.until(lambda number=number: len(harness.of(BrokerStarted)) == number + 1, "it serves")  # type: ignore[misc]
            harness.target = Scripted(ok)
            targets.append(harness.target)
            harness.next_plan = harness.plan()
            await until_it_stands(harness)
            harness.push(first=2 * number)
            harness.control.reload.set()
            harness.push(first=2 * number + 1)
            await harness.until_ended(2 * number + 2)
    assert sum(len(target.sent) for target in targets) == 20


def _lose_answers(monkeypatch: pytest.MonkeyPatch, share: float) -> Callable[[], int]:
    """Lose this share of the answers on the way; return how many were lost."""
    lost, chance, read = 0, random.Random(1), Waiter.on_readable

    def on_readable(one: Waiter) -> bool:
        nonlocal lost
        fetch, answered = one.fetch, one._answered  # noqa: SLF001 - where its answers go
        if fetch is None or answered is None or chance.random() > share:
            return read(one)
        lost += 1
        one.close()
        answered(fetch, None, 0.0)
        return True

    monkeypatch.setattr(Waiter, "on_readable", on_readable)
    return lambda: lost


@pytest.mark.promise("No command is lost", "an answer of Redis is lost")
@pytest.mark.parametrize("queues", [("rest",), ("rest", "b")])
async def test_jobs_of_lost_standing_answer_are_adopted_and_done_once(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, queues: tuple[str, ...]
) -> None:
    monkeypatch.setattr(fetches, "REFUSED_WAIT_S", 0.0)
    lost, harness.queues = _lose_answers(monkeypatch, 0.3), queues
    async with harness.broker():
        for number in range(60):
            harness.push(first=number, into=queues[number % len(queues)])
            await harness.until_ended(number + 1)
    assert lost() > 5
    assert len(harness.target.sent) == 60


@pytest.mark.promise("At least once, and seldom more", "after an outage Redis is asked before more is taken")
async def test_outage_ends_it_and_redis_is_compared_before_more(harness: Harness, compared: list[str]) -> None:
    async with harness.broker():
        await until_it_stands(harness)
        harness.pool.acker.health.record_outage(ConnectionEnded("It ended while it was idle."))
        await harness.until(lambda: compared, "it is compared")
        await until_it_stands(harness)
        harness.push()
        await harness.until_ended()


@pytest.mark.promise("No command is lost", "Redis is killed while a fetch stands in it")
async def test_redis_is_killed_while_it_stands(
    harness: Harness, make_redis: Callable[..., RedisServer], hurry: MockClock
) -> None:
    redis = harness.on(make_redis(appendonly="yes", appendfsync="always"))
    async with harness.broker():
        for number in range(4):
            await until_it_stands(harness)
            harness.push(first=number)
            redis.kill()
            harness.client.close()
            redis.start()
            await harness.until_ended(number + 1)
    assert len(harness.target.sent) == 4


async def test_redis_is_frozen_while_it_stands(
    harness: Harness, make_redis: Callable[..., RedisServer], hurry: MockClock
) -> None:
    redis = harness.on(make_redis())
    harness.patience_s = 3.0
    async with harness.broker():
        await until_it_stands(harness)
        redis.suspend()
        await harness.until(lambda: harness.of(StoreLost), "it is reported")
        redis.resume()
        harness.push(count=5)
        await harness.until_ended(5)
        await harness.until(lambda: harness.of(StoreBack), "it is reported")
    assert len(harness.target.sent) == 5


async def test_jobs_are_fetched_gently_where_waiting_is_refused(
    harness: Harness, make_redis: Callable[..., RedisServer]
) -> None:
    redis = harness.on(make_redis())
    redis.command("ACL SETUSER default -blmove")
    async with harness.broker():
        await harness.until(lambda: harness.target.probes, "it serves")
        harness.push(count=3)
        await harness.until_ended(3)
        redis.command("CONFIG RESETSTAT")
        await trio.sleep(2)
        calls = redis.command("INFO commandstats")
    assert int(calls.partition("cmdstat_evalsha:calls=")[2].partition(",")[0]) < 20


async def test_a_right_that_fetches_lack_is_named_at_the_start(
    harness: Harness, make_redis: Callable[..., RedisServer]
) -> None:
    """A fetch that stands does without it until a process has left a job in a hand."""
    redis = harness.on(make_redis())
    redis.command("ACL SETUSER default -lmove")
    async with harness.broker():
        await harness.until(lambda: "FetchRefused" in harness.warnings, "it is reported")
        harness.push()
        redis.command("ACL SETUSER default +lmove")
        await harness.until_ended()
    (warning,) = (event for event in harness.of(OperatorWarning) if event.code == "FetchRefused")
    assert "NOPERM" in warning.message
    assert "docs/sidekiq.md" in str(warning.hint)


async def test_a_job_of_any_size_is_dealt_with_as_ever(harness: Harness) -> None:
    async with harness.broker():
        await until_it_stands(harness)
        harness.raw(b"[" + b"1," * 3_000_000 + b"1]")
        await harness.until(lambda: harness.size("dead"), "it is dead")
        harness.push()
        await harness.until(lambda: "jid-safe-0" in finished(harness), "it goes on")


async def test_busy_workers_leave_the_rest_in_the_queue(harness: Harness) -> None:
    harness.target.answer = slow = Held()
    async with harness.broker():
        await until_it_stands(harness)
        for number in range(40):
            harness.push(first=number)
            await trio.sleep(0.002)
        assert len(harness.target.sent) == 3
        assert harness.size("queue:rest") > 20
        slow.let.set()
        await harness.until_ended(40)
