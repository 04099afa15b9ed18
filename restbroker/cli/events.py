"""`restbroker events`: watch events from servers, see the state of their sources, post one as a sender would.

Always holds: only `send` changes anything or shows a message text, that of the file; of a login's id, with which others
could act as the user, only the end is shown.
"""

import sys
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from restbroker.console import columns, completion, output
from restbroker.console.arguments import bytes_of
from restbroker.console.columns import Column
from restbroker.console.exits import Exit
from restbroker.console.lists import Verbs
from restbroker.console.load_config import load_with_notices
from restbroker.console.options import DryRunOption, Output, argument, command, option
from restbroker.console.times import listed, local, utc
from restbroker.operate.connect import open_store
from restbroker.operate.events import ADD_SOURCE, NO_SOURCE, ShownEvent, Tail, dead_causes, outcomes_text, source_rows
from restbroker.operate.names import require
from restbroker.store.sources import SourceState, read_states, shown

app = typer.Typer(
    cls=Verbs,
    add_completion=False,
    no_args_is_help=True,
    help="Show events from servers as they become jobs, and the state of their sources.",
)

SourceOption = Annotated[
    str | None, option("--source SOURCE", "Only events from this source.", completion.sources, show_default=False)
]


@command(app)
def tail(
    *,
    source: SourceOption = None,
    last: Annotated[int, option("N", "How many earlier events to show first.", min=0)] = 10,
    once: Annotated[bool, option("--once", "Show these, and do not wait for more.")] = False,
    how: Output,
) -> None:
    """Show events as they come, until Ctrl-C. Their jobs stay where they are.

    A source is configured here, or has sent events. restbroker notes the latest 1,000 or so events as it pushes their
    jobs, without message texts. In a pipe each line is: when (UTC), source, type, from, to, room, queue, jid.
    """
    settings = how.settings("Events")
    with open_store(settings) as client:
        stream = Tail(client, source)
        before = list(stream.read_new())
        if source is not None:
            configured = {known.name for known in settings.events.sources} if settings.events else set[str]()
            require("source of events", source, configured | stream.sources)
        if not before:
            output.say(
                "No events are recorded." if settings.events else f"No events are recorded. {NO_SOURCE} {ADD_SOURCE}"
            )
        _show(deque(before, maxlen=last), as_json=how.json)
        if not once:
            output.follow(lambda: _show(stream.read_new(), as_json=how.json))


@command(app)
def sources(how: Output) -> None:
    """Show the state of the event sources, those that fail first, with the number of events by outcome.

    The first line of a source has the counts of all its processes since each started. For a user's stream it also shows
    the end of its login id, when it was opened, and when it last brought an event and a heartbeat. All this is at most
    half a minute old. In a pipe each line is: source, user, HOST:PID, the state (read, opening, no login, no question,
    no process, or the code of what is wrong), since when (UTC), login, opened, last event, last heartbeat, what is
    wrong, counts.
    """
    settings = how.settings("Events")
    with open_store(settings) as client:
        found = source_rows(read_states(client), settings.events, dead_causes(client, settings))
    if how.json:
        output.as_json([{name: value or None for name, value in shown(state).items()} for state in found])
    else:
        columns.show(_COLUMNS, found, as_json=False)
    if not found:
        output.say("No process on this Redis takes events.")


@command(app)
def send(
    *,
    source: Annotated[str, argument("SOURCE", "A source that programs post to.", completion.sources)],
    file: Annotated[Path, argument("FILE", "The file to post; - is stdin.", completion.paths)],
    header: Annotated[list[str] | None, option("--header NAME:VALUE", "A header; may be repeated.")] = None,
    path: Annotated[str, option("PATH", "The rest of the URL after the source's path, e.g. ops?level=1.")] = "",
    media_type: Annotated[str, option("--type TYPE", "The type of the body.")] = "application/json",
    dry_run: DryRunOption = False,
    how: Output,
) -> None:
    """Post a file to a source as its sender would, with the source's secret, and show what came of it.

    It shows the answer's status, the job's id (-: nothing was pushed, since the source drops it or had it before), and
    the error. Then, as this configuration file fills them, the event's members, the queue, the command and its
    arguments, or why it cannot (file_error). A process that was not restarted after a change fills them as the file was
    before. With --dry-run it posts nothing, and needs neither Redis nor a running restbroker. Exits with 0: it was
    accepted; 1: it was not, or no process accepts events; 2: wrong command line or configuration; 4: the secret was
    refused.
    """
    from restbroker.operate import post_event  # slow to load

    loaded = load_with_notices(how.config).config
    place = post_event.source_of(loaded, source)
    headers = {name.strip(): value.strip() for name, _, value in (text.partition(":") for text in header or ())}
    posted = post_event.request_to(place, bytes_of(file), {"Content-Type": media_type, **headers}, path)
    told = {} if dry_run else post_event.post(loaded, place, posted)
    told |= post_event.preview(loaded, place, posted, "error" if dry_run else "file_error")
    if how.json:
        output.as_json(told)
    for name, value in () if how.json else told.items():
        inner = value if isinstance(value, Mapping) else {}
        lines = [f"{name}: {'' if inner else columns.cell(value)}", *(f"  {key}: {inner[key]}" for key in inner)]
        # No line of what was posted begins where ours do.
        output.data(*"\n".join(line.rstrip().replace("\n", "\n    ") for line in lines).split("\n"))
    if told.get("error") is not None:
        raise typer.Exit(Exit.REFUSED if told.get("status") == 401 else Exit.FAILED)


def _show(found: Iterable[ShownEvent], *, as_json: bool) -> None:
    is_person = sys.stdout.isatty()
    for seen in found:
        words = seen.words.values()
        if as_json:
            output.json_line({"at": utc(seen.at_s), **seen.words, "id": seen.id})
        elif is_person:
            output.data("  ".join([local(seen.at_s), *(word for word in words if word is not None)]))
        else:
            output.row([utc(seen.at_s), *(word or "-" for word in words)])


def _moment(of: Callable[[SourceState], float]) -> Callable[[SourceState], str | None]:
    return lambda one: utc(of(one)) if of(one) else None


_COLUMNS: Final[Sequence[Column[SourceState]]] = (
    Column("SOURCE", lambda one: one.source),
    Column("USER", lambda one: one.user),
    Column("PROCESS", lambda one: one.process),
    Column(
        "STATE",
        lambda one: one.code or one.message or "read",
        lambda one: f"not read ({one.code})" if one.code else one.message or "read",
    ),
    Column("SINCE", lambda one: utc(one.since_s), lambda one: listed(one.since_s)),
    Column("", lambda one: one.login),
    Column("", _moment(lambda one: one.opened_s)),
    Column("LAST EVENT", _moment(lambda one: one.event_s), lambda one: listed(one.event_s) if one.event_s else "-"),
    Column("", _moment(lambda one: one.heartbeat_s)),
    Column(
        "WHY",
        lambda one: one.message if one.code else one.notice or None,
        lambda one: f"{one.message} {one.hint}" if one.code else one.notice,
    ),
    Column("EVENTS", outcomes_text),
)
