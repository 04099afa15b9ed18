"""What a job asks for and does not get: members without effect where it runs, or nearly named as one of ours. Pure.

Admission warns of it, and whatever shows a job to people says so; unmet.json has the texts, and the names that are
known. Always holds: at most twenty unknown members of a job are looked at; what Sidekiq and its middleware write is no
misspelling.
"""

from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path
from typing import Final

import orjson

from restbroker.job import expiry, retry
from restbroker.job.fairness import FAIR_KEY
from restbroker.job.format import reply_key
from restbroker.job.json_types import Json
from restbroker.job.order import ORDER_KEY
from restbroker.light import frozen

_TEXTS, _READ, _OF_OTHERS = orjson.loads(Path(__file__).with_suffix(".json").read_bytes()).values()
_KNOWN: Final = frozenset(chain(_READ, *_OF_OTHERS.values()))
# Nothing is asked in vain by these, whatever their values.
_HARMLESS: Final = _KNOWN - {"reply_to", ORDER_KEY, FAIR_KEY, expiry.RELATIVE_FIELD}
_MOST: Final = 20
_LONGEST: Final = 30
_ALIKE: Final = 0.85


@frozen
class Unmet:
    """What a job asks for in vain: `what` goes on a sentence about the job, `hint` says what to do."""

    code: str
    what: str
    hint: str


def found(code: str, **values: str) -> Unmet:
    """Return what a job asks for in vain, by its code."""
    return Unmet(code, *(text.format(**values) for text in _TEXTS[code]))


def unmet(
    fields: Mapping[str, Json],
    unread: Mapping[str, str],
    queues: Collection[str] = (),
    *,
    expires: bool,
    answered: bool,
) -> Iterator[Unmet]:
    """Yield what a job of these members does not get.

    `unread`: {member that its target does not read: the key of the configuration that would make it}; `queues`: those
    of its target, if its `retry_queue` is looked at. `expires`: whether it does; `answered`: its reply id is not lost.
    """
    if answered and not queues and fields.keys() <= _HARMLESS:  # as most are
        return
    if fields.get("reply_to") not in (None, "") and reply_key(fields["reply_to"]) is None:
        yield found("BadReplyTo")
    yield from (found("UnusedKey", member=name, key=unread[name]) for name in unread if fields.get(name) is not None)
    if not expires and expiry.RELATIVE_FIELD in fields and expiry.FIELD not in fields:
        yield found("ExpiryWithoutTime")
    if not answered:
        yield found("ReplyWithoutQueue")
    if queues and retry.names_foreign_queue(fields, queues):
        yield found("RetryQueueIgnored")
    for name in islice(fields.keys() - _KNOWN, _MOST):
        if (meant := _nearest(name)) is not None:
            yield found("MemberMisspelt", member=name, meant=meant)


@lru_cache(maxsize=1000)
def _nearest(name: str) -> str | None:
    """Return the member that this one was probably meant to be; None: none."""
    if len(name) > _LONGEST or not name.replace("-", "_").isidentifier():
        return None
    plain = {known.replace("_", ""): known for known in _READ}
    near = get_close_matches(name.replace("-", "").replace("_", "").casefold(), plain, n=1, cutoff=_ALIKE)
    return plain[near[0]] if near else None
