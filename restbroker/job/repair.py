"""Makes any producer's payload safe to lie in Sidekiq's sets.

Called by `job.retry`, `job.settle` and `job.crashes` for what goes to a set, by `job.display` for what is shown, and
where `enqueue` and `migrate` write jobs. Always holds: a repaired payload is shown by every page of Sidekiq Web and
survives Ruby's poller, which takes an entry out first and then refuses what is not to its liking (no class, args that
are no list, a wrong `at`, `tags` or `retry_for`): such a job is lost. Read in the sources of 6.4.1 and 8, and measured
on 6.4.1, 7.3.2, 8.0.10 and 8.1.7 where pages are concerned.
"""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime

from restbroker.job import active_job, rubyjson
from restbroker.job.json_types import Json

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
_TAGS = str.maketrans("<>", "\u2039\u203a")
_SURROGATE = re.compile("[\ud800-\udfff]")


def repair(fields: Mapping[str, Json], queue: str) -> dict[str, Json]:
    """Return a copy that Sidekiq can show and move; `queue` is where it goes from there. The order of keys is kept.

    Times become seconds with a fraction: Sidekiq 8 takes whole numbers for milliseconds, Sidekiq 7 does not know
    milliseconds. Fields that cannot be repaired and are not needed are removed.
    """
    safe = dict(fields)
    safe["queue"] = queue
    if not isinstance(safe.get("class"), str):
        safe["class"] = UNNAMED_CLASS
    if not isinstance(safe.get("args"), list):
        safe["args"] = _args(safe.get("args"))
    for name in _TIMES:
        _repair_time(safe, name)
    _drop_unfit(safe)
    _unwrap_unfit(safe)
    return safe


def seconds(value: Json) -> float | None:
    """Return a time as real producers write it, in seconds with a fraction; None if it is none.

    Seconds, milliseconds (Sidekiq 8, JavaScript), numbers as text, and dates as text ("2006-01-02 15:04:05 UTC", as
    go-workers writes them, or ISO).
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
    """Return `retry_for` in seconds; None if it is not a number that Sidekiq takes for a duration."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value > _RETRY_FOR_LIMIT_S:
        return None
    # Below it is over at once in any case, and a number of hundreds of digits is no float.
    return float(max(value, -_RETRY_FOR_LIMIT_S))


def fractional(moment_s: float) -> float:
    """Return the same moment to the microsecond, never a whole number, and different for different microseconds.

    A whole number would become an integer when PHP or JavaScript next writes it, and 1970 in Sidekiq 8.
    """
    moment_s = round(float(moment_s), 6)
    # Far in the future a double tells microseconds no longer apart.
    return moment_s + max(_MICROSECOND_S / 2, math.ulp(moment_s)) if moment_s.is_integer() else moment_s


def parse_list(text: str) -> list[Json] | None:
    """Return the list that a producer sent as JSON text; None if it is none, or nests too deep besides its arguments.

    Its second element, the arguments, stays JSON text if it is too deep for what will be around it.
    """
    try:
        raw = text.encode()
        value = rubyjson.loads(raw)
    except ValueError:
        return None
    if not isinstance(value, list) or rubyjson.nests_at_most(_ARGS_NESTING, raw):
        return value if isinstance(value, list) else None
    if len(value) > 1 and isinstance(value[1], list | dict):
        value[1] = rubyjson.dumps(value[1]).decode()
    return value if rubyjson.nests_at_most(_ARGS_NESTING, rubyjson.dumps(value)) else None


def scrub(text: str) -> str:
    """Return the text without half surrogate pairs, which no JSON for Ruby may hold."""
    return _SURROGATE.sub("\ufffd", text)


def without_tags(text: str) -> str:
    """Return the text with ‹ and › for < and >, for the places where Sidekiq Web takes text for HTML.

    Its pages do so with names of classes, job ids and queues, the details with each field that they do not know (seen
    in 6.4.1; 8 has it in its templates).
    """
    return text.translate(_TAGS)


def _args(value: Json) -> list[Json]:
    match value:
        case None:
            return []
        case str():
            found = parse_list(value)
            return [value] if found is None else found
        case _:
            # As text, since one more level of nesting may be one too many.
            return [rubyjson.dumps(value).decode()]


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
    # A job that was due once must not be scheduled again when the poller pushes it.
    fields.pop("at", None)
    # Belongs to another worker's error, and the details page breaks unless it is base64 of deflated JSON.
    fields.pop("error_backtrace", None)
    if not isinstance(fields.get("tags", []), list):
        del fields["tags"]
    if not isinstance(fields.get("display_class", ""), str):
        del fields["display_class"]
    # Sidekiq shows other text in place of the last argument, and fails without one.
    if not fields["args"]:
        fields.pop("encrypt", None)
    if fields.get("retry_for") is not None and duration_s(fields["retry_for"]) is None:
        del fields["retry_for"]


def _unwrap_unfit(fields: dict[str, Json]) -> None:
    # What ActiveJob wrote was unwrapped; every page that lists another job of that class breaks.
    if fields["class"] in active_job.WRAPPERS:
        fields.setdefault("display_class", fields["class"])
        fields["class"] = UNNAMED_CLASS


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
