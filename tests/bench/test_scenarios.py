"""The benchmarks measure what they say: the cheap ones, small, on real parts. No speed is asserted."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.benchmarks.measure import at_rate, full_queue
from dev.benchmarks.page import filled
from dev.benchmarks.peers import OURS, PEERS, Load
from dev.benchmarks.run import Run
from dev.benchmarks.scenarios import FULL, full
from dev.benchmarks.surroundings import surroundings


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    with surroundings(tmp_path) as around:
        yield Run(around, scale=0.01, only=(OURS,))


def test_a_full_queue_is_emptied_and_each_job_counted_once(run: Run) -> None:
    found = full_queue(PEERS[0], run.bench(Load(400)))
    assert run.around.answered("ejabberd") == 400
    assert found.jobs_per_s > 0
    assert found.memory_mib > 10
    assert run.around.redis.llen("queue:rest0") == 0


def test_jobs_at_a_rate_have_a_latency(run: Run) -> None:
    found = at_rate(PEERS[0], run.bench(Load(100, rate=200)))
    assert found.p50_ms is not None
    assert found.p99_ms is not None
    assert 0 < found.p50_ms <= found.p99_ms


def test_a_scenario_becomes_a_table_beside_the_floor(run: Run) -> None:
    taken = {"on": "today", "code": "abc", "rounds": 1, "scale": 0.01, "load_before": 0}
    page = filled(
        "a\n<!-- figures: full -->\n<!-- end -->\nb\n<!-- figures: rates -->\nold\n<!-- end -->\n",
        {"full": {"taken": taken, "rows": full(run)}},
    )
    assert {f"| {name} " in page for name in (OURS, "floor, bare Python")} == {True}
    assert "commit abc" in page
    assert "<!-- figures: rates -->\nNot measured yet.\n<!-- end -->" in page
    assert FULL not in page
