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
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from typing import Final, NoReturn

import attrs
import typer

from restbroker.bulk import push
from restbroker.bulk import store as bulk
from restbroker.bulk.jobs import (
    BATCH_DIGITS,
    COMMAND_KEY,
    ORDER_COLUMN,
    OWN_COLUMNS,
    UNIQUE_KEY,
    BatchOptions,
    Makers,
    no_order,
    row_of,
    wrong_header,
)
from restbroker.bulk.rows import ERROR, BadFile, Input, Table, open_input, open_table
from restbroker.bulk.show import (
    MOST_TOLD,
    Rejects,
    ShowProgress,
    Summary,
    existing_file_error,
    progress_display,
    rows_text,
)
from restbroker.config.core import Config
from restbroker.config.target import Target
from restbroker.config.values import duration_text
from restbroker.console import arguments, output
from restbroker.console.arguments import TypedArguments
from restbroker.console.exits import Exit
from restbroker.console.times import local
from restbroker.errors import RestbrokerError, StoreRefused, StoreUnavailable, UsageError
from restbroker.job.json_types import Json
from restbroker.operate.connect import open_store
from restbroker.store.client import Client

_COUNT_EVERY_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 0.5
_HELD_S: Final = 3.0
"""After so many seconds without an answer rows may be held up."""
_HOLDERS: Final = 3
_EACH_ITS_OWN: Final = "-"
"""It stands in the place of a command if each row names its own."""


class _SignalReceived(BaseException):
    """A signal that ends the command came; `number` is the signal's."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def run(
    settings: Config, options: BatchOptions, argument_words: Sequence[str], *, dry_run: bool, as_json: bool
) -> NoReturn:
    """Push the rows of `options.file`, or check them with `dry_run`, print the summary, and exit.

    `argument_words`: arguments of all rows, as they were typed. Exit with 0 if all rows are pushed, and with --wait
    done; 7: not all are; 1: none is; 4: no token allows the command; 6: Redis or an answer did not come in time. Raise
    `UsageError` if the file or an option cannot be used.
    """
    if options.order.reply_id is not None:
        raise UsageError("--reply-id is for one job; --bulk pushes many.", "Leave one of them out.")
    typed = arguments.read(argument_words)
    with _raise_on_signals(), open_input(options.file) as found:
        try:
            table = open_table(found.source)
        except BadFile as error:
            raise UsageError(f"{found.name} {error.why}.", error.hint) from None
        # A dry run needs no Redis: it only takes the server's version from it, if that comes within a second.
        with open_store(settings, 1.0) if dry_run else open_store(settings) as client:
            batch = _Batch(settings, options, typed, client=client, batch_input=found, table=table)
            try:
                summary = batch.check() if dry_run else batch.run()
            except (_SignalReceived, StoreUnavailable, StoreRefused) as error:
                _print_resume_hint(batch, error)
    summary.show(as_json=as_json)
    raise typer.Exit(summary.code())


@attrs.define(eq=False)
class _Batch:
    """One batch of the rows of `table`. `batch`: its id; "" until it is known. `record`: what Redis knows of it."""

    settings: Config
    options: BatchOptions
    typed_arguments: TypedArguments
    client: Client
    batch_input: Input
    table: Table
    batch: str = ""
    record: bulk.BatchRecord = attrs.field(factory=bulk.BatchRecord)
    _failed: int = 0
    _counted_s: float = 0.0

    @property
    def waits(self) -> bool:
        """Whether the batch waits for its answers and counts them."""
        return self.options.order.wants_reply

    def check(self) -> Summary:
        """Check all rows, push none and write no file. Raise `UsageError` as `run` does."""
        makers = self._makers()
        rejects = Rejects(self.table, None)
        reader = self._reader(makers, rejects, "0" * BATCH_DIGITS)
        for _ in reader.chunks():
            pass
        return Summary("", reader.good + reader.bad, reader.good, rejected=reader.bad, rejects=None, dry_run=True)

    def run(self) -> Summary:
        """Push the remaining rows of the batch, wait for the answers if the options say so, and return the summary.

        Raise `UsageError` if the file, the rejects file or the command cannot be used, `StoreUnavailable` or
        `StoreRefused` if Redis does not take the rows: the batch may be continued then.
        """
        makers = self._makers()
        rejects = self._begin()
        before = self.record
        if before.row or before.notes.get("complete") == "1":
            self._print_start()
        wanted = before.notes["wait"] == "1"
        makers.reorder(attrs.evolve(makers.order, wants_reply=wanted, reply_to=bulk.reply_to(self.batch)))
        reader = self._reader(makers, rejects, self.batch)
        reader.skipped = before.row
        with closing(rejects), progress_display() as shown:
            self._push(reader, shown)
            bulk.write_notes(self.client, self.batch, {"complete": "1"})
            self.record = bulk.read_batch(self.client, self.batch) or self.record
            self._wait(shown, reader)
        known = self.record
        return Summary(
            self.batch,
            reader.good + reader.bad,
            known.pushed,
            rejected=reader.bad,
            rejects=self.options.rejects if reader.bad else None,
            done=known.done if self.waits else None,
            failed=known.failed,
            uncertain=known.uncertain,
            queued_before=known.queued_before,
            pushed_before=before.pushed,
        )

    def _makers(self) -> Makers:
        """Return the makers of jobs, one for each command. Raise `UsageError` if no row can be valid."""
        makers = Makers(self.settings, self.options, self.typed_arguments, self.client)
        _require_valid(makers, self.table)
        return makers

    def _reader(self, makers: Makers, rejects: Rejects, batch: str) -> push.Reader:
        command = None if self.options.command == _EACH_ITS_OWN else self.options.command
        table, rate = self.table, self.options.rate
        return push.Reader(batch, table.rows, makers, command, are_cells=table.is_csv, reject=rejects, rate=rate)

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
        if self.waits and notes.setdefault("wait", "1") != "1":
            raise UsageError(
                "This batch was started without --wait, so there are no results of its rows.", "Leave --wait out."
            )
        notes.setdefault("wait", "0")
        if known is None or notes != known.notes:
            bulk.write_notes(self.client, self.batch, notes)
        self.record = attrs.evolve(known or bulk.BatchRecord(), notes=notes)
        # The file of a finished batch is left alone: a person may be correcting it.
        is_finished = is_own and notes.get("complete") == "1" and path is not None and path.exists()
        return Rejects(self.table, path, may_overwrite=is_own, is_finished=is_finished)

    def _find(self) -> tuple[str, bulk.BatchRecord | None]:
        """Return the id of the batch, and its record if it was begun before, also under a token's previous secret."""
        if self.batch_input.digest is None:
            return secrets.token_hex(BATCH_DIGITS // 2), None
        one = self.options
        const: Json = dict(self.typed_arguments.values)
        what = json.dumps([one.command, const, one.target, one.queue], sort_keys=True)
        source = hashlib.sha256(f"{self.batch_input.digest}\n{what}".encode()).hexdigest()
        keys = [secret.reveal().encode() for token in self.settings.tokens for secret in token.secrets]
        names = [hmac.new(key, b"restbroker bulk " + source.encode(), "sha256").hexdigest() for key in keys]
        for name in names:
            if (known := bulk.read_batch(self.client, name[:BATCH_DIGITS])) is not None:
                return name[:BATCH_DIGITS], known
        return names[0][:BATCH_DIGITS], None

    def _print_start(self) -> None:
        known = self.record
        before = f"{rows_text(known.pushed)} were pushed before (batch {self.batch})"
        if known.notes.get("complete") == "1":
            again = "To push them again, feed them by a pipe: cat FILE | restbroker enqueue … --bulk -"
            output.say(f"{before}, which is all that could be pushed. {again}")
        else:
            output.say(f"{before}; continuing after row {known.row}.")

    def _push(self, reader: push.Reader, shown: ShowProgress) -> None:
        before, began_s, sent = self.record.row, time.monotonic(), 0
        for chunk in reader.chunks():
            if chunk.last > before:
                if self.options.rate is not None:
                    time.sleep(max(0.0, began_s + sent / self.options.rate - time.monotonic()))
                push.push(self.client, self.batch, chunk, before=before, at_s=self.options.order.at_s)
                before, sent = chunk.last, sent + chunk.rows
            self._count_replies(reader, shown)

    def _count_replies(self, reader: push.Reader, shown: ShowProgress, *, is_read: bool = False) -> int:
        """Count answers that have come, and show how far it is; return how many came."""
        replies = 0
        now_s = time.monotonic()
        # The line of a row that was pushed before is unknown until that row is read.
        is_due = reader.last >= self.record.row and now_s - self._counted_s >= _COUNT_EVERY_S
        if self.waits and (is_read or is_due):
            self._counted_s = now_s
            while True:
                count, ended = push.read_replies(self.client, self.batch)
                self._print_failed(ended, reader)
                replies += count
                if not count:
                    break
            self.record = bulk.read_batch(self.client, self.batch) or self.record
        text, share = f"{reader.good + reader.bad} rows", self.batch_input.share_read()
        if self.waits:
            text += f", {self.record.ended_rows} of {self.record.pushed} answered"
            share = self.record.ended_rows / max(self.record.pushed, 1) if is_read else share
        shown(text, share)
        return replies

    def _print_failed(self, ended: Sequence[push.FailedRow], reader: push.Reader) -> None:
        """Show the first rows whose jobs were not done, then once that there are more."""
        for one in ended:
            self._failed += 1
            if self._failed <= MOST_TOLD:
                may = "; it may have run" if one.may_have_run else ""
                output.say(f"line {reader.line_of(one.row)}: {one.code}: {one.message} (job {one.jid}{may})")
            elif self._failed == MOST_TOLD + 1:
                output.say("… and more.")

    def _wait(self, shown: ShowProgress, reader: push.Reader) -> None:
        """Wait until all rows have ended, or none has for as long as the time-out says."""
        counted_s, pause_s, is_told = time.monotonic(), 0.02, False
        while self.waits:
            if self._count_replies(reader, shown, is_read=True):
                counted_s, pause_s = time.monotonic(), 0.02
            if self.record.ended_rows >= self.record.pushed:
                break
            if time.monotonic() - counted_s >= self.options.timeout_s:
                left = self.record.pushed - self.record.ended_rows
                onward = "" if self.batch_input.digest is None else " The same command continues to wait."
                output.say(
                    f"No answer for {duration_text(self.options.timeout_s)}; {rows_text(left)} not done yet.{onward}"
                )
                break
            if not is_told and time.monotonic() - counted_s >= _HELD_S:
                for target in self.settings.targets:
                    if target.order is not None and target.name in reader.makers.targets:
                        self._print_held(target)
                is_told = True
            time.sleep(pause_s)
            pause_s = min(pause_s * 1.5, _LONGEST_PAUSE_S)

    def _print_held(self, target: Target) -> None:
        """Say which jobs hold rows of this batch up, where those of one key are done one after the other."""
        # Most batches need none of it.
        from restbroker.operate import order_wait
        from restbroker.operate.context import context_of

        def is_own(jid: str) -> bool:
            return row_of(self.batch, jid) is not None

        held = order_wait.holders(self.client, context_of(self.settings), target, is_own, most=_HOLDERS)
        for one in held:
            output.say("\n".join((f"Jobs are held {one.behind(local)}.", *one.next_steps)))
        if held:
            output.say("All keys that are held: restbroker keys list")


def _require_valid(makers: Makers, table: Table) -> None:
    """Raise `UsageError` if the command or the table's columns leave no valid row.

    End the command with 4 if no token allows it.
    """
    options = makers.options
    columns = [name for name in table.columns if name not in (ERROR, *OWN_COLUMNS)]
    if UNIQUE_KEY in table.columns and options.order.lock is None:
        raise UsageError(f"The column {UNIQUE_KEY} needs --unique-for.", "For example: --unique-for 10m")
    has_order_key = options.order.order_key is not None or ORDER_COLUMN in table.columns
    if options.command == _EACH_ITS_OWN:
        if has_order_key:
            _require_order(makers.possible_targets())
        if table.is_csv and COMMAND_KEY not in columns:
            raise UsageError(f"The table has no column {COMMAND_KEY}.", "Add it, or name the command instead of -.")
        return
    maker = makers(options.command)
    if has_order_key:
        _require_order([maker.target])
    reasons = maker.tokens.reasons_against()
    if reasons:
        output.say("Nothing was queued.")
        for reason in reasons:
            output.say(f"{reason.code}: {reason.message}\n{reason.hint}")
        raise typer.Exit(Exit.REFUSED)
    wrong = wrong_header(maker, columns) if table.is_csv else None
    if wrong is not None:
        version = makers.version(maker.target, options.command)
        hint = f"This is how {version} takes it. For another one set ServerVersion (in Targets: in its Options)."
        raise UsageError(f"No row can be valid: {wrong}", hint)


def _require_order(targets: Sequence[Target]) -> None:
    """Raise `UsageError` if none of these targets does jobs of one `order_key` one after the other."""
    if not any(target.takes_order_key for target in targets):
        why = no_order(targets[0].name) if len(targets) == 1 else 'no target here has "OrderBy": "order_key".'
        hint = 'Set "OrderBy": "order_key" there, or leave the order keys out: then rows are done in any order.'
        raise UsageError(f"Nothing was queued: {why}", hint)


def _print_resume_hint(batch: _Batch, error: _SignalReceived | RestbrokerError) -> NoReturn:
    if isinstance(error, RestbrokerError):
        output.say(f"restbroker: {error}")
    known = None
    with suppress(RestbrokerError):
        known = bulk.read_batch(batch.client, batch.batch) or bulk.BatchRecord()
    pushed = "The number of pushed rows is unknown" if known is None else f"{rows_text(known.pushed)} are pushed"
    if not batch.batch:
        output.say("No row was pushed.")
    elif batch.batch_input.digest is None:
        last = "?" if known is None else known.row
        output.say(f"{pushed}, the last is row {last}. A pipe cannot be resumed: feed only the rows after that one.")
    else:
        output.say(f"{pushed}. The same command continues, and pushes none of them again.")
    if isinstance(error, _SignalReceived):
        raise typer.Exit(128 + error.number) from None
    raise typer.Exit(Exit.STORE if isinstance(error, StoreUnavailable) else Exit.FAILED) from None


@contextmanager
def _raise_on_signals() -> Iterator[None]:
    """Make Ctrl-C and SIGTERM raise `_SignalReceived` in the block, once."""
    numbers = (signal.SIGINT, signal.SIGTERM)

    def stop(number: int, _frame: object) -> None:
        for one in numbers:
            signal.signal(one, signal.SIG_IGN if one == number else signal.SIG_DFL)
        raise _SignalReceived(number)

    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    except _SignalReceived as stopped:
        raise typer.Exit(128 + stopped.number) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
