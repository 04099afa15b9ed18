"""What every scenario shares: what is wanted, and taking turns.

Always holds: a round has each case once, so that a disturbance of the machine meets all of them, and cases of one
scenario can be compared.
"""

import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import attrs

from dev.benchmarks.measure import at_rate, full_queue
from dev.benchmarks.peers import ORIGINAL, PEERS, Bench, Load, Peer
from dev.benchmarks.surroundings import Surroundings

Found = dict[str, dict[str, list[dict[str, Any]]]]
"""Row (a rate, a size, …) → candidate → one measurement a round."""


@attrs.frozen
class Case:
    """What is measured in which row; `measure` does it once and returns an attrs instance."""

    row: str
    candidate: str
    measure: Callable[[], attrs.AttrsInstance]


@attrs.frozen
class Run:
    """`scale` multiplies numbers of jobs and durations; `only` has parts of candidates' names, none for all.

    `original` and `executable` are as in `Bench`.
    """

    around: Surroundings
    rounds: int = 1
    scale: float = 1.0
    only: Sequence[str] = ()
    original: str = ""
    executable: str = ""

    def jobs(self, count: float, least: int = 20) -> int:
        """Return so many, scaled."""
        return max(least, round(count * self.scale))

    def peers(self, *names: str) -> Sequence[Peer]:
        """Return those that are wanted, of these or of all."""
        known = [
            peer for peer in PEERS if (peer.name in names or not names) and (self.original or peer.name != ORIGINAL)
        ]
        return [peer for peer in known if not self.only or any(word in peer.name for word in self.only)]

    def bench(self, load: Load) -> Bench:
        """Return where a candidate runs with this load."""
        return Bench(self.around, load, self.original, self.executable)

    def case(self, row: str, load: Load, peer: Peer = PEERS[0], candidate: str = "") -> Case:
        """Return a case of a full queue, or of jobs at a rate."""
        measure = at_rate if load.rate else full_queue
        return Case(row, candidate or peer.name, partial(measure, peer, self.bench(load)))

    def alternate(self, cases: Sequence[Case]) -> Found:
        """Measure all cases in turn, as many times as there are rounds."""
        found: Found = {}
        for number in range(self.rounds):
            for case in cases:
                began_s = time.monotonic()
                one = {name: value for name, value in attrs.asdict(case.measure()).items() if value is not None}
                found.setdefault(case.row, {}).setdefault(case.candidate, []).append(one)
                shown = ", ".join(f"{name} {value:.4g}" for name, value in one.items())
                took_s = time.monotonic() - began_s
                say(f"  round {number + 1}, {case.row}, {case.candidate}: {shown} ({took_s:.0f} s)")
        return found


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
