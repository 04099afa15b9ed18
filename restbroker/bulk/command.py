"""`restbroker enqueue --bulk`: a job for each row of a file, and with --wait the results of all of them.

Called by `enqueue`. Always holds: neither Trio nor an HTTP client is imported; a bad row is rejected and affects no
other; however the command ends, it prints how to continue, and continuing pushes no row twice.
"""

import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import NoReturn

import typer

from restbroker.bulk import files as bulk_files
from restbroker.bulk.command_batch import (
    Batch,
    BatchOptions,
    keeps_failed_rows,
    makers_of,
    reader_of,
    require_valid,
    rows_text,
)
from restbroker.bulk.command_input import open_input
from restbroker.bulk.command_show import Rejects, Summary
from restbroker.bulk.push import read_last_record
from restbroker.bulk.read import BadFile, Table
from restbroker.config.core import Config
from restbroker.console import arguments, output
from restbroker.console.exits import Exit
from restbroker.errors import RestbrokerError, StoreRefused, StoreUnavailable, UsageError
from restbroker.operate.connect import open_store


class SignalReceived(BaseException):
    """A signal that ends the command came; `number` is the signal's."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def run(settings: Config, options: BatchOptions) -> NoReturn:
    """Push the rows of `options.file`, or check them with `dry_run`, print the summary, and exit.

    Exit with 0 if all rows are pushed, and with --wait done; 7: not all are; 1: none is; 4: no token allows the
    command; 6: Redis or an answer did not come in time. Raise `UsageError` if the file or an option cannot be used.
    """
    if options.order.reply_id is not None:
        raise UsageError("--reply-id is for one job; --bulk pushes many.", "Leave one of them out.")
    typed = arguments.read(options.argument_words)
    with raise_on_signals(), open_input(options.file, options.state, twice=keeps_failed_rows(options)) as found:
        try:
            table = bulk_files.open_table(found.source)
        except BadFile as error:
            raise UsageError(f"{found.name} {error.why}.", error.hint) from None
        if options.dry_run:
            summary = _dry_run(settings, options, typed, table)
        else:
            with open_store(settings) as client:
                batch = Batch(settings, options, typed, client=client, batch_input=found, table=table)
                try:
                    summary = batch.run()
                except (SignalReceived, StoreUnavailable, StoreRefused) as error:
                    _print_resume_hint(batch, error)
    summary.show(as_json=options.as_json)
    raise typer.Exit(summary.code())


def _dry_run(settings: Config, options: BatchOptions, typed: arguments.TypedArguments, table: Table) -> Summary:
    """Read and check all rows. The server's version is taken from Redis, if it says it within a second."""
    with open_store(settings, 1.0) as client:
        makers = makers_of(settings, options, typed, client=client, order=options.order)
        require_valid(makers, options, table)
        rejects = Rejects(table, None)
        reader = reader_of(makers, options, table, rejects=rejects, batch="0" * 16)
        with closing(rejects):
            for _ in reader.chunks():
                pass
    rows = reader.good + reader.bad
    return Summary("", rows, reader.good, rejected=reader.bad, rejects=None, dry_run=True)


def _print_resume_hint(batch: Batch, error: SignalReceived | RestbrokerError) -> NoReturn:
    state = batch.state
    if isinstance(error, RestbrokerError):
        output.say(f"restbroker: {error}")
    known = None if state is None else read_last_record(batch.client, state.batch)
    if state is None:
        output.say("No row was pushed.")
    else:
        pushed = "The number of pushed rows is unknown" if known is None else f"{rows_text(known.pushed)} are pushed"
        if batch.batch_input.digest is None and batch.batch_input.state is None:
            last = "?" if known is None else known.row
            output.say(f"{pushed}, the last is row {last}. Without --state, standard input cannot be resumed: feed"
                       " only the rows after that one.")  # fmt: skip
        else:
            same = "The same command without --again" if batch.options.again else "The same command"
            output.say(f"{pushed}. {same} continues, and pushes none of them again.")
    if isinstance(error, SignalReceived):
        raise typer.Exit(128 + error.number) from None
    raise typer.Exit(Exit.STORE if isinstance(error, StoreUnavailable) else Exit.FAILED) from None


@contextmanager
def raise_on_signals() -> Iterator[None]:
    """Make Ctrl-C and SIGTERM raise `SignalReceived` in the block, once."""
    numbers = (signal.SIGINT, signal.SIGTERM)

    def stop(number: int, _frame: object) -> None:
        for one in numbers:
            signal.signal(one, signal.SIG_IGN if one == number else signal.SIG_DFL)
        raise SignalReceived(number)

    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    except SignalReceived as stopped:
        raise typer.Exit(128 + stopped.number) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
