"""Compare HEAD with another commit: the wheels of both, installed, in turn, row by row.

Prints medians and, in brackets, their ranges over the rounds, and how many times as much HEAD needs. Exits with 1 if a
row is worse, which is a median above the limit with ranges apart, or if HEAD could not do it; with 0 otherwise.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from subprocess import SubprocessError
from typing import Final

import attrs
from redis import RedisError

from dev.benchmarks import cores
from dev.benchmarks.against.commits import Installed, has_uncommitted, installed
from dev.benchmarks.against.rows import ROWS, Row, chosen
from dev.benchmarks.against.verdict import Compared, Figures, Verdict, compared, table
from dev.benchmarks.run import Run, say
from dev.benchmarks.surroundings import Surroundings, surroundings

_TRIES: Final = 2
_MOST_SAID: Final = 300
Pair = tuple[Figures | None, Figures | None]


@attrs.define
class Side:
    """One of the two commits. `failures`: what it said where it could not do a row."""

    commit: str
    run: Run
    failures: dict[str, list[str]] = attrs.field(factory=dict)

    def measure(self, row: Row, number: int) -> Figures | None:
        """Measure a row once; None if this commit cannot do it, which is not tried a third time."""
        failed = self.failures.get(row.name, [])
        if len(failed) == _TRIES:
            return None
        began_s = time.monotonic()
        try:
            found = row.measure(self.run)
        except (SystemExit, OSError, SubprocessError, RedisError) as error:
            said = " ".join(str(error).split())[:_MOST_SAID]
            self.failures[row.name] = [*failed, said]
            say(f"  round {number}, {row.name}, {self.commit}: not done: {said}")
            return None
        shown = ", ".join(f"{name} {value:.4g}" for name, value in found.items())
        say(f"  round {number}, {row.name}, {self.commit}: {shown} ({time.monotonic() - began_s:.0f} s)")
        return found


def main() -> int:
    """Run what the command line says; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="make bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, epilog=_rows()
    )
    parser.add_argument("--against", required=True, metavar="COMMIT", help="the commit to compare with")
    parser.add_argument("--rounds", type=int, default=9, help="how often each is measured; slow rows less often")
    parser.add_argument("--only", default="", metavar="ROW,…", help="these rows alone; * stands for anything")
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies numbers of jobs and durations")
    wanted = parser.parse_args()
    try:
        rows = chosen(filter(None, wanted.only.split(",")))
    except ValueError as error:
        parser.error(str(error))
    before, now = installed(wanted.against), installed("HEAD")
    if has_uncommitted():
        say("What is not committed is not measured.")
    say(f"{now.commit} beside {before.commit}; load {os.getloadavg()[0]:.1f}")
    began_s = time.monotonic()
    cores.leave_one()
    with tempfile.TemporaryDirectory() as directory, surroundings(Path(directory)) as around:
        old, new = (Side(each.commit, _run(around, each, wanted.scale)) for each in (before, now))
        found = alternate(rows, old, new, wanted.rounds)
    say("\n" + "\n".join(table(found, before.commit, now.commit)))
    say(f"\n{len(rows)} rows in {(time.monotonic() - began_s) / 60:.0f} minutes; load {os.getloadavg()[0]:.1f}")
    worse = faults(found, new)
    say("\n".join(worse) or "No row is worse.")
    return bool(worse)


def alternate(rows: Sequence[Row], old: Side, new: Side, rounds: int) -> Mapping[str, Mapping[str, Compared]]:
    """Measure all rows in turn at both commits, of which each is the first one in every second round."""
    pairs: dict[str, list[Pair]] = {row.name: [] for row in rows}
    for number in range(1, rounds + 1):
        for row in rows:
            if number > row.rounds:
                continue
            if number % 2:
                before = old.measure(row, number)
                now = new.measure(row, number)
            else:
                now = new.measure(row, number)
                before = old.measure(row, number)
            pairs[row.name].append((before, now))
    return {row.name: compared(pairs[row.name], row.limits) for row in rows}


def faults(found: Mapping[str, Mapping[str, Compared]], now: Side) -> Sequence[str]:
    """Return a line for each figure that is worse, and for each time that this commit could not do a row."""
    worse = [
        f"worse: {row}, {figure.figure.title}: {figure.ratio:.2f} (limit {figure.bound:.3g})"
        for row, figures in found.items()
        for figure in figures.values()
        if figure.verdict is Verdict.WORSE
    ]
    return [*worse, *(f"not done: {row}: {said}" for row, each in now.failures.items() for said in each)]


def _run(around: Surroundings, commit: Installed, scale: float) -> Run:
    return Run(around, scale=scale, executable=commit.executable)


def _rows() -> str:
    return "rows:\n" + "\n".join(f"  {row.name:18}{row.about}" for row in ROWS)


if __name__ == "__main__":
    sys.exit(main())
