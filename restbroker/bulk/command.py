"""`restbroker enqueue --bulk`: a job for each row of a file, and with --wait the results of all of them.

Called by `enqueue`. Always holds: neither Trio nor an HTTP client is imported; a bad row is rejected and affects no
other; however the command ends, it prints how to continue, and continuing pushes no row twice.
"""

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

import typer

from restbroker.bulk.batch import Batch, BatchOptions
from restbroker.bulk.files import open_input, open_table
from restbroker.bulk.push import read_last_record
from restbroker.bulk.read import BadFile
from restbroker.bulk.show import rows_text
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
            batch = Batch(settings, options, typed, client=client, batch_input=found, table=table)
            try:
                summary = batch.check() if dry_run else batch.run()
            except (SignalReceived, StoreUnavailable, StoreRefused) as error:
                _print_resume_hint(batch, error)
    summary.show(as_json=as_json)
    raise typer.Exit(summary.code())


def _print_resume_hint(batch: Batch, error: SignalReceived | RestbrokerError) -> NoReturn:
    if isinstance(error, RestbrokerError):
        output.say(f"restbroker: {error}")
    known = read_last_record(batch.client, batch.batch) if batch.batch else None
    pushed = "The number of pushed rows is unknown" if known is None else f"{rows_text(known.pushed)} are pushed"
    if not batch.batch:
        output.say("No row was pushed.")
    elif batch.batch_input.digest is None:
        last = "?" if known is None else known.row
        output.say(f"{pushed}, the last is row {last}. A pipe cannot be resumed: feed only the rows after that one.")
    else:
        output.say(f"{pushed}. The same command continues, and pushes none of them again.")
    if isinstance(error, SignalReceived):
        raise typer.Exit(128 + error.number) from None
    raise typer.Exit(Exit.STORE if isinstance(error, StoreUnavailable) else Exit.FAILED) from None


@contextmanager
def _raise_on_signals() -> Iterator[None]:
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
