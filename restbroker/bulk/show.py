"""Shows the rejected rows and the summary of `enqueue --bulk`. Called by `bulk.batch`.

Always holds: the rejects file has whole rows, maybe with secrets, so only its owner may read it; a file that this batch
did not write is left alone; on stdout is the summary alone.
"""

import os
from pathlib import Path
from typing import IO, Final

from restbroker.bulk.rows import Bad, RowFile, reject_text
from restbroker.bulk.store import NEGATIVE, BatchRecord
from restbroker.console import columns, output
from restbroker.console.exits import Exit
from restbroker.console.output import counted
from restbroker.errors import UsageError
from restbroker.light import define, frozen

MOST_TOLD: Final = 20


@define(eq=False)
class Rejects:
    """Where rejected rows go: a file that can be corrected and fed again, or else some of them to stderr.

    `may_overwrite`: the file is one that this batch wrote before, and is overwritten; `is_finished`: it is whole.
    """

    table: RowFile
    path: Path | None
    may_overwrite: bool = False
    is_finished: bool = False
    count: int = 0
    _file: IO[str] | None = None

    def __call__(self, bad: Bad) -> None:
        """Add one more bad row. Raise `UsageError` if it cannot be kept."""
        self.count += 1
        if self.is_finished:
            return
        if self.path is None:
            if self.count <= MOST_TOLD:
                output.say(f"line {bad.line}: {bad.why}")
            elif self.count == MOST_TOLD + 1:
                output.say("… and more; --rejects FILE keeps them all.")
            return
        try:
            file = self._file or self._open(self.path)
            file.write(reject_text(self.table, bad))
        except FileExistsError:
            raise existing_file_error(self.path) from None
        except OSError as error:
            message = f"The rejects cannot be written to {self.path}: {error.strerror}."
            raise UsageError(message, "Free some space there; the same command then continues.") from None

    def close(self) -> None:
        """Close the file at the end of the input, or of the command."""
        if self._file is not None:
            self._file.close()

    def _open(self, path: Path) -> IO[str]:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if self.may_overwrite else os.O_EXCL), 0o600)
        self._file = os.fdopen(handle, "w", encoding="utf-8", errors="surrogateescape", newline="")
        self._file.write(self.table.opening)
        return self._file


def existing_file_error(path: Path) -> UsageError:
    """Return the error for a rejects file that exists already and that this batch did not write."""
    return UsageError(f"{path} exists already.", "Name another file for the rejects, or remove it.")


@frozen
class BatchSummary:
    """How a batch ended: `record` as in Redis; how many rows were rejected, and the file that has them, if any.

    `waits`: its rows' answers count. `pushed_before`: how many of the pushed rows earlier starts had pushed.
    """

    batch: str
    record: BatchRecord
    rejected: int
    rejects: Path | None
    waits: bool = False
    dry_run: bool = False
    pushed_before: int = 0

    @property
    def pending(self) -> int:
        """How many rows have no answer yet."""
        return max(self.record.pushed - self.record.ended_rows, 0) if self.waits else 0

    def code(self) -> Exit:
        """Return the exit code."""
        if self.pending:
            return Exit.WAITING
        if not (self.rejected or self.record.failed or self.record.uncertain):
            return Exit.OK
        return Exit.PARTLY if (self.record.done if self.waits else self.record.pushed) else Exit.FAILED

    def show(self, *, as_json: bool) -> None:
        """Print the summary to stdout, as a table or, `as_json`, as one JSON object."""
        known = self.record
        if as_json:
            kept = None if self.rejects is None else str(self.rejects)
            told: dict[str, object] = {"batch": self.batch, "dry_run": self.dry_run, "rows": known.row,
                "pushed": known.pushed, "rejected": self.rejected, "rejects": kept}  # fmt: skip
            if known.queued_before:
                told["queued_before"] = known.queued_before
            if self.waits:
                told |= {"done": known.done, "failed": dict(known.failed), "may_have_run": dict(known.uncertain),
                         "unanswered": self.pending}  # fmt: skip
            output.as_json(told)
            return
        rows = [("rows", known.row), ("good" if self.dry_run else "pushed", known.pushed)]
        rows += [("pushed before", self.pushed_before)] if self.pushed_before else []
        rows += [("rejected", self.rejected)]
        rows += [("queued before", known.queued_before)] if known.queued_before else []
        if self.waits:
            rows.append(("done", known.done))
            rows += [("no" if code == NEGATIVE else code, count) for code, count in sorted(known.failed.items())]
            rows += [(f"{code} (may have run)", count) for code, count in sorted(known.uncertain.items())]
            rows += [("unanswered", self.pending)] if self.pending else []
        columns.rows(("", ""), [(name, str(count)) for name, count in rows])
        self._print_next_steps()

    def _print_next_steps(self) -> None:
        if self.rejects is not None:
            output.say(f"The rows that were rejected are in {self.rejects}: correct them there, and push that file.")
        elif self.rejected and not self.dry_run:
            output.say("Push the corrected rows as a file of their own: a changed file is pushed whole.")
        if any(code != NEGATIVE for code in self.record.failed):
            output.say(f"To list the dead jobs: restbroker dead --where 'jid ~ {self.batch}'")
        if count := sum(self.record.uncertain.values()):
            rows = counted(count, "row")
            output.say(f"{rows} may have run: check the server before you push any of them again. Their jobs:")
            for code in sorted(self.record.uncertain):
                output.say(f"  restbroker dead --where 'jid ~ {self.batch}' --where 'error = {code}'")
