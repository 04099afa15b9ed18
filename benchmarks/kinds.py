"""`make bench-kinds`: what a job costs with a server of each kind and over TLS, beside a plain job of ejabberd's.

Always holds: each has a full queue, and a server that answers at once. What is compared is the least CPU of all rounds,
since a busy machine only ever adds to it.
"""

import argparse
import json
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks import cores
from benchmarks.drain import Gauge, between, worker
from benchmarks.filling import Filler
from benchmarks.four_servers import KINDS, servers
from benchmarks.peers import PEERS, TOKEN
from benchmarks.processes import memory_mib
from benchmarks.run import Run, say
from benchmarks.surroundings import surroundings

PLAIN: Final = "ejabberd"
_CONCURRENCY: Final = 20


def main() -> None:
    """Runs what the command line says, and prints a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kinds", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=30_000)
    wanted = parser.parse_args()
    cores.leave_one()
    with tempfile.TemporaryDirectory() as directory, surroundings(Path(directory)) as around:
        found = costs_us(Run(around, sys.executable, wanted.rounds), wanted.jobs)
    say("| jobs | CPU µs a job | of a plain job of ejabberd's |\n|---|---|---|")
    for name, cost_us in found.items():
        say(f"| {name} | {cost_us:.1f} | {cost_us / found[PLAIN]:.2f} |")


def costs_us(run: Run, jobs: int) -> dict[str, float]:
    """The CPU a job with each of `KINDS`, in µs; each round drains them all in turn."""
    rounds = [{name: cost_us(run, name, jobs) for name in KINDS} for _ in range(run.rounds)]
    return {name: min(one[name] for one in rounds) for name in KINDS}


def cost_us(run: Run, name: str, jobs: int) -> float:
    """Drains a queue of so many jobs, and returns what one of the middle four fifths cost."""
    around, kind, bench = run.around, KINDS[name], run.bench()
    around.redis.flushall()
    Filler(around.redis).fill(jobs, name, kind.command, kind.arguments)
    directory = around.directory / f"{time.monotonic_ns()}"
    with servers(directory, {name: 0.0}) as started:
        env = directory / "env.json"
        targets = {name: started.target(name, _CONCURRENCY)}
        document = {"RedisURL": around.redis_url, "Token": TOKEN, "LogLevel": "warning", "Targets": targets}
        env.write_text(json.dumps(document), encoding="utf-8")
        command = [sys.executable, "-m", "restbroker", "run", "--config", str(env)]
        with worker(PEERS[0], bench, command) as pid:
            gauge = Gauge(bench, pid, partial(started.answered, name))
            first = gauge.mark(jobs // 10)
            found = between(first, gauge.mark(jobs * 9 // 10), memory_mib(pid))
            gauge.mark(jobs)
    if around.redis.zcard("dead") or around.redis.zcard("retry"):
        raise SystemExit(f"jobs of {name} failed")
    return found.cpu_us_per_job


if __name__ == "__main__":
    main()
