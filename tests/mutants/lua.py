"""Changes the store's Lua scripts one place at a time, and looks whether a test notices. `make mutants` runs it.

mutmut knows only Python, and the scripts are where jobs move. Prints each change that no test noticed, and how many of
each script were noticed. Always holds: no file is changed: who tests a mutant has it in memory, in a process of its own
that was forked after everything had been imported, and runs the tests that use the script, the quickest first.
"""

import hashlib
import json
import os
import re
import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import cast

import attrs
import pytest

from restbroker.store import client, scripts
from restbroker.store.scripts import Script, ScriptName

_SCRIPTS = Path(scripts.__file__).parent
_TESTS = ("tests/store", "tests/model")
_PYTEST = ("-q", "-p", "no:cacheprovider", "-p", "no:randomly", "--hypothesis-profile=mutants")
_ONLY = ("-k", "not valkey and not overdue")
_SWAPS = (
    (r"==", "~="), (r"~=", "=="), (r"<=", "<"), (r">=", ">"), (r"(?<![<>])<(?!=)", "<="), (r"(?<![<>])>(?!=)", ">="),
    (r"\band\b", "or"), (r"\bor\b", "and"), (r"\bnot ", ""), (r"math\.min", "math.max"), (r"math\.max", "math.min"),
    (r"math\.ceil", "math.floor"), (r"math\.floor", "math.ceil"),
    (r"(?<= )\+(?= )", "-"), (r"(?<= )-(?= )", "+"), (r"(?<= )\*(?= )", "/"), (r"(?<= )/(?= )", "*"),
    (r"'RPOP'", "'LPOP'"), (r"'LPOP'", "'RPOP'"), (r"'RPUSH'", "'LPUSH'"), (r"'LPUSH'", "'RPUSH'"),
    (r"'NX', ", ""), (r", 'PX(?:AT)?', .*(?=\)$)", ""), (r"redis\.pcall", "redis.call"), (r"\bbreak\b", ""),
)  # fmt: skip
_NUMBER = re.compile(r"(?<![\w.%'])\d+(?![\w'.])")
_STATEMENT = re.compile(
    r"^\s+(redis\.p?call\(.*\)|return .*|(?!local )[\w.\[\]#, +*-]+ = .*|count\(.*\)|unmove\(.*\))$"
)


@attrs.frozen
class Mutant:
    """A script with one change, in a line."""

    script: ScriptName
    number: int
    line: str
    source: str

    def __str__(self) -> str:
        """As it is printed."""
        return f"{self.script}.lua:{self.number}: {self.line.strip() or '(removed)'}"


def mutants_of(name: ScriptName, source: str) -> Iterator[Mutant]:
    """Every change of one script: a comparison, an operator, a constant, an end of a list, a statement left out."""
    lines = source.split("\n")
    for place, line in enumerate(lines):
        if line.startswith("#!") or line.lstrip().startswith("--"):
            continue
        changed = [
            line[: hit.start()] + new + line[hit.end() :] for old, new in _SWAPS for hit in re.finditer(old, line)
        ]
        for hit in _NUMBER.finditer(line):
            changed += [f"{line[: hit.start()]}{int(hit.group()) + by}{line[hit.end() :]}" for by in (1, -1)]
        if _STATEMENT.match(line):
            changed.append("")
        for one in dict.fromkeys(changed):
            yield Mutant(name, place + 1, one, "\n".join([*lines[:place], one, *lines[place + 1 :]]))


@attrs.define(eq=False)
class Recorder:
    """A pytest plugin that notes which scripts each test sends, and how long each takes."""

    sent: dict[str, set[str]] = attrs.field(factory=lambda: defaultdict(set))
    took_s: dict[str, float] = attrs.field(factory=lambda: defaultdict(float))
    failed: list[str] = attrs.field(factory=list)
    _test: str = ""

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        self._test = item.nodeid

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.took_s[report.nodeid] += report.duration
        if report.failed:
            self.failed.append(report.nodeid)

    def script(self, name: ScriptName) -> Script:
        """Stands in the place of the store's own."""
        self.sent[name].add(self._test)
        return scripts.script(name)


def _ends_with(work: Callable[[], int], patience_s: float) -> int | None:
    """What `work` ends with in a forked child; None if it took too long."""
    child = os.fork()
    if child == 0:
        os.setsid()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        os._exit(work())
    ends_s = time.monotonic() + patience_s
    while time.monotonic() < ends_s:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    # Its servers are of its process group.
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _pytest(arguments: Sequence[str], *plugins: object) -> int:
    return int(pytest.main([*_PYTEST, *arguments], plugins=plugins))


def _recorded(notes: Path) -> int:
    recorder = Recorder()
    vars(client).update(script=recorder.script)
    _pytest([*_ONLY, *_TESTS], recorder)
    failed = set(recorder.failed)
    users = {name: sorted(tests - failed, key=recorder.took_s.__getitem__) for name, tests in recorder.sent.items()}
    needed_s = {name: sum(recorder.took_s[test] for test in tests) for name, tests in users.items()}
    notes.write_text(json.dumps([users, needed_s, recorder.failed]), encoding="utf-8")
    return 0


def _tried(mutant: Mutant, tests: Sequence[str]) -> int:
    source, original = mutant.source.encode(), scripts.script
    changed = Script(source, hashlib.sha1(source, usedforsecurity=False).hexdigest())
    vars(client).update(script=lambda name: changed if name == mutant.script else original(name))
    return _pytest(["-x", *tests])


def main(names: Sequence[str]) -> None:
    """Tries all mutants of the scripts named (`fetch`, or one line of it: `fetch:75`), or of all of them.

    SHARE in the environment takes a part of them, 0.5: every second.
    """
    every = round(1 / float(os.environ.get("SHARE", "1")))
    with tempfile.TemporaryDirectory() as place:
        os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = place
        notes = Path(place) / "notes.json"
        # Imports all that the tests need, once for all children.
        _pytest(["--collect-only", "-qq", *_ONLY, *_TESTS])
        assert _ends_with(lambda: _recorded(notes), 600) == 0, "the tests took more than ten minutes"
        users, needed_s, failed = json.loads(notes.read_text(encoding="utf-8"))
        for test in failed:
            _say(f"left out, since it fails without any change: {test}")
        noticed = total = 0
        for path in sorted(_SCRIPTS.glob("*.lua")):
            name = cast("ScriptName", path.stem)
            every_one = mutants_of(name, path.read_text(encoding="utf-8"))
            mutants = [one for one in every_one if not names or {name, f"{name}:{one.number}"} & set(names)][::every]
            if not mutants:
                continue
            lived = [one for one in mutants if _lives(one, users.get(name, ()), 3 * needed_s.get(name, 0) + 10)]
            _say(f"{name}: {len(mutants) - len(lived)} of {len(mutants)} noticed")
            noticed, total = noticed + len(mutants) - len(lived), total + len(mutants)
        _say(f"{noticed} of {total} noticed: {noticed / total:.1%}")


def _lives(mutant: Mutant, tests: Sequence[str], patience_s: float) -> bool:
    lives = not tests or _ends_with(lambda: _tried(mutant, tests), patience_s) == 0
    if lives:
        _say(f"  {mutant}")
    return lives


if __name__ == "__main__":
    main(sys.argv[1:])
