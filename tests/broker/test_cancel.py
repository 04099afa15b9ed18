"""A job in progress that a person cancels: its delivery ends, it is dead with what is known, and nothing else
changes.
"""

import threading
import time
from collections.abc import Sequence

import pytest
import trio

from restbroker.broker.status.view import RunningJob
from restbroker.config.secret import Secret
from restbroker.config.tokens import Token
from restbroker.job.command import Call
from restbroker.job.job import MAY_HAVE_RUN_FIELD
from restbroker.job.outcome import Delivered, Outcome, Reason
from restbroker.job.settlement import Fingerprint
from restbroker.servers.contract import Link, NotYet
from restbroker.store import claims
from restbroker.store.client import Client
from restbroker.telemetry.events import JobFinished
from restbroker.transport.message import Request
from tests.broker import test_admission as admission
from tests.broker.conftest import Harness, Held
from tests.support.wait import NEVER_S


def hold(harness: Harness) -> trio.Event:
    """Every request is sent, and answered once the event is set."""
    harness.target.answer = held = Held()
    return held.let


def running(harness: Harness, jid: str) -> RunningJob:
    (found,) = (job for job in harness.status.running_jobs() if job.job.jid == jid)
    return found


async def until_running(harness: Harness, count: int) -> None:
    await harness.until(
        lambda: len(harness.status.running_jobs()) == count == len(harness.target.calls), "they are sent"
    )


async def test_sent_job_dies_as_perhaps_run_and_others_go_on(harness: Harness) -> None:
    command = "safe"
    let = hold(harness)
    harness.push(command, count=3)
    async with harness.broker():
        await until_running(harness, 3)
        assert harness.status.cancel(running(harness, f"jid-{command}-1").thread) is True
        await harness.until(lambda: harness.size("dead") == 1, "it is dead")
        (dead,) = harness.members("dead")
        assert (dead["jid"], dead["error_class"]) == (f"jid-{command}-1", "Cancelled")
        assert "may have run" in dead["error_message"]
        assert dead[MAY_HAVE_RUN_FIELD] is True
        assert dead["restbroker_attempts"][-1]["outcome"] == "uncertain"
        let.set()
        harness.push(command, count=6, first=3)
        await harness.until_ended(9)
    assert {event.jid for event in harness.of(JobFinished) if event.outcome != "delivered"} == {f"jid-{command}-1"}
    assert harness.size("dead") == 1
    assert harness.size("retry") == 0


async def test_unsent_job_dies_as_unsent(harness: Harness) -> None:
    harness.concurrency, harness.target.connected = 1, trio.sleep_forever
    harness.push()
    async with harness.broker():
        await until_running(harness, 1)
        assert harness.status.cancel(running(harness, "jid-safe-0").thread) is True
        await harness.until(lambda: harness.size("dead") == 1, "it is dead")
        harness.target.connected = None
        harness.push(first=1)
        await harness.until_ended(2)
    (dead,) = harness.members("dead")
    assert dead["error_class"] == "Cancelled"
    assert "before it was sent" in dead["error_message"]
    assert MAY_HAVE_RUN_FIELD not in dead
    assert dead["restbroker_attempts"][-1]["outcome"] == "cancelled"


async def test_answered_job_is_settled_and_its_worker_ends_no_other(
    harness: Harness,
) -> None:
    harness.concurrency = 1
    let = hold(harness)
    harness.push(count=5)
    async with harness.broker():
        await until_running(harness, 1)
        let.set()
        assert harness.status.cancel(running(harness, "jid-safe-0").thread) is True
        await harness.until_ended(5)
    assert {event.outcome for event in harness.of(JobFinished)} == {"delivered"}
    assert len(harness.target.calls) == 5


async def test_a_job_in_a_slot_gives_its_place_to_the_next(harness: Harness) -> None:
    harness.slots = {"on*": 1}
    let = hold(harness)
    harness.push("once", count=2)
    async with harness.broker():
        await until_running(harness, 1)
        assert harness.status.cancel(running(harness, "jid-once-0").thread) is True
        await harness.until(lambda: len(harness.target.calls) == 2, "the next one is sent")
        let.set()
        await harness.until_ended(2)
    assert [dead["jid"] for dead in harness.members("dead")] == ["jid-once-0"]


async def test_cancelled_signed_job_does_not_wait_for_its_slot(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is cancelled while Redis is asked for its signature."""
    looked_up, answers, stored_for_s = threading.Event(), threading.Event(), claims.stored_for_s

    def slowly(client: Client, fingerprints: Sequence[Fingerprint]) -> list[float]:
        looked_up.set()
        assert answers.wait(NEVER_S)
        return stored_for_s(client, fingerprints)

    harness.slots = {"on*": 1}
    let = hold(harness)
    async with admission.serving(harness, Token("app", (Secret(admission.SECRET),), signed=True)):
        admission.push(harness, admission.signature(time.time(), "once", "first"), "once", "first")
        await until_running(harness, 1)
        monkeypatch.setattr(claims, "stored_for_s", slowly)
        admission.push(harness, admission.signature(time.time(), "once", "next"), "once", "next")
        await harness.until(looked_up.is_set, "the next one is looked up")
        assert harness.status.cancel(running(harness, "next").thread) is True
        answers.set()
        await harness.until(lambda: harness.size("dead") == 1, "it is dead")
        let.set()
        await harness.until_ended(2)
    assert [(dead["jid"], dead["error_class"]) for dead in harness.members("dead")] == [("next", "Cancelled")]
    assert len(harness.target.calls) == 1


async def test_job_not_in_progress_is_not_cancelled(harness: Harness) -> None:
    let = hold(harness)
    harness.push()
    async with harness.broker():
        await until_running(harness, 1)
        thread = running(harness, "jid-safe-0").thread
        assert harness.status.cancel("0123456789") is False
        let.set()
        await harness.until_ended()
        assert harness.status.cancel(thread) is False


async def test_job_cancelled_while_the_broker_stops_has_one_place(harness: Harness) -> None:
    hold(harness)
    harness.shutdown_timeout_s = 0.2
    harness.push(count=3)
    async with harness.broker():
        await until_running(harness, 3)
        thread = running(harness, "jid-safe-0").thread
        harness.control.stop.set()
        assert harness.status.cancel(thread) is True
    places = [job["jid"] for job in [*harness.members("dead"), *harness.entries("queue:rest")]]
    assert sorted(places) == ["jid-safe-0", "jid-safe-1", "jid-safe-2"]
    assert [job["error_class"] for job in harness.members("dead")] == ["Cancelled"]


async def test_job_waiting_for_target_cancelled_at_the_stop_dies(
    harness: Harness,
) -> None:
    async with harness.broker():
        await harness.until(lambda: harness.status.pools, "it serves")
        pool = harness.pool
        harness.target.before = lambda _call: pool.breaker.trip(Reason("TargetUnwell", "It is down."))
        harness.push()
        await harness.until(lambda: len(pool.breaker.semaphore.line), "the job waits")
        thread = running(harness, "jid-safe-0").thread
        pool.stop()
        assert harness.status.cancel(thread) is True
    assert [dead["error_class"] for dead in harness.members("dead")] == ["Cancelled"]
    assert harness.size("queue:rest") == 0


async def test_cancelled_job_dies_when_its_cleanup_is_cut_off(
    harness: Harness,
) -> None:
    let, cleans_up = trio.Event(), trio.Event()

    async def way(call: Call, link: Link) -> Outcome:
        try:
            await link.send(Request("POST", "/", call.timeout_s))
        finally:
            cleans_up.set()
            with trio.CancelScope(shield=True):
                await let.wait()
        return Delivered("0", 0, 200)

    harness.target.way = way
    hold(harness)
    harness.push("safe")
    async with harness.broker():
        await until_running(harness, 1)
        assert harness.status.cancel(running(harness, "jid-safe-0").thread) is True
        await cleans_up.wait()
        harness.control.at_once.set()
        harness.control.stop.set()
        await trio.testing.wait_all_tasks_blocked(0.01)
        let.set()
    assert harness.size("queue:rest") == 0
    (dead,) = harness.members("dead")
    assert (dead["error_class"], dead[MAY_HAVE_RUN_FIELD]) == ("Cancelled", True)


async def test_due_job_waiting_for_a_worker_is_not_shown_as_running(harness: Harness) -> None:
    sent, let = list[str](), trio.Event()

    async def way(call: Call, link: Link) -> Outcome:
        sent.append(call.command.endpoint)
        if sent == ["once"]:
            raise NotYet(0.05)
        if call.command.endpoint == "safe":
            await let.wait()
        await link.send(Request("POST", "/", call.timeout_s))
        return Delivered("0", 0, 200)

    harness.concurrency, harness.target.way = 1, way
    harness.push("once")
    async with harness.broker():
        await harness.until(lambda: sent, "it is delayed")
        harness.push("safe")
        await harness.until(lambda: "safe" in sent, "the worker is busy")
        await harness.until(lambda: not harness.pool.worker.waiting_tickets(), "its time has come")
        assert [job.command for job in harness.status.running_jobs()] == ["safe"]
        let.set()
        await harness.until_ended(2)
