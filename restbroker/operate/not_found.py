"""What can be said of a job that is nowhere: where it was searched for, and where it may be, or may have gone.

Called by `restbroker explain`. Always holds: it changes nothing; if Redis refuses a question, the rest is returned.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, TypeVar

import attrs

from restbroker.config.core import Config
from restbroker.errors import StoreRefused
from restbroker.operate.names import nearest
from restbroker.store import dead_copies, history, processes, survey
from restbroker.store.client import Client
from restbroker.store.history import Entry
from restbroker.store.processes import ProcessRecord
from restbroker.store.stats import Overview, overview

S = TypeVar("S")
T = TypeVar("T")
_MOST_QUEUES: Final = 1000
_LOOKED_AT: Final = 1000
"""How many copies of dead jobs are compared with the dead set."""


@attrs.frozen
class SearchedPlace:
    """A place that was searched. `jobs`: how many it has now; None: Redis refuses to show it."""

    label: str
    jobs: int | None


@attrs.frozen
class UnservedQueue:
    """A queue with jobs that no process and no target serves. `similar`: a queue with a similar name."""

    name: str
    jobs: int
    similar: str | None


@attrs.frozen
class Copies:
    """`left_dead_set` of the `looked_at` newest copies are no longer in the dead set: retried, deleted or trimmed."""

    looked_at: int = 0
    left_dead_set: int = 0


@attrs.frozen
class HistoryExtent:
    """The History of finished jobs: it keeps the last `for_s` seconds (None: off).

    `ends`: how many it has, the oldest from `since_s` (epoch seconds). Brokers with another configuration may have
    written them.
    """

    for_s: float | None
    ends: int = 0
    since_s: float | None = None


@attrs.frozen
class NotFound:
    """The places searched in vain, and more. `namespaces`: others on this Redis that have queues; "" is none."""

    searched: tuple[SearchedPlace, ...]
    unserved: tuple[UnservedQueue, ...]
    namespaces: tuple[str, ...]
    copies: Copies
    history: HistoryExtent


def not_found(client: Client, config: Config) -> NotFound:
    """Return where else the job may be. Raise `StoreUnavailable`."""
    lists = _try(lambda: survey.lists(client), frozenset[str]())
    seen = _try(lambda: overview(client, {*config.queues, *lists}, _MOST_QUEUES), None)
    copies = _try(lambda: dead_copies.size(client), None)
    unknown: tuple[int | None, Entry | None] = None, None
    ends, oldest = _try(lambda: history.extent(client), unknown)
    others = _try(lambda: survey.namespaces(client), frozenset[str]()) - {config.namespace}
    searched = (
        *_searched_places(seen),
        SearchedPlace("copies of dead jobs", copies),
        *(
            []
            if not ends and config.history_s is None
            else [SearchedPlace("jobs that ended, as History keeps them", ends)]
        ),
    )
    since_s = None if oldest is None else oldest.at_s
    return NotFound(
        searched,
        () if seen is None else tuple(_unserved_queues(seen, config, _served_by_others(client))),
        tuple(sorted(others)),
        copies=_try(lambda: _copies(client), Copies()),
        history=HistoryExtent(config.history_s, ends or 0, since_s),
    )


def _try(ask: Callable[[], T], instead: S) -> T | S:
    # `explain` has told of it.
    try:
        return ask()
    except StoreRefused:
        return instead


def _searched_places(seen: Overview | None) -> Iterator[SearchedPlace]:
    if seen is None:
        return
    yield SearchedPlace("the dead set", seen.dead)
    yield SearchedPlace("the retry set", seen.retry)
    yield SearchedPlace("the schedule set", seen.schedule)
    number = len({pool.identity.rpartition(":")[0] for pool in seen.identities})
    count_text = "1 process" if number == 1 else f"{number} processes"
    yield SearchedPlace(f"in progress in {count_text}", sum(pool.in_progress for pool in seen.identities))
    yield from (SearchedPlace(f"the queue {queue.name}", queue.size) for queue in seen.queues)


def _served_by_others(client: Client) -> frozenset[str]:
    """Return the queues that Ruby's Sidekiq serves, and restbroker, by their records."""
    records: Sequence[ProcessRecord] = _try(lambda: processes.read_all(client, with_work=False), ())
    return frozenset(queue for one in records for queue in one.queues)


def _unserved_queues(seen: Overview, config: Config, served: Iterable[str]) -> Iterator[UnservedQueue]:
    pools = (pool.registration for pool in seen.identities if pool.registration is not None and not pool.is_fenced)
    known = {*served, *config.queues, *(queue for pool in pools for queue in pool.queues)}
    for queue in seen.queues:
        if queue.size and queue.name not in known:
            yield UnservedQueue(queue.name, queue.size, nearest(queue.name, known))


def _copies(client: Client) -> Copies:
    found = dead_copies.newest(client, _LOOKED_AT)
    return Copies(len(found), len(dead_copies.missing_copies(client, found)))
