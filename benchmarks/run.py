"""What every scenario shares: what was asked for, taking turns, and talking. The scenarios and `__main__` use it.

Always holds: a round has each case once, so that a disturbance of the machine meets all of them, and cases of one
round can be compared.
"""

import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from benchmarks.peers import ORIGINAL, PEERS, Bench, Peer
from benchmarks.surroundings import Surroundings

Found = dict[str, dict[str, list[dict[str, Any]]]]
"""Row (a concurrency, a size, …) → candidate → one measurement per round."""


@attrs.frozen
class Run:
    """`scale` multiplies numbers of jobs and durations; `only` are parts of candidates' names, none for all;
    `original` is the Go program, "" for none.
    """

    around: Surroundings
    peers_python: str
    rounds: int = 1
    scale: float = 1.0
    concurrency: Sequence[int] = (20, 50)
    only: Sequence[str] = ()
    longest_queue: int = 1_000_000
    memory_s: float = 60.0
    original: str = ""

    def bench(self, concurrency: int = 20, path: str = "api") -> Bench:
        """Where a candidate runs."""
        return Bench(self.around, concurrency, self.peers_python, path, self.original)

    def jobs(self, count: float, least: int = 20) -> int:
        """So many, scaled."""
        return max(least, round(count * self.scale))

    def peers(self, *names: str) -> Sequence[Peer]:
        """Those that are asked for, of these or of all."""
        known = [peer for peer in PEERS if self.original or peer.name != ORIGINAL]
        every = [peer for peer in known if not names or peer.name in names]
        return [peer for peer in every if not self.only or any(word in peer.name for word in self.only)]


@attrs.frozen
class Case:
    """Who is measured in which row of the table; `measure` does it once and returns an attrs instance."""

    row: str
    candidate: str
    measure: Callable[[], attrs.AttrsInstance]


def alternate(run: Run, cases: Sequence[Case]) -> Found:
    """Measures all cases in turn, as many times as there are rounds."""
    found: Found = {}
    for number in range(run.rounds):
        for case in cases:
            began = time.monotonic()
            one = attrs.asdict(case.measure())
            found.setdefault(case.row, {}).setdefault(case.candidate, []).append(one)
            shown = ", ".join(f"{name} {_short(value)}" for name, value in one.items())
            say(f"  round {number + 1}, {case.row}, {case.candidate}: {shown} ({time.monotonic() - began:.0f} s)")
    return found


def median(measurements: Sequence[Mapping[str, Any]], name: str) -> float:
    """Of one figure, over the rounds."""
    return float(statistics.median(one[name] for one in measurements))


def say(line: str) -> None:
    """To standard output, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)[:60]
