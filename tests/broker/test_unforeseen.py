"""What Redis refuses and what no rule foresaw costs at most the job that it happens to."""

import itertools
import json
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from restbroker.broker.admission import Admission, AdmittedJob
from restbroker.broker.job_in_progress import JobInProgress
from restbroker.job import settle
from restbroker.job.job import Job
from restbroker.job.outcome import Reason
from restbroker.store.client import StoreSettings, open_client
from restbroker.store.jobs import Limits
from restbroker.telemetry.events import JobFinished, TargetDown
from restbroker.transport.message import NotSent
from tests.broker.conftest import Harness, Held, ok, refuse


async def test_done_jobs_are_settled_once_script_rights_are_back(harness: Harness, hurry: MockClock) -> None:
    harness.target.answer = held = Held()
    watcher = open_client(StoreSettings(harness.redis.url))
    async with harness.broker():
        harness.push("once", count=3)
        await harness.until(lambda: len(harness.target.sent) == 3, "all are on their way")
        watcher.command("ACL", "SETUSER", "default", "-evalsha")
        try:
            held.let.set()
            await harness.until(lambda: "StoreRefused" in harness.warnings, "it is reported")
            await trio.sleep(1)
        finally:
            watcher.command("ACL", "SETUSER", "default", "+evalsha")
        await harness.until_ended(3)
        harness.push("safe")
        await harness.until_ended(4)
    watcher.close()
    assert len(harness.target.calls) == 4
    assert harness.ended is not None
    assert harness.ended.clean


async def test_uncharged_late_start_waits_until_the_key_is_mended(harness: Harness, hurry: MockClock) -> None:
    harness.limits = Limits(emission_us=1000, burst=10)
    harness.target.answer = refuse
    async with harness.broker():
        await harness.until(lambda: harness.target.probes, "it serves")
        harness.push()
        await harness.until(lambda: harness.target.calls, "a worker has it")
        harness.client.command("DEL", "restbroker:rate:t")
        harness.client.command("LPUSH", "restbroker:rate:t", "no rate")
        await harness.until(lambda: "ChargeRefused" in harness.warnings, "it is reported")
        harness.target.answer = ok
        harness.client.command("DEL", "restbroker:rate:t")
        await harness.until_ended()
    assert harness.warnings.count("ChargeRefused") == 1


async def test_refusal_before_sending_is_no_sign_of_life(harness: Harness, hurry: MockClock) -> None:
    sent_before = 0

    async def refuse_by_turns() -> None:
        nonlocal sent_before
        sent_before += 1
        raise NotSent("refused" if sent_before % 2 else "no such header", by_request=sent_before % 2 == 0)

    harness.concurrency = 1
    harness.target.connected = refuse_by_turns
    harness.push(count=20)
    await harness.serve_until(lambda: harness.of(TargetDown), "five in a row could not be sent")
    assert len(harness.of(JobFinished)) < 20


async def test_job_over_which_the_broker_fails_dies_unchanged(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    admit = Admission.admit

    def failing(admission: Admission, job: JobInProgress, payload: Job) -> AdmittedJob | Reason:
        if payload.jid == "jid-safe-1":
            raise ZeroDivisionError("the token is t0ken")
        return admit(admission, job, payload)

    monkeypatch.setattr(Admission, "admit", failing)
    harness.push(count=5)
    pushed = json.loads(harness.client.command("LINDEX", "queue:rest", -2))  # type: ignore[arg-type]  # the text is there
    await harness.serve(5)
    assert len(harness.target.calls) == 4
    (dead,) = harness.members("dead")
    assert dead["error_class"] == "Bug"
    assert "ZeroDivisionError" in dead["error_message"]
    assert "t0ken" not in dead["error_message"]
    assert json.loads(dead["args"][0]) == pushed
    assert harness.size("queue:rest") == harness.size("retry") == 0


async def test_failing_on_a_refused_reply_kills_only_that_job(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> None:
        raise ZeroDivisionError("the token is t0ken")

    monkeypatch.setattr(settle, "drop_reply", failing)
    harness.client.command("SET", "restbroker:reply:x", "a text")
    harness.push(count=2)
    harness.push("once", reply_to="restbroker:reply:x", idempotency_key="k")
    async with harness.broker():
        await harness.until_ended(3)
        harness.push("once", first=1, args=["once", {"n": 0}, "t"], idempotency_key="k")
        await harness.until_ended(4)
    (dead,) = harness.members("dead")
    assert (dead["error_class"], "may have run" in dead["error_message"]) == ("Bug", True)
    assert sorted((event.outcome, event.fate) for event in harness.of(JobFinished)) == [
        ("delivered", "ack"),
        ("delivered", "ack"),
        ("duplicate", "ack"),
        ("rejected", "dead"),
    ]


async def test_number_of_any_length_does_not_end_the_process(harness: Harness) -> None:
    fields = ("retry_for", "restbroker_uncertain", "retry_count", "failed_at", "created_at")
    numbers = (10**400, -(10**400), 10**4299 - 1)
    for place, (field, number) in enumerate(itertools.product(fields, numbers)):
        odd: dict[str, Any] = {field: number}
        harness.push(first=place, **odd)
    await harness.serve(15)
    assert {event.code for event in harness.of(JobFinished)} <= {None, "Uncertain"}
