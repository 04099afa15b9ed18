"""Expiry: a job that comes too late is not sent, and is never gone without a trace."""

import json
import time
from collections.abc import Callable
from typing import Any

import attrs
import pytest
import trio

from restbroker.broker.health import StoreHealth
from restbroker.job.fairness import Fairness
from restbroker.job.order import Order, key_rules
from restbroker.job.outcome import Deferred, Reason
from restbroker.store import history
from restbroker.telemetry.counters import Counters
from restbroker.telemetry.events import Event, JobFinished, OperatorWarning, TargetDown
from restbroker.transport.message import NotSent, Request, Response
from tests.broker.conftest import FINE, Harness, Held, lost, ok
from tests.support.store_calls import classify_lines

GONE_S = 5.0
"""Long enough ago or far enough ahead that no clock is in doubt."""


def passed() -> float:
    return time.time() - GONE_S


def ahead() -> float:
    return time.time() + 3600


def replies(harness: Harness, jid: str) -> list[dict[str, Any]]:
    return harness.entries(f"restbroker:reply:{jid}")


@pytest.mark.promise("No command is lost", "a job expires: dropped unless it may have run")
async def test_an_expired_job_is_not_sent_and_counts_as_processed(harness: Harness) -> None:
    harness.history_s = 60.0
    counters = Counters(lambda _target: ("safe",))
    plain = harness.report

    def report(event: Event) -> None:
        plain(event)
        counters(event)

    harness.report = report
    harness.push(expiry=passed(), reply_to="restbroker:reply:jid-safe-0")
    harness.push(first=1, expiry=int(passed() * 1000))
    harness.push(first=2, expiry=ahead())
    events = await harness.serve(3)
    assert len(harness.target.sent) == 1
    expired = [event for event in events if event.outcome == "expired"]
    assert {event.jid for event in expired} == {"jid-safe-0", "jid-safe-1"}
    assert {(event.fate, event.code) for event in expired} == {("ack", "Expired")}
    assert "before it could be sent" in str(expired[0].message)
    assert [harness.size(key) for key in ("queue:rest", "dead", "retry", "schedule")] == [0, 0, 0, 0]
    assert harness.client.commands([("GET", "stat:processed"), ("GET", "stat:failed")]) == [b"3", None]
    (reply,) = replies(harness, "jid-safe-0")
    assert (reply["outcome"], reply["error"]["code"]) == ("expired", "Expired")
    ends = [history.read(entry.record) for entry in history.newest(harness.client, 10)]
    assert sorted(end.outcome for end in ends if end is not None) == ["delivered", "expired", "expired"]
    assert counters.samples()["restbroker_jobs_total"]["t", "safe", "expired"] == 2
    assert counters.snapshot("t")["failed"] == 0


async def test_a_job_expires_while_its_target_is_down(harness: Harness) -> None:
    harness.target.probe_answer = NotSent("refused")
    harness.push(expiry=(expires_at_s := time.time() + 0.3))
    harness.push(first=1)
    async with harness.broker():
        await harness.until(lambda: harness.of(TargetDown), "it is down")
        await trio.sleep(max(0.0, expires_at_s - time.time()) + 0.05)
        assert not harness.of(JobFinished)
        harness.target.probe_answer = FINE
        events = await harness.until_ended(2)
    assert [event.outcome for event in events] == ["expired", "delivered"]
    assert len(harness.target.sent) == 1


async def test_a_job_that_waits_for_its_target_expires_meanwhile(harness: Harness) -> None:
    target = harness.target
    async with harness.broker():
        await harness.until(lambda: harness.status.pools and target.probes, "it serves")
        target.probe_answer = NotSent("refused")
        target.before = lambda _call: harness.pool.breaker.trip(Reason("TargetUnwell", "It is down."))
        harness.push(expiry=(expires_at_s := time.time() + 1.0), reply_to="restbroker:reply:jid-safe-0")
        (event,) = await harness.until_ended()
        assert time.time() >= expires_at_s
        assert harness.of(TargetDown)
    assert (event.outcome, event.fate) == ("expired", "ack")
    assert [reply["outcome"] for reply in replies(harness, "jid-safe-0")] == ["expired"]


async def test_job_is_checked_again_right_before_it_is_sent(harness: Harness, jump: Callable[[], None]) -> None:
    async def late() -> None:
        jump()

    harness.target.connected = late
    harness.push(expiry=ahead())
    (event,) = await harness.serve()
    assert event.outcome == "expired"
    assert len(harness.target.calls) == 1
    assert not harness.target.sent


async def test_a_job_expires_while_it_waits_for_its_slot(harness: Harness) -> None:
    harness.slots = {"once": 1}
    first = Held()
    harness.target.answers.append(first)
    harness.push("once")
    harness.push("once", first=1, expiry=(expires_at_s := time.time() + 0.3))
    async with harness.broker():
        await harness.until(lambda: harness.target.sent, "the first has the slot")
        await trio.sleep(max(0.0, expires_at_s - time.time()) + 0.05)
        first.let.set()
        events = await harness.until_ended(2)
    assert {event.jid: event.outcome for event in events} == {"jid-once-0": "delivered", "jid-once-1": "expired"}
    assert len(harness.target.sent) == 1


async def test_at_most_once_leaves_no_mark_of_a_job_that_expired(harness: Harness) -> None:
    harness.at_most_once = ("once",)
    harness.push("once", expiry=passed())
    harness.push("once", first=1, expiry=ahead())
    events = await harness.serve(2)
    assert [event.outcome for event in events] == ["expired", "delivered"]
    assert not harness.client.command("KEYS", "restbroker:sent:*")


@pytest.mark.parametrize("written", ["soon", True, -5, [1]])
async def test_an_expiry_that_is_no_time_is_refused(harness: Harness, written: object) -> None:
    harness.push(expiry=written)
    (event,) = await harness.serve()
    assert (event.outcome, event.fate, event.code) == ("rejected", "dead", "BadExpiry")
    assert not harness.target.sent


async def test_a_target_says_how_long_a_command_is_worth_doing(harness: Harness) -> None:
    harness.expire_s = {"safe": 2.0, "s*": 60.0}
    now_s = time.time()
    old = {"created_at": now_s - 3}
    rows: list[dict[str, Any]] = [old, {"created_at": now_s}, {}, {**old, "expiry": None}, old]
    for number, fields in enumerate(rows):
        harness.push(first=number, **fields)
    harness.push("once", created_at=now_s - 3)
    events = await harness.serve(6)
    assert {event.jid for event in events if event.outcome == "expired"} == {"jid-safe-0", "jid-safe-4"}
    assert len(harness.target.sent) == 4


async def test_a_retry_that_would_come_too_late_is_not_made(harness: Harness) -> None:
    harness.target.judge = lambda _call, _response: Deferred(Reason("HttpStatus500", "It broke.", status=500))
    harness.push(expiry=time.time() + 10, reply_to="restbroker:reply:jid-safe-0")
    harness.push(first=1, expiry=ahead())
    events = await harness.serve(2)
    assert {event.jid: (event.outcome, event.fate) for event in events} == {
        "jid-safe-0": ("expired", "ack"),
        "jid-safe-1": ("deferred", "retry"),
    }
    (reply,) = replies(harness, "jid-safe-0")
    assert "HttpStatus500: It broke." in reply["error"]["message"]
    assert harness.size("retry") == 1


@pytest.mark.promise("No command is lost", "a job expires: dropped unless it may have run")
async def test_expired_job_that_may_have_run_dies_and_is_not_dropped(harness: Harness) -> None:
    harness.target.answers.append(lost)
    harness.push(expiry=time.time() + 10)
    harness.push(first=1, expiry=passed(), restbroker_uncertain=1)
    await harness.serve(2)
    assert len(harness.target.sent) == 1
    dead = harness.members("dead")
    assert {entry["error_class"] for entry in dead} == {"Expired"}
    assert [entry["restbroker_may_have_run"] for entry in dead] == [True, True]


async def test_expired_jobs_are_kept_where_that_is_wished(harness: Harness) -> None:
    harness.policy = attrs.evolve(harness.policy, keeps_expired=True)
    harness.push(expiry=passed())
    (event,) = await harness.serve()
    assert (event.outcome, event.fate) == ("expired", "dead")
    assert [entry["jid"] for entry in harness.members("dead")] == ["jid-safe-0"]


@pytest.mark.parametrize(("ahead_s", "outcome"), [(3600.0, "expired"), (-3600.0, "delivered")])
async def test_the_clock_of_redis_counts(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, ahead_s: float, outcome: str
) -> None:
    monkeypatch.setattr(StoreHealth, "clock_ahead_s", property(lambda _: ahead_s))
    harness.push(expiry=time.time() + ahead_s / 2)
    (event,) = await harness.serve()
    assert event.outcome == outcome


@pytest.mark.parametrize(("zset", "more"), [("schedule", {}), ("retry", {"retry_count": 2})])
async def test_job_due_past_its_expiry_is_not_sent(harness: Harness, zset: str, more: dict[str, int]) -> None:
    entry = {"class": "Add", "jid": "due", "queue": "rest", "args": ["safe", {}, "t"], "expiry": passed(), **more}
    harness.client.command("ZADD", zset, passed() - 1, json.dumps(entry))
    (event,) = await harness.serve()
    assert (event.jid, event.outcome, harness.size(zset)) == ("due", "expired", 0)


async def test_job_expires_behind_another_of_its_key_and_next_goes_on(harness: Harness) -> None:
    harness.order = Order(on_dead="stop")
    first = Held()
    harness.target.answers.append(first)
    harness.push(order_key="a")
    harness.push(first=1, order_key="a", expiry=(expires_at_s := time.time() + 0.3))
    harness.push(first=2, order_key="a")
    async with harness.broker():
        await harness.until(lambda: harness.target.sent, "the first is sent")
        await trio.sleep(max(0.0, expires_at_s - time.time()) + 0.05)
        assert not harness.of(JobFinished)
        first.let.set()
        events = await harness.until_ended(3)
    assert [event.outcome for event in events] == ["delivered", "expired", "delivered"]
    assert [call.command.arguments["n"] for call in harness.target.calls] == [0, 2]
    assert not harness.client.command("EXISTS", "restbroker:held:t", "restbroker:line:rest")


async def test_a_job_expires_in_the_line_of_its_key(harness: Harness) -> None:
    harness.fairness, harness.concurrency = Fairness(("host",)), 1
    for number in range(40):
        harness.push(
            args=["safe", {"host": f"h{number % 2}"}, "t"], first=number, expiry=passed() if number % 4 else None
        )
    classify_lines(harness.client, "t", "rest", key_rules(None, harness.fairness))
    events = await harness.serve(40)
    assert [event.outcome for event in events].count("expired") == 30
    assert (len(harness.target.sent), harness.size("dead")) == (10, 0)
    assert not harness.client.command("KEYS", "restbroker:line:*")


async def test_expiry_not_applied_by_the_client_is_reported_once(harness: Harness) -> None:
    harness.push(count=3, expires_in=60)
    await harness.serve(3)
    assert len(harness.target.sent) == 3
    assert [warning.code for warning in harness.of(OperatorWarning)] == ["ExpiryWithoutTime"]


async def test_a_command_that_has_begun_is_done_to_its_end(harness: Harness, jump: Callable[[], None]) -> None:
    async def slow(request: Request) -> Response:
        jump()
        return await ok(request)

    harness.target.answers.append(slow)
    harness.push(expiry=ahead())
    (event,) = await harness.serve()
    assert event.outcome == "delivered"
