"""The jobs of one set, by their order, or of one queue, next one first: page by page, by conditions, or one by its id.

Called by the command line and the pages. A queue's jobs in lines come first, in the order in which they would be handed
out, then those of its list. Always holds: changes nothing; reads no more than its limits allow and then
says where to go on; the cost of a page does not depend on how deep it lies or how large the set is.
"""

import math
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Final, TypeVar

from restbroker.job.job import digest
from restbroker.light import frozen
from restbroker.operate.context import ConfigContext
from restbroker.operate.job import ShownJob, StoredJob
from restbroker.operate.names import exact
from restbroker.operate.throttle import Throttle
from restbroker.operate.where import Where, require_waiting
from restbroker.store import key_queues, paging, queues
from restbroker.store.client import Client
from restbroker.store.key_queues import Cost, equal_cost
from restbroker.store.keys import QueueName, SortedSet
from restbroker.store.paging import Cursor, Member, SetPiece

T = TypeVar("T")
R = TypeVar("R")
V = TypeVar("V")
PAGE: Final = 20
"""Jobs read at once: each may have a megabyte, and a page must arrive within the connection's time-out."""
SLICE: Final = 200
"""How many members are read with one question to Redis; fewer where they are large."""
_KEY: Final = re.compile(r"([0-9a-z.+-]{1,40})-([0-9a-f]{40})", re.ASCII)
_PLAIN: Final = re.compile(r"[A-Za-z0-9_:.-]+", re.ASCII)
_JID: Final = re.compile(rb'"jid"\s*:\s*"([^"\\]*)"')


@frozen
class SearchLimits:
    """Limits of a search: `seconds` in all, and at most `jobs` of each queue and set.

    A walk through all places reads at most `ends` of jobs and `notes` of the audit log, and leaves a place after `hits`
    results. `gives_way`: the process has other work, so the search rests as long as it works.
    """

    seconds: float = 10.0
    jobs: int = 10_000
    ends: int = 1_000_000
    notes: int = 5000
    hits: int = 1_000_000
    gives_way: bool = False


_OF_A_PAGE: Final = SearchLimits(seconds=2.0, jobs=50_000)


@frozen
class ResultPage:
    """One page of results. `after` is the next page's place; None: this is the last one. `total`: the set's size.

    `looked_at`: how many jobs were read. A page may be empty and have an `after`, if a limit was reached.
    """

    entries: tuple[ShownJob, ...]
    after: str | None
    looked_at: int
    total: int


@frozen
class FoundJob:
    """A job's bytes and score; None if it was not found. `complete` False: time ran out during the search."""

    member: Member | None
    complete: bool = True


@frozen
class LinePlace:
    """A job's place in the line of its `key` ("": of the jobs without one), as people see that.

    `number` 1 is the next of the line's `jobs`, and `keys` wait at all.
    """

    key: str
    number: int
    jobs: int
    keys: int


def is_key(name: str) -> bool:
    """Tell whether this is an entry's key, which is found without a search, and not a job id."""
    return _parse_key(name) is not None


def may_have(jids: frozenset[str]) -> Callable[[bytes], bool]:
    """Return a quick test of a job's bytes, which excludes most jobs that have none of these ids."""
    words = {jid.encode() for jid in jids if jid.isascii()}

    def may(raw: bytes) -> bool:
        named = _JID.findall(raw)
        # JSON may write letters in several ways.
        return not named or len(words) < len(jids) or any(word in words for word in named)

    return may


def page(
    client: Client,
    zset: SortedSet,
    where: Where,
    known: ConfigContext,
    *,
    after: str | None = None,
    limit: int = PAGE,
    limits: SearchLimits | None = None,
) -> ResultPage:
    """Return at most `limit` jobs that match all conditions, after the place `after` of an earlier page.

    Dead jobs come newest first, others next due first. Raise `UsageError` if `after` is not a place; raise
    `StoreUnavailable` or `StoreRefused`.
    """
    allowed, start = limits or _OF_A_PAGE, Cursor.parse(after) if after else None
    total = 0

    def jobs() -> Iterator[tuple[StoredJob, tuple[SetPiece, int]]]:
        nonlocal total
        for part in paging.pieces(client, zset, min(SLICE, allowed.jobs if where else limit), start):
            total = part.size
            for number, (raw, score) in enumerate(part.members, start=1):
                yield StoredJob(raw, score, known), (part, number)

    entries, looked_at, place = choose(jobs(), lambda view: _shown_if(view, where), limit, allowed)
    return ResultPage(entries, None if place is None else _more(client, zset, *place), looked_at, total)


def waiting_page(
    client: Client,
    queue: str,
    where: Where,
    known: ConfigContext,
    *,
    after: str | None = None,
    limit: int = PAGE,
    limits: SearchLimits | None = None,
) -> ResultPage:
    """Return at most `limit` jobs of a queue that match all conditions, next one first; they stay in the queue.

    `after` is a number of jobs: if jobs are taken meanwhile, the pages shift. Raise the errors of `page`.
    """
    require_waiting(where)
    start = int(after) if after is not None and after.isascii() and after.isdigit() and len(after) < 12 else 0
    own = exact(client, queue)
    total = queues.size(client, own) or 0
    raws = chain.from_iterable(pieces(client, own, known.target(queue), known.cost(queue), start))
    jobs = ((view_of_waiting(raw, queue, known), number) for number, raw in enumerate(raws, start + 1))
    entries, looked_at, place = choose(jobs, lambda view: _shown_if(view, where), limit, limits or _OF_A_PAGE)
    return ResultPage(entries, str(place) if place is not None and place < total else None, looked_at, total)


def _shown_if(view: StoredJob, where: Where) -> ShownJob | None:
    return view.shown() if view.matches(where) else None


def choose(
    found: Iterable[tuple[V, T]], pick: Callable[[V], R | None], limit: int, limits: SearchLimits
) -> tuple[tuple[R, ...], int, T | None]:
    """Return at most `limit` picked ones, how many were looked at, and the place of the last; None: it was all."""
    deadline = time.monotonic() + limits.seconds
    throttle = Throttle() if limits.gives_way else None
    chosen: list[R] = []
    looked_at = 0
    for looked_at, (one, place) in enumerate(found, start=1):
        if throttle is not None:
            throttle.step()
        if (picked := pick(one)) is not None:
            chosen.append(picked)
        if len(chosen) >= limit or looked_at >= limits.jobs or time.monotonic() >= deadline:
            return tuple(chosen), looked_at, place
    return tuple(chosen), looked_at, None


def pieces(
    client: Client, own: QueueName, target: str | None, cost: Cost = equal_cost, skip: int = 0
) -> Iterator[Sequence[bytes]]:
    """Yield a queue's jobs after the first `skip`, a page at once. `target` as in `key_queues.read_key_queues`.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    lines = key_queues.read_key_queues(client, own, target)
    seen = sum(line.jobs for line in lines)
    if skip < seen:
        places = islice(key_queues.by_turn(lines, cost), skip, None)
        for piece in key_queues.pieces(client, own, places, limit=PAGE):
            yield [raw for _, _, raw in piece]
    start = max(0, skip - seen)
    while listed := queues.peek(client, own, start, PAGE):
        yield listed
        start += len(listed)


def view_of_waiting(raw: bytes, queue: str, known: ConfigContext) -> StoredJob:
    """Return the view of a job that waits in this queue, with the push time as its score."""
    return StoredJob(raw, 0.0, known, queue).timed


def one(client: Client, zset: SortedSet, name: str, known: ConfigContext, seconds: float = 10.0) -> ShownJob | None:
    """Return the job with this key or job id; None if there is none, or if it was not found in `seconds`.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    found = locate(client, zset, name, seconds).member
    return None if found is None else StoredJob(*found, known).shown()


def locate(client: Client, zset: SortedSet, name: str, seconds: float = 10.0) -> FoundJob:
    """Return the bytes and score of the job with this key or job id. Raise the errors of `one`."""
    key = _parse_key(name)
    if key is not None:
        return _of_key(client, zset, *key, time.monotonic() + seconds)
    return of_jid(client, zset, name, seconds)


def of_jid(client: Client, zset: SortedSet, jid: str, seconds: float) -> FoundJob:
    """Return a job with this id, which may be any text. Raise the errors of `one`."""
    deadline = time.monotonic() + seconds
    # JSON may write other characters in several ways; then each entry that has any jid is looked at.
    word = jid if _PLAIN.fullmatch(jid) else '"jid"'
    for members in paging.members_with_word(client, zset, word):
        for raw, score in members:
            if jid_of(raw) == jid:
                return FoundJob((raw, score))
        if time.monotonic() >= deadline:
            return FoundJob(None, complete=False)
    return FoundJob(None)


def jid_of(raw: bytes) -> str | None:
    """Return the id in a job's bytes; None if it has none."""
    return StoredJob(raw, 0.0, _NOTHING).jid


_NOTHING: Final = ConfigContext({})


def _of_key(client: Client, zset: SortedSet, score: float, wanted: str, deadline: float) -> FoundJob:
    for part in paging.pieces(client, zset, SLICE, Cursor(score, 0), newest_first=False):
        for raw, at in part.members:
            if at != score:
                return FoundJob(None)
            if digest(raw) == wanted:
                return FoundJob((raw, at))
        if time.monotonic() >= deadline:
            return FoundJob(None, complete=False)
    return FoundJob(None)


def _parse_key(name: str) -> tuple[float, str] | None:
    """Return the score and the digest that a key is made of; None if it is no key."""
    found = _KEY.fullmatch(name)
    if found is None:
        return None
    try:
        score = float(found[1])
    except ValueError:
        return None
    return None if math.isnan(score) else (score, found[2])


def _more(client: Client, zset: SortedSet, part: SetPiece, number: int) -> str | None:
    """Return where the next page begins; None if nothing follows."""
    behind = part.behind(number)
    rest = number < len(part.members)
    if not rest and not paging.piece(client, zset, behind, 1, newest_first=zset == "dead").members:
        return None
    return str(behind)
