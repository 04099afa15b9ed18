"""What each line of the log means, and what to do about it: docs/telemetry.md and docs/operations.md have these tables.

Used by `telemetry.reference` and `explain-error`. Always holds: each line that `telemetry.lines` makes is here once, with
the levels that it may have; texts may have Markdown, with links as from `docs`.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple


class LogEvent(NamedTuple):
    """`levels` as it may have them, and what it says."""

    levels: str
    meaning: str


LOG_EVENTS: Final[Mapping[str, LogEvent]] = {
    "broker.quiet": LogEvent("warning", "No more jobs are taken until a restart; `why` names the signal."),
    "broker.started": LogEvent("info", "Intake is open."),
    "broker.stopped": LogEvent(
        "warning, info",
        "The end: `pushed_back` jobs went back unsent; of `uncertain` nobody knows whether they have run, since they were sent and not answered in time: those that are safe to repeat went back too. A warning where Redis could not be told: `left` jobs that were in hand stay so until another process gives them back.",
    ),
    "broker.stopping": LogEvent("info", "A drain began; what is not done after `timeout_s` seconds is cut off."),
    "config.refused": LogEvent("error", "The configuration was loaded again and cannot be used; the one before stays."),
    "config.reloaded": LogEvent(
        "info", "A configuration that was loaded while the process runs counts from now on, for these targets."
    ),
    "config.unchanged": LogEvent("info", "The configuration was loaded again and is the same."),
    "event": LogEvent(
        "debug",
        "A server told of something: `accepted` (Redis has its job), `redelivered` (the same, where RabbitMQ had given it to somebody before, who perhaps made a job of it too), `duplicate`, `own` (this broker sent it) or `ignored` (dropped, as configured), `refused` (a question that nobody answers), `malformed`, `too_large`, `unauthorized`, `busy` (too many at once), `unavailable` (Redis did not take it) or `failed` (a bug). All but the first five are told to the server. `took_s`: until a server that waits was answered, of these five.",
    ),
    "events": LogEvent(
        "info", "The last ten seconds of a source of events, if there was anything: how many there were, by outcome."
    ),
    "fenced": LogEvent(
        "warning",
        "This process [lost its identity](operations.md#a-process-that-lost-its-identity), and goes on with another.",
    ),
    "gate.closed": LogEvent(
        "warning, error",
        "A target gets no jobs for now; an error where it refuses the broker's login, which needs a person. Each process says so for itself: of a group there is a line for each worker.",
    ),
    "gate.opened": LogEvent("info", "A target gets jobs again."),
    "group.failed": LogEvent("error", "The group ends, with `code`, since none of its workers was ever ready."),
    "group.started": LogEvent("info", "The supervisor of `--processes` is about to start its workers."),
    "group.stopped": LogEvent(
        "info, warning",
        "No worker of the group lives any more; `code` is what the supervisor ends with (a warning unless 0).",
    ),
    "group.stopping": LogEvent("info", "All workers of the group are asked to end."),
    "job.done": LogEvent(
        "debug",
        "A try ended, whatever came of it: one line for each. `outcome` is what the target said (`delivered`, `rejected`, `deferred`, `uncertain`), or `duplicate`: a signed job was done before, and not sent. `fate`: what became of the job (`ack`: done, `retry`, `dead`: parked, `schedule`: put off, `back`: into its queue, `drop`: gone, as it asked).",
    ),
    "job.failed": LogEvent(
        "info",
        "A try failed. A job that was let in and is dead (or gone, as it asked itself) always has a line. Of tries that another one follows, and of jobs that were refused when they came, only the first with its code within ten seconds has one; which jobs the others are, `restbroker retries` and `restbroker dead` tell. Also each job of a dead process that was parked, since it must not run again.",
    ),
    "jobs.failed": LogEvent("info", "So many more tries failed with this code in the last ten seconds."),
    "jobs.promoted": LogEvent(
        "debug, warning",
        "Due jobs went from `retry` or `schedule` to their queues; a warning if some were unreadable and are `parked`.",
    ),
    "jobs.recovered": LogEvent(
        "warning",
        "[Jobs of a dead process](operations.md#jobs-of-a-dead-process): most went back to their queues, `maybe_run` may have been sent, `parked` were about to be sent under `AtMostOnce`, or are `Poison`, and are in the dead set.",
    ),
    "listening": LogEvent("info", "A web app can be reached at these URLs."),
    "pause.ended": LogEvent(
        "info", "The time of a pause is over that `who` made of a queue or a target (`kind`): jobs are taken again."
    ),
    "redis.back": LogEvent("info", "Redis can be used again."),
    "redis.lost": LogEvent("error", "Redis cannot be used; once per outage, by each process."),
    "redis.rewrite": LogEvent(
        "info",
        "This process asked Redis to write its append-only file again ([why](guarantees.md#a-power-loss-of-redis)).",
    ),
    "source.opened": LogEvent(
        "info",
        "Events of a source are read from there, for the first time; later times are `RabbitMQBack`, `OpenfireBack`.",
    ),
    "still": LogEvent(
        "warning, error",
        "A `redis.lost` or `gate.closed` (`what`) is not over, with the fields that it had: each minute. Or an outage of Redis goes on for another reason.",
    ),
    "summary": LogEvent("info", "The last ten seconds of a target, if there was anything."),
    "target.found": LogEvent("info", "A target told its version: what the server says it is."),
    "warning": LogEvent(
        "warning", "Something an operator should know: [its code](operations.md#warnings-in-the-log) says what to do."
    ),
    "warnings": LogEvent(
        "warning",
        "So many more warnings with this code said in the last ten seconds what three of them had said already.",
    ),
}

CURES: Final[Mapping[str, str]] = {
    "job.failed": "as its `cure` says; the codes are in [producers.md](producers.md)",
    "gate.closed": "look after the target, or the login (as the `cure` says). Jobs wait in Redis meanwhile",
    "redis.lost": "look after Redis. Jobs stay there; what is in hand waits",
    "fenced, jobs.recovered": "nothing if it happened once: [a lost identity](#a-process-that-lost-its-identity), [jobs of a dead process](#jobs-of-a-dead-process)",
    "jobs.promoted": "look at what was parked: `restbroker dead`",
    "broker.stopped": "nothing: [another process gives the jobs back](#a-stop-while-redis-is-away)",
    "group.failed": "as its `cure` says, then start the group again",
    "config.refused": "mend the file, and reload again",
    "broker.quiet": "restart the process when it is to take jobs again",
    "group.stopped": "the line before it says which worker ended, and why",
    "jobs.failed": "as for `job.failed`: it counts more of the same code",
    "still": "as for `redis.lost` or `gate.closed`, which of them it says is not over",
    "warning, warnings": "what its code says:",
}
"""What to do about lines that ask for it, by the names of each row; of what is not always a warning, about that."""
