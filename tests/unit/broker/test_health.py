"""Outages are timed, so that what happened before one is not older after it."""

import pytest
import trio
import trio.testing

from restbroker.broker.health import StoreHealth
from restbroker.broker.recent import KEPT_S, Recent
from restbroker.errors import StoreUnavailable
from restbroker.rules.settlement import Ack
from restbroker.telemetry.events import Event, StoreBack


async def test_what_was_settled_just_before_a_long_outage_is_remembered_after_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    events: list[Event] = []
    health, recent = StoreHealth(events.append), Recent()
    recent.add("1:1", Ack(), trio.current_time() - health.away_s)
    health.lost(StoreUnavailable("gone"))
    await trio.sleep(10 * KEPT_S)
    health.found()
    recent.add("2:1", Ack(), trio.current_time() - health.away_s)
    assert recent.get("1:1") == Ack()
    (back,) = (event for event in events if isinstance(event, StoreBack))
    assert back.outage_s == pytest.approx(10 * KEPT_S)
