"""What looking costs a busy broker: `make bench-watched`. Prints a table; nothing here is a test.

Each round empties a long queue with a new broker, which serves its pages, as often as there are cases: while nobody
looks; while the overview is open and live; while the dead set is searched without a pause. The figure is the CPU time
of the broker for each job, between a tenth and 95 % of them; it contains whatever the pages cost.
"""

import argparse
import socket
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from benchmarks.drain import Drained, Gauge, between, worker
from benchmarks.filling import Filler
from benchmarks.peers import PEERS, Bench, restbroker
from benchmarks.processes import memory_mib
from benchmarks.run import Case, Run, alternate, median, say
from benchmarks.surroundings import surroundings
from benchmarks.visits import Kind, Visit, visited

NOBODY: Final = "nobody looks"
OPEN: Final = "the overview is open"
VISITORS: Final[Mapping[str, Kind | None]] = {NOBODY: None, OPEN: Visit.follow, "a set is searched": Visit.search}
MOST_GROWTH: Final = 0.05
"""Of the median, with the overview open and live."""
_JOBS: Final = 300_000
_PARKED: Final = 60_000
_PARK: Final = """
for number = 1, ARGV[1] do
  redis.call('ZADD', 'dead', number, '{"class":"Add","queue":"rest","jid":"' .. string.format('%024x', number) ..
    '","args":["set_presence",{"user":"john","host":"example.org"},"bench"],"error_class":"ServerError"}')
end
"""


def main() -> None:
    """Runs what the command line says, and prints what came of it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.watched", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies the number of jobs")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, surroundings(Path(directory)) as around:
        found = measure(Run(around, sys.executable, wanted.rounds, wanted.scale))
    say("\n" + table(found))


def measure(run: Run) -> Mapping[str, Sequence[Mapping[str, Any]]]:
    """The figures of each round by case."""
    jobs = run.jobs(_JOBS, 1000)
    cases = [Case("watched", name, partial(_measure, run.bench(), jobs, kind)) for name, kind in VISITORS.items()]
    return alternate(run, cases)["watched"]


def table(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """As docs/appendix/performance.md has it."""
    lines = ["| round | " + " | ".join(f"{name}, µs" for name in found) + " |", "|---" * (len(found) + 1) + "|"]
    for number, round_ in enumerate(zip(*found.values(), strict=True), start=1):
        lines.append(f"| {number} | " + " | ".join(f"{one['cpu_us_per_job']:.1f}" for one in round_) + " |")
    medians = {name: median(every, "cpu_us_per_job") for name, every in found.items()}
    lines.append("| median | " + " | ".join(f"{value:.1f}" for value in medians.values()) + " |")
    growth = medians[OPEN] / medians[NOBODY] - 1
    verdict = "at most" if growth <= MOST_GROWTH else "**more than**"
    return "\n".join([*lines, "", f"With the overview open: {growth:+.1%}, {verdict} {MOST_GROWTH:.0%}."])


def _measure(bench: Bench, jobs: int, kind: Kind | None) -> Drained:
    store = bench.around.redis
    store.flushall()
    # In each case, so that they differ in nothing but the visitor.
    store.eval(_PARK, 0, _PARKED)
    port = _free_port()
    began = bench.around.answered()
    with worker(PEERS[0], bench, restbroker(bench, Stats=True, StatsPort=port)) as pid, visited(port, kind):
        gauge = Gauge(bench, pid, lambda: bench.around.answered() - began)
        start = gauge.mark(0)
        # Now, so that whoever looks does so from the first job on.
        Filler(store).fill(jobs)
        first = gauge.mark(jobs // 10)
        last = gauge.mark(jobs * 95 // 100)
        # So few jobs that all were done between two looks: with the filling, then.
        return between(first if first.jobs < last.jobs else start, last, memory_mib(pid))


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


if __name__ == "__main__":
    main()
