"""What the size of a job costs."""

from typing import Any, Final

from benchmarks.drain import Drained
from benchmarks.filling import Filler
from benchmarks.partial import first_jobs
from benchmarks.peers import ARGUMENTS
from benchmarks.run import Case, Run, alternate

_JOBS: Final = {"0.3": 20_000, "3": 20_000, "30": 10_000, "300": 2_000}


def measure(run: Run) -> dict[str, Any]:
    """Rows are kilobytes, the job's and roughly the request's."""
    return {"cases": alternate(run, [_case(run, size) for size in _JOBS])}


def _case(run: Run, size: str) -> Case:
    return Case(size, "restbroker", lambda: _drain(run, size))


def _drain(run: Run, size: str) -> Drained:
    run.around.redis.flushall()
    jobs = run.jobs(_JOBS[size])
    around_text = 250
    status = "hello " * round((float(size) * 1000 - around_text) / 6)
    Filler(run.around.redis).fill(jobs, arguments={**ARGUMENTS, "status": status})
    return first_jobs(run.bench(), jobs)
