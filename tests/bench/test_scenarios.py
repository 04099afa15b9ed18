"""The benchmarks measure what they say: the cheap ones, small, on real parts. No speed is asserted."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.drain import drain
from benchmarks.peers import PEERS
from benchmarks.run import Run
from benchmarks.surroundings import Surroundings, surroundings

RESTBROKER = PEERS[0]


@pytest.fixture
def around(tmp_path: Path) -> Iterator[Surroundings]:
    with surroundings(tmp_path) as found:
        yield found


@pytest.fixture
def run(around: Surroundings) -> Run:
    return Run(around, "no peers here", scale=0.02, only=("restbroker",), longest_queue=1000)


def test_a_drain_counts_each_job_once(run: Run) -> None:
    before = run.around.answered()
    found = drain(RESTBROKER, run.bench(), 400)
    assert 400 <= run.around.answered() - before <= 405
    assert found.jobs_per_s > 0
    assert found.memory_mib > 10
    assert run.around.redis.llen("queue:rest") == 0
