"""`restbroker sources`: the state of the sources of events that processes read by themselves.

Always holds: it changes nothing; of a login's id, with which others could act as the user, only the end is shown.
"""

import sys
from collections.abc import Iterator, Sequence

import attrs
import typer

from restbroker.console import output
from restbroker.console.load_config import ConfigOption, load_quietly
from restbroker.console.options import JsonOption
from restbroker.console.times import local, utc
from restbroker.job.json_types import Json
from restbroker.operate.connect import open_store
from restbroker.store.sources import SourceState, read_states

app = typer.Typer(add_completion=False)


@app.command()
def sources(json: JsonOption = False, config: ConfigOption = None) -> None:
    """Show the state of the event sources that restbroker reads itself, those that fail first.

    For a user's stream it also shows the end of its login id, and when it was opened and last brought an event and a
    heartbeat, at most half a minute old. In a pipe each line is: source, user, HOST:PID, the state (read, no login, no
    question, or the code of what is wrong), since when (UTC), login, opened, last event, last heartbeat, what is wrong.
    Sources that servers post to are not listed.
    """
    with open_store(load_quietly(config)) as client:
        found = read_states(client)
    if json:
        output.as_json([_as_json(one) for one in found])
    elif sys.stdout.isatty():
        for place, one in enumerate(found):
            output.data(f"{'' if place == 0 else chr(10)}SOURCE  {one.source}")
            output.table(("", ""), _properties(one))
    else:
        output.table((), map(_row, found))
    if not found:
        output.say("No process on this Redis reads events. Sources that servers post to are not listed.")


def _as_json(one: SourceState) -> dict[str, Json]:
    """Return a source's fields, with null for what is not known."""
    return {name: value or None for name, value in attrs.asdict(one).items()}


def _row(one: SourceState) -> Sequence[str]:
    times = [utc(at_s) if at_s else "-" for at_s in (one.opened_s, one.event_s, one.heartbeat_s)]
    state = one.code or one.message or "read"
    words = (one.source, one.user or "-", one.process, state, utc(one.since_s), one.login or "-")
    return (*words, *times, (one.code and one.message) or "-")


def _properties(one: SourceState) -> Iterator[Sequence[str]]:
    if one.user:
        yield "user", one.user
    yield "kind", one.kind
    yield "process", one.process
    state = f"not read ({one.code})" if one.code else one.message or "read"
    yield "state", f"{state} since {local(one.since_s)}"
    if one.code:
        yield "reason", one.message
        yield "hint", one.hint
    if one.login:
        yield "login", one.login
    for name, at_s in (("opened", one.opened_s), ("last event", one.event_s), ("heartbeat", one.heartbeat_s)):
        if at_s:
            yield name, local(at_s)
