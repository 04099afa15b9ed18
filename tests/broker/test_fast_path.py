"""The fast path against the general one: whatever jobs and servers do, both leave the same behind.

Each history is run twice, on an empty Redis and a server that answers each job as the job's own mood says. Equal must
be: each request's bytes and how often it came, what lies in Redis, every event of a job and the counters.
"""

import os
from collections.abc import Callable
from typing import Final

import pytest

from tests.support.paths import Paths, jobs_of

JOBS: Final = int(os.environ.get("FAST_PATH_JOBS", "800"))
"""How many jobs of a history: more with `make fuzz`."""
LEAST_SHARE: Final = 0.5
"""Of the jobs of a history that the fast path settles: many of its answers are odd on purpose."""
SEED: Final = int(os.environ.get("FAST_PATH_SEED", "0"))


@pytest.mark.promise("No command is lost", "jobs take the fast path")
def test_both_paths_leave_the_same_behind(paths: Paths, tell: Callable[[str], None]) -> None:
    share: list[float] = []
    jobs = jobs_of(SEED, JOBS)
    fast, general = paths.run(jobs, fast=True, share=share), paths.run(jobs, fast=False, share=share)
    tell(f"fast path: {share[0]:.1%} of {JOBS} jobs, seed {SEED}")
    assert fast.differences(general) == []
    assert share[0] > LEAST_SHARE
    assert share[1] == 0
