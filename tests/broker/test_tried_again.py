"""When and where a job is tried again: its time waits without a worker, in a queue of its target, by Redis' clock."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
import trio

from restbroker.job.command import Call
from restbroker.job.outcome import Deferred, Delivered, Outcome, Reason, Rejected
from restbroker.servers.contract import Link, NotYet
from restbroker.store import paging, sets
from restbroker.store.client import open_client
from restbroker.store.connection import Connection
from restbroker.telemetry.events import BrokerStarted, JobFinished, OperatorWarning
from restbroker.transport.message import Request
from tests.broker.conftest import Harness


def delay(harness: Harness, is_due: Callable[[], bool], wait_s: float = 0.01) -> None:
    """Each `once` is to wait, again and again, until it is due; all else is delivered at once."""

    async def way(call: Call, link: Link) -> Outcome:
        if call.command.endpoint == "once" and not is_due():
            raise NotYet(wait_s)
        return Delivered((await link.send(Request("POST", "/", call.timeout_s))).body.decode(), 0, 200)

    harness.target.way = way


async def test_jobs_waiting_for_their_time_hold_up_no_others(harness: Harness) -> None:
    harness.concurrency = 2
    delay(harness, lambda: len(harness.of(JobFinished)) >= 20)
    harness.push("once", count=20)
    harness.push("safe", count=20)
    await harness.serve(40)
    done = [event.jid.split("-")[1] for event in harness.of(JobFinished)]
    assert done == ["safe"] * 20 + ["once"] * 20
    assert (harness.size("retry"), harness.size("dead")) == (0, 0)
    assert {call.attempt for call in harness.target.calls} == {1}


async def test_in_a_slot_too(harness: Harness) -> None:
    harness.concurrency, harness.slots = 2, {"once": 1}
    delay(harness, lambda: len(harness.target.calls) > 50)
    harness.push("once", count=5)
    await harness.serve(5)


async def test_a_stop_requeues_what_waits_for_its_time(harness: Harness) -> None:
    delay(harness, lambda: False, wait_s=3600.0)
    harness.push("once", count=5)
    async with harness.broker():
        await harness.until(lambda: len(harness.target.calls) == 5, "all were asked for")
        await harness.until(lambda: len(harness.pool.worker.waiting_tickets()) == 5, "all wait")
        assert not harness.status.running_jobs()
    assert sorted(entry["jid"] for entry in harness.entries("queue:rest")) == [f"jid-once-{n}" for n in range(5)]


async def test_waiting_after_something_was_sent_is_a_connector_bug(harness: Harness) -> None:
    async def way(call: Call, link: Link) -> Outcome:
        await link.send(Request("POST", "/", call.timeout_s))
        raise NotYet(0.01)

    harness.at_most_once = ("once",)
    harness.target.way = way
    harness.push("once")
    await harness.serve_until(lambda: harness.size("dead") == 1, "it is dead")
    assert len(harness.target.sent) == 1


async def test_job_cancelled_in_the_tick_of_its_wait_dies(
    harness: Harness,
) -> None:
    is_due = trio.Event()

    async def way(_call: Call, _link: Link) -> Outcome:
        await is_due.wait()
        raise NotYet(3600.0)

    harness.target.way = way
    async with harness.broker():
        await harness.until(lambda: harness.of(BrokerStarted), "it serves")
        pool = harness.pool
        harness.push()
        await harness.until(lambda: harness.target.calls, "it is asked for")
        (job,) = pool.reservations.jobs.values()
        is_due.set()
        assert pool.worker.cancel(job) is True
        await harness.until(lambda: harness.size("dead"), "it is dead")
        assert not pool.worker.waiting_tickets()
        await harness.until(lambda: not pool.reservations.jobs, "it is settled")
    assert [dead["error_class"] for dead in harness.members("dead")] == ["Cancelled"]
    assert harness.size("queue:rest") == 0


WHY = Reason("ServerError", "it broke")


async def test_stored_job_names_the_queue_it_came_from_with_a_warning(harness: Harness) -> None:
    outcomes: list[Outcome] = [Deferred(WHY), Deferred(WHY, counts=False), Rejected(WHY), Rejected(WHY)]
    harness.target.judge = lambda call, _response: outcomes[int(str(call.command.arguments["n"]))]
    for number in range(4):
        fields = {"class": "AdminWorker", "jid": f"j{number}", "queue": "default", "retry_queue": "default"}
        token = "a wrong one" if number == 3 else "t"
        harness.raw(json.dumps({**fields, "args": ["safe", {"n": number}, token]}).encode())
    await harness.serve_until(
        lambda: [harness.size(zset) for zset in ("retry", "schedule", "dead")] == [1, 1, 2], "all are stored"
    )
    stored = [entry for zset in ("retry", "schedule", "dead") for entry in harness.members(zset)]
    assert [entry["queue"] for entry in stored] == ["rest"] * 4
    assert harness.warnings == ["RetryQueueIgnored"] * 4
    assert len({event.message for event in harness.of(OperatorWarning)}) == 1, (
        "the log sums up what is said in the same words"
    )
    assert not any("AdminWorker" in str(event) for event in harness.of(OperatorWarning))


@pytest.mark.promise("Security: who can push to the queues", "to reach another queue through retry_queue")
@pytest.mark.parametrize(
    ("named", "queue", "codes"), [("default", "rest", ["RetryQueueIgnored"]), ("slow", "slow", [])]
)
async def test_job_of_dead_process_dies_for_a_queue_of_its_target(
    harness: Harness, named: str, queue: str, codes: list[str]
) -> None:
    fields: dict[str, Any] = {"jid": "j", "args": ["once", {}, "t"], "retry_queue": named}
    harness.raw(json.dumps(fields).encode())
    harness.queues = ("rest", "slow")
    harness.crashed(marked=True)
    harness.queues = ("rest",)
    async with harness.broker():
        await harness.until(lambda: harness.size("dead") == 1, "it is dead")
        await harness.until(lambda: harness.warnings == codes, "it is said")
    assert [(entry["error_class"], entry["queue"]) for entry in harness.members("dead")] == [("Uncertain", queue)]


async def test_first_failing_job_is_due_by_redis_clock_unscheduled(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis' clock counts even before the scheduler has seen the job."""
    began_s, own_time_s = time.time(), time.time
    monkeypatch.setattr(time, "time", lambda: own_time_s() + 3600)

    class Unscheduled(Connection):
        async def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            if function is sets.due:
                await trio.sleep_forever()
            return await super().call(function, *args, **kwargs)

    harness.connect = lambda settings: Unscheduled(open_client(settings, harness.patience_s))
    harness.target.judge = lambda *_: Deferred(WHY)
    harness.push()
    await harness.serve_until(lambda: harness.size("retry"), "it is to be tried again")
    ((_, score),) = paging.piece(harness.client, "retry", None, 1, newest_first=False).members
    assert began_s < score < began_s + 1800
