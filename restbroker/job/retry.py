"""Sidekiq's rules for failed jobs: how often, when, and what is written into the payload.

Called by `job.job` and `job.settle`. Always holds: nothing vanishes that does not say `"dead": false` itself, and what
is written is safe to lie in `retry` and `dead` (see `job.repair`). Measured on Sidekiq 6.4.1 and 8.1.7, which agree
wherever nothing else is said.
"""

import base64
import re
from collections.abc import Collection, Mapping

from restbroker.job import signing
from restbroker.job.backoff import COUNT_LIMIT, Backoff, delay_s
from restbroker.job.json_types import Json
from restbroker.job.repair import duration_s, fractional, repair, scrub, without_tags
from restbroker.light import frozen

DEFAULT_RETRIES = 25
ERROR_MESSAGE_LIMIT = 10_000
"""Sidekiq's own limit, in characters."""
DEFERRED_AT_FIELD = "restbroker_deferred_at"
ATTEMPTS_FIELD = "restbroker_attempts"
TRY_FIELDS = ("at", "status", "outcome", "code", "ms", "excerpt")
ATTEMPTS_KEPT = 10
EDITED = "edited"
MOVED = "moved"
"""What a person did to a job, in its history: it became another command (`EDITED`), or only goes to another queue."""
BY_PEOPLE = ("killed", EDITED, MOVED)
UNREADABLE_CLASS = "Restbroker::Unreadable"

_COUNT_TEXT = re.compile(r"-?\d{1,9}", re.ASCII)


@frozen
class RetryRule:
    """What a job says about its failures. `max_retries` 0: dead at once.

    `retry_for_s`: the job is tried until so many seconds after the first failure, however often (Sidekiq 8.1); None:
    the count decides. `to_dead` False: it vanishes when its tries are used up.
    """

    max_retries: int = DEFAULT_RETRIES
    retry_for_s: float | None = None
    to_dead: bool = True


@frozen
class FailedTry:
    """A failure: `retry_at_s` (epoch seconds, None: tries used up), `fields` the payload to write."""

    retry_at_s: float | None
    fields: dict[str, Json]


def read_rule(fields: Mapping[str, Json]) -> RetryRule:
    """Return the rule in a payload's `retry`, `retry_for` and `dead`.

    `false` means no retry, but unlike with Sidekiq the job dies. Missing, null, and everything that is neither
    `false` nor an integer ("false" as text, 3.7) mean 25, as with Sidekiq. Only JSON's `false` in `dead` counts.
    """
    times = fields.get("retry")
    to_dead = fields.get("dead") is not False
    retry_for = fields.get("retry_for")
    match times:
        case False:
            return RetryRule(0, None, to_dead)
        case int() if times is not True:
            return RetryRule(max(times, 0), duration_s(retry_for), to_dead)
        case _:
            return RetryRule(DEFAULT_RETRIES, duration_s(retry_for), to_dead)


def read_count(fields: Mapping[str, Json]) -> int | None:
    """Return `retry_count`: None before the first failure, 0 after it, -1 after it and Sidekiq Web's "Retry".

    Text is read as a number (Sidekiq loses such a job). A 0 without `failed_at` means "never failed": exq writes it
    from the start. Never below -1.
    """
    text = fields.get("retry_count")
    count = None if text is None else _count(text)
    if count is None or (count <= 0 and fields.get("failed_at") is None):
        return None
    return max(count, -1)


def read_queue(fields: Mapping[str, Json], queue: str, served: Collection[str]) -> str:
    """Return the queue that a job of `queue` is tried again from: its `retry_queue` if that is served, else `queue`.

    `served` are the queues of its target. Any other would let a producer reach queues that Redis does not let it write
    to. A job whose signature covers the queue must be admitted from there once before another one counts.
    """
    named = fields.get("retry_queue")
    if not isinstance(named, str) or named not in served:
        return queue
    is_bound = signing.queue_bound_signature(fields) is not None and signing.accepted_queue(fields) is None
    return queue if is_bound else named


def names_foreign_queue(fields: Mapping[str, Json], served: Collection[str]) -> bool:
    """Tell whether the payload names a `retry_queue` that does not count, since its target does not serve it."""
    named = fields.get("retry_queue")
    return isinstance(named, str) and bool(named) and named not in served


def stamp(moment_s: float, unique: int) -> float:
    """Return a time for a payload, `unique` microseconds later: different for different `unique`.

    A sorted set keeps equal members once: two equal jobs that fail in one batch would become one.
    """
    return fractional(moment_s + unique / 1_000_000)


def fail(  # noqa: PLR0913 - the facts of one failure, all by name
    fields: Mapping[str, Json],
    rule: RetryRule,
    *,
    now_s: float,
    queue: str,
    error_class: str,
    error_message: str,
    jitter: float,
    backoff: Backoff,
    unique: int = 0,
) -> FailedTry:
    """Return the payload after one more failure, as Sidekiq writes it, and when to try again.

    `fields` has its `jid`; `queue` is the one that it is tried again from; `unique` is in microseconds. Never raises
    for what `rubyjson.loads` returned, and `rubyjson.dumps` takes the result.
    """
    before = read_count(fields)
    count = 0 if before is None else before + 1
    moment_s = stamp(now_s, unique)
    failed = repair(fields, queue)
    failed["error_message"] = scrub(error_message[:ERROR_MESSAGE_LIMIT])
    failed["error_class"] = scrub(error_class)
    first_s = failed.get("failed_at") if before is not None else None
    if not isinstance(first_s, float):
        first_s = failed["failed_at"] = moment_s
    if before is not None:
        failed["retried_at"] = moment_s
    failed["retry_count"] = count
    if _is_used_up(rule, count, first_s, now_s):
        return FailedTry(None, failed)
    return FailedTry(now_s + delay_s(backoff, count, jitter), failed)


def wrap_unreadable(raw: bytes, queue: str, jid: str, reason_code: str, message: str, now_s: float) -> dict[str, Json]:
    """Return a job for the dead set that holds bytes which are no job: anything but an object breaks Sidekiq Web.

    `args` is the text itself, or, where it is not UTF-8, its base64 and a note.
    """
    try:
        args: list[Json] = [raw.decode()]
    except UnicodeDecodeError:
        args = [base64.b64encode(raw).decode(), "base64, because the payload is not UTF-8"]
    moment_s = stamp(now_s, 0)
    return {
        "class": UNREADABLE_CLASS,
        "args": args,
        "jid": jid,
        "queue": queue,
        "retry": False,
        "created_at": moment_s,
        "error_message": scrub(message[:ERROR_MESSAGE_LIMIT]),
        "error_class": scrub(reason_code),
        "failed_at": moment_s,
        "retry_count": 0,
    }


def attempts(fields: Mapping[str, Json], entry: Mapping[str, Json]) -> list[Json]:
    """Return the last ten attempts, with `entry` as the newest: `{at, status, outcome, code, ms, excerpt}`."""
    earlier = fields.get(ATTEMPTS_FIELD)
    known: list[Json] = [item for item in earlier if isinstance(item, dict)] if isinstance(earlier, list) else []
    return [*known, {name: _plain(value) for name, value in entry.items()}][-ATTEMPTS_KEPT:]


def _plain(value: Json) -> Json:
    # What a server says may quote what a stranger wrote.
    return without_tags(scrub(value)) if isinstance(value, str) else value


def _is_used_up(rule: RetryRule, count: int, first_s: float, now_s: float) -> bool:
    if rule.retry_for_s is not None:
        return first_s + rule.retry_for_s < now_s
    return count >= rule.max_retries


def _count(value: Json) -> int | None:
    match value:
        case bool() | None:
            return None
        case int() | float():
            return int(min(max(value, -COUNT_LIMIT), COUNT_LIMIT))
        case str() if _COUNT_TEXT.fullmatch(value):
            return min(int(value), COUNT_LIMIT)
        case _:
            return None
