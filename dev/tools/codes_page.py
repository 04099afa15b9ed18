"""Writes docs/codes.md, the page of all codes, from what the code has; and the table of HTTP requests into its page.

Always holds: each code has one row and one anchor, its own name; `make docs` writes the pages, and a test compares
them with this.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from dev.tools import endpoint_table
from dev.tools.pages import ROOT
from restbroker.console.codes import tables
from restbroker.telemetry.log_events import HINTS, LOG_EVENTS, LogEvent

PAGE: Final = "docs/codes.md"

_HEAD: Final = """\
# Codes: what they mean, and what to do

When something is not as it should be, restbroker names it by a word such as `TimedOut`: in a job that failed, in a line
of the log, or in what `restbroker check` finds. This page has each word once, made from the code (`make docs`);
[`restbroker explain CODE`](cli.md#what-a-code-means) prints its row without a network, and exit codes have
[a table of their own](cli.md#exit-codes). A link to a code is `codes.md#TimedOut`.
"""
_INTROS: Final[Mapping[str, str]] = {
    "Dead: the form of the job": """\
## What ends or delays a job

`error_class` of retried and dead jobs, `error.code` of [an answer](answers.md#wait-for-it), and `code=` in
lines such as `job.failed`. A job that can never work is dead at once: it goes to Sidekiq's dead set, where people see
it and can retry it once its cause is gone.

### Dead: the form of the job

The producer pushed something that is no job, or a member with a wrong value; nothing was sent.
""",
    "Dead: the token": """\
### Dead: the token

The job's token is wrong, or does not allow this command, host, target or queue; nothing was sent.
""",
    "Dead: the command": """\
### Dead: the command

The server said no and would say it again, or restbroker knew so before it asked.
""",
    "Dead: Prosody and rosters": """\
### Dead: Prosody and rosters

Of the kinds `prosody-rest` and `prosody-roster` alone.
""",
    "Dead: Openfire's chat": """\
### Dead: Openfire's chat

Of the kind `openfire-chat` alone: a user who was to act could not, or the room or workgroup was not there.
""",
    "Ended by restbroker or a person": """\
### Ended by restbroker or a person

The job's own time or key ended it, a person did, or processes died with it. Of these, `Expired` and `Duplicate` need
not be dead, and `KeyInUse` only waits.
""",
    "Retried": """\
### Retried

The job may work later: it waits in Sidekiq's retry set, longer each time, and is dead when
all tries are used. One that
[may have run](once.md#sent-but-not-answered) is sent again only if that does no harm.
""",
    "Deferred without using up a try": """\
### Deferred without using up a try

The server said "not now". The job waits in the schedule set for a few seconds, or as `Retry-After` says (15 minutes at
most, of a 429 a day), at most five times; then it is retried. An ejabberd is
[paused](outages.md#when-it-asks-for-a-pause) meanwhile, without `Retry-After` only if it did nothing else within the
last second.
""",
    "Why a target is down": """\
### Why a target is down

Nothing is sent to a target that is down: its jobs wait, and no try is used up. The log (`target.down`) and `restbroker
stats` name the reason. A job that stays unsent three times while others succeed fails with that code, as an ordinary
try. `LoginRefused`, `NotAdministrator`, `NoToken`, `Redirected` and `WrongUrl` make a job dead only if the probe after
them finds all well. At a target of kind `http` jobs die after a redirect, and without a `Probe` after a 401
([http.md](http.md)).
""",
    "Redis": """\
## What the log warns of

A line `warning` has a `code`, `message` and `hint`: something that a person should know, while jobs go on as far as
they can. Most are logged once until they change. After a reload there may also be codes of [the
configuration](#the-configuration). `check` finds some of these, too.

### Redis

Redis refuses something that restbroker needs, often because a key has the wrong type or this Redis user lacks a right.
Jobs stay in Redis, and restbroker tries again by itself.
""",
    "Jobs and tokens": """\
### Jobs and tokens

Producers push what has no effect here, or someone writes to Redis who should not; and jobs that wait for a decision.
""",
    "Processes and logins": """\
### Processes and logins

A process of restbroker ended or waits for a restart, or its login at a server costs more than it has to.
""",
    "Ports, pages and rosters": """\
### Ports, pages and rosters

What clients of restbroker's own services meet: the web pages, `/metrics`, `/healthz`, the roster service, and the ports
that take events.
""",
    "Events of servers": """\
### Events of servers

What may keep an event of an XMPP server from becoming a job ([events.md](events.md)).
""",
    "The configuration": """\
## What `check` finds

`restbroker check` prints these as notes, warnings and problems, with the names that they concern
([check.md](check.md)). What the log warns of, too, is above.

### The configuration

The file is read before anything is asked of Redis or a server; nothing here needs either.
""",
    "Redis and its queues": """\
### Redis and its queues

What Redis keeps after a crash, who else works on its queues, and where jobs wait.
""",
    "Restbroker's own services": """\
### Restbroker's own services

The roster service and the sources of events, as one request to each shows them, and the running processes' own reports.
""",
    "A target": """\
### A target

The server behind a target, as it answers a few harmless requests with the target's login.
""",
}
_LINES: Final = """
## Lines of the log

Each event is a line with its name, level and fields ([how lines are written](signals.md#the-log-and-its-level)).
Fields without a value are left out. `warnings` and `jobs.failed` count repetitions. A line without advice asks for
nothing.

| event and level | fields | when | what to do |
|---|---|---|---|
"""
_TOP: Final = "\n| code | meaning | what to do |\n|---|---|---|\n"


def markdown() -> str:
    """Return the whole page."""
    every = [(table["heading"], table["what"], row) for table in tables() for row in table["rows"].items()]
    said: dict[str, list[tuple[str, str, str]]] = {}
    for _, what, (codes, (meaning, hint)) in every:
        for code in codes.split(", "):
            said.setdefault(code, []).append((what, meaning, hint))
    text, shown = _HEAD, set[str]()
    for heading, intro in _INTROS.items():
        text += f"\n{intro}{_TOP}"
        for _, _, (codes, _) in (each for each in every if each[0] == heading):
            fresh = [code for code in codes.split(", ") if code not in shown]
            shown.update(fresh)
            if fresh:
                text += _row(fresh, said)
    return text + _LINES + "".join(map(_line, LOG_EVENTS.values()))


def _row(codes: Sequence[str], said: Mapping[str, Sequence[tuple[str, str, str]]]) -> str:
    """The row of codes that belong together, with what else each of them means elsewhere."""
    _, meaning, hint = said[codes[0]][0]
    meanings, hints = [meaning], [hint]
    for code in codes:
        of = f"`{code}` of " if len(codes) > 1 else ""
        meanings += [f"*{of}{what}*: {meaning}" for what, meaning, _ in said[code][1:]]
        hints += [f"*{what}*: {hint}" for what, _, hint in said[code][1:]]
    return f"| {', '.join(map(_anchored, codes))} | {_cell(meanings)} | {_cell(hints)} |\n"


def _line(event: LogEvent) -> str:
    hint = next((hint for names, hint in HINTS.items() if event.name in names.split(", ")), "")
    # Some lines ask for nothing unless they are warnings.
    when = "as a warning: " if "warning" in event.levels and {*event.levels} & {"info", "debug"} and hint else ""
    levels = ", ".join(event.levels)
    return f"| {_anchored(event.name)} {levels} | `{event.fields}` | {event.meaning} | {when}{hint} |\n"


def _anchored(code: str) -> str:
    return f'<a id="{code}"></a>`{code}`'


def _cell(texts: Sequence[str]) -> str:
    return "<br>".join(texts).replace("|", r"\|")


def pages() -> Iterator[tuple[str, str]]:
    """Yield each page that this writes, with its text as it is to be."""
    yield PAGE, markdown()
    yield endpoint_table.PAGE, endpoint_table.renewed((ROOT / endpoint_table.PAGE).read_text("utf-8"))


if __name__ == "__main__":
    for name, text in pages():
        (ROOT / name).write_text(text, encoding="utf-8")
