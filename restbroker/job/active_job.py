"""Jobs that Rails' ActiveJob pushed: its Sidekiq adapter wraps each in an object of its own.

Whatever reads a payload calls `unwrap`, and takes the job for a plain one from then on. Always holds: the bytes in
Redis stay as they are while a job waits, so that they are found again; what restbroker itself stores is the plain job.
A value that ActiveJob wrote as an object stays one, for masks and people to see, and its job is refused.
"""

from collections.abc import Iterator, Mapping
from itertools import chain, repeat
from typing import Final

from restbroker.job.endpoint import bare
from restbroker.job.json_types import Json
from restbroker.job.reason import Reason

WRAPPERS: Final = ("ActiveJob::QueueAdapters::SidekiqAdapter::JobWrapper", "Sidekiq::ActiveJob::Wrapper")
"""The class of a wrapped job: that of Rails, and since Sidekiq 8 that of Sidekiq."""
WRAPPED: Final = "wrapped"
"""The field with the job's own class. It stays only where an object has to be refused."""
_NOTES: Final = frozenset(("_aj_symbol_keys", "_aj_ruby2_keywords", "_aj_hash_with_indifferent_access"))
"""Members that say what a hash was in Ruby."""
_PLACES: Final = ("the command", "the arguments", "the token", "the reply id")


def unwrap(fields: dict[str, Json]) -> dict[str, Json]:
    """Return the fields, just parsed, of which a wrapped job is made a plain one.

    A wrapper is known by its class or by `job_class`: sidekiq-cron, before 1.2, wrote no `wrapped`.
    """
    is_wrapper, name = fields.get("class") in WRAPPERS, fields.get(WRAPPED)
    match fields.get("args"):
        case [{"arguments": list(given), "job_class": str(job_class)}]:
            name = job_class
        case [{"arguments": list(given)}] if is_wrapper:
            pass
        case _:
            return fields
    fields["args"] = _without_notes(given)
    if is_wrapper and isinstance(name, str):
        fields["class"] = name
    fields.setdefault(WRAPPED, name)
    if refusal(fields) is None:
        del fields[WRAPPED]
    return fields


def refusal(fields: Mapping[str, Json]) -> Reason | None:
    """Return why a job of ActiveJob is refused, as a value of it was written as an object; None if none was."""
    args = fields.get("args") if WRAPPED in fields else None
    places = chain(_PLACES, repeat("a further value"))
    for place, value in zip(places, args, strict=False) if isinstance(args, list) else ():
        for name, kind in _objects(place, value):
            message = f"Of this job of ActiveJob, {name} is an object of Rails: {bare(kind)}."
            return Reason("BadArguments", message, _FIX)
    return None


def _without_notes(value: Json) -> Json:
    match value:
        case list():
            return [_without_notes(item) for item in value]
        case dict():
            return {name: _without_notes(member) for name, member in value.items() if name not in _NOTES}
        case _:
            return value


def _objects(place: str, value: Json) -> Iterator[tuple[str, str]]:
    match value:
        case {"_aj_serialized": kind} | {"_aj_globalid": kind}:
            yield place, str(kind)
        case list():
            for item in value:
                yield from _objects(place, item)
        case dict():
            for name, member in value.items():
                yield from _objects(f'"{bare(name)}"', member)
        case _:
            pass


_FIX: Final = "Pass text, numbers, booleans, lists and hashes: `symbol.to_s`, `time.iso8601`, `record.id`."
