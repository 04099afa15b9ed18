"""No kind of server falls behind unseen: what a job of each costs stays below a generous multiple of a plain one."""

from pathlib import Path

from dev.benchmarks.peers import Load
from dev.benchmarks.run import Run
from dev.benchmarks.scenarios import FULL
from dev.benchmarks.surroundings import KINDS, surroundings

PLAIN, MOST = "ejabberd", 3.5


def test_no_kind_costs_many_times_a_plain_job(tmp_path: Path) -> None:
    with surroundings(tmp_path) as around:
        run = Run(around, rounds=3)
        rows = run.alternate([run.case(FULL, Load(10_000, server=name), candidate=name) for name in KINDS])[FULL]
    least_us = {name: min(row["cpu_us"] for row in rows[name]) for name in KINDS}
    assert max(least_us.values()) / least_us[PLAIN] < MOST, least_us
