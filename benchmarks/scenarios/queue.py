"""Does a long queue make each job dearer? Jobs are delivered while so many others wait behind them."""

from typing import Any, Final

from benchmarks.drain import Drained
from benchmarks.filling import Filler
from benchmarks.partial import first_jobs
from benchmarks.run import Case, Run, alternate

_LENGTHS: Final = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
_JOBS: Final = 20_000


def measure(run: Run) -> dict[str, Any]:
    """Rows are lengths: as many jobs as wait all the time; 10⁷ only if asked for."""
    lengths = [length for length in _LENGTHS if length <= run.longest_queue]
    try:
        return {"cases": alternate(run, [_case(run, length) for length in lengths])}
    finally:
        run.around.redis.flushall()


def _case(run: Run, length: int) -> Case:
    return Case(str(length), "restbroker", lambda: _drain(run, length))


def _drain(run: Run, length: int) -> Drained:
    run.around.redis.flushall()
    jobs = run.jobs(_JOBS)
    Filler(run.around.redis).fill(length + jobs)
    return first_jobs(run.bench(), jobs)
