"""What no rule foresaw costs the job that it happens to, and nothing else."""

import itertools
import json
from typing import Any

import pytest

from restbroker.broker.admission import Admission, AdmittedJob
from restbroker.broker.job_in_progress import JobInProgress
from restbroker.job import settle
from restbroker.job.job import Job
from restbroker.job.outcome import Reason
from restbroker.telemetry.events import JobFinished
from tests.broker.conftest import Harness


async def test_a_job_over_which_the_broker_fails_is_parked_as_it_was_and_the_others_are_delivered(
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
    async with harness.broker():
        await harness.until(lambda: len(harness.of(JobFinished)) == 5, "all are settled")
    assert len(harness.target.calls) == 4
    (parked,) = harness.members("dead")
    assert parked["error_class"] == "Bug"
    assert "ZeroDivisionError" in parked["error_message"]
    assert "t0ken" not in parked["error_message"]
    assert json.loads(parked["args"][0]) == pushed
    assert harness.size("queue:rest") == harness.size("retry") == 0


async def test_a_job_over_whose_refused_answer_the_broker_fails_is_parked_and_the_others_are_settled(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> None:
        raise ZeroDivisionError("the token is t0ken")

    monkeypatch.setattr(settle, "drop_reply", failing)
    harness.client.command("SET", "restbroker:reply:x", "a text")
    harness.push(count=2)
    harness.push("once", reply_to="restbroker:reply:x", idempotency_key="k")
    async with harness.broker():
        await harness.until(lambda: len(harness.of(JobFinished)) == 3, "all are settled")
        harness.push("once", first=1, args=["once", {"n": 0}, "t"], idempotency_key="k")
        await harness.until(lambda: len(harness.of(JobFinished)) == 4, "another one of its key is not sent")
    (parked,) = harness.members("dead")
    assert (parked["error_class"], "may have run" in parked["error_message"]) == ("Bug", True)
    assert sorted((event.outcome, event.fate) for event in harness.of(JobFinished)) == [
        ("delivered", "ack"),
        ("delivered", "ack"),
        ("duplicate", "ack"),
        ("rejected", "dead"),
    ]


async def test_a_number_of_any_length_in_any_field_does_not_end_the_process(harness: Harness) -> None:
    fields = ("retry_for", "restbroker_uncertain", "retry_count", "failed_at", "created_at")
    numbers = (10**400, -(10**400), 10**4299 - 1)
    for place, (field, number) in enumerate(itertools.product(fields, numbers)):
        odd: dict[str, Any] = {field: number}
        harness.push(first=place, **odd)
    async with harness.broker():
        await harness.until(lambda: len(harness.of(JobFinished)) == 15, "all are settled")
    assert {event.code for event in harness.of(JobFinished)} <= {None, "Uncertain"}
