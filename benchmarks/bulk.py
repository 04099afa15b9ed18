"""How fast `restbroker enqueue --bulk` pushes beside a pipelined LPUSH of the same bytes: `make bench-bulk`. No test.

In turn, some rounds long: the command reads a CSV file of so many rows, checks each, and pushes its job, its start
included; and the same jobs, made before, are pushed by redis-py, each with an LPUSH of its own in pipelines of 500, by
a process that has nothing else to do. Both over loopback, to a Redis that writes nothing to disk.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import attrs
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from benchmarks.run import say
from benchmarks.surroundings import Surroundings, surroundings

_QUEUE: Final = "bulk"
_PIPELINE: Final = 500
_MIB: Final = 1024 * 1024


@attrs.frozen
class Turn:
    """One turn of one of the two."""

    wall_s: float
    cpu_s: float
    peak_bytes: int


def main() -> None:
    """Runs what the command line says, and prints what came of it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bulk", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--lpush", nargs=2, metavar=("URL", "FILE"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.lpush:
        _lpush(*asked.lpush)
        return
    with tempfile.TemporaryDirectory() as name, surroundings(Path(name)) as around:
        _measure(around, Path(name), asked.rows, asked.rounds)


def _measure(around: Surroundings, directory: Path, rows: int, rounds: int) -> None:
    table = directory / "users.csv"
    with table.open("w", encoding="utf-8") as file:
        file.write("user,host,password\n")
        file.writelines(f"user{row},example.org,secret number {row}\n" for row in range(rows))
    document = {"RedisURL": around.redis_url, "RestURL": around.stub_url, "RestUser": "a", "RestPass": "b",
                "RestQueue": _QUEUE, "Token": "a-token"}  # fmt: skip
    (directory / "env.json").write_text(json.dumps(document), "utf-8")
    bulk = [sys.executable, "-m", "restbroker", "enqueue", "register", "--bulk", str(table)]
    same = [sys.executable, "-m", "benchmarks.bulk", "--lpush", around.redis_url, str(directory / "jobs")]
    turns: dict[str, list[Turn]] = {"enqueue --bulk": [], "LPUSH, pipelined": []}
    for _ in range(rounds):
        turns["enqueue --bulk"].append(_turn(around, bulk, directory, rows))
        _write(around, directory / "jobs")
        turns["LPUSH, pipelined"].append(_turn(around, same, Path.cwd(), rows))
    _tell(turns, rows)


def _turn(around: Surroundings, command: list[str], directory: Path, rows: int) -> Turn:
    around.redis.flushall()
    before, began_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    environ = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    with subprocess.Popen(
        command, cwd=directory, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environ
    ) as child:
        peak = 0
        while child.poll() is None:
            peak = max(peak, _resident(child.pid))
            time.sleep(0.02)
        wall_s = time.perf_counter() - began_s
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if around.redis.llen(f"queue:{_QUEUE}") != rows:
        raise SystemExit(f"not all rows were pushed: {around.redis.llen(f'queue:{_QUEUE}')} of {rows}")
    return Turn(wall_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, peak)


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text("utf-8").split()[1]) * resource.getpagesize()
    except (OSError, IndexError):
        return 0


def _write(around: Surroundings, jobs: Path) -> None:
    """What lies in the queue, one job in each line."""
    with jobs.open("wb") as file:
        for at in range(0, int(around.redis.llen(f"queue:{_QUEUE}")), _PIPELINE):
            found: Any = around.redis.lrange(f"queue:{_QUEUE}", at, at + _PIPELINE - 1)
            file.writelines(job + b"\n" for job in found)


def _lpush(url: str, jobs: str) -> None:
    store = redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0))
    with Path(jobs).open("rb") as file:
        for part in _parts(line.rstrip(b"\n") for line in file):
            with store.pipeline(transaction=False) as pipeline:
                for job in part:
                    pipeline.lpush(f"queue:{_QUEUE}", job)
                pipeline.execute()


def _parts(lines: Iterator[bytes]) -> Iterator[list[bytes]]:
    part: list[bytes] = []
    for line in lines:
        part.append(line)
        if len(part) == _PIPELINE:
            yield part
            part = []
    if part:
        yield part


def _tell(turns: dict[str, list[Turn]], rows: int) -> None:
    best = {name: min(turn.wall_s for turn in found) for name, found in turns.items()}
    whole = best["LPUSH, pipelined"]
    say("| | rows per second | share | CPU of each row | memory, at most |")
    say("|---|---|---|---|---|")
    for name, found in turns.items():
        cpu_us = min(turn.cpu_s for turn in found) / rows * 1e6
        peak = max(turn.peak_bytes for turn in found) / _MIB
        say(f"| {name} | {rows / best[name]:,.0f} | {whole / best[name]:.0%} | {cpu_us:.1f} µs | {peak:.0f} MiB |")


if __name__ == "__main__":
    main()
