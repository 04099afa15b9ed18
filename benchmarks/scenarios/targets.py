"""What it costs to serve many targets in one process: the same jobs, spread over more queues and worker pools."""

from typing import Any, Final

from benchmarks.drain import Drained
from benchmarks.filling import Filler
from benchmarks.partial import first_jobs
from benchmarks.peers import Bench, restbroker
from benchmarks.run import Case, Run, alternate

_TARGETS: Final = (1, 10, 100)
_JOBS: Final = 20_000
_IN_ALL: Final = 20


def measure(run: Run) -> dict[str, Any]:
    """Rows are numbers of targets; they share 20 connections, and have one each where they are more."""
    return {"cases": alternate(run, [_case(run, number) for number in _TARGETS])}


def _case(run: Run, number: int) -> Case:
    return Case(str(number), "restbroker", lambda: _drain(run, number))


def _drain(run: Run, number: int) -> Drained:
    run.around.redis.flushall()
    jobs = run.jobs(_JOBS)
    bench, filler = run.bench(), Filler(run.around.redis)
    for target in range(number):
        filler.fill(-(-jobs // number), f"rest{target}")
    return first_jobs(bench, jobs, restbroker(bench, **_keys(bench, number)))


def _keys(bench: Bench, number: int) -> dict[str, object]:
    targets = {
        f"target{one}": {
            "Kind": "ejabberd",
            "URL": bench.target_url,
            "Auth": {"Basic": {"User": "admin@example.org", "Pass": "bench"}},
            "Domain": "example.org",
            "Queues": [f"rest{one}"],
            "Concurrency": max(1, _IN_ALL // number),
        }
        for one in range(number)
    }
    flat = dict.fromkeys(("RestURL", "RestUser", "RestPass", "JabberDomain", "RestQueue", "Concurrency"))
    return {**flat, "Targets": targets}
