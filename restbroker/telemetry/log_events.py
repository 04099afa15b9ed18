"""What each line of the log means, and what to do about it: docs/telemetry.md and docs/operations.md have these tables.

Used by `telemetry.reference` and `explain`. Always holds: each line that `telemetry.lines` makes is here once, with
the levels that it may have; texts may have Markdown, with links as from `docs`.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple


class LogEvent(NamedTuple):
    """What a line of the log says; `levels` has each level that it may have, with commas between them."""

    levels: str
    meaning: str


LOG_EVENTS: Final[Mapping[str, LogEvent]] = {
    "broker.quiet": LogEvent("warning", "The process takes no more jobs until a restart; `why` names the signal."),
    "broker.started": LogEvent("info", "The process takes jobs. `fast_path`: `off` with `RESTBROKER_FAST=0`."),
    "broker.stopped": LogEvent(
        "warning, info",
        "The end: `requeued` jobs returned to their queues unsent; `uncertain` ones were sent but "
        "not answered in time, so they may have run, and were requeued if safe to repeat. A warning if "
        "Redis did not accept the results: `remaining` jobs stay in progress until another process requeues "
        "them.",
    ),
    "broker.stopping": LogEvent("info", "A drain started; jobs not done after `timeout_s` seconds are cut off."),
    "config.refused": LogEvent("error", "A reloaded configuration cannot be used; the previous one stays."),
    "config.reloaded": LogEvent("info", "A reloaded configuration is in use, for these targets."),
    "config.unchanged": LogEvent("info", "A reloaded configuration is the same."),
    "event": LogEvent(
        "debug",
        "An event from a server: `accepted` (Redis has its job), `redelivered` (the same, but RabbitMQ "
        "delivered it before, so it may be a job twice), `duplicate`, `own` (this broker sent it), "
        "`ignored` (dropped, as configured), `refused` (a query without an answer), `malformed`, "
        "`too_large`, `unauthorized`, `busy` (too many at once), `unavailable` (Redis did not take it) "
        "or `failed` (a bug); from ejabberd also `lost` (`MaxUnread`) and `direct` (sent to the component itself). "
        "The server learns of all but the first five. `took_s`, for these five: "
        "the time until a waiting server was answered.",
    ),
    "events": LogEvent("info", "The last ten seconds of an event source, if it had events: how many, by outcome."),
    "fenced": LogEvent(
        "warning",
        "This process [lost its identity](operations.md#a-process-that-lost-its-identity) and has a new one.",
    ),
    "group.failed": LogEvent("error", "The group ends with `code`: none of its workers was ever ready."),
    "group.started": LogEvent("info", "The supervisor of `--processes` starts its workers."),
    "group.stopped": LogEvent(
        "info, warning",
        "No worker is left; `code` is the supervisor's exit code (a warning unless 0).",
    ),
    "group.stopping": LogEvent("info", "The supervisor asks all its workers to end."),
    "job.done": LogEvent(
        "debug",
        "A try ended. `outcome`: the target's answer (`delivered`, `rejected`, `deferred`, "
        "`uncertain`), `duplicate` (not sent: a signed job was done, or its `idempotency_key` came before) or "
        "`expired`. `fate`: what "
        "happened to the job (`ack`: done, or dropped as it expired; `retry`, `dead`, `schedule`: deferred, `back`: requeued, "
        "`drop`: gone, as it asked).",
    ),
    "job.failed": LogEvent(
        "info",
        "A try failed. Every accepted job that dies or is discarded has a line, also jobs of dead processes. Of repeated "
        "tries, refused and expired jobs only the first with its code in ten seconds has one; see "
        "`restbroker retries` and `restbroker dead`.",
    ),
    "jobs.classified": LogEvent(
        "debug",
        "Jobs of a queue with `FairBy` moved into the lines of their keys; `without_key` of them share one line. No "
        "duration: by a fetch.",
    ),
    "jobs.failed": LogEvent("info", "`count` more tries failed with this code in the last ten seconds."),
    "jobs.promoted": LogEvent(
        "debug, warning",
        "Due jobs went from `retry` or `schedule` to their queues; a warning if unreadable ones died (`dead`).",
    ),
    "jobs.recovered": LogEvent(
        "warning",
        "[Jobs of a dead process](operations.md#jobs-of-a-dead-process): most were requeued, "
        "`maybe_run` may have been sent; `dead` ones are in the dead set (about to be sent under "
        "`AtMostOnce`, or `Poison`).",
    ),
    "lines.healed": LogEvent(
        "warning",
        "Someone deleted a part of a queue's lines by hand: `count` records, turns and jobs are right again.",
    ),
    "listening": LogEvent("info", "A web app listens at these URLs."),
    "pause.ended": LogEvent("info", "A pause by `who` of a queue, target or periodic command (`kind`) has ended."),
    "periodic.due": LogEvent(
        "info, warning",
        "A [periodic command](periodic.md) was due. `outcome`: `pushed` or `paused`; as a warning `missed` (too late) "
        "or `overlap` (its last job is not done). `missed_before`: how many earlier times no process dealt with.",
    ),
    "redis.back": LogEvent("info", "Redis is available again."),
    "redis.lost": LogEvent("error", "Redis is unavailable; once per outage and process."),
    "redis.rewrite": LogEvent(
        "info",
        "restbroker asked Redis to rewrite its append-only file ([why](guarantees.md#a-power-loss-of-redis)).",
    ),
    "source.opened": LogEvent(
        "info",
        "Events of this source are read for the first time; later it is `RabbitMQBack`, `OpenfireBack`.",
    ),
    "still": LogEvent(
        "warning, error",
        "A `redis.lost` or `target.down` (`what`) is still going on, with its fields: each minute, and when "
        "the reason changes.",
    ),
    "summary": LogEvent("info", "The last ten seconds of a target, if it had jobs."),
    "target.down": LogEvent(
        "warning, error",
        "A target is down; an error if it refuses the login, which needs a person. Each process logs "
        "this, in a group each worker.",
    ),
    "target.found": LogEvent("info", "A target reported its version."),
    "target.up": LogEvent("info", "A target is up again."),
    "warning": LogEvent(
        "warning", "An operator should know this; [its code](operations.md#warnings-in-the-log) says what to do."
    ),
    "warnings": LogEvent(
        "warning",
        "`count` more warnings with this code, after three, in the last ten seconds.",
    ),
}

HINTS: Final[Mapping[str, str]] = {
    "job.failed": "as its `hint` says; codes: [producers.md](producers.md)",
    "target.down": "as its `hint` says: check the target or the login. Jobs wait in Redis",
    "redis.lost": "check Redis. Jobs stay there; jobs in progress wait",
    "fenced, jobs.recovered": "nothing if it happened once: [a lost identity](#a-process-that-lost-its-identity), [jobs of a dead process](#jobs-of-a-dead-process)",
    "jobs.promoted": "check the dead jobs: `restbroker dead`",
    "broker.stopped": "nothing: [another process requeues the jobs](#a-stop-while-redis-is-away)",
    "group.failed": "as its `hint` says, then start the group again",
    "config.refused": "fix the file, and reload again",
    "broker.quiet": "restart the process when it should take jobs again",
    "group.stopped": "the line before it says which worker ended, and why",
    "jobs.failed": "as for `job.failed`",
    "still": "as for `redis.lost` or `target.down`",
    "warning, warnings": "what its code says:",
}
"""What to do about a line, by its name; lines that need nothing are left out.

One hint may be for several names, with commas between them; of a line that is not always a warning, it is for that.
"""
