"""`make bench`: measures restbroker beside what it could be replaced by, and what it costs.

Each scenario's figures are kept in results.json as soon as they are there, with the machine and the versions that they
were taken with; scenarios that were not asked for keep what they had. `python -m dev.benchmarks.page` writes the page.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import tempfile
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Final

from dev.benchmarks import cores
from dev.benchmarks.peers import PYTHON, WORKERS
from dev.benchmarks.run import Run, say
from dev.benchmarks.scenarios import SCENARIOS
from dev.benchmarks.surroundings import surroundings

RESULTS: Final = Path(__file__).with_name("results.json")


def main() -> None:
    """Run what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m dev.benchmarks", description=__doc__)
    parser.add_argument("--scenarios", nargs="+", choices=SCENARIOS, metavar="NAME", help=", ".join(SCENARIOS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies numbers of jobs and durations")
    parser.add_argument("--only", nargs="+", default=[], help="parts of candidates' names; nothing is kept then")
    parser.add_argument("--original", default="", help="the Go program ejabberd-restbroker, as you built it")
    wanted = parser.parse_args()
    original = wanted.original and str(Path(wanted.original).absolute())
    cores.leave_one()
    with tempfile.TemporaryDirectory() as directory, surroundings(Path(directory)) as around:
        run = Run(around, wanted.rounds, wanted.scale, wanted.only, original)
        known = {"code": _revision(), "rounds": run.rounds, "scale": run.scale, "machine": _machine()}
        for name in wanted.scenarios or SCENARIOS:
            say(f"\n{name}")
            taken = {**known, "on": time.strftime("%Y-%m-%d"), "load_before": round(os.getloadavg()[0], 1)}
            found = {"taken": taken, "rows": SCENARIOS[name](run)}
            if not wanted.only:
                kept = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
                RESULTS.write_text(json.dumps({**kept, name: found}, indent=1) + "\n", encoding="utf-8")


def _machine() -> Mapping[str, object]:
    """Return the processor, the memory, the kernel and the versions of what is measured."""
    lock = json.loads((WORKERS / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    return {
        "processor": _field("/proc/cpuinfo", "model name"),
        "cores": os.cpu_count(),
        "memory": _field("/proc/meminfo", "MemTotal"),
        "kernel": platform.release(),
        "versions": {
            "Python": platform.python_version(),
            "trio": version("trio"),
            "nginx": _said("nginx", "-v"),
            "Redis": _said("redis-server", "--version"),
            "Node": _said("node", "--version"),
            "BullMQ": lock["node_modules/bullmq"]["version"],
            "undici": lock["node_modules/undici"]["version"],
            "Ruby": _said("ruby", "--version"),
            "Sidekiq": _said("sidekiq", "--version"),
            "Go": _said("go", "version"),
            "Celery": _said(PYTHON, "-m", "celery", "--version"),
        },
    }


def _revision() -> str:
    """Return the commit that changed the package last, with a mark where it was changed since."""
    git, path = ["git", "-C", str(WORKERS)], ["--", ":/restbroker"]
    done = subprocess.run([*git, "log", "-1", "--format=%h", *path], capture_output=True, text=True, check=False)
    changed = subprocess.run([*git, "diff", "--quiet", "HEAD", *path], check=False).returncode
    return (done.stdout.strip() or "unknown") + ("-dirty" if changed else "")


def _field(path: str, name: str) -> str:
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "unknown")


def _said(*command: str) -> str:
    """Return the first number with a dot in what a program says about itself."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "not installed"
    found = re.search(r"\d+\.\d+[\w.]*", done.stdout + done.stderr)
    return found[0] if found else "unknown"


if __name__ == "__main__":
    main()
