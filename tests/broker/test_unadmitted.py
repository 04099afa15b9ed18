"""A flood of jobs that no token admitted stops its own queue, and no other."""

import json
from typing import Any

import pytest
from trio.testing import MockClock

from restbroker.store import pauses, unadmitted
from restbroker.store.jobs import Limits
from restbroker.telemetry.events import JobFinished, OperatorWarning
from tests.broker.conftest import Harness, Scripted, ok

FORGED: dict[str, Any] = {"restbroker_unadmitted": "t2"}


@pytest.mark.promise("Security: who can push to the queues", "a command without a token, or with a guessed one")
async def test_a_flood_pauses_its_queue_and_stops_no_other(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, hurry: MockClock
) -> None:
    """`DeadLimit` is no less than `MOST`: an earlier count would put the next one off by ten seconds."""
    monkeypatch.setattr(unadmitted, "MOST", 50)
    harness.others, harness.limits = {"t2": Scripted(ok)}, Limits(dead=50)
    harness.raw(*([b'{"args":["x",{},""]}', b"no json", b'{"args":["safe",{},"wrong"]}'] * 20))
    async with harness.broker():
        await harness.until(lambda: harness.of(OperatorWarning), "somebody is told")
        assert [one.code for one in harness.of(OperatorWarning)] == ["QueueFlooded"]
        assert "The queue 'rest' is paused" in harness.of(OperatorWarning)[0].message
        assert list(pauses.paused_queues(harness.client)) == ["rest"]
        harness.push(into="t2")
        await harness.until(lambda: harness.others["t2"].calls, "the other one is served")


async def test_what_no_token_admitted_says_so_as_its_last_member(harness: Harness) -> None:
    harness.push(args=["safe", {}, "wrong"], **FORGED)
    harness.raw(b"\xff", b"[1]", b'{"args":["safe"]}')
    harness.push(args=["safe", {}, "wrong"], dead=False)
    harness.push("admitted", expiry="soon", **FORGED)
    async with harness.broker():
        await harness.until(lambda: len(harness.of(JobFinished)) == 6, "all are finished")
    *others, admitted = sorted(harness.members("dead"), key=lambda entry: entry["jid"] == "jid-admitted-0")
    assert [(*entry,)[-1] for entry in others] == ["restbroker_unadmitted"] * 4
    assert {entry["restbroker_unadmitted"] for entry in others} == {"rest"}
    assert (admitted["error_class"], "restbroker_unadmitted" in admitted) == ("BadExpiry", False)
    assert unadmitted.total(harness.client) == 4


async def test_a_dead_job_that_is_retried_with_a_right_token_is_counted_no_more(harness: Harness) -> None:
    harness.push(args=["safe", {"n": 0}, "wrong"])
    async with harness.broker():
        await harness.until(lambda: harness.size("dead"), "it is dead")
        (entry,) = harness.members("dead")
        harness.client.command("DEL", "dead")
        harness.raw(json.dumps({**entry, "args": ["safe", {"n": 0}, "t"]}).encode())
        await harness.until(lambda: harness.target.calls, "it is sent")
