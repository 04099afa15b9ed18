"""Commands under `AtMostOnce`: marked before the first byte, and never sent again when they may have run."""

import math

import attrs
import pytest
import trio

from restbroker.broker.job_in_progress import ADMITTED
from restbroker.job.reason import Reason
from restbroker.telemetry.events import BrokerStarted, JobDied, JobFinished, JobsRecovered, OperatorWarning
from restbroker.transport.message import NotSent, Request, Response
from tests.broker.conftest import Harness, ok, refuse
from tests.support.moody_server import Mood, fine
from tests.support.paths import Paths, job


async def test_job_is_marked_before_sending_and_unmarked_when_settled(harness: Harness) -> None:
    harness.at_most_once = ("on*",)
    marks: list[object] = []

    async def answer(request: Request) -> Response:
        marks.append((request.path, harness.client.command("HLEN", f"restbroker:sent:{harness.identity}")))
        return await ok(request)

    harness.target.answer = answer
    harness.concurrency = 1
    async with harness.broker():
        harness.push("once")
        await harness.until_ended(1)
        harness.push("safe")
        await harness.until_ended(2)
    assert marks == [("/once", 1), ("/safe", 0)]
    assert harness.client.command("KEYS", "restbroker:sent:*") == []


async def test_many_jobs_are_marked_together_and_delivered_once(harness: Harness) -> None:
    harness.at_most_once = ("*",)
    harness.concurrency = 20
    harness.push("once", count=300)
    await harness.serve(300)
    assert len(harness.target.calls) == 300


async def test_unsent_job_is_retried_and_requeued_unmarked_at_stop(harness: Harness) -> None:
    harness.at_most_once = ("once",)
    harness.target.answer = refuse
    harness.push("once")
    await harness.serve_until(lambda: len(harness.target.calls) >= 2, "it is tried again")
    assert harness.size("queue:rest") == 1
    assert harness.client.command("KEYS", "restbroker:sent:*") == []


async def test_unsent_job_waits_unmarked_in_queue_while_target_is_down(harness: Harness) -> None:
    async def trip(_request: Request) -> Response:
        harness.pool.breaker.trip_for_good(Reason("TargetUnwell", "It is down."))
        raise NotSent("Refused.")

    harness.at_most_once, harness.target.answer = ("once",), trip
    async with harness.broker():
        harness.push("once")
        await harness.until(lambda: harness.target.calls, "it is taken up")
        await harness.until(lambda: harness.size("queue:rest") == 1, "it is back")
        assert harness.client.command("KEYS", "restbroker:sent:*") == []


async def test_marked_job_waiting_for_lease_requeues_unmarked(
    harness: Harness,
) -> None:
    """Its target goes down while it waits."""
    is_marked = trio.Event()

    async def end_the_lease() -> None:
        harness.pool.lease.confirm(-math.inf)
        is_marked.set()

    harness.at_most_once, harness.target.connected = ("once",), end_the_lease
    async with harness.broker():
        harness.push("once")
        await is_marked.wait()
        (job,) = harness.pool.reservations.jobs.values()
        await harness.until(lambda: job.delivery == ADMITTED, "it waits")
        harness.pool.breaker.trip_for_good(Reason("TargetUnwell", "It is down."))
        await harness.until(lambda: harness.size("queue:rest") == 1, "it is back")
        assert harness.client.command("KEYS", "restbroker:sent:*") == []
    assert harness.target.sent == []


async def test_after_crash_marked_job_dies_and_unmarked_one_runs(harness: Harness) -> None:
    harness.push("once", count=2)
    harness.crashed(2, marked=True)
    harness.at_most_once = ("once",)
    async with harness.broker():
        await harness.until(lambda: harness.of(JobsRecovered), "it is recovered")
        await harness.until(lambda: harness.size("dead") == 1 and harness.of(JobFinished), "one is dead, one runs")
    assert [call.command.arguments["n"] for call in harness.target.calls] == [1]
    assert harness.of(JobsRecovered)[0].dead == 1
    (died,) = harness.of(JobDied)
    assert (died.code, died.command, died.jid, died.queue) == ("Uncertain", "once", "jid-once-0", "rest")
    (dead,) = harness.members("dead")
    assert (dead["jid"], dead["error_class"], dead["restbroker_may_have_run"]) == (
        "jid-once-0",
        "Uncertain",
        True,
    )


async def test_job_dead_for_its_process_is_answered_once_on_both_ways(
    harness: Harness,
) -> None:
    harness.at_most_once = ("once",)
    harness.policy = attrs.evolve(harness.policy, reply_details=True, reply_class="Mine")

    async def crash(request: Request) -> Response:
        await harness.crash()
        return await ok(request)

    harness.target.answer = crash
    harness.push("once", args=["once", {"n": 0}, "t", "id-1"], reply_to="restbroker:reply:waits")
    await harness.serve_until(lambda: len(harness.of(BrokerStarted)) == 2, "its next generation begins")
    (job,), (answer,) = harness.entries("queue:replies"), harness.entries("restbroker:reply:waits")
    assert (job["class"], job["args"][1], job["args"][2]["error"]["code"]) == ("Mine", "id-1", "Uncertain")
    assert (answer["jid"], answer["command"], answer["outcome"]) == ("jid-once-0", "once", "uncertain")
    assert [dead["jid"] for dead in harness.members("dead")] == ["jid-once-0"]
    assert harness.of(OperatorWarning) == []


async def test_answer_refused_by_redis_after_crash_is_reported(harness: Harness) -> None:
    harness.push("once", reply_to="restbroker:reply:waits")
    harness.crashed(marked=True)
    harness.client.command("SET", "restbroker:reply:waits", "no list")
    await harness.serve_until(lambda: harness.of(OperatorWarning), "it is reported")
    (warned,) = harness.of(OperatorWarning)
    assert (warned.code, warned.message[:6]) == ("AnswerRefused", "1 jobs")
    assert [dead["jid"] for dead in harness.members("dead")] == ["jid-once-0"]


@pytest.mark.parametrize("then", ["close", "reset"])
async def test_kept_connection_that_ends_unanswered_repeats_nothing(paths: Paths, then: str) -> None:
    """Not even a command that is safe to repeat is sent again."""
    warm = [job(str(number), Mood(fine())) for number in range(50)]
    async with paths.broker(warm, AtMostOnce=["set_nickname"]) as serving:
        await serving.until_ended(len(warm))
        serving.push([job(f"once-{number}", Mood(b"", then=then), "set_nickname") for number in range(3)])
        await serving.until_ended(len(warm) + 3)
        serving.control.stop.set()
    assert serving.server.requests.total() == len(warm) + 3
    assert paths.client.command("ZCARD", "dead") == 3
