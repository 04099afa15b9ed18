"""One batch of `enqueue --bulk`: begun or continued, pushed, waited for. Called by `bulk.command`.

Always holds: Redis decides which rows are pushed, not the state file; a finished batch is pushed again only with
`--again`.
"""

import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Final

import attrs
import typer

from restbroker.bulk import files as bulk_files
from restbroker.bulk import push
from restbroker.bulk import store as bulk
from restbroker.bulk.command_input import Input, batch_of, save
from restbroker.bulk.command_makers import Makers, wrong_header
from restbroker.bulk.command_show import (
    Failures,
    InputProgress,
    ProgressDisplay,
    Rejects,
    Summary,
    existing_file_error,
    progress_display,
)
from restbroker.bulk.push_jobs import COMMAND_KEY, OWN_COLUMNS, UNIQUE_KEY
from restbroker.bulk.push_state import State
from restbroker.bulk.read import ERROR, Bad, Read, Row, Table
from restbroker.config.core import Config
from restbroker.config.values import duration_text
from restbroker.console import arguments, output
from restbroker.console.exits import Exit
from restbroker.errors import UsageError
from restbroker.job.json_types import Json
from restbroker.operate.enqueue import JobRequest
from restbroker.store.client import Client

_SAVE_EVERY_S: Final = 1.0
_COUNT_EVERY_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 0.5
_HELD_S: Final = 3.0
"""After so many seconds without an answer rows may be held up."""
_LOOK_UP: Final = 500
_FAILED_KEPT: Final = "failed"
"""The note that the rows whose jobs failed are in the rejects file."""
EACH_ITS_OWN: Final = "-"
"""It stands in the place of a command if each row names its own."""


@attrs.frozen
class BatchOptions:
    """The options of the command line. `order`: the request that all jobs share, except arguments and token."""

    command: str
    argument_words: Sequence[str]
    file: Path
    order: JobRequest
    target: str | None
    queue: str | None
    any_command: bool
    timeout_s: float
    rejects: Path | None
    rate: float | None
    state: Path | None
    dry_run: bool
    again: bool
    as_json: bool


@attrs.define(eq=False)
class Batch:
    """One batch that is being pushed. `state`: its id and progress; None until the id is known."""

    settings: Config
    options: BatchOptions
    typed_arguments: arguments.TypedArguments
    client: Client
    batch_input: Input
    table: Table
    state: State | None = None
    record: bulk.BatchRecord = attrs.field(factory=bulk.BatchRecord)
    is_continued: bool = False
    failures: Failures = attrs.field(factory=Failures)
    _saved_s: float = 0.0
    _counted_s: float = 0.0

    @property
    def waits(self) -> bool:
        """Whether the batch waits for its answers and counts them."""
        return self.options.order.wants_reply

    def run(self) -> Summary:
        """Push the remaining rows of the batch, wait for the answers if the options say so, and return the summary.

        Raise `UsageError` if the file, the rejects file or the command cannot be used, `StoreUnavailable` or
        `StoreRefused` if Redis does not take the rows: the batch may be continued then.
        """
        makers = makers_of(
            self.settings, self.options, self.typed_arguments, client=self.client, order=self.options.order
        )
        require_valid(makers, self.options, self.table)
        state, known = self._begin()
        self.state, self.record, pushed_before = state, known, known.pushed
        if known.row or state.is_complete:
            self._print_start(state, known)
        wanted = known.notes.get("wait") == "1"
        makers.reorder(attrs.evolve(makers.order, wants_reply=wanted, reply_to=bulk.reply_to(state.batch)))
        rejects = self._rejects()
        reader = reader_of(makers, self.options, self.table, rejects=rejects, batch=state.batch)
        reader.skipped, reader.keeps_texts = known.row, self.batch_input.digest is None
        with closing(rejects), progress_display(waits=self.waits) as shown:
            self._push(reader, shown)
            self._finish(reader)
            known = self._wait(shown, reader)
            self._reject_failed(rejects, known)
        done = known.done if self.waits else None
        rows = reader.good + reader.bad
        kept = self.options.rejects if reader.bad or self.record.notes.get(_FAILED_KEPT) else None
        return Summary(
            state.batch,
            rows,
            known.pushed,
            rejected=reader.bad,
            rejects=kept,
            done=done,
            failed=known.failed,
            uncertain=known.uncertain,
            queued_before=known.queued_before,
            pushed_before=pushed_before,
        )

    def _begin(self) -> tuple[State, bulk.BatchRecord]:
        tokens = self.settings.tokens
        secret = tokens[0].secrets[0].reveal() if tokens else ""
        state = batch_of(
            self.batch_input, _request_text(self.options, self.typed_arguments), secret, again=self.options.again
        )
        known = bulk.read_batch(self.client, state.batch)
        if known is None and state.row:
            raise UsageError(
                f"Redis knows nothing of batch {state.batch}, of which rows up to {state.row} were pushed: "
                "Redis lost its data, or the batch is more than 30 days old.",
                "--again pushes all rows again.",
            )
        self.is_continued = known is not None
        wait = "1" if self.waits else "0"
        if known is None or "wait" not in known.notes:
            notes = {
                "wait": wait,
                "rejects": "" if self.options.rejects is None else str(self.options.rejects.resolve()),
            }
            bulk.write_notes(self.client, state.batch, notes)
            known = attrs.evolve(known or bulk.BatchRecord(), notes=notes)
        if self.waits and known.notes["wait"] != "1":
            raise UsageError(
                "This batch was started without --wait, so there are no results of its rows.", "Leave --wait out."
            )
        save(self.batch_input, attrs.evolve(state, row=known.row))
        return state, known

    def _print_start(self, state: State, known: bulk.BatchRecord) -> None:
        before = f"{rows_text(known.pushed)} were pushed before (batch {state.batch})"
        if known.notes.get("complete") == "1":
            output.say(f"{before}, which is all that could be pushed. --again pushes them again.")
        else:
            output.say(f"{before}; continuing after row {known.row}.")

    def _rejects(self) -> Rejects:
        """Return where bad rows go. The file of a finished batch is left alone: a person may be correcting it."""
        path, notes = self.options.rejects, self.record.notes
        is_own = self.is_continued and path is not None and notes.get("rejects") == str(path.resolve())
        if path is not None and keeps_failed_rows(self.options) and path.exists() and not is_own:
            raise existing_file_error(path)  # not only once all has been pushed and waited for
        is_finished = is_own and notes.get("complete") == "1" and path is not None and path.exists()
        return Rejects(self.table, path, may_overwrite=is_own, is_finished=is_finished)

    def _push(self, reader: push.Reader, shown: ProgressDisplay) -> None:
        before, began_s, sent = self.record.row, time.monotonic(), 0
        digest = hashlib.sha256()
        for chunk in reader.chunks():
            digest.update("".join(chunk.texts).encode("utf-8", "surrogateescape"))
            if chunk.last > before:
                if self.options.rate is not None:
                    time.sleep(max(0.0, began_s + sent / self.options.rate - time.monotonic()))
                push.push(self.client, reader.batch, chunk, before=before, at_s=self.options.order.at_s)
                before, sent = chunk.last, sent + chunk.rows
            self._save_state(chunk.last, digest.hexdigest())
            self._count_replies(reader, shown)

    def _save_state(self, row: int, rows: str, *, at_once: bool = False) -> None:
        """Write the state file now and then."""
        state = self.state
        assert state is not None  # noqa: S101 - it has begun
        if self.batch_input.digest is None and row == state.row and state.rows not in ("", rows):
            message = f"The rows in {self.batch_input.name} are not those that were pushed before."
            raise UsageError(message, "Feed the same rows from the start, or name another --state.")
        now_s = time.monotonic()
        if row > max(state.row, self.record.row) and (at_once or now_s - self._saved_s >= _SAVE_EVERY_S):
            self._saved_s = now_s
            self.state = attrs.evolve(state, row=row, rows=rows if self.batch_input.digest is None else "")
            save(self.batch_input, self.state)

    def _finish(self, reader: push.Reader) -> None:
        assert self.state is not None  # noqa: S101 - it has begun
        bulk.write_notes(self.client, reader.batch, {"complete": "1"})
        self.record = bulk.read_batch(self.client, reader.batch) or self.record
        self.state = attrs.evolve(self.state, row=self.record.row, is_complete=True)
        save(self.batch_input, self.state)

    def _count_replies(self, reader: push.Reader, shown: ProgressDisplay, *, is_read: bool = False) -> int:
        """Count answers that have come, and show how far it is; return how many came."""
        replies = 0
        now_s = time.monotonic()
        # Of a row that was pushed before and is not read yet no one knows the line.
        is_due = reader.last >= self.record.row and now_s - self._counted_s >= _COUNT_EVERY_S
        if self.waits and (is_read or is_due):
            self._counted_s = now_s
            while True:
                count, ended = push.read_replies(self.client, reader.batch)
                self.failures.report(ended, reader.line_of)
                replies += count
                if not count:
                    break
            self.record = bulk.read_batch(self.client, reader.batch) or self.record
        share = self.batch_input.bytes_read() / self.batch_input.size if self.batch_input.size else None
        answered = self.record.ended_rows if self.waits else None
        shown.show(InputProgress(reader.good + reader.bad, share, answered, pushed=self.record.pushed, is_read=is_read))
        return replies

    def _wait(self, shown: ProgressDisplay, reader: push.Reader) -> bulk.BatchRecord:
        """Wait until all rows have ended, or none has for as long as the time-out says."""
        counted_s, pause_s, is_told = time.monotonic(), 0.02, False
        while self.waits:
            if self._count_replies(reader, shown, is_read=True):
                counted_s, pause_s = time.monotonic(), 0.02
            if self.record.ended_rows >= self.record.pushed:
                break
            if time.monotonic() - counted_s >= self.options.timeout_s:
                left = self.record.pushed - self.record.ended_rows
                onward = "" if self.batch_input.state is None else " The same command continues to wait."
                output.say(
                    f"No answer for {duration_text(self.options.timeout_s)}; {rows_text(left)} not done yet.{onward}"
                )
                break
            if not is_told and time.monotonic() - counted_s >= _HELD_S:
                self._print_held(reader)
                is_told = True
            time.sleep(pause_s)
            pause_s = min(pause_s * 1.5, _LONGEST_PAUSE_S)
        return self.record

    def _print_held(self, reader: push.Reader) -> None:
        """Say which jobs hold rows of this batch up, where those of one key are done one after the other."""
        # Most batches need none of it.
        from restbroker.bulk.command_held import held_lines

        for target in self.settings.targets:
            if target.order is not None and target.name in reader.targets:
                for line in held_lines(self.client, self.settings, target, reader.batch):
                    output.say(line)

    def _reject_failed(self, rejects: Rejects, known: bulk.BatchRecord) -> None:
        """Put the rows whose jobs failed among the rejects, once all have ended; not those that may have run."""
        if not keeps_failed_rows(self.options) or not sum(known.failed.values()):
            return
        assert self.state is not None  # noqa: S101 - it has begun
        if known.ended_rows < known.pushed:
            output.say(f"Failed rows are written to {self.options.rejects} once all have ended.")
            return
        if rejects.is_finished and known.notes.get(_FAILED_KEPT):
            return
        with self.batch_input.reopen() as source:
            if source is None:
                output.say(
                    f"{self.batch_input.name} has changed meanwhile, so its failed rows are not among the rejects."
                )
                return
            rejects.add(self._failed_rows(bulk_files.open_table(source).rows, self.state.batch))
        bulk.write_notes(self.client, self.state.batch, {_FAILED_KEPT: "1"})
        self.record = bulk.read_batch(self.client, self.state.batch) or self.record

    def _failed_rows(self, rows: Iterable[Read], batch: str) -> Iterator[Bad]:
        """Yield those of the rows whose jobs failed."""
        good = (row for row in rows if isinstance(row, Row))
        while part := list(islice(good, _LOOK_UP)):
            codes = bulk.failed_rows(self.client, batch, [row.number for row in part])
            for row in part:
                if (code := codes.get(row.number)) is not None:
                    said = self.failures.messages.get(row.number) or f"restbroker explain-error {code}"
                    yield Bad(row.number, row.line, f"{code}: {said}", row.text)


def keeps_failed_rows(options: BatchOptions) -> bool:
    """Tell whether rows whose jobs fail are written to the rejects file too: only with --wait and --rejects."""
    return options.rejects is not None and options.order.wants_reply and not options.dry_run


def makers_of(
    settings: Config, options: BatchOptions, typed: arguments.TypedArguments, client: Client, order: JobRequest
) -> Makers:
    """Return the makers of jobs, one for each command that a row may name: `typed` is in each, `order` is shared."""
    return Makers(
        settings,
        options.target,
        options.queue,
        typed_arguments=typed,
        any_command=options.any_command,
        order=order,
        client=client,
    )


def reader_of(makers: Makers, options: BatchOptions, table: Table, rejects: Rejects, batch: str) -> push.Reader:
    """Return the reader that makes jobs of the table's rows, and passes bad rows to `rejects`. `batch`: its id."""
    command = None if options.command == EACH_ITS_OWN else options.command
    return push.Reader(
        batch, table.rows, makers, command=command, are_cells=table.form == "csv", reject=rejects, rate=options.rate
    )


def require_valid(makers: Makers, options: BatchOptions, table: Table) -> None:
    """Raise `UsageError` if the command or the table's columns leave no valid row.

    End the command with 4 if no token allows it.
    """
    columns = [name for name in table.columns if name not in (ERROR, *OWN_COLUMNS)]
    if UNIQUE_KEY in table.columns and options.order.is_chained:
        raise UsageError(f"The column {UNIQUE_KEY} is not for --chain.", "Leave it out.")
    if UNIQUE_KEY in table.columns and options.order.lock is None:
        raise UsageError(f"The column {UNIQUE_KEY} needs --unique-for.", "For example: --unique-for 10m")
    if options.command == EACH_ITS_OWN:
        if table.form == "csv" and COMMAND_KEY not in columns:
            raise UsageError(f"The table has no column {COMMAND_KEY}.", "Add it, or name the command instead of -.")
        return
    maker = makers(options.command)
    reasons = maker.tokens.reasons_against(options.command)
    if reasons:
        output.say("Nothing was queued.")
        for reason in reasons:
            output.say(f"{reason.code}: {reason.message}\n{reason.hint}")
        raise typer.Exit(Exit.REFUSED)
    wrong = wrong_header(maker, columns) if table.form == "csv" else None
    if wrong is not None:
        version = makers.version(options.command)
        hint = f"This is how {version} takes it. For another one set ServerVersion (in Targets: in its Options)."
        raise UsageError(f"No row can be valid: {wrong}", hint)


def _request_text(options: BatchOptions, typed: arguments.TypedArguments) -> str:
    """Return a text that names what is to be done with the input; equal for equal commands and options."""
    const: Json = dict(typed.values)
    return json.dumps([options.command, const, options.target, options.queue], sort_keys=True)


def rows_text(count: int) -> str:
    """Return a number of rows in words: `1 row`, `5 rows`."""
    return "1 row" if count == 1 else f"{count} rows"
