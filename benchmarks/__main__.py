"""`make bench`: measures restbroker beside what it could be replaced by, and what it costs.

Each scenario's figures are kept in `results.json` as soon as they are there; scenarios that were not asked for keep
what they had. `python -m benchmarks.page` writes the page and `python -m benchmarks.plot` the pictures from it.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from benchmarks import cores
from benchmarks.machine import machine, revision
from benchmarks.run import Run, say
from benchmarks.scenarios.names import SCENARIOS
from benchmarks.surroundings import surroundings

_ROOT: Final = Path(__file__).parents[1]
_RESULTS: Final = _ROOT / "benchmarks" / "results.json"


def main() -> None:
    """Runs what the command line says."""
    wanted = _arguments()
    cores.leave_one()
    with tempfile.TemporaryDirectory() as directory, surroundings(Path(directory)) as around:
        run = Run(
            around,
            wanted.peers_python,
            wanted.rounds,
            wanted.scale,
            wanted.concurrency,
            wanted.only,
            wanted.longest_queue,
            wanted.memory_s,
            wanted.original and str(Path(wanted.original).absolute()),
        )
        on, code = machine(wanted.peers_python), revision()
        for name in wanted.scenarios or (["drain"] if wanted.only else SCENARIOS):
            say(f"\n{name}")
            taken = {
                "revision": code,
                "load_before": os.getloadavg()[0],
                "rounds": run.rounds,
                "scale": run.scale,
            }
            began_s = time.monotonic()
            found = SCENARIOS[name](run)
            say(f"{name} took {time.monotonic() - began_s:.0f} s")
            if wanted.output:
                keep(wanted.output, on, name, {"taken": taken, **found})


def keep(path: Path, on: dict[str, Any], name: str, found: dict[str, Any]) -> None:
    """Adds a scenario's figures; those of another machine or of other versions are forgotten."""
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    scenarios = kept.get("scenarios", {}) if kept.get("machine") == on else {}
    document = {"machine": on, "scenarios": {**scenarios, name: found}}
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--scenarios", nargs="+", choices=SCENARIOS, metavar="NAME", help=", ".join(SCENARIOS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies numbers of jobs and durations")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[20, 50], help="of the scenario drain")
    parser.add_argument("--only", nargs="+", default=[], help="parts of candidates' names; nothing is kept then")
    parser.add_argument("--longest-queue", type=int, default=1_000_000, help="10000000 takes 4 GB of memory")
    parser.add_argument("--memory-s", type=float, default=60.0, help="how long memory is watched, times the scale")
    parser.add_argument("--peers-python", default=str(Path(sys.prefix) / "bench" / "bin" / "python"))
    parser.add_argument("--original", default="", help="the Go program ejabberd-restbroker, as you built it")
    parser.add_argument("--output", type=Path, help=f"[default: {_RESULTS.relative_to(_ROOT)}; none with --only]")
    wanted = parser.parse_args()
    if not wanted.only:
        wanted.output = wanted.output or _RESULTS
    return wanted


if __name__ == "__main__":
    main()
