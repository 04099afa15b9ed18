"""A signed job that was done is not done once more: a copy of it is settled as a duplicate, and nobody is answered."""

import time
from typing import Any

import attrs
import pytest

from restbroker.config.secret import Secret
from restbroker.config.tokens import Token
from restbroker.job import rubyjson
from restbroker.job.outcome import Deferred, Delivered, Reason
from restbroker.store import heartbeats, identities
from restbroker.telemetry.events import BrokerStarted, JobFinished, OperatorWarning
from restbroker.transport.message import Request, Response
from tests.broker.conftest import Harness, ok
from tests.broker.test_admission import DAY_S, SECRET, serving, signature
from tests.store.pools import as_parked

APP = Token("app", (Secret(SECRET),), signed=True)
ANY = Token("app", (Secret(SECRET),))


def job(token: str, **fields: Any) -> bytes:
    return rubyjson.dumps({"class": "Add", "jid": "j1", "args": ["safe", {"n": 1}, token, "r1"], **fields})


def outcomes(harness: Harness) -> list[str]:
    return [event.outcome for event in harness.of(JobFinished)]


def warned(harness: Harness) -> list[str]:
    return [event.code for event in harness.of(OperatorWarning)]


async def settled(harness: Harness, count: int) -> None:
    await harness.until(lambda: len(outcomes(harness)) == count, f"{count} are settled")


def failing(harness: Harness) -> None:
    harness.target.judge = lambda _call, _response: Deferred(Reason("ServerError", "it broke"))


def well(harness: Harness) -> None:
    harness.target.judge = lambda _call, _response: Delivered("", 0, 200)


@pytest.mark.parametrize("covered", [None, "rest"])
async def test_a_copy_of_a_job_that_was_done_is_not_sent_and_nobody_is_answered_again(
    harness: Harness, covered: str | None
) -> None:
    raw = job(signature(time.time(), queue=covered), reply_to="restbroker:reply:one")
    harness.raw(raw)
    async with serving(harness, APP):
        await settled(harness, 1)
        for _ in range(3):
            harness.raw(raw)
        await settled(harness, 4)
        await harness.until(lambda: len(warned(harness)) == 3, "it is told")
    assert outcomes(harness) == ["delivered", *["duplicate"] * 3]
    assert len(harness.target.calls) == 1
    assert [harness.size(key) for key in ("queue:replies", "restbroker:reply:one", "dead", "retry")] == [1, 1, 0, 0]
    assert warned(harness) == ["JobReplayed"] * 3
    assert len({event.message for event in harness.of(OperatorWarning)}) == 1, (
        "the log sums up what is said in the same words"
    )
    assert harness.client.command("GET", "stat:processed") == b"4"
    assert harness.client.command("GET", "stat:failed") is None
    assert {event.fate for event in harness.of(JobFinished)} == {"ack"}


async def test_the_same_job_signed_anew_is_another_order(harness: Harness) -> None:
    now_s = time.time()
    for age_s in (2, 1):
        harness.raw(job(signature(now_s - age_s)))
    async with serving(harness, APP):
        await settled(harness, 2)
    assert outcomes(harness) == ["delivered", "delivered"]


async def test_a_job_that_carries_its_token_is_done_as_often_as_it_is_pushed_also_after_another_try(
    harness: Harness,
) -> None:
    failing(harness)
    async with serving(harness, ANY):
        for count in (1, 2, 3):
            harness.raw(job(SECRET))
            await settled(harness, count)
        waiting = harness.members("retry")
        assert len({fields["args"][2] for fields in waiting}) == 3
        well(harness)
        harness.client.command("DEL", "retry")
        for raw in (*map(rubyjson.dumps, waiting), *[job(SECRET)] * 3):
            harness.raw(raw)
        await settled(harness, 9)
    assert outcomes(harness)[3:] == ["delivered"] * 6


async def test_what_failed_is_tried_again_and_only_then_remembered(harness: Harness) -> None:
    failing(harness)
    first = job(signature(time.time()), retry_queue="rest")
    harness.raw(first)
    async with serving(harness, APP):
        await settled(harness, 1)
        assert harness.client.command("KEYS", "restbroker:done:*") == []
        (waiting,) = harness.members("retry")
        well(harness)
        harness.client.command("DEL", "retry")
        harness.raw(rubyjson.dumps(waiting))
        await settled(harness, 2)
        harness.raw(rubyjson.dumps(waiting))
        harness.raw(first)
        await settled(harness, 4)
    assert outcomes(harness) == ["deferred", "delivered", "duplicate", "duplicate"]


async def test_what_was_done_from_another_queue_of_its_target_is_no_more_done_from_its_own(harness: Harness) -> None:
    harness.queues = ("rest", "slow")
    failing(harness)
    first = job(signature(time.time()), retry_queue="slow")
    harness.raw(first)
    async with serving(harness, APP):
        await settled(harness, 1)
        (waiting,) = harness.members("retry")
        well(harness)
        harness.raw(rubyjson.dumps(waiting), into=waiting["queue"])
        await settled(harness, 2)
        harness.raw(first)
        await settled(harness, 3)
    assert outcomes(harness) == ["deferred", "delivered", "duplicate"]


async def test_it_is_remembered_for_the_tokens_window_and_the_minute_that_a_clock_may_be_ahead(
    harness: Harness,
) -> None:
    harness.raw(job(signature(time.time())))
    async with serving(harness, attrs.evolve(APP, window_s=2 * DAY_S)):
        await settled(harness, 1)
    left_ms = harness.client.command("PTTL", "restbroker:done:rest")
    assert isinstance(left_ms, int)
    assert 0 <= 2 * DAY_S + 60 - left_ms / 1000 < 60


async def test_where_redis_cannot_tell_the_job_is_done_and_an_operator_is_told(harness: Harness) -> None:
    harness.client.command("SET", "restbroker:done:rest", "something else")
    harness.raw(job(signature(time.time())))
    async with serving(harness, APP):
        await settled(harness, 1)
        await harness.until(lambda: warned(harness) == ["StoreRefused"], "it is told")
    assert outcomes(harness) == ["delivered"]
    assert harness.size("queue:replies") == 1


async def test_what_a_fenced_generation_could_not_settle_is_done_again_and_is_no_copy_of_itself(
    harness: Harness,
) -> None:
    async def fenced(request: Request) -> Response:
        (identity,) = identities.live_identities(harness.client)
        await harness.fence(identity)
        heartbeats.recover(harness.client, identity, as_parked)
        return await ok(request)

    raw = job(signature(time.time()))
    harness.target.answers.append(fenced)
    async with serving(harness, APP):
        await harness.until(lambda: harness.of(BrokerStarted), "it serves")
        harness.raw(raw)
        await harness.until(lambda: len(harness.of(BrokerStarted)) == 2, "its next generation begins")
        await harness.until(lambda: len(harness.target.calls) == 2, "it is sent again")
        await settled(harness, 1)
        harness.raw(raw)
        await settled(harness, 2)
    assert outcomes(harness) == ["delivered", "duplicate"]
    assert len(harness.target.calls) == 2
    assert harness.size("dead") == 0
