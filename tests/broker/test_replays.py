"""A signed job that was done is not done once more: a copy of it is settled as a duplicate, and nobody is answered."""

import time
from typing import Any

import attrs
import pytest

from restbroker.config.secret import Secret
from restbroker.config.tokens import Token
from restbroker.job import rubyjson, signing
from restbroker.job.outcome import Deferred, Delivered, Reason, Rejected
from restbroker.store.client import items, text
from restbroker.store.client import members as store_members
from restbroker.telemetry.events import BrokerStarted, JobFinished, OperatorWarning
from restbroker.transport.message import Request, Response
from tests.broker.conftest import Harness, Scripted, ok
from tests.broker.test_admission import DAY_S, SECRET, serving, signature

APP = Token("app", (Secret(SECRET),), signed=True)
ANY = Token("app", (Secret(SECRET),))


def job(token: str, **fields: Any) -> bytes:
    return rubyjson.dumps({"class": "Add", "jid": "j1", "args": ["safe", {"n": 1}, token, "r1"], **fields})


def keys(harness: Harness) -> list[str]:
    """The sets of fingerprints."""
    return sorted(text(key) for key in items(harness.client.command("KEYS", "restbroker:done:*")))


def members(harness: Harness, key: str) -> str:
    """The one fingerprint there."""
    ((member, _),) = store_members(harness.client.command("ZRANGE", key, 0, -1, "WITHSCORES"))
    return member.decode()


def scores(harness: Harness, key: str, *, done: bool) -> list[float]:
    """Until when (epoch seconds) the jobs are remembered that were done, or only stored."""
    found = store_members(harness.client.command("ZRANGE", key, 0, -1, "WITHSCORES"))
    return [score / 1000 for member, score in found if member.startswith(b"~") is not done]


def left_s(harness: Harness, key: str) -> float:
    left_ms = harness.client.command("PTTL", key)
    assert isinstance(left_ms, int)
    return left_ms / 1000


def failing(harness: Harness) -> None:
    harness.target.judge = lambda _call, _response: Deferred(Reason("ServerError", "it broke"))


def well(harness: Harness) -> None:
    harness.target.judge = lambda _call, _response: Delivered("", 0, 200)


@pytest.mark.promise("Security: who can write to Redis beyond the queues", "to have a signed job done again")
async def test_copy_of_done_job_is_neither_sent_nor_answered(harness: Harness) -> None:
    raw = job(signature(time.time()), reply_to="restbroker:reply:one")
    harness.raw(raw)
    async with serving(harness, APP):
        await harness.until_ended()
        for _ in range(3):
            harness.raw(raw)
        await harness.until_ended(4)
        await harness.until(lambda: len(harness.warnings) == 3, "it is reported")
    assert harness.outcomes == ["delivered", *["duplicate"] * 3]
    assert len(harness.target.calls) == 1
    assert [harness.size(key) for key in ("queue:replies", "restbroker:reply:one", "dead", "retry")] == [1, 1, 0, 0]
    assert harness.warnings == ["JobReplayed"] * 3
    assert len({event.message for event in harness.of(OperatorWarning)}) == 1, (
        "the log sums up what is said in the same words"
    )
    assert harness.client.command("GET", "stat:processed") == b"4"
    assert harness.client.command("GET", "stat:failed") is None
    assert {event.fate for event in harness.of(JobFinished)} == {"ack"}


async def test_same_job_signed_again_is_another_order(harness: Harness) -> None:
    now_s = time.time()
    for age_s in (2, 1):
        harness.raw(job(signature(now_s - age_s)))
    async with serving(harness, APP):
        await harness.until_ended(2)
    assert harness.outcomes == ["delivered", "delivered"]


async def test_job_with_its_token_runs_as_often_as_pushed(
    harness: Harness,
) -> None:
    failing(harness)
    async with serving(harness, ANY):
        for count in (1, 2, 3):
            harness.raw(job(SECRET))
            await harness.until_ended(count)
        waiting = harness.members("retry")
        assert len({fields["args"][2] for fields in waiting}) == 3
        well(harness)
        harness.client.command("DEL", "retry")
        for raw in (*map(rubyjson.dumps, waiting), *[job(SECRET)] * 3):
            harness.raw(raw)
        await harness.until_ended(9)
    assert harness.outcomes[3:] == ["delivered"] * 6


async def test_done_job_is_remembered_for_token_window_and_clock_drift(harness: Harness) -> None:
    """180 s: a signature may be a minute ahead of a clock that is a minute ahead, and end by one a minute behind."""
    harness.raw(job(signature(time.time())))
    async with serving(harness, attrs.evolve(APP, window_s=2 * DAY_S)):
        await harness.until_ended()
    (key,) = keys(harness)
    for name in (key, "restbroker:signed:" + key.split(":")[2]):
        assert 0 <= 2 * DAY_S + 180 - left_s(harness, name) < 60


@pytest.mark.promise("Security: who can write to Redis beyond the queues", "to have a signed job done again")
async def test_retried_job_is_remembered_as_long_as_its_mark_is_good(harness: Harness) -> None:
    """Readers of `retry` see the mark: with it they could push the job again once the window is over.

    Before it was done, it is not remembered; then it is known in its own queue, too, though another one had it.
    """
    harness.queues = ("rest", "slow")
    failing(harness)
    first = job(signature(time.time()), retry_queue="slow")
    harness.raw(first)
    async with serving(harness, attrs.evolve(APP, window_s=60.0)):
        await harness.until_ended()
        assert [members(harness, key)[:1] for key in keys(harness)] == ["~"], "it was stored, not done"
        waiting = harness.take("retry")
        well(harness)
        harness.raw(rubyjson.dumps(waiting), into=waiting["queue"])
        await harness.until_ended(2)
        (until_s,) = (score for key in keys(harness) for score in scores(harness, key, done=True))
        assert until_s - time.time() == pytest.approx(30 * DAY_S + 180, abs=60)
        harness.raw(rubyjson.dumps(waiting), into=waiting["queue"])
        harness.raw(first)
        await harness.until_ended(4)
    assert harness.outcomes == ["deferred", "delivered", "duplicate", "duplicate"]


async def test_a_sealed_job_counts_once_in_whichever_queue(harness: Harness) -> None:
    harness.queues, harness.others = ("rest", "slow"), {"bank": Scripted(ok)}
    failing(harness)
    harness.raw(job(SECRET))
    async with serving(harness, ANY):
        await harness.until_ended()
        waiting = harness.take("retry")
        well(harness)
        for count, queue in enumerate(("bank", "slow", "rest"), 2):
            harness.raw(rubyjson.dumps(waiting), into=queue)
            await harness.until_ended(count)
    assert harness.outcomes == ["deferred", "delivered", "duplicate", "duplicate"]


async def test_copy_done_at_first_try_outlives_mark_of_waiting_one(harness: Harness) -> None:
    """A push is repeated; one of both fails, the other is done. The first one's next try comes after the window."""
    failing(harness)
    raw = job(signature(time.time()))
    harness.raw(raw)
    async with serving(harness, attrs.evolve(APP, window_s=60.0)):
        await harness.until_ended()
        well(harness)
        harness.raw(raw)
        await harness.until_ended(2)
        (until_s,) = (score for key in keys(harness) for score in scores(harness, key, done=True))
        assert until_s - time.time() == pytest.approx(30 * DAY_S + 180, abs=60)
        (waiting,) = harness.members("retry")
        harness.raw(rubyjson.dumps(waiting))
        await harness.until_ended(3)
    assert harness.outcomes == ["deferred", "delivered", "duplicate"]


async def test_a_job_that_died_was_not_done(harness: Harness) -> None:
    harness.target.judge = lambda _call, _response: Rejected(Reason("NoSuchUser", "None."))
    raw = job(signature(time.time()))
    harness.raw(raw)
    async with serving(harness, APP):
        await harness.until_ended()
        (dead,) = harness.members("dead")
        well(harness)
        harness.raw(rubyjson.dumps(dead))
        await harness.until_ended(2)
        harness.raw(raw)
        await harness.until_ended(3)
    assert harness.outcomes == ["rejected", "delivered", "duplicate"]


async def test_new_name_or_secret_of_its_token_makes_no_new_job(harness: Harness) -> None:
    raw = job(signature(time.time()))
    harness.raw(raw)
    async with serving(harness, APP):
        await harness.until_ended()
    harness.target.closed = False
    harness.raw(raw)
    async with serving(harness, Token("renamed", (Secret("newer-secret-0123456789"), Secret(SECRET)))):
        await harness.until_ended(2)
    assert harness.outcomes == ["delivered", "duplicate"]


async def test_job_runs_with_a_warning_where_redis_cannot_answer(harness: Harness) -> None:
    harness.client.command("SET", f"restbroker:signed:{signing.token_digest(SECRET)}", "something else")
    harness.raw(job(signature(time.time())))
    async with serving(harness, APP):
        await harness.until_ended()
        await harness.until(lambda: harness.warnings == ["StoreRefused"], "it is reported")
    assert harness.outcomes == ["delivered"]
    assert harness.size("queue:replies") == 1


async def test_unsettled_job_of_fenced_generation_runs_again(
    harness: Harness,
) -> None:
    async def fenced(request: Request) -> Response:
        await harness.crash()
        return await ok(request)

    raw = job(signature(time.time()))
    harness.target.answers.append(fenced)
    async with serving(harness, APP):
        await harness.until(lambda: harness.of(BrokerStarted), "it serves")
        harness.raw(raw)
        await harness.until(lambda: len(harness.of(BrokerStarted)) == 2, "its next generation begins")
        await harness.until(lambda: len(harness.target.calls) == 2, "it is sent again")
        await harness.until_ended()
        harness.raw(raw)
        await harness.until_ended(2)
    assert harness.outcomes == ["delivered", "duplicate"]
    assert len(harness.target.calls) == 2
    assert harness.size("dead") == 0
