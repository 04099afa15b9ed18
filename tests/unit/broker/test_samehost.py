"""A process of this host is called gone only with proof."""

import os
import subprocess
import sys

import attrs

from restbroker.broker.upkeep.samehost import is_gone, own_facts, this_host


def test_this_process_is_not_gone() -> None:
    assert not is_gone(own_facts("t"), this_host())


def test_a_process_that_ended_is_gone() -> None:
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    assert is_gone(attrs.evolve(own_facts("t"), pid=int(ended.stdout)), this_host())


def test_a_pid_that_was_used_again_is_gone() -> None:
    assert is_gone(attrs.evolve(own_facts("t"), started_at_ticks=1), this_host())


def test_another_pid_namespace_or_boot_proves_nothing() -> None:
    facts = attrs.evolve(own_facts("t"), pid=2**22 - 3)
    assert not is_gone(attrs.evolve(facts, pid_namespace="1"), this_host())
    assert not is_gone(attrs.evolve(facts, boot_id="other"), this_host())


def test_a_process_of_another_user_is_not_gone() -> None:
    assert not is_gone(attrs.evolve(own_facts("t"), pid=1, started_at_ticks=0), this_host())
    assert os.getpid() != 1
