"""The lease: requests start until 15 s after the last confirmed heartbeat was sent, 5 s before others may fence."""

import time
from collections.abc import Callable

import pytest

from restbroker.broker.lease import Lease

SetClock = Callable[[float], None]


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> SetClock:
    """A function that sets the boot clock (seconds)."""
    return lambda at_s: monkeypatch.setattr(time, "clock_gettime", lambda _clock: at_s)


def test_a_lease_is_fresh_for_15_s_after_a_heartbeat_was_sent(set_clock: SetClock) -> None:
    """Guarantee 6 and `AtMostOnce` rest on these 5 s: a reaper fences a process 20 s after its last heartbeat."""
    one = Lease()
    one.confirm(100.0)
    found = []
    for after_s in (0.0, 14.9, 15.1, 20.0):
        set_clock(100.0 + after_s)
        found.append((one.is_fresh, one.age_s))
    assert [fresh for fresh, _ in found] == [True, True, False, False]
    assert [age for _, age in found] == pytest.approx([0.0, 14.9, 15.1, 20.0])


def test_no_request_starts_before_a_heartbeat_was_confirmed(set_clock: SetClock) -> None:
    one = Lease()
    set_clock(0.0)
    assert (one.is_fresh, one.age_s, one.granted.is_set()) == (False, None, False)


def test_a_heartbeat_counts_from_when_it_was_sent_however_late_its_answer(set_clock: SetClock) -> None:
    one = Lease()
    set_clock(115.5)
    one.confirm(100.0)
    assert (one.is_fresh, one.granted.is_set()) == (False, True)
