"""How many messages of MongooseIM one process takes in, and how soon: `make bench-webhook`. Prints a table; no test.

Each round runs a broker whose queue is long, and lets `benchmarks.poster` post: nothing else to do, then with its lanes
at half of what they do at most (`RateLimit`), 500 messages per second and as many as it can. How much the lanes did
meanwhile is counted by the server that they deliver to. Of a virtual machine, the share is printed that its host gave
to others (/proc/stat): a round in which the lanes did not even do their half says nothing of restbroker.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import attrs

from benchmarks.drain import Gauge, between, log_of, worker
from benchmarks.filling import Filler
from benchmarks.peers import PEERS, Bench, restbroker
from benchmarks.poster import CONNECTIONS, PATH
from benchmarks.processes import cpu_s, memory_mib, stolen_cpu_s
from benchmarks.run import Run, say
from benchmarks.surroundings import surroundings

RATE_PER_S: Final = 500
MOST_P99_MS: Final = 25.0
_JOBS: Final = 60_000
_ENOUGH: Final = 0.95
"""Of half of what the lanes do at most: as much they have to do for a round to count."""


@attrs.frozen
class Case:
    """`rate_per_s`: of messages, 0 for as many as there can be. `is_busy`: lanes deliver meanwhile."""

    name: str
    rate_per_s: int
    is_busy: bool


@attrs.frozen
class Figures:
    """What came of one case."""

    per_s: float
    p50_ms: float
    p99_ms: float
    most_ms: float
    jobs_per_s: float
    cpu_share: float
    stolen_share: float


CASES: Final = (
    Case(f"{RATE_PER_S}/s, idle lanes", RATE_PER_S, is_busy=False),
    Case(f"{RATE_PER_S}/s, lanes at half load", RATE_PER_S, is_busy=True),
    Case("as many as it can, idle lanes", 0, is_busy=False),
    Case("as many as it can, lanes at half load", 0, is_busy=True),
)


def main() -> None:
    """Runs what the command line says, and prints what came of it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.webhook", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0, help="how long is posted in each case")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, surroundings(Path(directory)) as around:
        bench = Run(around, sys.executable, wanted.rounds, 1.0).bench()
        most_per_s = _most(bench)
        say(f"the lanes do {most_per_s:,.0f} jobs/s at most, while nothing is posted")
        found: dict[str, list[Figures]] = {case.name: [] for case in CASES}
        for number in range(1, wanted.rounds + 1):
            for case in CASES:
                figures = _measure(bench, case, most_per_s / 2, wanted.seconds)
                found[case.name].append(figures)
                say(f"round {number}, {case.name}: {_row(figures)}")
    say("\n" + _table(found, most_per_s / 2))


def _table(found: dict[str, list[Figures]], half_per_s: float) -> str:
    """The median of each figure over the rounds."""
    head = (
        "| one process | messages/s | answered after, ms: median | 99 % | last | jobs/s beside | CPU of the process"
        " | taken by the host |"
    )
    lines = [head, "|---" * 8 + "|"]
    for name, rounds in found.items():
        median = Figures(*(statistics.median(values) for values in zip(*map(attrs.astuple, rounds), strict=True)))
        lines.append(f"| {name} | {_row(median)} |")
    return "\n".join([*lines, "", _verdict(found[CASES[1].name], half_per_s)])


def _verdict(rounds: Sequence[Figures], half_per_s: float) -> str:
    counted = [one.p99_ms for one in rounds if one.jobs_per_s >= _ENOUGH * half_per_s]
    which = f"{CASES[1].name}, in {len(counted)} of {len(rounds)} rounds in which they did it"
    if not counted:
        return f"{which}: this machine is too busy to tell."
    p99_ms = statistics.median(counted)
    verdict = "below" if p99_ms < MOST_P99_MS else "**not below**"
    return f"{which}: 99 % after {p99_ms:.1f} ms, {verdict} {MOST_P99_MS:g} ms."


def _row(one: Figures) -> str:
    times = f"{one.p50_ms:.1f} | {one.p99_ms:.1f} | {one.most_ms:.1f}"
    return f"{one.per_s:,.0f} | {times} | {one.jobs_per_s:,.0f} | {one.cpu_share:.0%} | {one.stolen_share:.0%}"


def _most(bench: Bench) -> float:
    """Jobs per second of a broker that takes in no events."""
    around = bench.around
    around.redis.flushall()
    began = around.answered()
    with worker(PEERS[0], bench, restbroker(bench)) as pid:
        gauge = Gauge(bench, pid, lambda: around.answered() - began)
        Filler(around.redis).fill(_JOBS)
        first = gauge.mark(_JOBS // 10)
        return between(first, gauge.mark(_JOBS * 95 // 100), memory_mib(pid)).jobs_per_s


def _measure(bench: Bench, case: Case, jobs_per_s: float, lasts_s: float) -> Figures:
    around = bench.around
    around.redis.flushall()
    with _taking(bench, jobs_per_s) as (pid, port):
        if case.is_busy:
            Filler(around.redis).fill(round(jobs_per_s * (lasts_s + 10)))
            time.sleep(1.0)  # what a rate limit lets start at once is over then
        answered, used_s, began_s = around.answered(), cpu_s(pid), time.monotonic()
        stolen_s = stolen_cpu_s()
        took_ms = _posted(port, case.rate_per_s, lasts_s)
        whole_s = time.monotonic() - began_s
        jobs, used_s = around.answered() - answered, cpu_s(pid) - used_s
        stolen_s = stolen_cpu_s() - stolen_s
        taken = around.redis.llen("queue:chat")
    if taken != len(took_ms):
        raise SystemExit(f"{len(took_ms)} messages were taken, and {taken} are jobs")
    cuts = statistics.quantiles(took_ms, n=100)
    stolen_share = stolen_s / whole_s / (os.cpu_count() or 1)
    return Figures(
        len(took_ms) / lasts_s, cuts[49], cuts[98], max(took_ms), jobs / whole_s, used_s / whole_s, stolen_share
    )


@contextmanager
def _taking(bench: Bench, jobs_per_s: float) -> Iterator[tuple[int, int]]:
    """A broker's pid, and the port where it takes messages."""
    source = {"Kind": "mongooseim-webhook", "Path": PATH, "Queue": "chat", "Class": "ChatEvent"}
    events = {"Listen": "127.0.0.1:0", "Sources": {"mim": source}}
    rate = f"{round(jobs_per_s)}/s"
    with worker(PEERS[0], bench, restbroker(bench, Events=events, RateLimit=rate, LogLevel="info")) as pid:
        deadline_s = time.monotonic() + 30
        while not (found := re.search(r"what=events addresses=\S*:(\d+)", log_of(bench).read_text(errors="replace"))):
            if time.monotonic() > deadline_s:
                raise SystemExit("the broker does not listen for events")
            time.sleep(0.05)
        yield pid, int(found[1])


def _posted(port: int, rate_per_s: int, lasts_s: float) -> Sequence[float]:
    command = [sys.executable, "-m", "benchmarks.poster", str(port), str(rate_per_s), str(lasts_s)]
    took_ms: list[float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    if len(took_ms) < CONNECTIONS:
        raise SystemExit("hardly anything was posted")
    return took_ms


if __name__ == "__main__":
    main()
