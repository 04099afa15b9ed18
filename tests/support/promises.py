"""What is promised and which tests prove it; and what fails a run of all tests that left one of these out."""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, TypeAlias

import attrs
import pytest

FILE: Final = Path(__file__).parents[1] / "promises.toml"

Promises: TypeAlias = Mapping[str, Mapping[str, Sequence[str]]]
"""Of a page: by heading and promise the tests, as file::name."""


def promises() -> Mapping[str, Promises]:
    return tomllib.loads(FILE.read_text("utf-8"))


def proofs_of(page: Promises) -> frozenset[str]:
    return frozenset(test for by_promise in page.values() for tests in by_promise.values() for test in tests)


@attrs.define(eq=False)
class Proofs:
    """A plugin of pytest: after a run of all tests that went well, one of `needed` that did not run fails it.

    Of a test with parameters one is enough; one that was skipped did not run.
    """

    needed: frozenset[str]
    ran: set[str] = attrs.field(factory=set)
    missing: Sequence[str] = ()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and not report.skipped:
            self.ran.add(report.nodeid.partition("[")[0])

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if session.exitstatus == pytest.ExitCode.OK and _is_whole(session.config):
            self.missing = sorted(self.needed - self.ran)
            if self.missing:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.missing:
            terminalreporter.section("tests that prove a promise and did not run (tests/promises.toml)", red=True)
        for test in self.missing:
            terminalreporter.line(test)


def _is_whole(config: pytest.Config) -> bool:
    some = ("keyword", "markexpr", "deselect", "ignore", "ignore_glob", "lf", "collectonly")
    return config.args_source is not pytest.Config.ArgsSource.ARGS and not any(
        config.getoption(name, None) for name in some
    )
