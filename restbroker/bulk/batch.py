"""One batch of `enqueue --bulk`: begun or continued, pushed, waited for. Called by `bulk.command`.

Always holds: the same file with the same command is the same batch, no matter who pushes it again; Redis knows which of
its rows are pushed; the id of a batch reveals nothing of what is in the file without the token's secret.
"""

import hashlib
import hmac
import json
import secrets
import time
from contextlib import closing
from pathlib import Path
from typing import Final

import attrs
import typer

from restbroker.bulk import push
from restbroker.bulk import store as bulk
from restbroker.bulk.files import Input
from restbroker.bulk.jobs import BATCH_DIGITS, COMMAND_KEY, OWN_COLUMNS, UNIQUE_KEY, Makers, row_of, wrong_header
from restbroker.bulk.read import ERROR, Table
from restbroker.bulk.show import (
    Failures,
    InputProgress,
    ProgressDisplay,
    Rejects,
    Summary,
    existing_file_error,
    progress_display,
    rows_text,
)
from restbroker.config.core import Config
from restbroker.config.target import Target
from restbroker.config.values import duration_text
from restbroker.console import output
from restbroker.console.arguments import TypedArguments
from restbroker.console.exits import Exit
from restbroker.console.times import local
from restbroker.errors import UsageError
from restbroker.job.json_types import Json
from restbroker.operate.enqueue import JobRequest
from restbroker.store.client import Client

_COUNT_EVERY_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 0.5
_HELD_S: Final = 3.0
"""After so many seconds without an answer rows may be held up."""
_HOLDERS: Final = 3
EACH_ITS_OWN: Final = "-"
"""It stands in the place of a command if each row names its own."""


@attrs.frozen
class BatchOptions:
    """The options of the command line. `order`: the request that all jobs share, except arguments and token."""

    command: str
    file: Path
    order: JobRequest
    target: str | None
    queue: str | None
    any_command: bool
    timeout_s: float
    rejects: Path | None
    rate: float | None


@attrs.define(eq=False)
class Batch:
    """One batch of the rows of `table`. `batch`: its id; "" until it is known. `record`: what Redis knows of it."""

    settings: Config
    options: BatchOptions
    typed_arguments: TypedArguments
    client: Client
    batch_input: Input
    table: Table
    batch: str = ""
    record: bulk.BatchRecord = attrs.field(factory=bulk.BatchRecord)
    failures: Failures = attrs.field(factory=Failures)
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
        with closing(rejects), progress_display(waits=self.waits) as shown:
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
        one = self.options
        makers = Makers(
            self.settings,
            one.target,
            one.queue,
            typed_arguments=self.typed_arguments,
            any_command=one.any_command,
            order=one.order,
            client=self.client,
        )
        _require_valid(makers, one, self.table)
        return makers

    def _reader(self, makers: Makers, rejects: Rejects, batch: str) -> push.Reader:
        command = None if self.options.command == EACH_ITS_OWN else self.options.command
        is_csv = self.table.form == "csv"
        rows, rate = self.table.rows, self.options.rate
        return push.Reader(batch, rows, makers, command=command, are_cells=is_csv, reject=rejects, rate=rate)

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

    def _push(self, reader: push.Reader, shown: ProgressDisplay) -> None:
        before, began_s, sent = self.record.row, time.monotonic(), 0
        for chunk in reader.chunks():
            if chunk.last > before:
                if self.options.rate is not None:
                    time.sleep(max(0.0, began_s + sent / self.options.rate - time.monotonic()))
                push.push(self.client, self.batch, chunk, before=before, at_s=self.options.order.at_s)
                before, sent = chunk.last, sent + chunk.rows
            self._count_replies(reader, shown)

    def _count_replies(self, reader: push.Reader, shown: ProgressDisplay, *, is_read: bool = False) -> int:
        """Count answers that have come, and show how far it is; return how many came."""
        replies = 0
        now_s = time.monotonic()
        # The line of a row that was pushed before is unknown until that row is read.
        is_due = reader.last >= self.record.row and now_s - self._counted_s >= _COUNT_EVERY_S
        if self.waits and (is_read or is_due):
            self._counted_s = now_s
            while True:
                count, ended = push.read_replies(self.client, self.batch)
                self.failures.report(ended, reader.line_of)
                replies += count
                if not count:
                    break
            self.record = bulk.read_batch(self.client, self.batch) or self.record
        share = self.batch_input.share_read()
        answered = self.record.ended_rows if self.waits else None
        shown.show(InputProgress(reader.good + reader.bad, share, answered, pushed=self.record.pushed, is_read=is_read))
        return replies

    def _wait(self, shown: ProgressDisplay, reader: push.Reader) -> None:
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
                    if target.order is not None and target.name in reader.targets:
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


def _require_valid(makers: Makers, options: BatchOptions, table: Table) -> None:
    """Raise `UsageError` if the command or the table's columns leave no valid row.

    End the command with 4 if no token allows it.
    """
    columns = [name for name in table.columns if name not in (ERROR, *OWN_COLUMNS)]
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
