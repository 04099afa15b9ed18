"""`restbroker enqueue --bulk`: a job for each row of a file, and with --wait the results of all of them.

`run` is called by `enqueue`. Always holds: the same file with the same command is the same batch, no matter who pushes
it again; Redis knows which of its rows are pushed, so that continuing pushes no row twice; the id of a batch reveals
nothing of what is in the file without the token's secret; however the command ends, it prints how to continue; neither
Trio nor an HTTP client is imported.
"""

import hashlib
import hmac
import json
import secrets
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from typing import Final, NoReturn

import attrs
import typer

from restbroker.bulk import store as bulk
from restbroker.bulk.jobs import (
    COMMAND_KEY,
    EACH_ITS_OWN,
    ORDER_COLUMN,
    OWN_COLUMNS,
    UNIQUE_KEY,
    BatchOptions,
    JobReader,
    Makers,
    no_order,
    wrong_header,
)
from restbroker.bulk.rows import RowFile, open_table
from restbroker.bulk.show import MOST_TOLD, BatchSummary, Rejects, existing_file_error
from restbroker.config.core import Config
from restbroker.config.target import Target
from restbroker.config.values import duration_text
from restbroker.console import arguments, output
from restbroker.console.exits import Exit
from restbroker.console.output import counted
from restbroker.console.progress import ShowProgress, progress
from restbroker.errors import RestbrokerError, StoreRefused, StoreUnavailable, UsageError
from restbroker.job.json_types import Json
from restbroker.light import define, field
from restbroker.operate.connect import open_store
from restbroker.store.client import Client

_SAY_EVERY_S: Final = 5.0
_PAUSE_S: Final = 0.25


def run(
    settings: Config, options: BatchOptions, argument_words: Sequence[str], *, dry_run: bool, as_json: bool
) -> NoReturn:
    """Push the rows of `options.file`, or check them with `dry_run`, print the summary, and exit.

    `argument_words`: arguments of all rows, as they were typed. Exit with 0 if all rows are pushed, and with --wait
    done; 7: not all are; 1: none is; 3: Redis is away; 4: no token allows the command; 6: an answer is missing. Raise
    `UsageError` if the file or an option cannot be used.
    """
    if options.request.reply_id is not None:
        raise UsageError("--reply-id is for one job; --bulk pushes many.", "Leave one of them out.")
    typed = arguments.read(argument_words)
    # A dry run needs no Redis: it only takes the server's version from it, if that comes within a second.
    store = open_store(settings, 1.0) if dry_run else open_store(settings)
    with _raise_on_signals(), open_table(options.file) as table, store as client:
        makers = Makers(settings, options, typed, client, options.request)
        _require_valid(makers, table)
        batch = _RowBatch(makers, options, client, table)
        try:
            summary = batch.check() if dry_run else batch.run()
        except (KeyboardInterrupt, StoreUnavailable, StoreRefused) as error:
            _print_resume_hint(batch, error)
    summary.show(as_json=as_json)
    raise typer.Exit(summary.code())


@define(eq=False)
class _RowBatch:
    """One batch of the rows of `table`. `batch`: its id; "" until it is known. `record`: what Redis knows of it."""

    makers: Makers
    options: BatchOptions
    client: Client
    table: RowFile
    batch: str = ""
    record: bulk.BatchRecord = field(factory=bulk.BatchRecord)
    _failed: int = 0
    _said_s: float = field(factory=time.monotonic)

    @property
    def waits(self) -> bool:
        """Whether the batch waits for its answers and counts them."""
        return self.options.request.wants_reply

    def check(self) -> BatchSummary:
        """Check all rows, push none and write no file."""
        reader = self._reader(Rejects(self.table, None), "0" * bulk.BATCH_DIGITS)
        with progress() as show:
            for _ in reader.chunks():
                show(self.table.position(), self.table.size, f"{reader.good + reader.bad:,} rows")
        return BatchSummary("", bulk.BatchRecord(reader.good + reader.bad, reader.good), reader.bad, None, dry_run=True)

    def run(self) -> BatchSummary:
        """Push the remaining rows of the batch, wait for the answers if the options say so, and return the summary.

        Raise `UsageError` if the file or the rejects file cannot be used, `StoreUnavailable` or `StoreRefused` if Redis
        does not take the rows: the batch may be continued then.
        """
        rejects = self._begin()
        before = self.record
        if before.row or before.notes.get("complete") == "1":
            self._print_start()
        reply_to, wanted = bulk.reply_to(self.batch), before.notes["wait"] == "1"
        self.makers.use_request(attrs.evolve(self.makers.request, wants_reply=wanted, reply_to=reply_to))
        reader = self._reader(rejects, self.batch)
        reader.skipped = before.row
        with closing(rejects):
            with progress() as show:
                self._push(reader, show)
            bulk.write_notes(self.client, self.batch, {"complete": "1"})
            self.record = bulk.read_batch(self.client, self.batch) or self.record
            if self.waits:
                with progress() as show:
                    self._wait(show)
        kept = self.options.rejects if reader.bad else None
        return BatchSummary(self.batch, self.record, reader.bad, kept, waits=self.waits, pushed_before=before.pushed)

    def _reader(self, rejects: Rejects, batch: str) -> JobReader:
        command = None if self.options.request.command == EACH_ITS_OWN else self.options.request.command
        table, rate = self.table, self.options.rate
        return JobReader(batch, table.rows, self.makers, command, are_cells=table.is_csv, reject=rejects, rate=rate)

    def _begin(self) -> Rejects:
        """Find the batch in Redis, or begin it; return where bad rows go."""
        self.batch, known = self._find()
        notes = {} if known is None else dict(known.notes)
        path, is_own = self.options.rejects, False
        if path is not None:
            is_own = notes.get("rejects") == str(path.resolve())
            if path.exists() and not is_own:
                raise existing_file_error(path)
            notes["rejects"] = str(path.resolve())
        if self.waits and notes.get("wait") == "0":
            raise UsageError(
                "This batch was started without --wait, so there are no results of its rows.", "Leave --wait out."
            )
        notes.setdefault("wait", "1" if self.waits else "0")
        if known is None or notes != known.notes:
            bulk.write_notes(self.client, self.batch, notes)
        self.record = attrs.evolve(known or bulk.BatchRecord(), notes=notes)
        # The file of a finished batch is left alone: a person may be correcting it.
        is_finished = is_own and notes.get("complete") == "1" and path is not None and path.exists()
        return Rejects(self.table, path, may_overwrite=is_own, is_finished=is_finished)

    def _find(self) -> tuple[str, bulk.BatchRecord | None]:
        """Return the id of the batch, and its record if it was begun before, also under a token's previous secret."""
        if self.table.digest is None:
            return secrets.token_hex(bulk.BATCH_DIGITS // 2), None
        one = self.options
        const: Json = dict(self.makers.typed_arguments.values)
        what = json.dumps([one.request.command, const, one.target, one.queue], sort_keys=True)
        source = hashlib.sha256(f"{self.table.digest}\n{what}".encode()).hexdigest()
        keys = [secret.reveal().encode() for token in self.makers.settings.tokens for secret in token.secrets]
        names = [hmac.new(key, b"restbroker bulk " + source.encode(), "sha256").hexdigest() for key in keys]
        for name in names:
            if (known := bulk.read_batch(self.client, name[: bulk.BATCH_DIGITS])) is not None:
                return name[: bulk.BATCH_DIGITS], known
        return names[0][: bulk.BATCH_DIGITS], None

    def _print_start(self) -> None:
        known = self.record
        before = f"{counted(known.pushed, 'row')} were pushed before (batch {self.batch})"
        if known.notes.get("complete") == "1":
            again = "To push them again, feed them by a pipe: cat FILE | restbroker enqueue … --bulk -"
            output.say(f"{before}, which is all that could be pushed. {again}")
        else:
            output.say(f"{before}; continuing after row {known.row}.")

    def _push(self, reader: JobReader, show: ShowProgress) -> None:
        before, began_s, sent = self.record.row, time.monotonic(), 0
        for chunk in reader.chunks():
            if chunk.last > before:
                if self.options.rate is not None:
                    time.sleep(max(0.0, began_s + sent / self.options.rate - time.monotonic()))
                bulk.push_chunk(self.client, self.batch, chunk, before=before, at_s=self.options.request.at_s)
                before, sent = chunk.last, sent + chunk.rows
            if self.waits:
                self._count_replies()
            rows = f"{reader.good + reader.bad} rows"
            show(self.table.position(), self.table.size, rows)
            self._say_progress(rows)

    def _count_replies(self) -> int:
        """Count the answers that have come, and show the first rows that were not done; return how many came."""
        replies, ended = bulk.read_replies(self.client, self.batch)
        for text in ended[: max(0, MOST_TOLD - self._failed)]:
            output.say(text)
        if self._failed <= MOST_TOLD < self._failed + len(ended):
            output.say("… and more.")
        self._failed += len(ended)
        return replies

    def _say_progress(self, text: str) -> None:
        """Print how far it is now and then where there is no terminal."""
        if time.monotonic() - self._said_s >= _SAY_EVERY_S and not sys.stderr.isatty():
            self._said_s = time.monotonic()
            output.say(f"… {text}")

    def _wait(self, show: ShowProgress) -> None:
        """Wait until all rows have ended, or none has for as long as the time-out says."""
        while self.record.ended_rows < self.record.pushed:
            if not self._take():
                left, waited = self.record.pushed - self.record.ended_rows, duration_text(self.options.timeout_s)
                onward = "" if self.table.digest is None else " The same command continues to wait."
                output.say(f"No answer for {waited}; {counted(left, 'row')} not done yet.{onward}")
                if any(target.order is not None for target in self.makers.settings.targets):
                    output.say("`restbroker keys list` shows the keys whose jobs are held.")
                break
            self.record = bulk.read_batch(self.client, self.batch) or self.record
            answered = f"{self.record.ended_rows} of {self.record.pushed} answered"
            show(self.record.ended_rows, self.record.pushed, answered)
            self._say_progress(answered)

    def _take(self) -> int:
        """Count the answers that come within the time-out; return how many came."""
        ends_s = time.monotonic() + self.options.timeout_s
        while not (replies := self._count_replies()) and (left_s := ends_s - time.monotonic()) > 0:
            time.sleep(min(_PAUSE_S, left_s))
        return replies


def _require_valid(makers: Makers, table: RowFile) -> None:
    """Raise `UsageError` if the command or the table's columns leave no valid row.

    End the command with 4 if no token allows it.
    """
    options = makers.options
    columns = [name for name in table.columns[table.is_rejects :] if name not in OWN_COLUMNS]
    if UNIQUE_KEY in table.columns and options.request.lock is None:
        raise UsageError(f"The column {UNIQUE_KEY} needs --unique-for.", "For example: --unique-for 10m")
    has_order_key = options.request.order_key is not None or ORDER_COLUMN in table.columns
    if options.request.command == EACH_ITS_OWN:
        if has_order_key:
            _require_order(makers.settings.targets)
        if table.is_csv and COMMAND_KEY not in columns:
            raise UsageError(f"The table has no column {COMMAND_KEY}.", "Add it, or name the command instead of -.")
        return
    maker = makers(options.request.command)
    if has_order_key:
        _require_order([maker.target])
    reasons = maker.tokens.reasons_against()
    if reasons:
        output.say("Nothing was queued.")
        for reason in reasons:
            output.say(f"{reason.code}: {reason.message}", reason.hint)
        raise typer.Exit(Exit.REFUSED)
    wrong = wrong_header(maker, columns) if table.is_csv else None
    if wrong is not None:
        hint = (
            f"`restbroker commands {options.request.command}` lists what it takes; ServerVersion chooses the version."
        )
        raise UsageError(f"No row can be valid: {wrong}", hint)


def _require_order(targets: Sequence[Target]) -> None:
    """Raise `UsageError` if none of these targets does jobs of one `order_key` one after the other."""
    if not any(target.takes_order_key for target in targets):
        hint = 'Set "OrderBy": "order_key" there, or leave the order keys out: then rows are done in any order.'
        raise UsageError(f"Nothing was queued: {no_order(targets)}", hint)


def _print_resume_hint(batch: _RowBatch, error: KeyboardInterrupt | RestbrokerError) -> NoReturn:
    if isinstance(error, RestbrokerError):
        output.say_error(error)
    known = None
    with suppress(RestbrokerError):
        known = bulk.read_batch(batch.client, batch.batch) or bulk.BatchRecord()
    pushed = "The number of pushed rows is unknown" if known is None else f"{counted(known.pushed, 'row')} are pushed"
    if not batch.batch:
        output.say("No row was pushed.")
    elif batch.table.digest is None:
        last = "?" if known is None else known.row
        output.say(f"{pushed}, the last is row {last}. A pipe cannot be resumed: feed only the rows after that one.")
    else:
        output.say(f"{pushed}. The same command continues, and pushes none of them again.")
    if isinstance(error, KeyboardInterrupt):
        raise error
    raise typer.Exit(Exit.STORE if isinstance(error, StoreUnavailable) else Exit.FAILED) from None


@contextmanager
def _raise_on_signals() -> Iterator[None]:
    """Make Ctrl-C and SIGTERM raise `KeyboardInterrupt` in the block, and end the command with the signal's code."""

    def stop(number: int, _frame: object) -> None:
        raise KeyboardInterrupt(number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except KeyboardInterrupt as stopped:
        raise typer.Exit(128 + stopped.args[0]) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
