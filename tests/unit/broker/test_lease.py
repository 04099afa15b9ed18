"""When a process may send, and when one of this host is called gone."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from restbroker.broker.health import Lease
from restbroker.broker.same_host import is_gone, this_host, this_process

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


def test_heartbeat_counts_from_its_sending_however_late_answered(set_clock: SetClock) -> None:
    one = Lease()
    set_clock(115.5)
    one.confirm(100.0)
    assert (one.is_fresh, one.granted.is_set()) == (False, True)


def test_local_process_is_gone_if_ended_or_its_pid_reused() -> None:
    """Nothing is proved about processes of other hosts."""
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    assert os.getpid() != 1
    rows: dict[str, tuple[dict[str, Any], bool]] = {
        "this one": ({}, False),
        "ended": ({"pid": int(ended.stdout)}, True),
        "its pid was used again": ({"started_at_ticks": 1}, True),
        "in another pid namespace": ({"pid": 2**22 - 3, "pid_namespace": "1"}, False),
        "of another boot": ({"pid": 2**22 - 3, "boot_id": "other"}, False),
        "of another user": ({"pid": 1, "started_at_ticks": 0}, False),
    }
    found = {name: is_gone(attrs.evolve(this_process("t"), **facts), this_host()) for name, (facts, _) in rows.items()}
    assert found == {name: gone for name, (_, gone) in rows.items()}
