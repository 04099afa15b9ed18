"""Events as what a log line says, without saying how it is written.

Called by `telemetry.log`, whose docstring lists the lines. Always holds: every event has exactly one line.
"""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias, assert_never

import attrs

from restbroker.telemetry import events
from restbroker.telemetry.events import JobFinished, OneEvent

_KEEPS_TRYING = (
    "Jobs stay in Redis; restbroker keeps trying, and goes on by itself once Redis lets it."
    " A change of what env.json says of Redis (address, password) counts after a restart."
)

_MAYBE_RUN = "At most maybe_run of them were sent: it counts all that could start before Redis hears of it."

_FENCED = (
    "Redis does not list this identity any more: its beat stood still for 20 s, so that others gave its jobs back to"
    " their queues, or Redis lost its record. It goes on under a new identity."
)
_FENCED_CURE = (
    "Nothing is to be done if it happened once. Else look for what held the process up (suspended, no processor time,"
    " no way to Redis), or whether Redis lost data (a restart, FLUSHDB)."
)
_LEFT = (
    "Redis could not be told of everything before the end (it did not answer, or refused): left counts the jobs that"
    " were in hand. Redis still lists them as such."
)
_LEFT_CURE = (
    "Nothing is lost: the next restbroker that serves on this Redis gives them back to their queues. Those that were"
    " sent may run again."
)

Level = Literal["debug", "info", "warning", "error"]
Fields: TypeAlias = Mapping[str, Any]


@attrs.frozen
class Line:
    """One line: how grave, what happened, and the particulars; those that are None are left out."""

    level: Level
    event: str
    fields: Fields


def line_of(event: OneEvent) -> Line:  # noqa: C901, PLR0912 - a table with a row for each event
    """The line that tells this event."""
    if isinstance(event, JobFinished):
        return Line("debug", "job.done", _of_job(event))
    fields = attrs.asdict(event)
    match event:
        case events.GateClosed(denied=denied):
            return Line("error" if denied else "warning", "gate.closed", fields | {"denied": None})
        case events.GateOpened(closed_for_s=closed_for_s):
            return Line("info", "gate.opened", fields | {"closed_for_s": round(closed_for_s, 1)})
        case events.TargetFound():
            return Line("info", "target.found", fields)
        case events.StoreLost():
            return Line("error", "redis.lost", fields | {"cure": _KEEPS_TRYING})
        case events.StoreLostOtherwise(message, for_s):
            what = {"what": "redis.lost", "for_s": round(for_s), "message": message, "cure": _KEEPS_TRYING}
            return Line("error", "still", what)
        case events.StoreBack(outage_s):
            return Line("info", "redis.back", {"outage_s": round(outage_s, 1)})
        case events.IdentityFenced():
            return Line("warning", "fenced", fields | {"message": _FENCED, "cure": _FENCED_CURE})
        case events.JobsRecovered():
            return Line("warning", "jobs.recovered", fields | {"message": _MAYBE_RUN})
        case events.JobsPromoted(parked=parked):
            return Line("warning" if parked else "debug", "jobs.promoted", fields)
        case events.PauseEnded():
            return Line("info", "pause.ended", fields)
        case events.BrokerStarted():
            return Line("info", "broker.started", fields)
        case events.BrokerStopping():
            return Line("info", "broker.stopping", fields)
        case events.BrokerQuiet():
            # A warning: whoever wonders later why nothing is done must find it.
            return Line("warning", "broker.quiet", fields | {"message": "No more jobs are taken until a restart."})
        case events.BrokerStopped(clean=True):
            return Line("info", "broker.stopped", fields | {"clean": None, "left": None})
        case events.BrokerStopped():
            return Line("warning", "broker.stopped", fields | {"clean": None, "message": _LEFT, "cure": _LEFT_CURE})
        case events.GroupStarted():
            return Line("info", "group.started", fields)
        case events.GroupStopping():
            return Line("info", "group.stopping", fields)
        case events.GroupFailed():
            return Line("error", "group.failed", fields)
        case events.GroupStopped(code):
            return Line("warning" if code else "info", "group.stopped", fields)
        case events.ConfigReloaded():
            return Line("info", "config.reloaded", fields)
        case events.ConfigUnchanged():
            return Line("info", "config.unchanged", {"message": "The configuration is as it was; nothing is changed."})
        case events.ConfigRefused():
            return Line("error", "config.refused", fields)
        case events.Listening():
            return Line("info", "listening", fields)
        case events.Warned():
            return Line("warning", "warning", fields)
        case _:
            assert_never(event)


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
        "duration_ms": round(event.duration_s * 1000, 2),
        "message": event.message,
        "cure": event.cure,
        "note": event.note,
    }
