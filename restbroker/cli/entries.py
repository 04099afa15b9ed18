"""Print jobs that were found: as a table for people, in columns or JSON for programs; one job in full; their causes.

Called by the verbs of `dead`, `retries` and `scheduled`, and by `explain`. Always holds: callers pass only texts that
may be shown; each row of causes names a group that the other verbs take as `failure_group` in `--where`.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import attrs

from restbroker.console import columns, output
from restbroker.console.causes import first_step, headline, hint, said, share
from restbroker.console.columns import Column
from restbroker.console.times import listed, local, milliseconds, utc
from restbroker.job.json_types import Json
from restbroker.operate.job import ShownJob
from restbroker.store.keys import SortedSet

if TYPE_CHECKING:
    from restbroker.operate.summary import Cause, Summary
    from restbroker.operate.walk import FoundEnd

COMMANDS: Final[Mapping[str, str]] = {"dead": "dead", "retry": "retries", "schedule": "scheduled"}
"""The command for the jobs of each set."""


def write(found: Sequence[ShownJob], *, as_json: bool) -> None:
    """Print these jobs on stdout; in a pipe, with the columns of `restbroker dead`."""
    if as_json:
        output.as_json([fields(entry) for entry in found])
    else:
        columns.write(COLUMNS, found, whole=False)


def print_entries(found: Sequence[ShownJob]) -> None:
    """Print these jobs on stderr, for people."""
    for job in found:
        words = (local(job.at_s) if job.at_s else "-", job.command, job.error_class, job.jid, job.message)
        output.say("  ".join(word for word in words if word))


def fields(entry: ShownJob) -> dict[str, Json]:
    """Return a job's fields for programs."""
    return {
        "when": _utc(entry.at_s),
        "jid": entry.jid,
        "command": entry.command,
        "error_class": entry.error_class,
        "message": entry.message,
        "key": entry.key,
        "queue": entry.queue,
        "target": entry.target,
        "arguments": entry.arguments,
        "attempts": entry.attempts,
        "failed_at": None if entry.failed_at_s is None else utc(entry.failed_at_s),
        "enqueued_at": None if entry.enqueued_at_s is None else utc(entry.enqueued_at_s),
        "expires_at": None if entry.expires_at_s is None else utc(entry.expires_at_s),
        "idempotency_key": entry.idempotency_key,
        "unique_key": entry.unique_key,
        "crashes": entry.crashes,
        "may_have_run": entry.may_have_run,
        "repeat_safe": entry.repeat_safe,
    }


def of_end(end: "FoundEnd") -> dict[str, Json]:
    """Return how a job ended, for programs; `times`: milliseconds before that."""
    return {"when": utc(end.at_s), **attrs.asdict(end.ending)}


def all_fields(entry: ShownJob) -> dict[str, Json]:
    """Return a job's fields for programs, with what it asks for in vain, its last tries and its size."""
    return {
        **fields(entry),
        "unmet": list(entry.unmet),
        "history": [dict(attempt) for attempt in entry.history],
        "size_bytes": entry.size_bytes,
    }


def properties(entry: ShownJob) -> Iterator[tuple[str, str]]:
    """Yield the properties of one job, as pairs of name and text."""
    served = "served by no target of this configuration" if entry.target is None else f"target {entry.target}"
    yield "job", entry.jid or "-"
    yield "command", entry.command or "-"
    if isinstance(entry.arguments, dict):
        yield from (("argument", f"{name}: {text(value)}") for name, value in entry.arguments.items())
    else:
        yield "arguments", text(entry.arguments)
    yield "queue", f"{entry.queue or '-'} ({served})"
    moments = {
        "pushed": entry.created_at_s or entry.enqueued_at_s,
        "first failure": entry.failed_at_s,
        "last failure": entry.retried_at_s,
        "expires": entry.expires_at_s,
    }
    keys = {"idempotency key": entry.idempotency_key, "unique key": entry.unique_key}
    yield from ((name, key) for name, key in keys.items() if key is not None)
    yield from ((name, local(moment_s)) for name, moment_s in moments.items() if moment_s is not None)
    if entry.error_class is not None or entry.message is not None:
        yield "error", ": ".join(word for word in (entry.error_class, entry.message) if word is not None)
    never = "never to its end" if entry.crashes else "never"
    yield "tried", never if not entry.attempts else "once" if entry.attempts == 1 else f"{entry.attempts} times"
    if entry.crashes:
        yield "crashes", entry.crash_text
    if entry.may_have_run:
        yield "may have run", "yes; " + ("safe to repeat" if entry.repeat_safe else "not known to be safe to repeat")
    yield from (("asked in vain", line) for line in entry.unmet)
    yield from (("try", line) for line in try_lines(entry.history))


def try_lines(history: Sequence[Mapping[str, Json]]) -> Iterator[str]:
    """Yield a line for each of the last tries."""
    for attempt in history:
        at, status = attempt.get("at"), attempt.get("status")
        words = (
            local(at) if isinstance(at, int | float) else "-",
            text(attempt.get("outcome")),
            text(attempt.get("code")),
            "" if status is None else f"status {text(status)}",
            milliseconds(attempt.get("ms")) if attempt.get("ms") else "",
            text(attempt.get("excerpt")),
        )
        yield "  ".join(word for word in words if word)


def text(value: Json) -> str:
    """Return a value on one line: a text as it is, other values as JSON, `-` for None."""
    match value:
        case None:
            return "-"
        case str():
            return value
        case _:
            return json.dumps(value, ensure_ascii=False)


def _utc(at_s: float) -> str | None:
    # A job that waits may not say when it was pushed.
    return utc(at_s) if at_s else None


COLUMNS: Final[Sequence[Column[ShownJob]]] = (
    Column("WHEN", lambda one: _utc(one.at_s), lambda one: listed(one.at_s) if one.at_s else "-"),
    Column("JOB", lambda one: one.jid),
    Column("COMMAND", lambda one: one.command),
    Column("CODE", lambda one: one.error_class),
    Column("MESSAGE", lambda one: one.crash_text or one.message, lambda one: one.crash_text or said(one.message)),
)


def write_summary(found: "Summary", zset: SortedSet, limit: int, *, as_json: bool) -> None:
    """Print at most `limit` causes."""
    causes = found.causes[:limit]
    if as_json:
        output.as_json(_summary_json(found, causes, zset))
        return
    columns.write(_cause_columns(found), causes)
    if sys.stdout.isatty():
        for line in dict.fromkeys(line for cause in causes for line in _steps(cause, zset)):
            output.data(line)
    _tell_summary(found, len(causes), zset)


def _tell_summary(found: "Summary", shown: int, zset: SortedSet) -> None:
    if not found.causes:
        which = "" if found.matching == found.looked_at else " for which this holds"
        output.say(f"No job of the {zset} set{which} failed." if found.total else f"The {zset} set is empty.")
        return
    more = len(found.causes) - shown
    left = found.matching - sum(cause.jobs for cause in found.causes)
    output.say(f"{headline(found)} of the {zset} set{f'; {more:,} causes more' if more else ''}.")
    if left:
        output.say(f"{output.jobs(left)} did not fail, or have other causes.")
    if found.looked_at < found.total:
        output.say(f"{found.total - found.looked_at:,} more jobs were not searched: the time ran out.")
    output.say(f"The jobs of one: restbroker {COMMANDS[zset]} list --where 'failure_group = {found.causes[0].group}'")


def _steps(cause: "Cause", zset: SortedSet) -> Iterator[str]:
    """Yield what to do about a cause."""
    if (todo := hint(cause)) is not None:
        step = first_step(cause)
        more = " NAME=VALUE --retry; or --rename OLD=NEW" if step == "edit" else ""
        how = f"restbroker {COMMANDS[zset]} {step} --where 'failure_group = {cause.group}'{more}"
        yield f"{cause.code}: {todo}{f' ({how})' if step != 'retry' else ''}"


def _cause_columns(found: "Summary") -> "Sequence[Column[Cause]]":
    return (
        Column("GROUP", lambda one: one.group),
        Column("JOBS", lambda one: one.jobs, lambda one: f"{one.jobs:,}", numbers=True),
        Column("SHARE", lambda one: f"{share(one, found)}%", lambda one: f"{share(one, found):g} %", numbers=True),
        Column("TARGET", lambda one: one.target),
        Column("COMMAND", lambda one: one.command),
        Column("CODE", lambda one: one.code, least=24),
        Column("", lambda one: utc(one.first_s)),
        Column("", lambda one: utc(one.last_s)),
        Column("", lambda one: one.jid or one.key),
        Column("MESSAGE", lambda one: one.message),
    )


def _summary_json(found: "Summary", causes: Sequence["Cause"], zset: SortedSet) -> dict[str, Json]:
    shown: list[Json] = [
        {
            "group": cause.group,
            "jobs": cause.jobs,
            "share_percent": share(cause, found),
            "target": cause.target,
            "command": cause.command,
            "error_class": cause.code,
            "message": cause.message,
            "hint": hint(cause),
            "first": utc(cause.first_s),
            "last": utc(cause.last_s),
            "jid": cause.jid,
            "key": cause.key,
        }
        for cause in causes
    ]
    return {
        "set": zset,
        "total": found.total,
        "looked_at": found.looked_at,
        "matched": found.matching,
        "causes": len(found.causes),
        "groups": shown,
    }
