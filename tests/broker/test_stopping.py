"""How a broker stops, is fenced, and lives through an outage of Redis: every job ends in one place."""

import socket
import time

import attrs
import pytest
import trio

from restbroker.job.outcome import Delivered
from restbroker.telemetry.events import BrokerStopped, JobFinished, StoreBack, StoreLost
from restbroker.transport.message import NotSent, Request, Response
from tests.broker.conftest import Harness, Held, lost, ok, refuse


async def test_drain_finishes_sent_jobs_and_requeues_rest_in_order(harness: Harness) -> None:
    harness.target.answer = slow = Held()
    harness.push(count=12)
    async with harness.broker():
        await harness.until(lambda: len(harness.target.sent) == 3, "three are on their way")
        await harness.until(lambda: harness.size("queue:rest") < 9, "some are kept ready")
        harness.control.stop.set()
        # In one turn of the loop the stop is noticed; no job is started after it.
        await trio.lowlevel.checkpoint()
        slow.let.set()
    assert (len(harness.of(JobFinished)), harness.target.closings) == (3, 2)
    assert harness.size("queue:rest") == 9
    order = [harness.client.command("RPOP", "queue:rest") for _ in range(9)]
    assert [b'"n": %d' % number in bytes(raw) for number, raw in zip(range(3, 12), order, strict=True)] == [True] * 9  # type: ignore[arg-type]
    assert (harness.of(BrokerStopped)[0].clean, harness.of(BrokerStopped)[0].reserved) == (True, 0)
    assert harness.client.command("KEYS", "restbroker:i*") == []


async def test_a_stop_waits_for_no_service_that_still_starts(harness: Harness) -> None:
    """It may look up the name of its address."""
    begun = trio.Event()

    @attrs.frozen
    class Starting:
        async def run(self, *, task_status: trio.TaskStatus[None]) -> None:  # noqa: ARG002 - it never says so
            begun.set()
            await trio.sleep_forever()

    harness.services = lambda _: [Starting()]
    with trio.fail_after(20):
        async with harness.broker():
            await begun.wait()
    assert harness.of(BrokerStopped)[0].clean
    assert harness.client.command("KEYS", "restbroker:*") == []


async def test_a_stop_waits_for_no_redis_that_accepts_and_is_silent(harness: Harness) -> None:
    harness.patience_s = 60.0
    with socket.create_server(("127.0.0.1", 0)) as silent, trio.fail_after(20):
        harness.redis = attrs.evolve(harness.redis, port=silent.getsockname()[1])
        async with harness.broker():
            accepted, _ = await trio.to_thread.run_sync(silent.accept)
        accepted.close()
    assert harness.of(BrokerStopped)[0].clean


@pytest.mark.promise("Sidekiq: counters and metrics", "a job pushed back is no execution")
async def test_repeatable_job_unanswered_at_deadline_is_requeued(harness: Harness) -> None:
    harness.target.answer = Held()
    harness.shutdown_timeout_s, harness.concurrency = 0.2, 4
    harness.push("safe", count=2, retry=0)
    harness.push("create", count=2, retry=0)
    harness.push("once")
    await harness.serve_until(lambda: len(harness.target.sent) == 4, "four are on their way")
    assert (harness.size("retry"), harness.size("dead")) == (0, 0)
    queue = harness.entries("queue:rest")[::-1]
    assert [job["jid"] for job in queue] == ["jid-safe-0", "jid-safe-1", "jid-create-0", "jid-create-1", "jid-once-0"]
    assert [job.get("restbroker_uncertain") for job in queue] == [1, 1, 1, 1, None]
    assert not any("retry_count" in job or "error_class" in job for job in queue)
    stopped = harness.of(BrokerStopped)[0]
    assert (stopped.clean, stopped.uncertain, stopped.requeued) == (True, 4, 1)
    tried = len(harness.target.calls)
    harness.target.answer = ok
    await harness.serve(9)
    again = harness.target.calls[tried:]
    assert [(call.command.endpoint, call.attempt) for call in again if call.maybe_run] == [
        ("safe", 1), ("safe", 1), ("create", 1), ("create", 1),
    ]  # fmt: skip


async def test_job_hanging_when_the_process_failed_uses_up_a_try(harness: Harness) -> None:
    async def explode(_request: Request) -> Response:
        raise KeyboardInterrupt

    harness.target.answers.append(Held())
    harness.target.answer = explode
    harness.push("safe", count=2)
    with trio.fail_after(60), pytest.raises(BaseExceptionGroup):
        async with harness.broker():
            await trio.sleep_forever()
    entries = harness.members("retry")
    assert [(entry["error_class"], entry["restbroker_uncertain"]) for entry in entries] == [("CutOff", 1)] * 2


async def test_unrepeatable_job_unanswered_at_deadline_is_not_requeued(harness: Harness) -> None:
    harness.target.answer = Held()
    harness.shutdown_timeout_s = 0.2
    harness.push("once", count=3)
    await harness.serve_until(lambda: len(harness.target.sent) == 3, "three are on their way")
    assert harness.size("queue:rest") == 0
    entries = harness.members("retry")
    assert [entry["error_class"] for entry in entries] == ["CutOff"] * 3
    assert [entry["restbroker_uncertain"] for entry in entries] == [1, 1, 1]
    stopped = harness.of(BrokerStopped)[0]
    assert (stopped.clean, stopped.uncertain, stopped.requeued) == (True, 3, 0)


async def test_command_cut_off_uses_its_own_words_for_no_answer(harness: Harness) -> None:
    harness.target.answers.append(lost)
    harness.target.answer = Held()
    harness.shutdown_timeout_s, harness.at_most_once = 0.2, ("ask",)
    harness.push("ask", count=2)
    await harness.serve_until(lambda: len(harness.target.sent) == 2, "both are on their way")
    entries = harness.members("dead")
    assert [entry["error_class"] for entry in entries] == ["AskUnanswered"] * 2
    said = sorted(entry["error_message"] for entry in entries)
    assert said[0] == (
        "The broker had to stop before the server answered. The command may have run. Ask whether it waits."
    )
    assert said[1] == "reset. Ask whether it waits."


async def test_a_stop_while_the_target_is_away_puts_every_job_back(harness: Harness) -> None:
    harness.shutdown_timeout_s = 60
    async with harness.broker():
        await harness.until(lambda: harness.target.probes, "the target was asked")
        harness.target.answer, harness.target.probe_answer = refuse, NotSent("refused")
        harness.push(count=20)
        await harness.until(lambda: len(harness.target.calls) >= 5, "some were tried")
        began_s = time.monotonic()
    assert time.monotonic() - began_s < 50
    assert harness.size("queue:rest") == 20
    assert (harness.size("retry"), harness.size("dead")) == (0, 0)


@pytest.mark.promise("At least once, and seldom more", "results are kept while Redis is away")
@pytest.mark.promise("Defects of the Go original", "an outage of Redis lost answers")
async def test_broker_survives_redis_outage_and_settles_finished_jobs(harness: Harness) -> None:
    harness.target.answer, harness.patience_s = (slow := Held()), 1.0
    async with harness.broker():
        harness.push(count=3)
        await harness.until(lambda: len(harness.target.sent) == 3, "three are on their way")
        harness.redis.suspend()
        try:
            slow.let.set()
            await harness.until(lambda: harness.of(StoreLost), "the outage is noticed")
        finally:
            harness.redis.resume()
        await harness.until_ended(3)
        harness.target.answer = ok
        harness.push("create")
        await harness.until_ended(4)
    assert len(harness.of(StoreLost)) == len(harness.of(StoreBack)) >= 1
    assert len(harness.target.calls) == 4


@pytest.mark.promise("No command is lost", "restbroker has a bug")
async def test_unexpected_failure_ends_process_and_places_every_job(harness: Harness) -> None:
    def explode(_call: object, _response: object) -> Delivered:
        raise KeyboardInterrupt

    harness.target.judge = explode
    harness.push(count=5)
    with trio.fail_after(60), pytest.raises(BaseExceptionGroup) as caught:
        async with harness.broker():
            await trio.sleep_forever()
    assert caught.group_contains(KeyboardInterrupt)
    total = harness.size("queue:rest") + harness.size("retry") + harness.size("dead")
    assert total == 5
    assert harness.client.command("KEYS", "restbroker:ip:*") == []
