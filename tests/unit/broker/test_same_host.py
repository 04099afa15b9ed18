"""A process of this host is called gone only with proof."""

import os
import subprocess
import sys
from typing import Any

import attrs

from restbroker.broker.same_host import is_gone, this_host, this_process


def test_a_process_of_this_host_is_gone_if_it_ended_or_its_pid_was_used_again_and_of_others_nothing_is_proved() -> None:
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
