"""A job counts the crashes in which it was in progress: it waits, and dies after six. Those beside it are delivered."""

import json
import time
from typing import Any

import attrs
import pytest

from restbroker.job.command import Call
from restbroker.job.order import Order
from restbroker.job.outcome import Deferred, Reason
from restbroker.store import heartbeats, identities
from restbroker.telemetry.events import JobFinished, JobsRecovered, OperatorWarning
from tests.broker.conftest import Harness


def crash(harness: Harness) -> None:
    """What a reaper sees and does after a crash: it fences the identity and gives its jobs back."""
    for identity, counter in identities.live_identities(harness.client).items():
        assert heartbeats.fence(harness.client, identity, counter)
        harness.recover(identity)


@pytest.mark.parametrize("args", ['["safe",{},"t0ken"]', '"[\\"safe\\",{},\\"t0ken\\"]"'])
@pytest.mark.parametrize("jid", ["often", "t0ken"])
async def test_a_job_in_two_crashes_waits_and_people_are_told(harness: Harness, jid: str, args: str) -> None:
    """They are told no token, where it stands in the place of a jid; also if its arguments are JSON's text."""
    harness.raw(f'{{"restbroker_crashes":2,"class":"Add","args":{args},"jid":"{jid}"}}'.encode())
    harness.crashed()
    async with harness.broker():
        await harness.until(lambda: harness.of(JobsRecovered), "its jobs are given back")
        (member,) = harness.members("schedule")
    (recovered,) = harness.of(JobsRecovered)
    (told,) = [event for event in harness.of(OperatorWarning) if event.code == "CrashedAgain"]
    assert (recovered.waiting, member["restbroker_crashes"]) == (1, 3)
    assert 20 <= recovered.waits_s[0] <= 60
    assert ("often of the queue 'rest' waits " in told.message) == (jid == "often")
    assert told.message.endswith((" s after 3 crashes.", " 1 min after 3 crashes."))
    assert "t0ken" not in str(harness.events)


@pytest.mark.parametrize(
    ("crashes", "command", "ends"),
    [(1, "once", "delivered"), (2, "once", "delivered"), (3, "once", "Uncertain"), (5, "safe", "delivered"),
     (6, "safe", "Poison"), (6, "once", "Poison"), (7, "once", "delivered"), (-9, "once", "delivered")],
)  # fmt: skip
async def test_a_counted_job_is_sent_as_one_that_may_have_run(
    harness: Harness, crashes: int, command: str, ends: str
) -> None:
    """What is not safe to repeat dies after three crashes; what restbroker cannot have written counts for nothing."""
    harness.push(command, restbroker_crashes=crashes)
    (event,) = await harness.serve()
    assert (event.code or event.outcome) == ends
    assert [call.maybe_run for call in harness.target.calls] == ([0 < crashes <= 6] if ends == "delivered" else [])


async def test_at_most_once_a_counted_job_without_a_mark_is_sent(harness: Harness) -> None:
    """A crash in which it had been about to be sent would have made it dead."""
    harness.at_most_once = ("once",)
    harness.push("once", restbroker_crashes=4)
    harness.push("once", first=1, restbroker_crashes=4, restbroker_uncertain=1)
    await harness.serve(2)
    assert sorted(event.outcome for event in harness.of(JobFinished)) == ["delivered", "uncertain"]


async def test_a_settlement_counts_crashes_among_uncertain_runs(harness: Harness) -> None:
    harness.target.judge = lambda *_: Deferred(Reason("ServerError", "It failed."))
    harness.push("safe", restbroker_crashes=2, restbroker_uncertain=1)
    await harness.serve_until(lambda: harness.size("retry"), "it is tried again")
    (entry,) = harness.members("retry")
    assert (entry["restbroker_uncertain"], "restbroker_crashes" in entry) == (3, False)


@pytest.mark.promise("Security: who can push to the queues", "to be answered without a token after crashes")
async def test_a_poisonous_job_without_the_token_is_not_answered(harness: Harness) -> None:
    harness.policy = attrs.evolve(harness.policy, reply_details=True, reply_class="Mine")
    harness.push("safe", args=["safe", {}, "wrong", "id-1"], restbroker_crashes=6)
    harness.push("safe", first=1, args=["safe", {}, "t", "id-2"], restbroker_crashes=6)
    await harness.serve_until(lambda: harness.size("dead") == 2, "they are dead")
    assert {entry["error_class"] for entry in harness.members("dead")} == {"BadToken", "Poison"}
    (poison,) = (entry for entry in harness.members("dead") if entry["error_class"] == "Poison")
    assert (poison["restbroker_may_have_run"], "restbroker_crashes" in poison) == (True, False)
    assert [job["args"][1] for job in harness.entries("queue:replies")] == ["id-2"]


async def test_an_ordered_job_waits_with_its_key_and_other_keys_go_on(harness: Harness) -> None:
    harness.order, harness.request_timeout_s = Order(("user",)), 0.5
    raw: dict[str, Any] = {"class": "Add", "args": ["safe", {"user": "a", "n": 0}, "t"], "jid": "a0"}
    harness.raw(json.dumps({"restbroker_crashes": 1, **raw}).encode())
    harness.raw(json.dumps({**raw, "jid": "a1"}).encode())
    harness.raw(json.dumps({**raw, "args": ["safe", {"user": "b", "n": 1}, "t"], "jid": "b0"}).encode())
    began_s = time.time()

    def before(call: Call) -> None:
        if call.command.arguments["user"] == "a":
            crash(harness)

    harness.target.before = before
    async with harness.broker():
        await harness.until_ended()
        await harness.until(lambda: harness.size("restbroker:held:t"), "the key waits")
    assert [event.jid for event in harness.of(JobFinished)] == ["b0"]
    (_, due_s) = harness.client.command("ZRANGE", "restbroker:held:t", 0, -1, "WITHSCORES")  # type: ignore[misc]
    assert began_s + 9 <= float(due_s) <= time.time() + 31  # type: ignore[arg-type]
    assert harness.size("schedule") == 0


async def test_a_job_that_can_neither_wait_nor_go_back_is_reported(harness: Harness) -> None:
    harness.raw(b'{"restbroker_crashes":2,"class":"Add","args":["safe",{},"t"],"jid":"often"}')
    harness.crashed()
    harness.client.command("SET", "schedule", "no set")
    async with harness.broker():
        await harness.until(lambda: "RecoveryRefused" in harness.warnings, "it is reported")
        harness.client.command("DEL", "schedule")
        await harness.until(lambda: "CrashedAgain" in harness.warnings, "it waits")
