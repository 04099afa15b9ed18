"""What a worker owes a job beyond its outcome: it lets go of what is done, of what others have, and of its states."""

import gc
import time
from collections import deque

import pytest
import trio
from trio.testing import MockClock

from restbroker.broker.job_in_progress import CONFIRMED, JobInProgress
from restbroker.broker.settler import Settler
from restbroker.job.command import Call
from restbroker.job.outcome import Delivered, Denied, Outcome, Reason
from restbroker.servers.contract import Link
from restbroker.telemetry.events import BrokerStarted, JobFinished, OperatorWarning, TargetDown
from restbroker.transport.message import NotSent, Request, Response
from tests.broker.conftest import FINE, Harness, Held, refuse


def lose(harness: Harness) -> None:
    """A reaper takes the first job, and Redis does not list it as ours any more."""
    harness.client.command("HDEL", f"restbroker:ip:{harness.identity}", "1:1")


def free_places(harness: Harness) -> int:
    """How many more jobs its worker could have now."""
    demand = harness.pool.ready.demand
    return demand.places - demand.busy


def alive() -> list[str]:
    """Those jobs in memory that say "kept": an exception that is another test's parameter keeps its jobs for ever."""
    gc.collect()
    found = [found.raw.decode() for found in gc.get_objects() if isinstance(found, JobInProgress)]
    return [raw for raw in found if '"kept"' in raw]


async def test_an_idle_broker_keeps_no_job_in_memory(harness: Harness) -> None:
    async with harness.broker():
        harness.push(count=10, kept=True)
        await harness.until_ended(10)
        await harness.until(lambda: not harness.pool.reservations.jobs, "all are settled")
        await harness.until(lambda: free_places(harness) == harness.concurrency, "all places are free")
        assert alive() == []


@pytest.mark.parametrize("way", ["marked", "claimed"])
async def test_job_in_other_hands_for_redis_is_tried_once_and_dropped(harness: Harness, way: str) -> None:
    harness.at_most_once = ("once",) if way == "marked" else ()
    harness.target.before = lambda _call: lose(harness)
    async with harness.broker():
        if way == "marked":
            harness.push("once")
        else:
            harness.push("once", idempotency_key="k")
        await harness.until(lambda: harness.target.calls, "it is taken up")
        await harness.until(lambda: not harness.pool.reservations.jobs, "it is let go of")
    assert len(harness.target.calls) == 1
    assert harness.target.sent == []


async def test_job_whose_second_try_may_not_leave_counts_as_unsent(harness: Harness) -> None:
    async def refused(_request: Request) -> Response:
        harness.pool.breaker.trip(Reason("TargetUnwell", "It is down."))
        return Response(401, {}, b"", 0.0)

    async def login_again(call: Call, link: Link) -> Outcome:
        response = await link.send(Request("POST", "/", call.timeout_s))
        if response.status == 401:
            response = await link.send(Request("POST", "/again", call.timeout_s))
        return Delivered("0", 0, response.status)

    harness.at_most_once = ("once",)
    harness.target.way, harness.target.answers = login_again, deque([refused])
    harness.push("once")
    await harness.serve()
    assert harness.outcomes == ["delivered"]
    assert [call.attempt for call in harness.target.calls] == [1, 1]


async def test_job_in_other_hands_is_not_settled_by_a_cancel_here(harness: Harness) -> None:
    harness.target.connected = trio.sleep_forever
    async with harness.broker():
        harness.push()
        await harness.until(lambda: harness.target.calls, "it waits for a connection")
        pool = harness.pool
        (job,) = pool.reservations.jobs.values()
        lose(harness)
        pool.reservations.release(job.ticket)
        assert pool.worker.cancel(job) is True
        harness.target.connected = None
        harness.push("once")
        await harness.until_ended()
        assert job.settlement is None
    assert [event.jid for event in harness.of(JobFinished)] == ["jid-once-0"]
    assert harness.size("dead") == 0


async def test_partly_done_job_in_other_hands_is_not_settled_here(
    harness: Harness,
) -> None:
    """It is not reported here either."""
    taken: list[JobInProgress] = []

    async def two(call: Call, link: Link) -> Outcome:
        taken.extend(harness.pool.reservations.jobs.values())
        await link.send(Request("POST", "/make", call.timeout_s))
        lose(harness)
        await link.send(Request("POST", "/fill", call.timeout_s))
        return Delivered("0", 0, 200)

    harness.at_most_once, harness.target.way = ("once",), two
    async with harness.broker():
        harness.push("once")
        await harness.until(lambda: taken, "it is taken up")
        await harness.until(lambda: not harness.pool.reservations.jobs, "it is let go of")
        assert [job.settling for job in taken] == [CONFIRMED]
    assert harness.of(JobFinished) == []
    assert (harness.size("dead"), len(harness.target.sent)) == (0, 1)


async def test_denial_by_server_gone_when_probed_is_its_outage(harness: Harness) -> None:
    async def denied(_call: Call, link: Link) -> Outcome:
        response = await link.send(Request("POST", "/", 1.0))
        return Delivered("0", 0, 200) if response.status == 200 else Denied(Reason("NotLetIn", "401", status=401))

    async def go(_request: Request) -> Response:
        harness.target.probe_answer = NotSent("refused")
        return Response(401, {}, b"", 0.0)

    harness.target.way, harness.target.answers = denied, deque([go])
    async with harness.broker():
        harness.push("once")
        await harness.until(lambda: harness.of(TargetDown), "it is down")
        harness.target.probe_answer = FINE
        await harness.until_ended()
    assert harness.of(TargetDown)[0].code == "TargetUnreachable"
    assert harness.outcomes == ["delivered"]
    assert harness.of(OperatorWarning) == []


async def test_at_most_once_command_ending_in_a_look_is_delivered(harness: Harness) -> None:
    async def look_behind(call: Call, link: Link) -> Outcome:
        await link.send(Request("POST", "/make", call.timeout_s))
        return Delivered("0", 0, (await link.ask(Request("GET", "/look", call.timeout_s))).status)

    harness.at_most_once, harness.target.way = ("once",), look_behind
    harness.push("once")
    await harness.serve()
    assert harness.outcomes == ["delivered"]


async def test_unrepeatable_job_is_settled_before_its_connector_knows(harness: Harness) -> None:
    harness.push("once", restbroker_uncertain=5)
    async with harness.broker():
        await harness.until_ended()
        await harness.until(lambda: not harness.pool.reservations.jobs, "it is settled")
    assert [entry["error_class"] for entry in harness.members("dead")] == ["Uncertain"]
    assert harness.target.calls == []
    assert harness.of(OperatorWarning) == []


async def test_waiting_job_expires_though_the_clock_was_set_back(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = time.time

    async def trip(_request: Request) -> Response:
        harness.pool.breaker.trip_for_good(Reason("TargetUnwell", "It is down."))
        raise NotSent("Refused.")

    harness.target.answer = trip
    async with harness.broker():
        await harness.until(lambda: harness.of(BrokerStarted), "it runs")
        harness.push("create", expiry=now_s() + 2)
        await harness.until(lambda: len(harness.pool.breaker.semaphore.line), "it waits for the target")
        monkeypatch.setattr(time, "time", lambda: now_s() - 0.3)
        await harness.until_ended()
    assert harness.outcomes == ["expired"]


async def test_bug_over_a_cancelled_job_costs_that_job_alone(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Settler, "cancel", raise_bug)
    held = harness.target.answer = Held()
    async with harness.broker():
        harness.push()
        await harness.until(lambda: harness.target.sent, "it is sent")
        pool = harness.pool
        assert [pool.worker.cancel(job) for job in pool.reservations.jobs.values()] == [True]
        await harness.until(lambda: harness.members("dead"), "it is dead")
        held.let.set()
        harness.push(first=1)
        await harness.until_ended(2)
    assert [entry["error_class"] for entry in harness.members("dead")] == ["Bug"]


async def test_bug_of_a_cancelled_connectors_task_ends_no_other_job(harness: Harness) -> None:
    async def clean_up_badly() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ZeroDivisionError

    async def answer(_request: Request) -> Response:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(clean_up_badly)
            await trio.sleep_forever()
        raise AssertionError

    usual, harness.target.answer = harness.target.answer, answer
    async with harness.broker():
        harness.push()
        await harness.until(lambda: harness.target.sent, "it is sent")
        harness.target.answer = usual
        pool = harness.pool
        assert [pool.worker.cancel(job) for job in pool.reservations.jobs.values()] == [True]
        await harness.until(lambda: harness.members("dead"), "it is dead")
        harness.push(first=1)
        await harness.until_ended(2)
    assert [entry["error_class"] for entry in harness.members("dead")] == ["Cancelled"]
    assert [event.code for event in harness.of(OperatorWarning)] == ["Bug"]


async def test_probe_that_raises_as_a_person_cancels_ends_once(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, cancelled = trio.Event(), trio.Event()

    async def probe(_reason: Reason) -> bool:
        asked.set()
        with trio.CancelScope(shield=True):
            await cancelled.wait()
        raise ZeroDivisionError

    harness.target.judge = lambda _call, _response: Denied(Reason("NotLetIn", "403", status=403))
    async with harness.broker():
        await harness.until(lambda: harness.of(BrokerStarted), "it serves")
        pool = harness.pool
        monkeypatch.setattr(pool.worker.life, "probe_after_denial", probe)
        harness.push()
        await asked.wait()
        assert [pool.worker.cancel(job) for job in pool.reservations.jobs.values()] == [True]
        cancelled.set()
        await harness.until(lambda: not pool.reservations.jobs, "it is settled")
        assert free_places(harness) == harness.concurrency
    assert harness.size("dead") == 1


async def test_bug_over_job_cut_off_at_stop_costs_no_other_settlement(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Settler, "cut_off", raise_bug)
    harness.target.answer, harness.concurrency = Held(), 1
    async with harness.broker():
        harness.push(count=3)
        await harness.until(lambda: harness.target.sent, "the first is sent")
        harness.control.at_once.set()
        harness.control.stop.set()
        await harness.until(lambda: harness.ended is not None, "it stops")
    assert [entry["error_class"] for entry in harness.members("dead")] == ["Bug"]
    assert harness.size("queue:rest") == 2


def raise_bug(*_: object, **__: object) -> None:
    """Stand for a bug of the settler."""
    raise ZeroDivisionError


async def test_unsent_job_waits_however_well_the_probe_is_answered(harness: Harness) -> None:
    harness.target.answers = deque([refuse] * 4)
    harness.push("once")
    await harness.serve()
    assert [(event.outcome, event.attempt) for event in harness.of(JobFinished)] == [("delivered", 1)]
    assert harness.target.probes == 1


async def test_job_denied_by_starting_server_is_delivered_once_up(harness: Harness, hurry: MockClock) -> None:
    async def denied(call: Call, link: Link) -> Outcome:
        await link.send(Request("POST", "/", call.timeout_s))
        if trio.current_time() < up_at_s:
            return Denied(Reason("NotLetIn", "401", status=401))
        return Delivered("0", 0, 200)

    harness.target.way = denied
    async with harness.broker():
        await harness.until(lambda: harness.of(BrokerStarted), "it serves")
        up_at_s = trio.current_time() + 1.4
        harness.push("once")
        await harness.until_ended()
    assert harness.outcomes == ["delivered"]


async def test_jobs_in_a_slot_take_and_free_no_place_beside_it(harness: Harness) -> None:
    harness.slots = {"on*": 1}
    async with harness.broker():
        harness.push("once", count=3)
        await harness.until_ended(3)
        assert harness.pool.breaker.semaphore.capacity == harness.concurrency
