"""Signed jobs where our clock and Redis' differ, and marks of acceptance that are over until a person renews them."""

import time
from typing import Any

import pytest

from restbroker.broker.health import StoreHealth
from restbroker.job import rubyjson, signing
from restbroker.job.outcome import Deferred, Rejected
from restbroker.operate.act import perform
from restbroker.operate.act_job import Action
from restbroker.operate.act_set import SetJobs
from restbroker.operate.context import ConfigContext
from tests.broker.conftest import Harness
from tests.broker.test_admission import DAY_S, SECRET, serving, signature
from tests.broker.test_replays import ANY, APP, job, well
from tests.broker.test_sealed import WHY


def differ(monkeypatch: pytest.MonkeyPatch, ahead_s: float) -> None:
    """Redis' clock is so many seconds ahead of ours."""
    monkeypatch.setattr(StoreHealth, "clock_ahead_s", ahead_s)


def with_mark(harness: Harness, fields: dict[str, Any], age_s: float, zset: str = "dead") -> None:
    """Store the job with its mark as old as that."""
    given = signing.read(fields["args"][2])
    assert given is not None
    mark = signing.acceptance(SECRET, given, "rest", time.time() - age_s)
    harness.client.command("DEL", "dead", "retry")
    harness.client.command("ZADD", zset, 1.0, rubyjson.dumps({**fields, signing.ACCEPTED_FIELD: mark}))


def person_retries(harness: Harness, zset: str = "dead") -> None:
    known = ConfigContext({}, tokens={SECRET: "app"})
    action = Action("retry", "ann", repeat_unsafe=True, foreign_queues=True)
    (*_, last) = perform(harness.client, SetJobs(zset, ("j1",)), action, known)  # type: ignore[arg-type]
    assert last.done == 1


@pytest.mark.parametrize("ahead_s", [3600.0, -3600.0, 61.0])
async def test_signed_job_waits_while_clocks_differ_and_uses_no_try(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, ahead_s: float
) -> None:
    differ(monkeypatch, ahead_s)
    harness.raw(job(signature(time.time())))
    async with serving(harness, APP):
        await harness.until_ended()
        (waiting,) = harness.members("schedule")
        assert harness.warnings == ["ClocksDiffer"]
        assert not {signing.ACCEPTED_FIELD, "retry_count", "error_class"} & waiting.keys()
        assert harness.target.calls == []
        differ(monkeypatch, 0.0)
        harness.client.command("ZADD", "schedule", 1.0, rubyjson.dumps(waiting))
        await harness.until_ended(2)
    assert harness.outcomes == ["deferred", "delivered"]
    assert harness.size("schedule") + harness.size("dead") == 0


async def test_unsigned_and_accepted_jobs_do_not_wait_for_clocks(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    differ(monkeypatch, 3600.0)
    harness.target.judge = lambda _call, _response: Deferred(WHY)
    harness.raw(job(SECRET))
    async with serving(harness, ANY):
        await harness.until_ended()
        (waiting,) = harness.members("retry")
        well(harness)
        harness.raw(rubyjson.dumps(waiting))
        await harness.until_ended(2)
    assert harness.outcomes == ["deferred", "delivered"]


@pytest.mark.parametrize("given", ["signed", "sealed"])
async def test_a_job_whose_mark_is_over_dies_until_a_person_retries_it(harness: Harness, given: str) -> None:
    """Sidekiq Web's Retry pushes it as it is, and it dies again."""
    harness.target.judge = lambda _call, _response: Rejected(WHY)
    harness.raw(job(SECRET if given == "sealed" else signature(time.time())))
    async with serving(harness, ANY):
        await harness.until_ended()
        with_mark(harness, harness.members("dead")[0], 30 * DAY_S + 100)
        dead = harness.take("dead")
        well(harness)
        harness.raw(rubyjson.dumps(dead))
        await harness.until_ended(2)
        (dead,) = harness.members("dead")
        assert dead["error_class"] == "UntimelySignature"
        assert "restbroker dead retry" in dead["error_message"]
        person_retries(harness)
        await harness.until_ended(3)
        harness.raw(rubyjson.dumps(dead))
        await harness.until_ended(4)
    assert harness.outcomes == ["rejected", "rejected", "delivered", "rejected"]


async def test_retry_does_not_accept_a_job_never_accepted(harness: Harness) -> None:
    """Else a replayer of an old signature would only have to wait for the next `dead retry --all`."""
    harness.raw(job(signature(time.time() - 8 * DAY_S)))
    async with serving(harness, APP):
        await harness.until_ended()
        person_retries(harness)
        await harness.until_ended(2)
    assert harness.outcomes == ["rejected", "rejected"]
    assert harness.target.calls == []


async def test_renewed_mark_lasts_and_is_recorded_for_30_more_days(harness: Harness) -> None:
    harness.target.judge = lambda _call, _response: Deferred(WHY)
    harness.raw(job(signature(time.time())))
    async with serving(harness, APP):
        await harness.until_ended()
        with_mark(harness, harness.members("retry")[0], 20 * DAY_S, "retry")
        harness.client.command("ZADD", "retry", "XX", 9e9, rubyjson.dumps(harness.members("retry")[0]))
        well(harness)
        person_retries(harness, "retry")
        await harness.until_ended(2)
    digest = signing.token_digest(SECRET)
    left_ms = harness.client.command("PTTL", f"restbroker:done:{digest}:stored:rest")
    assert isinstance(left_ms, int)
    assert left_ms / 1000 == pytest.approx(30 * DAY_S + 180, abs=60)
    assert harness.outcomes == ["deferred", "delivered"]
