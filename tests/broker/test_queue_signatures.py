"""A signature that covers the queue lets its job in from there alone; once let in, the job is of its whole target."""

import time
from typing import Any

import attrs
import pytest

from restbroker.config.tokens import Token
from restbroker.job import rubyjson, signing
from tests.broker.conftest import Harness, Scripted, ok
from tests.broker.test_admission import DAY_S, SECRET, dead_job, serving, signature
from tests.broker.test_replays import APP, failing, job, well
from tests.support.old_signatures import old_signature


def push(harness: Harness, token: str, into: str = "rest", **fields: Any) -> None:
    harness.raw(job(token, **fields), into=into)


def of_form_v1(at_s: int, jid: str = "j1") -> str:
    return old_signature(SECRET, at_s, jid, "safe", {"n": 1}, "r1")


def mark(token: str, queue: str = "rest") -> str:
    found = signing.read(token)
    assert found is not None
    return signing.acceptance(SECRET, found, queue, time.time())


async def sent(harness: Harness, count: int = 1) -> None:
    await harness.until(lambda: len(harness.target.calls) == count, f"{count} were sent")
    await harness.until(lambda: harness.size("queue:rest") + harness.size("queue:slow") == 0, "the queues are empty")


@pytest.mark.promise(
    "Security: who can write to Redis beyond the queues", "to push a signed job to another server's queue"
)
async def test_signed_job_is_done_from_its_own_queue_only(harness: Harness) -> None:
    harness.queues = ("rest", "slow")
    harness.others = {"bank": Scripted(ok)}
    token = signature(time.time())
    push(harness, token)
    push(harness, token, into="slow")
    push(harness, token, into="bank")
    async with serving(harness, APP):
        await harness.until(lambda: harness.size("dead") == 2, "the others are dead")
        await sent(harness)
    assert {(found["error_class"], found["queue"]) for found in harness.members("dead")} == {
        ("BadSignature", "slow"),
        ("BadSignature", "bank"),
    }
    assert "or queue." in harness.members("dead")[0]["error_message"]
    assert harness.others["bank"].calls == []


@pytest.mark.parametrize("token", [APP, attrs.evolve(APP, signed=False)])
async def test_signature_of_form_v1_names_its_cure(harness: Harness, token: Token) -> None:
    harness.others = {"bank": Scripted(ok)}
    forged = ("0" * 64 + "@5:rest", "x", None)
    for number, accepted in enumerate(forged):
        for place, at_s in enumerate((int(time.time()), 7)):
            jid = f"j{number}-{place}"
            fields = {} if accepted is None else {"restbroker_accepted": accepted}
            push(harness, of_form_v1(at_s, jid), into=("rest", "bank")[place], jid=jid, **fields)
    async with serving(harness, token):
        await harness.until(lambda: harness.size("dead") == 2 * len(forged), "all are dead")
    for found in harness.members("dead"):
        assert (found["error_class"], "form v1q, with the queue" in found["error_message"]) == ("BadSignature", True)
    assert harness.target.calls == harness.others["bank"].calls == []


@pytest.mark.parametrize("at_s", [7, 1_795_165_609])
@pytest.mark.parametrize("queue", ["rest", "bank"])
async def test_signature_of_form_v1_with_its_mark_is_read_as_before(harness: Harness, at_s: int, queue: str) -> None:
    harness.others = {"bank": Scripted(ok)}
    token = of_form_v1(at_s)
    push(harness, token, into=queue, restbroker_accepted=mark(token))
    async with serving(harness, APP):
        await harness.until_ended()
    assert harness.outcomes == ["delivered"]


async def test_once_let_in_it_counts_in_every_queue_of_the_same_target(harness: Harness) -> None:
    harness.queues, harness.others = ("rest", "slow"), {"bank": Scripted(ok)}
    failing(harness)
    push(harness, signature(time.time() - 6 * DAY_S), retry_queue="slow")
    async with serving(harness, APP):
        await harness.until(lambda: harness.size("retry") == 1, "it failed")
    (waiting,) = harness.members("retry")
    assert waiting["queue"] == "slow"
    well(harness)
    for queue in ("slow", "bank"):
        harness.raw(rubyjson.dumps(waiting), into=queue)
    async with serving(harness, attrs.evolve(APP, window_s=60.0)):
        await sent(harness, 2)
        await harness.until(lambda: harness.size("dead") == 1, "it dies in the other target")
    assert [(found["error_class"], found["queue"]) for found in harness.members("dead")] == [("BadSignature", "bank")]


@pytest.mark.promise(
    "Security: who can write to Redis beyond the queues", "to push a signed job to another server's queue"
)
async def test_admission_elsewhere_cannot_be_forged(harness: Harness) -> None:
    harness.queues = ("rest", "slow")
    made_up = ("0" * 64 + ":rest", ":rest", "rest", "0" * 64 + ":\u00e9", ["x"], None)
    for number, item in enumerate(made_up):
        token = signature(time.time(), jid=f"j{number}")
        push(harness, token, into="slow", jid=f"j{number}", restbroker_accepted=item)
    async with serving(harness, APP):
        await harness.until(lambda: harness.size("dead") == len(made_up), "all are dead")
    assert {(found["error_class"], found["queue"]) for found in harness.members("dead")} == {("BadSignature", "slow")}
    assert harness.target.calls == []


async def test_unadmitted_job_waits_for_its_own_queue_not_retry_queue(harness: Harness) -> None:
    harness.queues = ("rest", "slow")
    push(harness, signature(time.time() - 8 * DAY_S), retry_queue="slow")
    async with serving(harness, APP):
        found = await dead_job(harness)
    assert (found["error_class"], found["queue"]) == ("UntimelySignature", "rest")
    assert signing.ACCEPTED_FIELD not in found
    harness.raw(rubyjson.dumps(found), into=found["queue"])
    async with serving(harness, attrs.evolve(APP, window_s=9.0 * DAY_S)):
        await sent(harness)


async def test_job_of_a_dead_process_can_be_retried(harness: Harness) -> None:
    harness.queues = ("rest", "slow")
    push(harness, signature(time.time()), retry_queue="slow")
    harness.crashed(marked=True)
    async with serving(harness, APP):
        found = await dead_job(harness)
        assert (found["error_class"], found["queue"]) == ("Uncertain", "rest")
        harness.client.command("DEL", "dead")
        harness.raw(rubyjson.dumps(found), into=found["queue"])
        await sent(harness)
    assert harness.size("dead") == 0
