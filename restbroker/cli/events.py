"""`restbroker events`: watch events from servers. Always holds: it changes nothing, and shows no message text."""

import sys
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Annotated, Final

import typer

from restbroker.console import completion, output
from restbroker.console.lists import Verbs
from restbroker.console.load_config import ConfigOption, load_quietly
from restbroker.console.options import JsonOption
from restbroker.console.times import local, utc
from restbroker.operate.connect import open_store
from restbroker.operate.events import ADD_SOURCE, NO_SOURCE, RecentEvent, Tail
from restbroker.operate.names import require

app = typer.Typer(
    cls=Verbs, add_completion=False, no_args_is_help=True, help="Show events from servers as they become jobs."
)

_LOOK_EVERY_S: Final = 0.25
SourceOption = Annotated[
    str | None,
    typer.Option(
        "--source",
        metavar="SOURCE",
        help="Only events from this source.",
        show_default=False,
        autocompletion=completion.sources,
    ),
]


@app.callback()
def events() -> None:
    """Show events from servers as they become jobs."""


@app.command()
def tail(
    source: SourceOption = None,
    last: Annotated[int, typer.Option(metavar="N", help="How many earlier events to show first.", min=0)] = 10,
    once: Annotated[bool, typer.Option("--once", help="Show these, and do not wait for more.")] = False,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Show events as they come, until Ctrl-C. Their jobs stay where they are.

    A source is configured here, or has sent events. restbroker notes the latest 1,000 or so events as it pushes their
    jobs, without message texts. In a pipe each line is: when (UTC), source, type, from, to, room, queue, jid.
    """
    settings = load_quietly(config, "Events")
    with open_store(settings) as client:
        stream = Tail(client, source)
        before = list(stream.read_new())
        if source is not None:
            configured = {one.name for one in settings.events.sources} if settings.events else set[str]()
            require("source of events", source, configured | stream.sources)
        if not before:
            output.say(
                "No events are recorded." if settings.events else f"No events are recorded. {NO_SOURCE} {ADD_SOURCE}"
            )
        _show(deque(before, maxlen=last), as_json=json)
        try:
            while not once:
                if output.wait(_LOOK_EVERY_S):
                    raise output.output_lost(BrokenPipeError())
                _show(stream.read_new(), as_json=json)
        except KeyboardInterrupt:
            return


def _show(found: Iterable[RecentEvent], *, as_json: bool) -> None:
    is_person = sys.stdout.isatty()
    for seen in found:
        words = _fields(seen)
        if as_json:
            output.json_line({"at": utc(seen.at_s), **words, "id": seen.id or None})
        elif is_person:
            output.data("  ".join([local(seen.at_s), *(word for word in words.values() if word is not None)]))
        else:
            output.row([utc(seen.at_s), *(word or "-" for word in words.values())])
    # Anyone who reads a pipe wants to see it now.
    with output.require_written():
        pass


def _fields(seen: RecentEvent) -> Mapping[str, str | None]:
    words = {
        "source": seen.source,
        "type": seen.type,
        "from": seen.sender,
        "to": seen.receiver,
        "room": seen.room,
        "queue": seen.queue,
        "jid": seen.jid,
    }
    return {name: word or None for name, word in words.items()}
