"""How long each command of the command line takes, start to end."""

import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from benchmarks.filling import Filler
from benchmarks.peers import restbroker
from benchmarks.run import Case, Run, alternate
from restbroker.cli.app import COMMANDS

BARE: Final = "python -c pass"
LIBRARIES: Final = "python -c 'import typer, attrs, cattrs, orjson, hiredis'"
"""What `enqueue` imports of others."""
_TIMES: Final = 2
"""The best of so many is what counts in a round: nobody starts faster than undisturbed."""


@attrs.frozen
class Took:
    """One run of a command, by the clock and in CPU time."""

    wall_ms: float
    cpu_ms: float


def measure(run: Run) -> dict[str, Any]:
    """Rows are command lines; `enqueue`, `stats` and `dead` talk to a Redis with 1,000 jobs."""
    run.around.redis.flushall()
    Filler(run.around.redis).fill(1000)
    cases = [_case(name, words) for name, words in _commands(run).items()]
    return {"cases": alternate(run, cases)}


def _commands(run: Run) -> Mapping[str, Sequence[str]]:
    config = restbroker(run.bench())[-1]
    ours = [sys.executable, "-m", "restbroker"]
    return {
        BARE: [sys.executable, "-c", "pass"],
        LIBRARIES: [sys.executable, "-c", "import typer, attrs, cattrs, orjson, hiredis"],
        "--version": [*ours, "--version"],
        "--help": [*ours, "--help"],
        **{f"{verb} --help": [*ours, verb, "--help"] for verb in COMMANDS},
        "enqueue": [*ours, "enqueue", "kick_user", "user=john", "host=example.org", "--config", config],
        "stats": [*ours, "stats", "--config", config],
        "dead": [*ours, "dead", "--config", config],
    }


def _case(name: str, words: Sequence[str]) -> Case:
    return Case(name, "restbroker", lambda: min((_once(words) for _ in range(_TIMES)), key=lambda one: one.wall_ms))


def _once(words: Sequence[str]) -> Took:
    before_s, began_s = _cpu_s(), time.perf_counter()
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    took = Took((time.perf_counter() - began_s) * 1e3, (_cpu_s() - before_s) * 1e3)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} failed:\n{done.stderr}")
    return took


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
