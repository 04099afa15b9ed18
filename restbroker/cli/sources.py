"""`restbroker sources`: the state of the sources of events that processes read by themselves.

Always holds: it changes nothing; of a login's id, with which others could act as the user, only the end is shown.
"""

from collections.abc import Callable, Sequence
from typing import Final

import attrs
import typer

from restbroker.console import columns, output
from restbroker.console.columns import Column
from restbroker.console.load_config import ConfigOption, load_quietly
from restbroker.console.options import JsonOption
from restbroker.console.times import local, utc
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
        output.as_json([{name: value or None for name, value in attrs.asdict(one).items()} for one in found])
    else:
        columns.show(_COLUMNS, found, as_json=False)
    if not found:
        output.say("No process on this Redis reads events. Sources that servers post to are not listed.")


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
    Column("SINCE", lambda one: utc(one.since_s), lambda one: local(one.since_s)),
    Column("", lambda one: one.login),
    Column("", _moment(lambda one: one.opened_s)),
    Column("LAST EVENT", _moment(lambda one: one.event_s), lambda one: local(one.event_s) if one.event_s else "-"),
    Column("", _moment(lambda one: one.heartbeat_s)),
    Column(
        "WHY",
        lambda one: one.message if one.code else None,
        lambda one: f"{one.message} {one.hint}" if one.code else "",
    ),
)
