"""Fails a run for a test that takes more than five seconds, twice, and is not marked `slow`.

`make quick` and `make test` load it (`-p tests.support.slow`). On a busy machine any test may take long: each such test
is run again by itself, and only what is slow then, too, fails the run.
"""

import subprocess
import sys
from typing import Final

import attrs
import pytest

_LONG_S: Final = 5.0
_MOST: Final = 10
"""So many are run again; where more are slow, it is the machine."""


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
            self.failed = [*self.took_s]
        elif len(self.took_s) <= _MOST:
            self.failed = [test for test in self.took_s if not _is_fast_alone(test)]
        if self.failed and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.took_s:
            terminalreporter.section("over five seconds, and not marked slow")
        for test, took_s in sorted(self.took_s.items()):
            is_slow = test in self.failed
            again = "FAILED: and again by itself" if is_slow else "the machine was busy"
            terminalreporter.line(f"{took_s:5.1f} s  {test}  ({again})", red=is_slow)


def _is_fast_alone(test: str) -> bool:
    words = ("-m", "pytest", "-q", "-p", "tests.support.slow", "--again", "-p", "no:randomly", test)
    return subprocess.run([sys.executable, *words], capture_output=True, check=False).returncode == 0
