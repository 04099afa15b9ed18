"""Events as what a log line says, without saying how it is written.

Called by `telemetry.log`, whose docstring lists the lines. Always holds: every event has exactly one line.
"""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias, assert_never

import attrs

from restbroker.telemetry.events import (
    BrokerQuiet,
    BrokerStarted,
    BrokerStopped,
    BrokerStopping,
    ConfigRefused,
    ConfigReloaded,
    ConfigUnchanged,
    GateClosed,
    GateOpened,
    GroupFailed,
    GroupStarted,
    GroupStopped,
    GroupStopping,
    IdentityFenced,
    JobFinished,
    JobsPromoted,
    JobsRecovered,
    Listening,
    OneEvent,
    StoreBack,
    StoreLost,
    StoreLostOtherwise,
    TargetFound,
    Warned,
)

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
    match event:
        case JobFinished():
            return Line("debug", "job.done", _of_job(event))
        case GateClosed(target, code, message, cure, denied):
            level: Level = "error" if denied else "warning"
            return Line(level, "gate.closed", {"target": target, "code": code, "message": message, "cure": cure})
        case GateOpened(target, closed_for_s):
            return Line("info", "gate.opened", {"target": target, "closed_for_s": round(closed_for_s, 1)})
        case TargetFound(target, version, detail):
            return Line("info", "target.found", {"target": target, "version": version, "detail": detail})
        case StoreLost(message):
            return Line("error", "redis.lost", {"message": message, "cure": _KEEPS_TRYING})
        case StoreLostOtherwise(message, for_s):
            fields = {"what": "redis.lost", "for_s": round(for_s), "message": message, "cure": _KEEPS_TRYING}
            return Line("error", "still", fields)
        case StoreBack(outage_s):
            return Line("info", "redis.back", {"outage_s": round(outage_s, 1)})
        case IdentityFenced(identity):
            return Line("warning", "fenced", {"identity": identity, "message": _FENCED, "cure": _FENCED_CURE})
        case JobsRecovered():
            return Line("warning", "jobs.recovered", attrs.asdict(event) | {"message": _MAYBE_RUN})
        case JobsPromoted():
            return Line("warning" if event.parked else "debug", "jobs.promoted", attrs.asdict(event))
        case BrokerStarted():
            return Line("info", "broker.started", attrs.asdict(event))
        case BrokerStopping():
            return Line("info", "broker.stopping", attrs.asdict(event))
        case BrokerQuiet(why):
            # A warning: whoever wonders later why nothing is done must find it.
            message = "No more jobs are taken until a restart."
            return Line("warning", "broker.quiet", {"why": why, "message": message})
        case BrokerStopped(clean, pushed_back, uncertain, left):
            counts = {"pushed_back": pushed_back, "uncertain": uncertain}
            unclean = {"left": left, "message": _LEFT, "cure": _LEFT_CURE}
            return (
                Line("info", "broker.stopped", counts) if clean else Line("warning", "broker.stopped", counts | unclean)
            )
        case GroupStarted():
            return Line("info", "group.started", attrs.asdict(event))
        case GroupStopping():
            return Line("info", "group.stopping", attrs.asdict(event))
        case GroupFailed():
            return Line("error", "group.failed", attrs.asdict(event))
        case GroupStopped(code):
            return Line("warning" if code else "info", "group.stopped", {"code": code})
        case ConfigReloaded():
            return Line("info", "config.reloaded", attrs.asdict(event))
        case ConfigUnchanged():
            return Line("info", "config.unchanged", {"message": "The configuration is as it was; nothing is changed."})
        case ConfigRefused():
            return Line("error", "config.refused", attrs.asdict(event))
        case Listening():
            return Line("info", "listening", attrs.asdict(event))
        case Warned():
            return Line("warning", "warning", attrs.asdict(event))
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
