"""Several processes on one queue, on all cores."""

import subprocess
import sys
from collections.abc import Sequence
from typing import Any, Final

from benchmarks.drain import Drained
from benchmarks.filling import Filler
from benchmarks.partial import first_jobs
from benchmarks.peers import Bench, restbroker
from benchmarks.run import Case, Run, alternate

_PROCESSES: Final = (1, 2, 4)
_JOBS: Final = 20_000


def measure(run: Run) -> dict[str, Any]:
    """Rows are numbers of processes, with 20 connections each."""
    grouped = "--processes" in _said("run", "--help")
    cases = [_case(run, number, grouped=grouped) for number in _PROCESSES]
    return {"cases": alternate(run, cases), "one_command": grouped}


def _case(run: Run, number: int, *, grouped: bool) -> Case:
    return Case(str(number), "restbroker", lambda: _drain(run, number, grouped=grouped))


def _drain(run: Run, number: int, *, grouped: bool) -> Drained:
    run.around.redis.flushall()
    jobs = run.jobs(_JOBS)
    Filler(run.around.redis).fill(jobs)
    return first_jobs(run.bench(), jobs, _command(run.bench(), number, grouped=grouped), is_group=True)


def _command(bench: Bench, number: int, *, grouped: bool) -> Sequence[str]:
    one = list(restbroker(bench))
    if number == 1:
        return one
    return (
        [*one, "--processes", str(number)]
        if grouped
        else [sys.executable, "-m", "benchmarks.several", str(number), *one]
    )


def _said(*words: str) -> str:
    command = [sys.executable, "-m", "restbroker", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
