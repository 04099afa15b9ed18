"""Makes the contents of a log line from an event: level, name and fields. `telemetry.log` formats it.

Called by `telemetry.log`, and by `tools.telemetry_page` for docs/telemetry.md; `log_events` says what each line means.
Always holds: every event has exactly one line.
"""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias, assert_never

import attrs

from restbroker.telemetry import events
from restbroker.telemetry.events import JobFinished, OneEvent
from restbroker.telemetry.latency import Histogram

_KEEPS_TRYING = (
    "Jobs stay in Redis; restbroker keeps trying and continues by itself. A change of Redis' address or "
    "password in env.json takes effect after a restart."
)

_MAYBE_RUN = "maybe_run counts the jobs that may have been sent; the others were not."

_REWRITE = (
    "restbroker asked Redis to rewrite its append-only file (once after each start of Redis), so that "
    "a power loss cannot leave one of its changes half written."
)

_FENCED = (
    "Redis no longer lists this identity: its heartbeat stopped for 20 s and others requeued its jobs, or "
    "Redis lost its record. The process continues under a new identity."
)
_FENCED_HINT = (
    "Nothing, if it happened once. Else find what blocked the process (suspended, no processor time, no "
    "network to Redis), or whether Redis lost data (a restart, FLUSHDB)."
)
_LEFT = (
    "Redis did not accept all results before the end (it did not answer, or refused): remaining counts the jobs "
    "still in progress there."
)
_LEFT_HINT = (
    "Nothing is lost: the next restbroker on this Redis returns them to their queues. Those that were sent may "
    "run again."
)
_STILL_LISTED = (
    "Redis did not answer at the end, and still lists this process, which knows of no job that it has in progress."
)
_STILL_LISTED_HINT = "Nothing: the next restbroker on this Redis finds that it is gone."

Level = Literal["debug", "info", "warning", "error"]
Fields: TypeAlias = Mapping[str, Any]


@attrs.frozen
class Line:
    """One line: its level, the name of what happened, and the fields; fields that are None are left out."""

    level: Level
    event: str
    fields: Fields


def line_of(event: OneEvent) -> Line:  # noqa: C901, PLR0912 - a table with a row for each event
    """Return the line for this event."""
    if isinstance(event, JobFinished):
        return Line("debug", "job.done", _of_job(event))
    fields = attrs.asdict(event)
    match event:
        case events.TargetDown(denied=denied):
            return Line("error" if denied else "warning", "target.down", fields | {"denied": None})
        case events.TargetUp(down_for_s=down_for_s):
            return Line("info", "target.up", fields | {"down_for_s": round(down_for_s, 1)})
        case events.VersionReported():
            return Line("info", "target.found", fields)
        case events.StoreLost():
            return Line("error", "redis.lost", fields | {"hint": _KEEPS_TRYING})
        case events.StoreOutageChanged():
            return _outage_line(event)
        case events.StoreBack(outage_s):
            return Line("info", "redis.back", {"outage_s": round(outage_s, 1)})
        case events.StoreRewrite():
            return Line("info", "redis.rewrite", {"message": _REWRITE})
        case events.IdentityFenced():
            return Line("warning", "fenced", fields | {"message": _FENCED, "hint": _FENCED_HINT})
        case events.JobsRecovered():
            return Line("warning", "jobs.recovered", fields | {"message": _MAYBE_RUN})
        case events.JobDied(message=message):
            return Line("info", "job.failed", {**fields, "fate": "dead", "message": message})
        case events.JobsPromoted(dead=dead):
            return Line("warning" if dead else "debug", "jobs.promoted", fields)
        case events.JobsClassified(took_s=took_s):
            return Line("debug", "jobs.classified", {**fields, "took_s": None, "duration_ms": _ms(took_s)})
        case events.PauseEnded():
            return Line("info", "pause.ended", fields)
        case events.PeriodicDue(alarming=alarming):
            return Line("warning" if alarming else "info", "periodic.due", fields | {"alarming": None})
        case events.BrokerStarted():
            return Line("info", "broker.started", fields | {"down": None})
        case events.BrokerStopping():
            return Line("info", "broker.stopping", fields)
        case events.BrokerQuiet():
            # A warning: anyone who wonders later why nothing is done must find it.
            return Line(
                "warning", "broker.quiet", fields | {"message": "The process takes no more jobs until a restart."}
            )
        case events.BrokerStopped(clean=True):
            return Line("info", "broker.stopped", fields | {"clean": None, "remaining": None})
        case events.BrokerStopped(remaining=remaining):
            message, hint = (_LEFT, _LEFT_HINT) if remaining else (_STILL_LISTED, _STILL_LISTED_HINT)
            return Line("warning", "broker.stopped", fields | {"clean": None, "message": message, "hint": hint})
        case events.GroupStarted() | events.GroupStopping():
            return Line("info", "group.started" if isinstance(event, events.GroupStarted) else "group.stopping", fields)
        case events.GroupFailed():
            return Line("error", "group.failed", fields)
        case events.GroupStopped(code):
            return Line("warning" if code else "info", "group.stopped", fields)
        case events.ConfigReloaded():
            return Line("info", "config.reloaded", fields)
        case events.ConfigUnchanged():
            return Line("info", "config.unchanged", {"message": "The configuration is the same; nothing changes."})
        case events.ConfigRefused(message):
            kept = f"The previous configuration stays in force. {message}"
            return Line("error", "config.refused", fields | {"message": kept})
        case events.ListenerStarted() | events.SourceOpened():
            return Line("info", "listening" if isinstance(event, events.ListenerStarted) else "source.opened", fields)
        case events.EventHandled(source, outcome, took_s):
            return Line("debug", "event", {"source": source, "outcome": outcome, "duration_ms": _ms(took_s)})
        case events.OperatorWarning():
            return Line("warning", "warning", fields)
        case _:
            assert_never(event)


def _outage_line(event: events.StoreOutageChanged) -> Line:
    told = {"for_s": round(event.for_s), "message": event.message, "hint": _KEEPS_TRYING}
    return Line("error", "still", {"what": "redis.lost", **told})


def failure_line(event: JobFinished) -> Line:
    """Return the line for a try that failed.

    An admitted job that is dead (or dropped, as it says itself) always has a line. Of tries that another one follows,
    and of jobs that were not admitted, only the first with its code within ten seconds has one;
    `restbroker retries` and `restbroker dead` list the others.
    """
    return Line("info", "job.failed", {**_of_job(event), "duration_ms": None, "note": None})


def repeated_failures_line(target: str, code: str, count: int) -> Line:
    """Return the line that says how many more tries failed with this code in the last ten seconds."""
    return Line("info", "jobs.failed", {"target": target, "code": code, "count": count})


def repeated_warnings_line(code: str, count: int) -> Line:
    """Return the line that says how many more warnings with this code repeated three others in the last ten seconds."""
    return Line("warning", "warnings", {"code": code, "count": count})


def summary_line(target: str, delivered: int, failed: int, elapsed_s: float, latency: Histogram) -> Line:
    """Return the line that sums up the last ten seconds of a target that had jobs."""
    rate_per_s = round((delivered + failed) / max(elapsed_s, 0.001), 1)
    counted = {"target": target, "delivered": delivered, "failed": failed, "rate_per_s": rate_per_s}
    return Line("info", "summary", {**counted, **latency.summary_ms()})


def events_line(source: str, outcomes: Mapping[str, int], elapsed_s: float) -> Line:
    """Return the line that sums up the last ten seconds of an event source that had events: how many, by outcome."""
    rate_per_s = round(sum(outcomes.values()) / max(elapsed_s, 0.001), 1)
    return Line("info", "events", {"source": source, **dict(sorted(outcomes.items())), "rate_per_s": rate_per_s})


def reminder_line(line: Line, for_s: float) -> Line:
    """Return the line, due each minute, that what `line` reported (a `redis.lost` or `target.down`) lasts.

    `for_s`: how many seconds it has lasted. The line has the event of the first one as `what`, and its fields.
    """
    return Line(line.level, "still", {"what": line.event, "for_s": round(for_s), **line.fields})


def _ms(duration_s: float | None) -> float | None:
    return None if duration_s is None else round(duration_s * 1000, 2)


def _of_job(event: JobFinished) -> Fields:
    return {
        "target": event.target,
        "code": event.code,
        "command": event.command,
        "jid": event.jid,
        "queue": event.queue,
        "outcome": event.outcome,
        "fate": event.fate,
        "attempt": event.attempt,
        "status": event.status,
        "duration_ms": _ms(event.duration_s),
        "message": event.message,
        "hint": event.hint,
        "note": event.note,
    }
