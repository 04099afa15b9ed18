"""Outages are timed, so that what happened before one is not older after it."""

import time
from functools import partial

import pytest
import trio
import trio.testing

from restbroker.broker.health import FIRST_CHANGE_S, LONGEST_CHANGE_S, StoreHealth, boot_time_s
from restbroker.broker.job_in_progress import KEPT_S, JobInProgress, RecentlySettled
from restbroker.errors import ConnectionEnded, StoreUnavailable
from restbroker.job.settlement import Ack
from restbroker.telemetry.events import Event, StoreBack, StoreLost, StoreOutageChanged


def watched() -> tuple[StoreHealth, list[Event]]:
    events: list[Event] = []
    return StoreHealth(events.append), events


async def test_jobs_settled_just_before_a_long_outage_are_remembered(
    autojump_clock: trio.testing.MockClock,
) -> None:
    (health, events), recent = watched(), RecentlySettled()
    recent.add([JobInProgress("1:1", 1, "q", b"", settlement=Ack())], trio.current_time() - health.away_s)
    health.record_outage(StoreUnavailable("gone"))
    await trio.sleep(10 * KEPT_S)
    health.record_write()
    recent.add([JobInProgress("2:1", 2, "q", b"", settlement=Ack())], trio.current_time() - health.away_s)
    assert recent.get("1:1") == Ack()
    (back,) = (event for event in events if isinstance(event, StoreBack))
    assert back.outage_s == pytest.approx(10 * KEPT_S)


async def test_call_begun_before_redis_was_back_begins_no_outage(
    autojump_clock: trio.testing.MockClock,
) -> None:
    health, events = watched()
    began_s = trio.current_time()
    await trio.sleep(1)
    health.record_outage(StoreUnavailable("gone"), trio.current_time())
    await trio.sleep(1)
    health.record_write()
    health.record_outage(StoreUnavailable("late"), began_s)
    assert [type(event) for event in events] == [StoreLost, StoreBack]
    assert health.is_up
    assert health.outages == 2, "time has a hole all the same"
    health.record_outage(StoreUnavailable("gone again"), trio.current_time())
    assert not health.is_up


async def test_write_from_before_an_outage_does_not_end_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    health, events = watched()
    refused = trio.Event()

    async def answered_late() -> None:
        await refused.wait()
        await trio.sleep(1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(health.await_until_up, answered_late, is_write=True))
        await trio.sleep(1)
        health.record_outage(StoreUnavailable("writes are refused"), trio.current_time())
        refused.set()
    assert [type(event) for event in events] == [StoreLost]
    await health.await_until_up(trio.lowlevel.checkpoint, is_write=True)
    assert [type(event) for event in events] == [StoreLost, StoreBack]


async def test_new_reason_of_an_outage_is_reported_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    health, events = watched()
    for _ in range(2):
        health.record_outage(StoreUnavailable("refused"))
        await trio.sleep(FIRST_CHANGE_S)
        for _ in range(100):
            health.record_outage(StoreUnavailable("no login"))
            health.record_outage(ConnectionEnded("ended while idle"))
            await trio.sleep(1)
        health.record_write()
    once = [StoreLost("refused"), StoreOutageChanged("no login", FIRST_CHANGE_S), StoreBack(FIRST_CHANGE_S + 100)]
    assert events == once * 2
    assert health.outages == 2


async def test_reason_that_passes_at_once_is_not_reported(autojump_clock: trio.testing.MockClock) -> None:
    health, events = watched()
    health.record_outage(StoreUnavailable("refused"))
    await trio.sleep(1)
    health.record_outage(StoreUnavailable("loading"))
    await trio.sleep(1)
    health.record_write()
    assert [type(event) for event in events] == [StoreLost, StoreBack]


async def test_alternating_reasons_are_reported_once_a_minute_at_last(autojump_clock: trio.testing.MockClock) -> None:
    health, events = watched()
    for _ in range(3600):
        health.record_outage(StoreUnavailable("refused"))
        health.record_outage(StoreUnavailable("timed out"))
        await trio.sleep(1)
    changes = [event for event in events if isinstance(event, StoreOutageChanged)]
    assert 3600 / LONGEST_CHANGE_S <= len(changes) <= 3600 / LONGEST_CHANGE_S + 5


def test_step_of_our_clock_is_known_before_redis_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the second after a step of an hour, 16 retries were due an hour late, and signed jobs died."""
    health, now_s = StoreHealth(lambda _event: None), time.time()
    assert health.clock_ahead_s == 0.0
    health.record_clock(now_s, boot_time_s() - 1.0)
    assert health.clock_ahead_s == 0.0, "within the time that the call took"
    health.record_clock(now_s + 90.0, boot_time_s() - 0.5)
    assert health.clock_ahead_s == pytest.approx(90.0, abs=5)
    health.record_clock(now_s - 90.0, boot_time_s() - 0.5)
    assert health.clock_ahead_s == pytest.approx(-89.5, abs=5)
    health.record_clock(now_s, boot_time_s())
    for step_s in (3600.0, -3600.0):
        monkeypatch.setattr(time, "time", lambda step_s=step_s: now_s + step_s)
        assert health.clock_ahead_s == pytest.approx(-step_s, abs=5)
