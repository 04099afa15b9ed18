"""`restbroker history`: the jobs that ended lately, and those that end now.

Always holds: it changes nothing, and shows no token and no arguments but those of HistoryArguments: no other is kept.
"""

import time
from collections.abc import Iterable, Sequence
from typing import Annotated, Final

import typer

from restbroker.cli import entries
from restbroker.console import columns, output
from restbroker.console.columns import Column
from restbroker.console.options import AfterOption, LimitOption, Output, WhereOption, command, option
from restbroker.console.times import listed, milliseconds, utc
from restbroker.errors import UsageError
from restbroker.operate import finished
from restbroker.operate.connect import open_store
from restbroker.operate.context import context_of
from restbroker.operate.find import SearchLimits
from restbroker.operate.walk import FoundEnd

app = typer.Typer(add_completion=False)
_LIMITS: Final = SearchLimits(seconds=10.0, jobs=1_000_000)


@command(app)
def history(
    *,
    where: WhereOption = None,
    limit: LimitOption = 20,
    after: AfterOption = None,
    follow: Annotated[bool, option("--follow", "Show the newest last, and wait for more until Ctrl-C.")] = False,
    how: Output,
) -> None:
    """List finished jobs for which all conditions hold, newest first.

    This needs History in the configuration. Conditions are on jid, command, target, outcome, error (the code), status,
    took (in milliseconds), attempts and at, and on arguments that HistoryArguments names. In a pipe each line is: when
    (UTC), command, target, outcome, status, took (in milliseconds), job id, code, and with HistoryArguments these.
    """
    if follow and after is not None:
        raise UsageError("--follow and --after exclude each other.", "Keep one of them.")
    settings = how.settings()
    knows = context_of(settings)
    meant = finished.read(where or (), time.time(), knows)
    shown = (*_COLUMNS, _ARGUMENTS) if knows.kept else _COLUMNS
    with open_store(settings) as client:
        page = finished.page(client, meant, knows, after=after or "", limit=limit, limits=_LIMITS)
        if not page.total and settings.history_s is None:
            raise UsageError(finished.OFF, finished.SWITCH_ON)
        if follow:
            new_ends = finished.tail(client, meant, knows, page.newest)
            _show(reversed(page.ends), shown, as_json=how.json)
            output.follow(lambda: _show(next(new_ends), shown, as_json=how.json))
            return
    if how.json:
        output.as_json([entries.of_end(end) for end in page.ends])
    else:
        columns.write(shown, page.ends)
    looked_at = f", of the newest {page.looked_at:,}" if meant and after is None else ""
    output.say(f"{output.jobs(len(page.ends))} shown{looked_at} of {page.total:,} kept.")
    if page.after is not None:
        output.say(f"For the next ones run the same command again with --after {page.after}")


def _show(ends: Iterable[FoundEnd], shown: Sequence[Column[FoundEnd]], *, as_json: bool) -> None:
    for end in ends:
        if as_json:
            output.json_line(entries.of_end(end))
        else:
            output.row(columns.cells(shown, end))


_COLUMNS: Final[Sequence[Column[FoundEnd]]] = (
    Column("WHEN", lambda end: utc(end.at_s), lambda end: listed(end.at_s)),
    Column("COMMAND", lambda end: end.ending.command),
    Column("TARGET", lambda end: end.ending.target),
    Column("OUTCOME", lambda end: end.ending.outcome, lambda end: end.ending.code or end.ending.outcome),
    Column("STATUS", lambda end: end.ending.status, numbers=True, spare=True),
    Column("TOOK", lambda end: end.ending.took_ms, lambda end: milliseconds(end.ending.took_ms), numbers=True),
    Column("JOB", lambda end: end.ending.jid),
    Column("", lambda end: end.ending.code),
)
_ARGUMENTS: Final[Column[FoundEnd]] = Column("ARGUMENTS", lambda end: entries.text(dict(end.ending.arguments)))
