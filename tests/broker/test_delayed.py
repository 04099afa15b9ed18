"""A job whose time has not come waits for it without a worker, and uses up no try."""

from collections.abc import Callable

import pytest
import trio

from restbroker.job.command import Call
from restbroker.job.outcome import Delivered, Outcome
from restbroker.servers.contract import Link, NotYet
from restbroker.telemetry.events import BrokerStarted, JobFinished
from restbroker.transport.message import Request
from tests.broker.conftest import Harness, hand_to_resume


def delay(harness: Harness, is_due: Callable[[], bool], wait_s: float = 0.01) -> None:
    """Each `once` is to wait, again and again, until it is due; all else is delivered at once."""

    async def way(call: Call, link: Link) -> Outcome:
        if call.command.endpoint == "once" and not is_due():
            raise NotYet(wait_s)
        return Delivered((await link.send(Request("POST", "/", call.timeout_s))).body.decode(), 0, 200)

    harness.target.way = way


async def test_jobs_that_wait_for_their_time_hold_nobody_else_up(harness: Harness) -> None:
    harness.concurrency = 2
    delay(harness, lambda: len(harness.of(JobFinished)) >= 20)
    harness.push("once", count=20)
    harness.push("safe", count=20)
    async with harness.broker():
        await harness.until(lambda: len(harness.of(JobFinished)) == 40, "all run")
    done = [event.jid.split("-")[1] for event in harness.of(JobFinished)]
    assert done == ["safe"] * 20 + ["once"] * 20
    assert (harness.size("retry"), harness.size("dead")) == (0, 0)
    assert {call.attempt for call in harness.target.calls} == {1}


async def test_in_a_slot_too(harness: Harness) -> None:
    harness.concurrency, harness.slots = 2, {"once": 1}
    delay(harness, lambda: len(harness.target.calls) > 50)
    harness.push("once", count=5)
    async with harness.broker():
        await harness.until(lambda: len(harness.of(JobFinished)) == 5, "all run")


async def test_a_stop_requeues_what_waits_for_its_time(harness: Harness) -> None:
    delay(harness, lambda: False, wait_s=3600.0)
    harness.push("once", count=5)
    async with harness.broker():
        await harness.until(lambda: len(harness.target.calls) == 5, "all were asked for")
        (pool,) = harness.status.pools
        await harness.until(lambda: len(pool.delayed.waiting_tickets()) == 5, "all wait")
        assert not harness.status.running_jobs()
    assert sorted(entry["jid"] for entry in harness.entries("queue:rest")) == [f"jid-once-{n}" for n in range(5)]


async def test_to_wait_after_something_was_sent_is_a_bug_of_the_connector(harness: Harness) -> None:
    async def way(call: Call, link: Link) -> Outcome:
        await link.send(Request("POST", "/", call.timeout_s))
        raise NotYet(0.01)

    harness.at_most_once = ("once",)
    harness.target.way = way
    harness.push("once")
    async with harness.broker():
        await harness.until(lambda: harness.size("dead") == 1, "it is dead")
    assert len(harness.target.sent) == 1


@pytest.mark.parametrize("is_resumed", [False, True])
async def test_a_job_that_is_cancelled_in_the_tick_in_which_it_is_to_wait_dies_and_does_not_wait(
    harness: Harness, *, is_resumed: bool
) -> None:
    is_due = trio.Event()

    async def way(_call: Call, _link: Link) -> Outcome:
        await is_due.wait()
        raise NotYet(3600.0)

    harness.target.way = way
    async with harness.broker(), trio.open_nursery() as beside:
        await harness.until(lambda: harness.of(BrokerStarted), "it serves")
        (pool,) = harness.status.pools
        if is_resumed:
            hand_to_resume(pool, beside)
        harness.push()
        await harness.until(lambda: harness.target.calls, "it is asked for")
        (job,) = pool.reservations.jobs.values()
        is_due.set()
        assert pool.cancel(job) is True
        await harness.until(lambda: harness.size("dead"), "it is dead")
        assert not pool.delayed.waiting_tickets()
        await harness.until(lambda: not pool.reservations.jobs, "it is settled")
    assert [dead["error_class"] for dead in harness.members("dead")] == ["Cancelled"]
    assert harness.size("queue:rest") == 0
