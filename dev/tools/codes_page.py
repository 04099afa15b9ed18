"""Writes docs/codes.md, the page of all codes, from what the code has; and the table of HTTP requests into its page.

Always holds: each code has one place and one anchor, its own name; `make docs` writes the pages, and a test compares
them with this.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, TypeAlias

from dev.tools import endpoint_table
from dev.tools.pages import ROOT
from restbroker.console.codes import CodeTable, sentence, tables
from restbroker.telemetry.log_events import LOG_EVENTS, LogEvent

PAGE: Final = "docs/codes.md"

_HEAD: Final = """\
# Codes: what they mean

restbroker names each fault by a word such as `TimedOut`: in a failed job, in a line of the log, or in what
`restbroker check` finds. The message next to it says what to do, if anything. [`restbroker explain
CODE`](cli.md#what-a-code-means) says it, too, without a network. This page has what a code means, and what no message
says. Exit codes have [a table of their own](cli.md#exit-codes). To link to a code, write `codes.md#TimedOut`.
"""
_INTROS: Final[Mapping[str, str]] = {
    "Dead: the form of the job": """\
## What ends or delays a job

You meet these as `error_class` of retried and dead jobs, as `error.code` of [an answer](answers.md#wait-for-it), and as
`code=` in lines such as `job.failed`. A job that can never work is dead at once: you find it in Sidekiq's dead set, and
can retry it once its cause is gone. `restbroker explain JID` shows what happened to a job.

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

Only jobs for targets of kind `prosody-rest` or `prosody-roster` have these.
""",
    "Dead: Openfire's chat": """\
### Dead: Openfire's chat

At a target of kind `openfire-chat` the acting user could not act, or the room or workgroup was not there.
""",
    "Ended by restbroker or a person": """\
### Ended by restbroker or a person

The job's own time or key ended it, a person did, or processes died with it. A job with `Expired` or `Duplicate` need
not be dead, and one with `KeyInUse` only waits.
""",
    "Retried": """\
### Retried

The job may work later: it waits in Sidekiq's retry set, longer each time, and is dead when all tries are used. One that
[may have run](once.md#sent-but-not-answered) is sent again only if that does no harm.
""",
    "Deferred without using up a try": """\
### Deferred without using up a try

The server said "not now". The job waits in the schedule set for a few seconds, or as `Retry-After` says (15 minutes at
most, of a 429 a day), at most five times; then it is retried. Of every kind but `http`, restbroker
[pauses](outages.md#when-it-asks-for-a-pause) the target meanwhile, without `Retry-After` only if it did nothing else
within the last second.
""",
    "Why a target is down": """\
### Why a target is down

restbroker sends nothing to a target that is down: its jobs wait, and use up no try. The log (`target.down`) and
`restbroker stats` name the reason; `restbroker check` names the key to correct. A job that stays unsent three times
while others succeed fails with that code, as an ordinary try. `LoginRefused`, `NotAdministrator`, `NoToken`,
`Redirected` and `WrongUrl` make a job dead only if the probe after them finds all well. At a target of kind `http` jobs
die after a redirect, and without a `Probe` after a 401 ([http.md](http.md)).
""",
    "Redis": """\
## What the log warns of

A line `warning` has a `code`, a `message` and a `hint`: something that you should know, while jobs go on as far as they
can. restbroker logs most of them once until they change. After a reload there may also be codes of [the
configuration](#the-configuration). `check` finds some of these, too.

### Redis

Redis refuses something that restbroker needs. If a key has the wrong type, `restbroker check` names it. If this Redis
user lacks a right, [give it](sidekiq.md#a-redis-user). Jobs stay in Redis, and restbroker tries again.
""",
    "Jobs and tokens": """\
### Jobs and tokens

Producers push members that have no effect, someone writes to Redis who should not, or jobs wait for your decision.
""",
    "Processes and logins": """\
### Processes and logins

A process of restbroker ended or waits for a restart, or its login at ejabberd [costs more than it
has to](servers/ejabberd-login.md#a-token).
""",
    "Ports, pages and rosters": """\
### Ports, pages and rosters

Clients meet these at restbroker's own services: the web pages, `/metrics`, `/healthz`, [the roster
service](roster-service.md), and the ports that take events.
""",
    "Events of servers": """\
### Events of servers

An event of an XMPP server may not become a job ([events.md](events.md)). While a server is away, restbroker tries again
every 5 s at least, until `ComponentBack`, `OpenfireBack` or `RabbitMQBack`.
""",
    "What is wrong now": """\
## What is wrong now

The table by which `restbroker stats` and the pages say "Nothing needs you", or do not: `check`,
[`stats --problems`](stats.md#what-is-wrong-now) and the metric `restbroker_problems` are made of it, too. Other rows
have codes that stand elsewhere: `DeadSetFull`, `Refused`, `OrderStopped`, `WrongType`, those of Redis from `Full` on,
and `TargetDenied`.
""",
    "The configuration": """\
## What `check` finds

`restbroker check` prints each of these with the names that it concerns, why it matters and what to do
([check.md](check.md)). What the log warns of, too, is above.

### The configuration

`check` reads the file before it asks Redis or a server; nothing here needs either.
""",
    "Redis and its queues": """\
### Redis and its queues

[What Redis keeps](redis.md) after a crash, who else works on its queues, and where jobs wait.
""",
    "Restbroker's own services": """\
### Restbroker's own services

`check` sends one request to [the roster service](roster-service.md) and to each [source of events](events.md), and
reads the reports of the running processes.
""",
    "A target": """\
### A target

`check` asks the server behind a target a few harmless requests with the target's login.
""",
}
_LINES: Final = """
## Lines of the log

Each event is a line with its name, level and fields ([how lines are written](signals.md#the-log-and-its-level)).
Fields without a value are left out. A line's `hint` says what to do; for lines without one, `restbroker explain
jobs.promoted` does.

| event and level | fields | when |
|---|---|---|
"""
_TOP: Final = "\n| code | meaning |\n|---|---|\n"
_Row: TypeAlias = tuple[CodeTable, str, Sequence[str]]


def markdown() -> str:
    """Return the whole page."""
    every = [(table, codes, texts) for table in tables() for codes, texts in table["rows"].items()]
    said: dict[str, list[_Row]] = {}
    for table, codes, texts in sorted(every, key=lambda row: _is_named(row[0])):
        for code in codes.split(", "):
            said.setdefault(code, []).append((table, code, texts))
    text, placed = _HEAD, set[str]()
    for heading, intro in _INTROS.items():
        rows, named = [], []
        for table, codes, _ in (row for row in every if row[0]["heading"] == heading):
            fresh = [code for code in codes.split(", ") if code not in placed and said[code][0][0] is table]
            placed.update(fresh)
            if _is_named(table):
                named += fresh
            elif fresh:
                rows.append(_row(fresh, said))
        text += f"\n{intro}" + (f"{_TOP}{''.join(rows)}" if rows else "") + _list(named)
    return text + _LINES + "".join(map(_line, LOG_EVENTS.values()))


def _is_named(table: CodeTable) -> bool:
    """Tell whether the page has only the names of this table's codes."""
    return table.get("messages_say_all", False)


def _row(codes: Sequence[str], said: Mapping[str, Sequence[_Row]]) -> str:
    """Return the row of codes that belong together, with what else each of them means elsewhere."""
    cell = [_cell(said[codes[0]][0][2])]
    for code in codes:
        of = f"`{code}` of " if len(codes) > 1 else ""
        others = (row for row in said[code][1:] if not _is_named(row[0]))
        cell += [f"*{of}{table['what']}*: {_cell(texts)}" for table, _, texts in others]
    return f"| {', '.join(map(_anchored, codes))} | {'<br>'.join(cell)} |\n"


def _cell(texts: Sequence[str]) -> str:
    """Return what a code means, and what no message says."""
    shown = filter(None, (texts[0], *texts[2:3]))
    return " ".join(map(sentence, shown)).replace("|", r"\|")


def _list(codes: Sequence[str]) -> str:
    """Return the codes of which the page has only the names; "" if there are none."""
    head = "Their messages say everything, and `restbroker explain CODE` explains them"
    return f"\n{head}: {', '.join(map(_anchored, codes))}.\n" if codes else ""


def _line(event: LogEvent) -> str:
    return f"| {_anchored(event.name)} {', '.join(event.levels)} | `{event.fields}` | {event.meaning} |\n"


def _anchored(code: str) -> str:
    return f'<a id="{code}"></a>`{code}`'


def pages() -> Iterator[tuple[str, str]]:
    """Yield each page that this writes, with its text as it is to be."""
    yield PAGE, markdown()
    yield endpoint_table.PAGE, endpoint_table.renewed((ROOT / endpoint_table.PAGE).read_text("utf-8"))


if __name__ == "__main__":
    for name, text in pages():
        (ROOT / name).write_text(text, encoding="utf-8")
