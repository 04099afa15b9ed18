"""Fails a run for a test that takes more than five seconds, twice, and is not marked `slow`.

`make quick` and `make test` load it (`-p tests.support.slow`). On a busy machine any test may take long: each such test
is run again by itself, and only what is slow then, too, fails the run. A machine that is slower than `_LOOP_S` says
gets as many times longer for it. An interrupted run runs nothing again; who interrupts the second run still sees what
failed in the first.
"""

import contextlib
import subprocess
import sys
import time
from typing import Final

import attrs
import pytest

_LONG_S: Final = 5.0
_LOOPS: Final = 3_000_000
_LOOP_S: Final = 0.15
"""How long a machine takes for these turns of a loop on which the five seconds count as they are."""
_MOST: Final = 10
"""The number that is run again; where more are slow, it is the machine."""
_ENDED: Final = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--again", action="store_true", help="no other tests run: fail at once for what is slow")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Slow(is_alone=config.option.again))


@attrs.define(eq=False)
class _Slow:
    """Collects the tests that took long."""

    is_alone: bool
    took_s: dict[str, float] = attrs.field(factory=dict)
    failed: list[str] = attrs.field(factory=list)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed and report.duration > _LONG_S and "slow" not in report.keywords:
            self.took_s[report.nodeid] = report.duration

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.is_alone:
            limit_s = _LONG_S * _slowness()
            self.failed = [test for test, took_s in self.took_s.items() if took_s > limit_s]
        elif len(self.took_s) <= _MOST and session.exitstatus in _ENDED:
            self.run_again(session.config)
        if self.failed and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def run_again(self, config: pytest.Config) -> None:
        """Run each by itself, with the same settings, until a person interrupts it."""
        terminal: pytest.TerminalReporter = config.pluginmanager.getplugin("terminalreporter")
        with contextlib.suppress(KeyboardInterrupt):
            for test in self.took_s:
                terminal.write_line(f"\nover five seconds, so again by itself: {test}")
                if not _is_fast_alone(test, config.getoption("override_ini") or []):
                    self.failed.append(test)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.took_s:
            terminalreporter.section("over five seconds, and not marked slow")
        for test, took_s in sorted(self.took_s.items()):
            is_slow = test in self.failed
            again = (
                "FAILED: and again by itself; `slow` allows it, see docs/testing.md"
                if is_slow
                else "the machine was busy"
            )
            terminalreporter.line(f"{took_s:5.1f} s  {test}  ({again})", red=is_slow)


def _slowness() -> float:
    """Return how many times longer this machine takes now; at least 1."""
    started_s = time.perf_counter()
    for number in range(_LOOPS):
        _ = number & 7
    return max(1.0, (time.perf_counter() - started_s) / _LOOP_S)


def _is_fast_alone(test: str, ini: list[str]) -> bool:
    settings = [word for option in ini for word in ("-o", option)]
    words = ("-m", "pytest", "-q", "-p", "tests.support.slow", "--again", "-p", "no:randomly", *settings, test)
    with subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
        try:
            return run.wait() == 0
        except KeyboardInterrupt:
            run.kill()
            run.wait()
            raise
