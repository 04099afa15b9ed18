"""How long `restbroker COMMAND --help` takes beside a Python that does nothing: `make bench-startup`.

Prints a table; nothing here is a test. Each figure is the least of so many rounds: what else the machine does only
adds to it. Each command takes its turn in each round, so that all meet the same machine.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Final

from benchmarks.run import say
from restbroker.cli.app import COMMANDS, load
from restbroker.cli.examples import walk

MOST_OVER_MS: Final = 200.0
_BARE: Final = "python -c pass"
_OTHERS: Final[Mapping[str, Sequence[str]]] = {
    "--version": ("--version",),
    "--help": ("--help",),
    "explain TimedOut": ("explain", "TimedOut"),
    "commands register": ("commands", "register"),
}
_TAB: Final = {
    "Tab behind `en`": "en",
    "Tab behind `dead re`": "dead re",
    "Tab behind `enqueue register u`": "enqueue register u",
}


def main() -> None:
    """Runs what the command line says, and prints what came of it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.startup", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    wanted = parser.parse_args()
    say(table(measured(wanted.rounds)))


def measured(rounds: int) -> Mapping[str, float]:
    """The least time of each, in milliseconds."""
    commands = _commands()
    best = dict.fromkeys([_BARE, *commands, *_TAB], float("inf"))
    # Once for the compiled code, which is not measured.
    for number in range(rounds + 1):
        for name in best:
            took_ms = _took_ms(name, commands.get(name, ()))
            best[name] = min(best[name], took_ms) if number else best[name]
    return best


def table(found: Mapping[str, float]) -> str:
    """As docs/appendix/measurements.md has it: all but the helps, of which the slowest stands for all."""
    bare = found[_BARE]
    helps = {name: took for name, took in found.items() if name not in {_BARE, *_OTHERS, *_TAB}}
    slowest = max(helps, key=lambda name: helps[name])
    rows = {_BARE: bare, f"{len(helps)} × `COMMAND --help`, the slowest (`{slowest}`)": helps[slowest]}
    rows |= {name: took for name, took in found.items() if name in _OTHERS or name in _TAB}
    lines = ["| what | ms | over bare Python, ms |", "|---|---|---|"]
    lines += [f"| {name} | {took:.0f} | {took - bare:.0f} |" for name, took in rows.items()]
    return "\n".join(lines)


def _commands() -> dict[str, Sequence[str]]:
    paths = [path for name in COMMANDS for path, _ in walk(load(name), name)]
    return {**_OTHERS, **{f"{path} --help": (*path.split(), "--help") for path in paths}}


def _took_ms(name: str, words: Sequence[str]) -> float:
    command = (sys.executable, "-c", "pass") if name == _BARE else (sys.executable, "-m", "restbroker", *words)
    environ = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    if name in _TAB:
        line = f"restbroker {_TAB[name]}"
        environ |= {"_RESTBROKER_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": "-1"}
    begun = time.perf_counter()
    subprocess.run(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return (time.perf_counter() - begun) * 1000


if __name__ == "__main__":
    main()
