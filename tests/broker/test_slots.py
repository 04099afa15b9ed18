"""Slots: so many of one command at once, and no more, while all others go on."""

import pytest
import trio
from trio.testing import MockClock

from restbroker.broker.ready_buffer import BatchSize
from restbroker.store import identities, jobs, waiter
from restbroker.store.client import Client, items, open_client, raw
from restbroker.store.connection import Connection
from restbroker.store.in_progress import read_jobs
from restbroker.telemetry.events import JobFinished, TargetDown
from restbroker.transport.message import NotSent, Request, Response
from tests.broker.conftest import Harness, ok, refuse


def slow(harness: Harness) -> tuple[trio.Event, list[int]]:
    """Holds every `once` until the event; the list has how many were on their way at each."""
    released, at_once = trio.Event(), []
    running = 0

    async def answer(request: Request) -> Response:
        nonlocal running
        if request.path.startswith("/once"):
            running += 1
            at_once.append(running)
            await released.wait()
            running -= 1
        return await ok(request)

    harness.target.answer = answer
    return released, at_once


@pytest.mark.promise("A good citizen", "Slots keep to their places")
async def test_slow_commands_in_their_slot_hold_up_no_others(harness: Harness) -> None:
    harness.concurrency, harness.slots = 3, {"on*": 2}
    released, at_once = slow(harness)
    harness.push("once", count=5)
    harness.push("once/v1", count=5, first=5)
    harness.push("safe", count=50)
    async with harness.broker():
        await harness.until_ended(50)
        assert at_once == [1, 2]
        released.set()
        await harness.until_ended(60)
    assert max(at_once) == 2
    assert {event.jid for event in harness.of(JobFinished)[50:]} == {
        *(f"jid-once-{n}" for n in range(5)),
        *(f"jid-once/v1-{n}" for n in range(5, 10)),
    }


async def test_job_behind_many_waiting_for_their_slot_needs_no_push(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As just after a burst: all of them are fetched at once, and few may be started before Redis knows.
    monkeypatch.setattr(BatchSize, "reserve", lambda _pace, _now_s: 40)
    monkeypatch.setattr(waiter, "BLOCK_S", 3600.0)
    fetches = 0

    class Counting(Connection):
        async def fetch(self, request: jobs.FetchRequest) -> jobs.FetchAnswer:
            nonlocal fetches
            fetches += 1
            return await super().fetch(request)

    harness.connect = lambda settings: Counting(open_client(settings))
    harness.concurrency, harness.slots = 3, {"once": 1}
    released, _at_once = slow(harness)
    harness.push("once", count=19)
    harness.push("safe")
    async with harness.broker():
        await harness.until_ended(1)
        await trio.sleep(0.2)
        assert fetches < 15
        released.set()
        await harness.until_ended(20)


@pytest.mark.promise("A good citizen", "Slots keep to their places")
async def test_job_finding_slot_and_waiting_room_full_is_deferred(harness: Harness, hurry: MockClock) -> None:
    harness.concurrency, harness.slots = 3, {"once": 1}
    released, at_once = slow(harness)
    harness.push("once", count=40)
    async with harness.broker():
        await harness.until(lambda: harness.size("schedule") == 19, "one runs, twenty wait, the rest is put off")
        released.set()
        for entry in items(harness.client.command("ZRANGE", "schedule", 0, -1)):
            harness.client.command("ZADD", "schedule", "XX", 1, raw(entry))
        await harness.until(lambda: not harness.size("schedule"), "they come again")
        await harness.until(lambda: harness.size("queue:rest") == 0 and in_progress(harness.client) == 0, "all run")
    assert max(at_once) == 1
    assert len(at_once) == 40
    assert (harness.size("retry"), harness.size("dead")) == (0, 0)


async def test_a_stop_gives_what_waits_for_a_slot_back_in_its_order(harness: Harness) -> None:
    harness.concurrency, harness.slots, harness.shutdown_timeout_s = 3, {"once": 1}, 0.2
    _never, at_once = slow(harness)
    harness.push("once", count=5)
    await harness.serve_until(lambda: at_once and in_progress(harness.client) == 5, "one runs, four wait")
    assert [entry["jid"] for entry in harness.entries("queue:rest")] == [f"jid-once-{n}" for n in (4, 3, 2, 1)]


def in_progress(client: Client) -> int:
    return sum(len(read_jobs(client, identity).jobs) for identity in identities.live_identities(client))


async def test_a_stop_ends_any_number_of_waits_for_one_slot(harness: Harness) -> None:
    """Each that ends gives its place to the next, which ends as well."""
    are_all_here = trio.Event()

    async def refuse_then(request: Request) -> Response:
        await are_all_here.wait()
        return await refuse(request)

    harness.concurrency, harness.slots = 50, {"once": 50}
    harness.target.answer = refuse_then
    harness.push("once", count=250)
    async with harness.broker():
        await harness.until(lambda: in_progress(harness.client) == 250, "fifty have a place, the others wait for one")
        harness.target.probe_answer = NotSent("refused")
        are_all_here.set()
        await harness.until(lambda: harness.of(TargetDown), "none can be sent")
    assert [entry["jid"] for entry in harness.entries("queue:rest")] == [f"jid-once-{n}" for n in reversed(range(250))]
    assert harness.size("dead") == 0
