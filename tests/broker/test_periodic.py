"""Periodic commands while a broker runs: due ones become jobs, late ones by policy, refusals are reported once."""

import json
from functools import partial
from typing import Any
from unittest.mock import patch

import attrs
import pytest
import trio
from trio.testing import MockClock

from restbroker.broker.health import StoreHealth
from restbroker.broker.periodic import PeriodicJob, PeriodicPusher
from restbroker.config.secret import Secret
from restbroker.config.tokens import Token
from restbroker.errors import StoreUnavailable, UsageError
from restbroker.job import claims
from restbroker.job.claims import Lock
from restbroker.job.schedule import CronSchedule, job_id
from restbroker.operate.enqueue import JobRequest, payload
from restbroker.store import holders, pauses, periodic
from restbroker.store.client import Client, StoreSettings, open_client
from restbroker.store.connection import Connection
from restbroker.store.server import time_s
from restbroker.telemetry.events import OperatorWarning, PeriodicDue
from tests.broker.conftest import Harness

KEY = "restbroker:periodic"
HOURLY = CronSchedule("0 * * * *")


def made(jid: str, now_s: float) -> bytes:
    return json.dumps({"class": "Add", "jid": jid, "args": ["safe", {"n": 1}, "t"], "created_at": now_s}).encode()


def job(late_s: float = 60.0, schedule: CronSchedule = HOURLY, lock: str | None = None) -> PeriodicJob:
    return PeriodicJob("nightly", schedule, "rest", late_s, made, lock, keep_s=60.0)


@pytest.fixture
def agent(harness: Harness) -> PeriodicPusher:
    settings = StoreSettings(harness.redis.url)
    return PeriodicPusher(Connection(open_client(settings)), StoreHealth(harness.report), harness.report, [job()])


def hour_ago(client: Client, hours: int) -> tuple[int, int]:
    """The moment that was due last, and the mark of a process that ended so many hours before it."""
    last_s = int(time_s(client)) // 3600 * 3600
    client.command("HSET", KEY, "nightly", f"{HOURLY.digest} {last_s - hours * 3600}")
    return last_s, last_s - hours * 3600


def mark_s(client: Client) -> int | None:
    return periodic.read(client)[1]["nightly"].mark_s


async def test_a_broker_delivers_the_job_of_a_command_that_is_due(harness: Harness, hurry: MockClock) -> None:
    last_s, _ = hour_ago(harness.client, 1)
    plan = attrs.evolve(harness.plan(), periodic=[job(late_s=7200.0)])
    with patch.object(Harness, "plan", lambda _: plan):
        await harness.serve_until(lambda: harness.target.calls, "the job is delivered")
    (event,) = harness.of(PeriodicDue)
    assert event == PeriodicDue(
        "nightly", "pushed", HOURLY.local(last_s).isoformat(), job_id("nightly", last_s), None, alarming=False
    )
    assert (len(harness.target.calls), mark_s(harness.client)) == (1, last_s)


async def test_the_lock_of_an_overlap_ends_with_the_job(harness: Harness, agent: PeriodicPusher) -> None:
    """As that of `enqueue --unique`: kept while the job waits, given up once it is done."""
    last_s, _ = hour_ago(harness.client, 1)
    lock = Lock(claims.lock_name("t", "default", "periodic nightly"), "periodic nightly", 60.0)
    order = JobRequest("safe", {"n": 1}, "rest", Token("default", (Secret("t"),)), lock=lock)
    one = PeriodicJob("nightly", HOURLY, "rest", 7200.0, partial(payload, order), lock.name, lock.keep_s)
    agent.jobs = [one]
    await agent.push_due()
    harness.client.command("HSET", KEY, "nightly", f"{HOURLY.digest} {last_s - 3600}")
    later = attrs.evolve(one, name="nightly", make=lambda _, now_s: payload(order, "another", now_s))
    with patch("restbroker.broker.periodic.job_id", lambda *_: "another"):
        await attrs.evolve(agent, jobs=[later]).push_due()
    assert [event.outcome for event in harness.of(PeriodicDue)] == ["pushed", "overlap"]
    await harness.serve_until(lambda: not harness.client.command("KEYS", "restbroker:unique:*"), "the lock is given up")
    assert len(harness.target.calls) == 1


@pytest.mark.parametrize("where", ["nowhere", "retry"])
async def test_command_rests_for_a_found_job_and_not_for_a_lost_one(
    harness: Harness, agent: PeriodicPusher, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """A deletion in Sidekiq's pages leaves the lock. Other commands do not wait for the second look."""
    monkeypatch.setattr(holders, "AGAIN_S", 0.05)
    last_s, _ = hour_ago(harness.client, 1)
    value = f"deleted {(time_s(harness.client) - 61) * 1e6:.0f}"
    harness.client.command("SET", "restbroker:unique:l", value, "PX", 600_000)
    if where == "retry":
        harness.client.command("ZADD", "retry", 4e9, '{"jid":"deleted"}')
    agent.jobs = [attrs.evolve(job(late_s=7200.0), lock="l", keep_s=60.0)]
    wait_s = await agent.push_due()
    if where == "nowhere":
        assert (harness.of(PeriodicDue), wait_s < 1.0) == ([], True)
        await trio.sleep(0.06)
        await agent.push_due()
    (event,) = harness.of(PeriodicDue)
    assert event.outcome == ("pushed" if where == "nowhere" else "overlap")
    held = harness.client.command("GET", "restbroker:unique:l").split()[0]  # type: ignore[union-attr]
    assert held.decode() == (job_id("nightly", last_s) if where == "nowhere" else "deleted")


async def test_a_new_command_waits_for_its_time(harness: Harness, agent: PeriodicPusher) -> None:
    wait_s = await agent.push_due()
    now_s = time_s(harness.client)
    assert now_s - 5 <= (mark_s(harness.client) or 0) <= now_s
    assert (harness.size("queue:rest"), harness.of(PeriodicDue)) == (0, [])
    assert wait_s <= min(30.0, 3600 - now_s % 3600 + 5)


@pytest.mark.promise("Periodic commands", "no process ran: late or counted, as Missed says")
@pytest.mark.parametrize(("late_s", "pushed", "missed"), [(0.0, 0, 3), (4000.0, 1, 2)])
async def test_after_an_outage_of_all_the_policy_counts(
    harness: Harness, agent: PeriodicPusher, late_s: float, pushed: int, missed: int
) -> None:
    last_s, _ = hour_ago(harness.client, 3)
    agent.jobs = [job(late_s)]
    for _ in range(3):
        await agent.push_due()
    state = periodic.read(harness.client)[1]["nightly"]
    assert (harness.size("queue:rest"), state.missed, state.mark_s) == (pushed, missed, last_s)
    (event,) = harness.of(PeriodicDue)
    assert (event.outcome, event.missed_before, event.alarming) == ("pushed" if pushed else "missed", 2, not pushed)


async def test_another_schedule_begins_now_and_other_arguments_do_not(harness: Harness, agent: PeriodicPusher) -> None:
    last_s, _ = hour_ago(harness.client, 1)
    agent.jobs = [job(7200.0, CronSchedule("0 * * * *", "Asia/Tokyo"))]
    await agent.push_due()
    assert harness.size("queue:rest") == 0
    hour_ago(harness.client, 1)
    other = attrs.evolve(job(7200.0), make=lambda jid, now_s: made(jid, now_s).replace(b"1", b"2"))
    await attrs.evolve(agent, jobs=[other], begun=set()).push_due()
    assert (harness.size("queue:rest"), mark_s(harness.client)) == (1, last_s)


@pytest.mark.promise("Periodic commands", "a reload rolls, with two schedules")
async def test_both_schedules_count_during_a_reload_and_repeat_nothing(harness: Harness, agent: PeriodicPusher) -> None:
    """Old and new processes run beside each other: what the older ones find due is pushed, too."""
    agent.jobs = [job(7200.0)]
    await agent.push_due()
    last_s, _ = hour_ago(harness.client, 1)
    newer = attrs.evolve(agent, jobs=[job(7200.0, CronSchedule("0,30 * * * *"))], begun=set())
    assert await newer.push_due() >= 0
    harness.client.command("HSET", KEY, "nightly", f"{newer.jobs[0].schedule.digest} {last_s - 3600}")
    await agent.push_due()
    await newer.push_due()
    await agent.push_due()
    half = last_s + 1800 <= time_s(harness.client)
    assert harness.size("queue:rest") == 1 + half
    assert len({entry["jid"] for entry in harness.entries("queue:rest")}) == 1 + half


async def test_a_redis_that_forgot_all_begins_now(harness: Harness, agent: PeriodicPusher) -> None:
    await agent.push_due()
    harness.client.command("FLUSHALL")
    await agent.push_due()
    assert abs((mark_s(harness.client) or 0) - time_s(harness.client)) < 5
    assert harness.size("queue:rest") == 0


async def test_refusal_by_redis_is_reported_once_and_retried_soon(harness: Harness, agent: PeriodicPusher) -> None:
    last_s, before_s = hour_ago(harness.client, 1)
    agent.jobs = [job(7200.0)]
    harness.client.command("SET", "queue:rest", "x")
    for _ in range(3):
        assert await agent.push_due() <= 5.0
    (warning,) = harness.of(OperatorWarning)
    assert (warning.code, "WRONGTYPE" in warning.message, mark_s(harness.client)) == ("PeriodicRefused", True, before_s)
    harness.client.command("DEL", "queue:rest")
    await agent.push_due()
    assert (harness.size("queue:rest"), mark_s(harness.client)) == (1, last_s)


async def test_one_that_cannot_be_made_keeps_no_other_back(harness: Harness, agent: PeriodicPusher) -> None:
    def fail(_jid: str, _now_s: float) -> bytes:
        raise UsageError("It is too large.")

    hour_ago(harness.client, 1)
    digest = HOURLY.digest
    for name in ("bad", "nightly"):
        harness.client.command("HSET", KEY, name, f"{digest} {int(time_s(harness.client)) - 4000}")
    agent.jobs = [attrs.evolve(job(7200.0), name="bad", make=fail), job(7200.0)]
    await agent.push_due()
    (warning,) = harness.of(OperatorWarning)
    assert "The periodic command bad" in warning.message
    assert harness.size("queue:rest") == 1


async def test_redis_is_asked_no_more_than_needed(harness: Harness, agent: PeriodicPusher, hurry: MockClock) -> None:
    """While nothing is due, one look in half a minute, however many commands there are."""
    agent.jobs = [attrs.evolve(job(), name=f"n{number}", schedule=CronSchedule("0 0 29 2 *")) for number in range(50)]
    await agent.push_due()
    before, hurry.rate = calls(harness.client), 100
    with trio.move_on_after(95):
        await agent.run()
    assert calls(harness.client) - before <= 5


def calls(client: Client) -> int:
    text = bytes(client.command("INFO", "commandstats")).decode()  # type: ignore[arg-type]
    return (
        sum(int(line.partition("calls=")[2].partition(",")[0]) for line in text.splitlines() if "hgetall" in line) // 2
    )


class Lossy(Connection):
    """Loses the answers of three scripts, though not what they did."""

    lost = 3

    async def call(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        found = await super().call(function, *args, **kwargs)
        if function is periodic.tick and self.lost:
            self.lost -= 1
            raise StoreUnavailable("The answer was lost.")
        return found


@pytest.mark.promise("Periodic commands", "processes are killed, and answers of Redis lost")
async def test_lost_answer_is_requested_again(harness: Harness, agent: PeriodicPusher) -> None:
    last_s, _ = hour_ago(harness.client, 1)
    agent.jobs = [job(7200.0)]
    agent.store = Lossy(open_client(StoreSettings(harness.redis.url)))
    await agent.push_due()
    assert (harness.size("queue:rest"), mark_s(harness.client)) == (1, last_s)


async def test_a_pause_holds_in_the_broker_too(harness: Harness, agent: PeriodicPusher) -> None:
    last_s, _ = hour_ago(harness.client, 2)
    pauses.pause_periodic(harness.client, "nightly", "ann", "", 600.0)
    await agent.push_due()
    (event,) = harness.of(PeriodicDue)
    assert (event.outcome, event.jid, mark_s(harness.client)) == ("paused", None, last_s)
