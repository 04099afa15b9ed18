"""Shows how far a run of many tests is: a bar on a terminal, elsewhere a line for every 5 %, in place of dots.

`make quick` and `make test` load it (`-p tests.support.progress`). A test that fails is named at once.
"""

import time
from collections.abc import Generator, Sequence
from typing import Final, TypeAlias

import attrs
import pytest

_BAR: Final = 30
_LINES: Final = 20
_BAR_EVERY_S: Final = 0.5
_LINE_EVERY_S: Final = 3.0

Status: TypeAlias = tuple[str, str, str | tuple[str, dict[str, bool]]]
"""What pytest says of a report: under which word it is counted, a letter and a word to print."""


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Takes the place of the dots, but in a worker of xdist, which shows nothing, and with -v, which shows names."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and config.get_verbosity() == 0 and not config.option.collectonly:
        reporter.showfspath = False
        config.pluginmanager.register(Progress(reporter))


@attrs.define(eq=False)
class Progress:
    """Counts the tests that came to an end."""

    reporter: pytest.TerminalReporter
    total: int = 0
    done: int = 0
    failed: int = 0
    started_s: float = attrs.field(factory=time.monotonic)
    shown_s: float = 0.0
    lines: int = 0

    def pytest_report_header(self) -> str:
        return "reading the tests; each worker reads all of them"

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Begins to count, in a run without workers."""
        self._begin(len(session.items))

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        if not self.total:
            self._begin(len(ids))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> Generator[None, Status, Status]:
        """Has nothing printed of a test, unless it failed."""
        category, _, _ = yield
        if report.failed:
            self.failed += 1
            self._clear()
            self.reporter.write_line(f"{category.upper()} {report.nodeid}", red=True)
        return category, "", ""

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        session.config.pluginmanager.unregister(self)

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logfinish(self) -> None:
        self.done += 1
        now_s, line = time.monotonic(), self.done * _LINES // max(self.total, 1)
        passed_s, is_last = now_s - self.shown_s, self.done == self.total
        if self.reporter.isatty and (is_last or passed_s >= _BAR_EVERY_S):
            self.shown_s = now_s
            self.reporter.rewrite(self._line(now_s), erase=True)
        elif not self.reporter.isatty and (is_last or (line > self.lines and passed_s >= _LINE_EVERY_S)):
            self.shown_s, self.lines = now_s, line
            self.reporter.write_line(self._line(now_s))

    def _begin(self, total: int) -> None:
        self.total, self.started_s = total, time.monotonic()
        self.shown_s = self.started_s

    def _clear(self) -> None:
        if self.reporter.isatty:
            self.reporter.rewrite("", erase=True)

    def _line(self, now_s: float) -> str:
        share, passed_s = self.done / max(self.total, 1), now_s - self.started_s
        bar = "#" * round(share * _BAR)
        left = f", about {_minutes(passed_s / share - passed_s)} to go" if 0.02 < share < 1 else ""
        failed = f", {self.failed} failed" if self.failed else ""
        return f"[{bar:.<{_BAR}}] {share:4.0%}  {self.done:,} of {self.total:,}{failed}, {_minutes(passed_s)}{left}"


def _minutes(duration_s: float) -> str:
    return f"{duration_s // 60:.0f}:{duration_s % 60:02.0f} min"
