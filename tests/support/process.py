"""restbroker as a real process: started, watched, signalled, collected. Used by every test that runs one.

Always holds: the process sees no RESTBROKER_* variable but those given, and does not outlive its `with` block.
"""

import io
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Final, Self
from unittest.mock import patch

import attrs

import restbroker
from restbroker.__main__ import main
from tests.support.sweeper import spawn
from tests.support.wait import NEVER_S, until

RESTBROKER: Final = (sys.executable, "-m", "restbroker")
_CHECKOUT = Path(__file__).parents[2]
_PATH = dict.fromkeys((str(Path(restbroker.__file__).parents[1]), str(_CHECKOUT)))
"""Where a child looks first: the same restbroker as ours, of the checkout or of a wheel, then `tests`."""
_TAIL_CHARACTERS: Final = 6000
_begun: Final[list["Running"]] = []
"""Those of this test, and those of earlier ones that run still."""


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process' environment without RESTBROKER_* and terminal settings, plus `extra`; runs the same restbroker."""
    dropped = ("RESTBROKER_", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(dropped)}
    # Safe: the working directory, which may be the checkout, is not looked into.
    return {**kept, "PYTHONPATH": os.pathsep.join(_PATH), "PYTHONSAFEPATH": "1", **(extra or {})}


def run(
    arguments: Sequence[str],
    *,
    environ: Mapping[str, str] | None = None,
    directory: Path | None = None,
    stdin: str = "",
    timeout_s: float = NEVER_S,
) -> subprocess.CompletedProcess[str]:
    """Runs `python -m restbroker` to its end; raises TimeoutExpired after `timeout_s` seconds, the process killed."""
    return subprocess.run(
        [*RESTBROKER, *arguments],
        env=clean_environment(environ),
        cwd=directory,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


class _Terminal(io.TextIOWrapper):
    def isatty(self) -> bool:
        return True


def run_here(
    arguments: Sequence[str],
    *,
    environ: Mapping[str, str] | None = None,
    directory: Path | None = None,
    stdin: str = "",
    on_terminal: bool = False,
) -> subprocess.CompletedProcess[str]:
    """As `run`, in this process: what is loaded already need not be loaded again, which is nearly all of the time.

    `on_terminal`: its streams say that they are one.
    """
    words, before = [*arguments], Path.cwd()
    with ExitStack() as stack:
        files = [stack.enter_context(TemporaryFile("w+", encoding="utf-8", newline="")) for _ in range(3)]
        if on_terminal:
            files = [_Terminal(file.buffer, encoding="utf-8", newline="") for file in files]
        files[0].write(stdin)
        files[0].seek(0)
        for name, file in zip(("stdin", "stdout", "stderr"), files, strict=True):
            stack.enter_context(patch.object(sys, name, file))
        stack.enter_context(patch.object(sys, "argv", ["restbroker", *words]))
        stack.enter_context(patch.dict(os.environ, clean_environment(environ), clear=True))
        stack.callback(os.chdir, before)
        stack.callback(signal.signal, signal.SIGHUP, signal.getsignal(signal.SIGHUP))
        os.chdir(directory or before)
        code: object = 0
        try:
            main()
        except SystemExit as ended:
            code = ended.code or 0
        for file in files:
            file.seek(0)
        assert isinstance(code, int), code
        return subprocess.CompletedProcess(words, code, files[1].read(), files[2].read())


def run_into(
    stdout: int, arguments: Sequence[str], directory: Path, environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs it with this open file as its stdout; only stderr is collected."""
    return subprocess.run(
        [*RESTBROKER, *arguments],
        env=clean_environment(environ),
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=NEVER_S,
        check=False,
    )


@attrs.frozen
class Running:
    """A started process. Its stdout and stderr go to files, so that it never waits for a reader."""

    process: subprocess.Popen[bytes]
    stdout: Path
    stderr: Path

    def wait_for(self, pattern: str, *, timeout_s: float = NEVER_S, times: int = 1) -> re.Match[str]:
        """The `times`-th match of a regular expression in stdout or stderr; fails at once if the process ends first."""

        def found() -> re.Match[str] | None:
            ended = self.process.poll() is not None
            matches = list(re.finditer(pattern, self.output(), re.MULTILINE))
            if len(matches) < times:
                assert not ended, f"It ended with {self.process.returncode}, without {pattern!r}:\n{self.output()}"
                return None
            return matches[times - 1]

        match = until(found, f"the process prints {pattern!r}", timeout_s)
        assert match is not None
        return match

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self, timeout_s: float = NEVER_S) -> int:
        """The exit code; fails with the output so far after `timeout_s` seconds."""
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"It did not end in {timeout_s:g} s:\n{self.output()}") from None

    def stop(self, timeout_s: float = NEVER_S) -> int:
        self.signal(signal.SIGTERM)
        return self.wait(timeout_s)

    def output(self) -> str:
        """Everything printed so far: stdout, then stderr."""
        return self.stdout.read_text(errors="replace") + self.stderr.read_text(errors="replace")


@attrs.frozen
class Stopwatch:
    """How long something takes, without what is the machine's: that these processes, or ours, waited for a core."""

    pids: tuple[int, ...]
    _began_s: float
    _waited_s: float

    @classmethod
    def start(cls, *brokers: Running) -> Self:
        """From now on; `brokers` are those that have something to do."""
        pids = (os.getpid(), *(broker.process.pid for broker in brokers))
        return cls(pids, time.monotonic(), waited_for_a_core_s(*pids))

    def passed_s(self) -> float:
        return time.monotonic() - self._began_s

    def waited_s(self, *later: Running) -> float:
        """For a core; `later` were started meanwhile."""
        return max(0.0, waited_for_a_core_s(*self.pids, *(running.process.pid for running in later)) - self._waited_s)

    def took_s(self, *later: Running) -> float:
        return self.passed_s() - self.waited_s(*later)


def waited_for_a_core_s(*pids: int) -> float:
    """How long the threads of these processes had work and no core to do it on, as far as they live."""
    waited_ns = 0
    for task in (task for pid in pids for task in Path(f"/proc/{pid}/task").glob("*/schedstat")):
        with suppress(OSError):
            waited_ns += int(task.read_text(encoding="ascii").split()[1])
    return waited_ns / 1e9


def freeze(pid: int) -> None:
    """Suspends a process (SIGSTOP); returns when none of its threads runs any more, which is a little later."""

    def stands_still() -> bool:
        states = [
            (task / "stat").read_text().rpartition(")")[2].split()[0] for task in Path(f"/proc/{pid}/task").iterdir()
        ]
        return all(state in "tTZ" for state in states)

    os.kill(pid, signal.SIGSTOP)
    until(stands_still, f"process {pid} stands still")


@contextmanager
def started(
    arguments: Sequence[str],
    *,
    directory: Path,
    environ: Mapping[str, str] | None = None,
    command: Sequence[str] = RESTBROKER,
) -> Iterator[Running]:
    """Runs `python -m restbroker` (or another command) in the background in `directory`; killed at the end."""
    directory.mkdir(parents=True, exist_ok=True)
    serial = len(list(directory.glob("*.stdout")))
    stdout, stderr = directory / f"{serial}.stdout", directory / f"{serial}.stderr"
    with stdout.open("wb") as out, stderr.open("wb") as err:
        process = spawn(
            [*command, *arguments],
            env=clean_environment(environ),
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            process_group=0,
        )
    running = Running(process, stdout, stderr)
    _begun.append(running)
    try:
        yield running
    finally:
        process.kill()
        process.wait(timeout=30)


def forget_ended() -> None:
    """Before a test: what earlier ones started and ended is none of its concern."""
    _begun[:] = [running for running in _begun if running.process.poll() is None]


def last_words() -> Iterator[tuple[str, str]]:
    """Each process of this test that said anything, and the end of that: what a failure is understood by."""
    for running in _begun:
        with suppress(OSError):
            if said := running.output()[-_TAIL_CHARACTERS:].strip():
                yield f"process {running.process.pid}", said
