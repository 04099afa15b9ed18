"""Print jobs that were found: as a table for people, in columns or JSON for programs; and one job in full.

Called by the verbs of `dead`, `retries` and `scheduled`, and by `explain`. Always holds: callers pass only texts that
may be shown.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from restbroker.console import columns, output
from restbroker.console.columns import Column
from restbroker.console.times import local, milliseconds, utc
from restbroker.job.json_types import Json
from restbroker.operate.job import ShownJob


def write(found: Sequence[ShownJob], *, as_json: bool) -> None:
    """Print these jobs on stdout; in a pipe, with the columns of `restbroker dead`."""
    if as_json:
        output.as_json([fields(entry) for entry in found])
    else:
        columns.write(COLUMNS, found, whole=False)


def print_entries(found: Sequence[ShownJob]) -> None:
    """Print these jobs on stderr, for people."""
    for one in found:
        words = (local(one.at_s) if one.at_s else "-", one.command, one.error_class, one.jid, one.message)
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
        "may_have_run": entry.may_have_run,
        "repeat_safe": entry.repeat_safe,
    }


def all_fields(entry: ShownJob) -> dict[str, Json]:
    """Return a job's fields for programs, with its last tries and its size."""
    return {**fields(entry), "history": [dict(one) for one in entry.history], "size_bytes": entry.size_bytes}


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
    yield "tried", "never" if not entry.attempts else "once" if entry.attempts == 1 else f"{entry.attempts} times"
    if entry.may_have_run:
        yield "may have run", "yes; " + ("safe to repeat" if entry.repeat_safe else "not known to be safe to repeat")
    yield from (("try", line) for line in try_lines(entry.history))


def try_lines(history: Sequence[Mapping[str, Json]]) -> Iterator[str]:
    """Yield a line for each of the last tries."""
    for one in history:
        at, status = one.get("at"), one.get("status")
        words = (
            local(at) if isinstance(at, int | float) else "-",
            text(one.get("outcome")),
            text(one.get("code")),
            "" if status is None else f"status {text(status)}",
            milliseconds(one.get("ms")) if one.get("ms") else "",
            text(one.get("excerpt")),
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
    Column("WHEN", lambda one: _utc(one.at_s), lambda one: local(one.at_s) if one.at_s else "-"),
    Column("JOB", lambda one: one.jid),
    Column("COMMAND", lambda one: one.command),
    Column("CODE", lambda one: one.error_class),
    Column("MESSAGE", lambda one: one.message),
)
