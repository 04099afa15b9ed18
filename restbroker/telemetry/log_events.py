"""What each line of the log means, and what to do about it: docs/telemetry.md and docs/operations.md have these tables.

Used by `telemetry.reference` and `explain-error`. Always holds: each line that `telemetry.lines` makes is here once,
with the levels that it may have; texts may have Markdown, with links as from `docs`.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple


class LogEvent(NamedTuple):
    """The `levels` that a line may have, and its `meaning`."""

    levels: str
    meaning: str


LOG_EVENTS: Final[Mapping[str, LogEvent]] = {
    "broker.quiet": LogEvent("warning", "The process takes no more jobs until a restart; `why` names the signal."),
    "broker.started": LogEvent("info", "The process takes jobs."),
    "broker.stopped": LogEvent(
        "warning, info",
        "The end: `requeued` jobs returned to their queues unsent; `uncertain` jobs were sent but not "
        "answered in time, so they may have run; those that are safe to repeat were requeued too. A warning if "
        "Redis did not accept the results: `left` jobs stay in progress until another process requeues them.",
    ),
    "broker.stopping": LogEvent(
        "info", "A drain started; jobs that are not done after `timeout_s` seconds are cut off."
    ),
    "config.refused": LogEvent("error", "The configuration was reloaded and cannot be used; the previous one stays."),
    "config.reloaded": LogEvent("info", "A reloaded configuration is in use from now on, for these targets."),
    "config.unchanged": LogEvent("info", "The configuration was reloaded and is the same."),
    "event": LogEvent(
        "debug",
        "An event came from a server: `accepted` (Redis has its job), `redelivered` (the same, but RabbitMQ "
        "delivered it before, so it may have become a job twice), `duplicate`, `own` (this broker sent it) or "
        "`ignored` (dropped, as configured), `refused` (a query without an answer), `malformed`, `too_large`, "
        "`unauthorized`, `busy` (too many at once), `unavailable` (Redis did not take it) or `failed` (a bug). "
        "The server learns of all but the first five. `took_s`: the time until a waiting server was answered, "
        "for these five.",
    ),
    "events": LogEvent("info", "The last ten seconds of an event source, if it had events: how many, by outcome."),
    "fenced": LogEvent(
        "warning",
        "This process [lost its identity](operations.md#a-process-that-lost-its-identity) and continues with a "
        "new one.",
    ),
    "group.failed": LogEvent("error", "The group ends, with `code`, because none of its workers was ever ready."),
    "group.started": LogEvent("info", "The supervisor of `--processes` is about to start its workers."),
    "group.stopped": LogEvent(
        "info, warning",
        "No worker of the group is left; `code` is the supervisor's exit code (a warning unless 0).",
    ),
    "group.stopping": LogEvent("info", "The supervisor asks all its workers to end."),
    "job.done": LogEvent(
        "debug",
        "A try ended: one line for each. `outcome` is the target's answer (`delivered`, `rejected`, "
        "`deferred`, `uncertain`), or `duplicate`: a signed job was done before, and not sent. `fate` is what "
        "happened to the job (`ack`: done, `retry`, `dead`, `schedule`: deferred, `back`: requeued, `drop`: "
        "gone, as it asked).",
    ),
    "job.failed": LogEvent(
        "info",
        "A try failed. An accepted job that dies (or vanishes, as it asked) always has a line, also one of a "
        "dead process that must not run again. Of tries that will be repeated, and of refused jobs, only the "
        "first with its code within ten seconds has one; `restbroker retries` and `restbroker dead` list the "
        "others.",
    ),
    "jobs.failed": LogEvent("info", "This many more tries failed with this code in the last ten seconds."),
    "jobs.promoted": LogEvent(
        "debug, warning",
        "Due jobs went from `retry` or `schedule` to their queues; a warning if some were unreadable and died "
        "(`dead`).",
    ),
    "jobs.recovered": LogEvent(
        "warning",
        "[Jobs of a dead process](operations.md#jobs-of-a-dead-process): most were requeued, `maybe_run` may "
        "have been sent; `dead` were about to be sent under `AtMostOnce`, or are `Poison`, and are in the "
        "dead set.",
    ),
    "listening": LogEvent("info", "A web app listens at these URLs."),
    "pause.ended": LogEvent(
        "info", "A pause by `who` of a queue or a target (`kind`) has ended: jobs are taken again."
    ),
    "redis.back": LogEvent("info", "Redis is available again."),
    "redis.lost": LogEvent("error", "Redis is unavailable; once per outage, by each process."),
    "redis.rewrite": LogEvent(
        "info",
        "This process asked Redis to rewrite its append-only file ([why](guarantees.md#a-power-loss-of-redis)).",
    ),
    "source.opened": LogEvent(
        "info",
        "restbroker reads events from this source for the first time; later times are `RabbitMQBack`, `OpenfireBack`.",
    ),
    "still": LogEvent(
        "warning, error",
        "A `redis.lost` or `target.down` (`what`) continues, with its fields: each minute. Or an outage of "
        "Redis continues for another reason.",
    ),
    "summary": LogEvent("info", "The last ten seconds of a target, if it had jobs."),
    "target.down": LogEvent(
        "warning, error",
        "A target is down; an error if it refuses the broker's login, which needs a person. Each process logs "
        "this itself: a group has a line for each worker.",
    ),
    "target.found": LogEvent("info", "A target reported its version."),
    "target.up": LogEvent("info", "A target is up again."),
    "warning": LogEvent(
        "warning", "An operator should know this: [its code](operations.md#warnings-in-the-log) says what to do."
    ),
    "warnings": LogEvent(
        "warning",
        "This many more warnings with this code repeated three others in the last ten seconds.",
    ),
}

HINTS: Final[Mapping[str, str]] = {
    "job.failed": "as its `hint` says; for the codes see [producers.md](producers.md)",
    "target.down": "check the target or the login, as the `hint` says. Jobs wait in Redis meanwhile",
    "redis.lost": "check Redis. Jobs stay there; jobs in progress wait",
    "fenced, jobs.recovered": "nothing if it happened once: [a lost identity](#a-process-that-lost-its-identity), [jobs of a dead process](#jobs-of-a-dead-process)",
    "jobs.promoted": "look at the dead jobs: `restbroker dead`",
    "broker.stopped": "nothing: [another process requeues the jobs](#a-stop-while-redis-is-away)",
    "group.failed": "as its `hint` says, then start the group again",
    "config.refused": "fix the file, and reload again",
    "broker.quiet": "restart the process when it should take jobs again",
    "group.stopped": "the line before it says which worker ended, and why",
    "jobs.failed": "as for `job.failed`: it counts more of the same code",
    "still": "as for `redis.lost` or `target.down`, whichever it names",
    "warning, warnings": "what its code says:",
}
"""What to do about lines that need it, by the names of each row; a line that is not always a warning may need nothing."""
