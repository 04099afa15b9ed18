"""Shows the progress, the rejected rows and the summary of `enqueue --bulk`. Called by `bulk.batch` and `bulk.command`.

Always holds: the rejects file has whole rows, maybe with secrets, so only its owner may read it; a file that this batch
did not write is left alone; on stdout is the summary alone.
"""

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final, Protocol

import attrs

from restbroker.bulk import files as bulk_files
from restbroker.bulk.push import NEGATIVE, FailedRow
from restbroker.bulk.read import Bad, Table
from restbroker.console import output
from restbroker.console.exits import Exit
from restbroker.errors import UsageError

_TELL_EVERY_S: Final = 5.0
_MOST_TOLD: Final = 20


@attrs.frozen
class InputProgress:
    """Progress of a batch. `share`: of the input, 0 to 1; None: unknown. `answered` None: no answers are awaited."""

    rows: int
    share: float | None
    answered: int | None = None
    pushed: int = 0
    is_read: bool = False


class ProgressDisplay(Protocol):
    """Shows how many rows were read and pushed, on stderr."""

    def show(self, far: InputProgress) -> None:
        """Show the progress."""


@attrs.define(eq=False)
class LineProgress:
    """Shows the progress as a line every five seconds, if stderr is not a terminal.

    `reported_at_s`: when the last line was shown (`time.monotonic`).
    """

    reported_at_s: float = attrs.Factory(time.monotonic)

    def show(self, far: InputProgress) -> None:
        """Print the progress, unless it was printed within the last five seconds."""
        now_s = time.monotonic()
        if now_s - self.reported_at_s < _TELL_EVERY_S:
            return
        self.reported_at_s = now_s
        share = "" if far.share is None or far.is_read else f" ({far.share:.0%})"
        read = f"… {far.rows} rows{share}"
        output.say(read if far.answered is None else f"{read}, {far.answered} of {far.pushed} answered")


@contextmanager
def progress_display(*, waits: bool) -> Iterator[ProgressDisplay]:
    """Yield a progress bar on a terminal, and lines elsewhere; `waits`: the bar shows the answers too."""
    if not sys.stderr.isatty():
        yield LineProgress()
        return
    from rich.console import Console  # slow to import, and of no use in a pipe
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[told]}"),
               TimeRemainingColumn())  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        pushed = progress.add_task("pushed", total=None, told="")
        answered = progress.add_task("answered", total=None, told="") if waits else None

        class Bar:
            def show(self, far: InputProgress) -> None:
                share = 1.0 if far.is_read else far.share
                total = None if share is None else 1.0
                progress.update(pushed, completed=share or 0, total=total, told=f"{far.rows} rows")
                if answered is not None:
                    total = max(far.pushed, 1) if far.is_read else None
                    told = f"{far.answered} of {far.pushed}"
                    progress.update(answered, completed=far.answered or 0, total=total, told=told)

        yield Bar()


@attrs.define(eq=False)
class Rejects:
    """Where rejected rows go: a file that can be corrected and fed again, or else some of them to stderr.

    `may_overwrite`: the file is one that this batch wrote before, and is overwritten; `is_finished`: it is whole.
    """

    table: Table
    path: Path | None
    may_overwrite: bool = False
    is_finished: bool = False
    count: int = 0
    _file: IO[str] | None = None

    def __call__(self, bad: Bad) -> None:
        """Add one more bad row. Raise `UsageError` if it cannot be kept."""
        self.count += not bad.more
        if self.is_finished:
            return
        if self.path is None:
            self._print(bad)
            return
        try:
            file = self._file or self._open(self.path)
            file.write(bulk_files.reject_text(self.table, bad))
        except OSError as error:
            raise _write_error(self.path, error) from None

    def close(self) -> None:
        """Close the file at the end of the input, or of the command."""
        if self._file is not None:
            self._file.close()

    def _open(self, path: Path) -> IO[str]:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if self.may_overwrite else os.O_EXCL), 0o600)
        self._file = os.fdopen(handle, "w", encoding="utf-8", errors="surrogateescape", newline="")
        self._file.write(self.table.opening)
        return self._file

    def _print(self, bad: Bad) -> None:
        if not bad.more and self.count <= _MOST_TOLD:
            output.say(f"line {bad.line}: {bad.why}")
        elif not bad.more and self.count == _MOST_TOLD + 1:
            output.say("… and more; --rejects FILE keeps them all.")


def _write_error(path: Path, error: OSError) -> UsageError:
    if isinstance(error, FileExistsError):
        return existing_file_error(path)
    message = f"The rejects cannot be written to {path}: {error.strerror}."
    return UsageError(message, "Free some space there; the same command then continues.")


def existing_file_error(path: Path) -> UsageError:
    """Return the error for a rejects file that exists already and that this batch did not write."""
    return UsageError(f"{path} exists already.", "Name another file for the rejects, or remove it.")


@attrs.define(eq=False)
class Failures:
    """Shows rows whose jobs were not done."""

    reported: int = 0

    def report(self, ended: Iterable[FailedRow], line_of: Callable[[int], int]) -> None:
        """Show the first of these rows on stderr, then once that there are more.

        `ended`: rows whose jobs were not done. `line_of`: a row's number → its line in the file.
        """
        for one in ended:
            self.reported += 1
            if self.reported <= _MOST_TOLD:
                may = "; it may have run" if one.may_have_run else ""
                output.say(f"line {line_of(one.row)}: {one.code}: {one.message} (job {one.jid}{may})")
            elif self.reported == _MOST_TOLD + 1:
                output.say("… and more.")


@attrs.frozen
class Summary:
    """How a batch ended. `pushed`: how many rows were pushed, also by earlier starts. `done` None: it did not wait.

    `failed` and `uncertain`: code → how many rows were not done, and how many may have been. `queued_before`: how many
    were not pushed, since another job of their key was queued already. `pushed_before`: how many of the pushed ones
    earlier starts had pushed.
    """

    batch: str
    rows: int
    pushed: int
    rejected: int
    rejects: Path | None
    done: int | None = None
    failed: Mapping[str, int] = attrs.field(factory=dict)
    uncertain: Mapping[str, int] = attrs.field(factory=dict)
    dry_run: bool = False
    queued_before: int = 0
    pushed_before: int = 0

    @property
    def pending(self) -> int:
        """How many rows have no answer yet."""
        return 0 if self.done is None else max(self.pushed - self.done - self._failures, 0)

    @property
    def _failures(self) -> int:
        return sum(self.failed.values()) + sum(self.uncertain.values())

    def code(self) -> Exit:
        """Return the exit code."""
        if self.pending:
            return Exit.WAITING
        bad = self.rejected + self._failures
        if not bad:
            return Exit.OK
        good = self.pushed if self.done is None else self.done
        return Exit.PARTLY if good else Exit.FAILED

    def show(self, *, as_json: bool) -> None:
        """Print the summary to stdout, as a table or, `as_json`, as one JSON object."""
        kept = None if self.rejects is None else str(self.rejects)
        if as_json:
            told: dict[str, object] = {"batch": self.batch, "dry_run": self.dry_run, "rows": self.rows,
                "pushed": self.pushed, "rejected": self.rejected, "rejects": kept}  # fmt: skip
            if self.queued_before:
                told["queued_before"] = self.queued_before
            if self.done is not None:
                told |= {"done": self.done, "failed": dict(self.failed), "may_have_run": dict(self.uncertain),
                         "unanswered": self.pending}  # fmt: skip
            output.as_json(told)
            return
        verb = "good" if self.dry_run else "pushed"
        rows = [("rows", self.rows), (verb, self.pushed)]
        rows += [("pushed before", self.pushed_before)] if self.pushed_before else []
        rows += [("rejected", self.rejected)]
        rows += [("queued before", self.queued_before)] if self.queued_before else []
        if self.done is not None:
            rows.append(("done", self.done))
            rows += [("no" if code == NEGATIVE else code, count) for code, count in sorted(self.failed.items())]
            rows += [(f"{code} (may have run)", count) for code, count in sorted(self.uncertain.items())]
            rows += [("unanswered", self.pending)] if self.pending else []
        output.table(("", ""), [(name, str(count)) for name, count in rows])
        self._print_next_steps()

    def _print_next_steps(self) -> None:
        if self.rejects is not None:
            output.say(f"The rows that were rejected are in {self.rejects}: correct them there, and push that file.")
        elif self.rejected and not self.dry_run:
            output.say("Push the corrected rows as a file of their own: a changed file is pushed whole.")
        if any(code != NEGATIVE for code in self.failed):
            output.say(f"To list the dead jobs: restbroker dead --where 'jid ~ {self.batch}'")
        if count := sum(self.uncertain.values()):
            output.say(
                f"{rows_text(count)} may have run: check the server before you push any of them again. Their jobs:"
            )
            for code in sorted(self.uncertain):
                output.say(f"  restbroker dead --where 'jid ~ {self.batch}' --where 'error = {code}'")


def rows_text(count: int) -> str:
    """Return a number of rows in words: `1 row`, `5 rows`."""
    return "1 row" if count == 1 else f"{count} rows"
