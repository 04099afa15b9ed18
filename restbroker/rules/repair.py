"""Makes a payload safe to lie in Sidekiq's sets, whatever its producer wrote.

Called by `rules.retry`, and for payloads that are put off. Always holds: what comes out is shown by every page of
Sidekiq Web and survives Ruby's poller, which takes an entry out first and then refuses what is not to its liking
(no class, args that are no list, a wrong `at`, `tags` or `retry_for`): such a job is lost. Read in the sources of
6.4.1 and 8, and measured on 6.4.1, 7.3.2, 8.0.10 and 8.1.7 where pages are concerned.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from restbroker.rules import rubyjson
from restbroker.rules.json_types import Json

UNNAMED_CLASS = "Restbroker::Job"
"""The class of a job that came without one. Ruby's poller loses jobs that have none."""

_TIMES = ("created_at", "enqueued_at", "failed_at", "retried_at")
# As seconds the year 5138, as milliseconds 1973: no job was made in either.
_MILLISECONDS_FROM = 1e11
# Sidekiq 8 takes more for a point in time and refuses it.
_RETRY_FOR_LIMIT_S = 1_000_000_000
_MICROSECOND_S = 1e-6
# Leaves room for the objects around it below Ruby's limit.
_ARGS_NESTING = 90
_SURROGATE = re.compile("[\ud800-\udfff]")


def repaired(fields: Mapping[str, Json], queue: str) -> dict[str, Json]:
    """A copy that Sidekiq can show and move; `queue` is where it was taken from. The order of keys is kept.

    Times become seconds with a fraction: Sidekiq 8 takes whole numbers for milliseconds, Sidekiq 7 does not know
    milliseconds. What cannot be repaired and is not needed goes away.
    """
    retry_queue = fields.get("retry_queue")
    safe = dict(fields)
    safe["queue"] = retry_queue if isinstance(retry_queue, str) and retry_queue else queue
    if not isinstance(safe.get("class"), str):
        safe["class"] = UNNAMED_CLASS
    if not isinstance(safe.get("args"), list):
        safe["args"] = _args(safe.get("args"))
    for name in _TIMES:
        _repair_time(safe, name)
    _drop_unfit(safe)
    return safe


def seconds(value: Json) -> float | None:
    """A time as real producers write it, in seconds with a fraction; None if it is none.

    Seconds, milliseconds (Sidekiq 8, JavaScript), numbers as text, and dates as text ("2006-01-02 15:04:05 UTC",
    as go-workers writes them, or ISO).
    """
    match value:
        case bool() | None:
            return None
        case int() | float():
            return _plausible(value)
        case str():
            return _from_text(value)
        case _:
            return None


def duration_s(value: Json) -> float | None:
    """`retry_for` in seconds; None if it is not a number that Sidekiq takes for a duration."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value > _RETRY_FOR_LIMIT_S:
        return None
    return float(value)


def fractional(moment_s: float) -> float:
    """The same moment to the microsecond, never a whole number, and different for different microseconds.

    A whole number would become an integer in the next PHP or JavaScript hand and 1970 in Sidekiq 8.
    """
    moment_s = round(float(moment_s), 6)
    return moment_s + _MICROSECOND_S / 2 if moment_s.is_integer() else moment_s


def scrubbed(text: str) -> str:
    """The text without half surrogate pairs, which no JSON for Ruby may hold."""
    return _SURROGATE.sub("\ufffd", text)


def _args(value: Json) -> list[Json]:
    match value:
        case None:
            return []
        case str():
            return _listed(value)
        case _:
            # As text, since one more level of nesting may be one too many.
            return [rubyjson.dumps(value).decode()]


def _listed(text: str) -> list[Json]:
    # Some Node producers send the list as JSON text.
    try:
        raw = text.encode()
        value = rubyjson.loads(raw)
    except ValueError:
        return [text]
    return value if isinstance(value, list) and rubyjson.nests_at_most(_ARGS_NESTING, raw) else [text]


def _repair_time(fields: dict[str, Json], name: str) -> None:
    # null is shown well by every version.
    if fields.get(name) is None:
        return
    moment_s = seconds(fields[name])
    if moment_s is None:
        del fields[name]
    else:
        fields[name] = moment_s


def _drop_unfit(fields: dict[str, Json]) -> None:
    # A job that was due once must not be scheduled anew when the poller pushes it.
    fields.pop("at", None)
    if not isinstance(fields.get("tags", []), list):
        del fields["tags"]
    if not isinstance(fields.get("error_backtrace", ""), str):
        del fields["error_backtrace"]
    if fields.get("retry_for") is not None and duration_s(fields["retry_for"]) is None:
        del fields["retry_for"]


def _plausible(number: float) -> float | None:
    if not 0 <= number < _MILLISECONDS_FROM * 1000:
        return None
    return fractional(number / 1000 if number >= _MILLISECONDS_FROM else number)


def _from_text(text: str) -> float | None:
    try:
        return _plausible(float(text))
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text.removesuffix(" UTC").replace(" +", "+"))
    except ValueError:
        return None
    return _plausible((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
