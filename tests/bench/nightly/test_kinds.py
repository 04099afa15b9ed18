"""No kind of server falls behind unseen: what a job of each costs stays below a generous multiple of a plain one."""

import sys
from pathlib import Path

from benchmarks.kinds import PLAIN, costs_us
from benchmarks.run import Run
from benchmarks.surroundings import surroundings

MOST = 3.5


def test_no_kind_costs_many_times_a_plain_job(tmp_path: Path) -> None:
    with surroundings(tmp_path) as around:
        found = costs_us(Run(around, sys.executable, rounds=3), jobs=10_000)
    assert max(found.values()) / found[PLAIN] < MOST, found
