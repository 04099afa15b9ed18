"""Where the jobs are that a person sent again: failed once more and for what cause, waiting, in progress, or done.

Called by `retry --wait`, `edit --retry --wait` and the page of an action. Always holds: changes nothing; a job counts
as done only if the History says that it was delivered since it was sent, or if it was met nowhere and all places were
searched; those that were not are named.
"""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from itertools import chain
from typing import Final

from restbroker.job.hiding import MASK
from restbroker.light import frozen
from restbroker.operate import audit, find
from restbroker.operate.audit import AuditEntry
from restbroker.operate.context import ConfigContext
from restbroker.operate.find import SearchLimits
from restbroker.operate.walk import Match, SearchQuery, Walk
from restbroker.store.client import Client
from restbroker.store.keys import SortedSet

SENT: Final = frozenset({"retry", "edit and retry"})
"""Actions that send jobs to their queues at once, as the audit log names them."""
_MOST_CAUSES: Final = 20


@frozen
class FailureCount:
    """How many jobs failed again for one cause, and the set that they are in. `message` is from one of them."""

    zset: SortedSet
    group: str | None
    code: str | None
    message: str | None
    jobs: int


@frozen(kw_only=True)
class ActionResult:
    """Counts of an action's jobs by where they are now.

    `failed`: in the retry or dead set, by cause, largest first. `waiting`: in a queue, or scheduled; `queues` names
    some of these queues. `unknown`: not found, but the search was incomplete (`unseen`, `refused`). `done`: the rest.
    """

    jobs: int
    done: int
    waiting: int
    in_progress: int
    unknown: int
    failed_jobs: int
    failed: tuple[FailureCount, ...]
    unseen: tuple[str, ...]
    refused: tuple[str, ...]
    queues: tuple[str, ...] = ()

    @property
    def is_over(self) -> bool:
        """Whether no job is still on its way. Failed jobs with tries left do not count: they run again later."""
        return not (self.waiting or self.in_progress or self.unknown)


@frozen
class FollowedRun:
    """An action in the audit log. `note`: the newest entry, written at `noted_s` (epoch seconds).

    `jids`: the job ids in its entries (`note.done` jobs were done; the ids of only the first are kept).
    """

    name: str
    began_s: float
    noted_s: float
    note: AuditEntry
    jids: tuple[str, ...]


def run(client: Client, name: str) -> FollowedRun | None:
    """Return the action that began with this entry of the audit log; None if the log does not have it any more.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    found = audit.of_run(client, name)
    if not found:
        return None
    jids = dict.fromkeys(chain.from_iterable(entry.note.jids for entry in found))
    # Of one that had to be hidden no one could say where it is.
    shown = tuple(jid for jid in jids if MASK not in jid)
    return FollowedRun(name, found[0].at_s, found[-1].at_s, note=found[-1].note, jids=shown)


def follow(
    client: Client, jids: Collection[str], known: ConfigContext, bounds: SearchLimits, since_s: float = math.inf
) -> ActionResult:
    """Return where these jobs are now, which were sent to their queues at `since_s` (Redis' clock) or later.

    Raise `StoreUnavailable`.
    """
    wanted = frozenset(jids)
    walk = Walk(client, known, bounds, _query(wanted))
    met, delivered = _meet(walk, wanted, since_s)
    missing = len(wanted) - len(met) - delivered
    unseen, refused = (tuple(dict.fromkeys(walk.unseen)), tuple(walk.refused)) if missing else ((), ())
    kinds = Counter(match.kind for match in met.values())
    queues = sorted({match.view.queue or "" for match in met.values() if match.kind in ("queue", "schedule")})
    return ActionResult(
        jobs=len(wanted),
        done=delivered + (0 if unseen or refused else missing),
        waiting=kinds["queue"] + kinds["schedule"],
        in_progress=kinds["in progress"],
        unknown=missing if unseen or refused else 0,
        failed_jobs=kinds["dead"] + kinds["retry"],
        failed=tuple(_causes(met.values())),
        unseen=unseen,
        refused=refused,
        queues=tuple(queues[:_MOST_CAUSES]),
    )


def job_states(client: Client, jids: Collection[str], known: ConfigContext, bounds: SearchLimits) -> dict[str, str]:
    """Return a word for where each job is, or for how it ended: its `Kind`, or a word of the History.

    "gone": it is nowhere, so it was done, or a person deleted it. Jobs that were not found, though not all was
    searched, are left out. Raise `StoreUnavailable`.
    """
    wanted = frozenset(jids)
    walk = Walk(client, known, bounds, _query(wanted))
    met, _ = _meet(walk, wanted, math.inf)
    ends = {end.ending.jid: end.ending.outcome for end in walk.ends()} if len(met) < len(wanted) else {}
    states = ends | {jid: str(match.kind) for jid, match in met.items()}
    return states if walk.unseen or walk.refused else dict.fromkeys(jids, "gone") | states


def _query(jids: frozenset[str]) -> SearchQuery:
    return SearchQuery(find.may_have(jids), lambda view: view.jid in jids, lambda end: end.ending.jid in jids)


def _meet(walk: Walk, jids: frozenset[str], since_s: float) -> tuple[dict[str, Match], int]:
    """Return where jobs are met, by their ids: each in the place where it was seen last; and how many were delivered.

    The walk goes as a job does, so one that moves meanwhile is met later. Only one that goes back to a queue, from a
    process or the retries, passes it: therefore the places to which it may have gone are looked at again as long as a
    job is met nowhere, but not the middle of long queues. That is searched only for jobs that are at neither end, and
    of which the History does not say that they were delivered since `since_s`.
    """
    met: dict[str, Match] = {}
    left = set(jids)

    def look(places: Iterable[Match]) -> None:
        for place in places if left else ():
            met[place.view.jid or ""] = place
            left.discard(place.view.jid or "")
            if not left:
                return

    look(walk.likely_places())
    delivered = set[str]()
    if left and since_s < math.inf:
        known = len(walk.unseen)
        delivered = {end.ending.jid for end in walk.ends(since_s) if end.ending.code is None} & left
        # What it does not say is found out below.
        del walk.unseen[known:]
    left -= delivered
    look(chain(walk.rest_of_queues(), walk.places_behind()))
    return met, len(delivered)


def _causes(met: Iterable[Match]) -> Iterator[FailureCount]:
    """Yield those that failed again, by cause."""
    failed: dict[tuple[SortedSet, str | None], list[Match]] = {}
    for match in met:
        if match.kind in ("retry", "dead"):
            failed.setdefault((match.kind, match.view.group), []).append(match)
    for (zset, group), jobs in sorted(failed.items(), key=lambda item: -len(item[1]))[:_MOST_CAUSES]:
        view = jobs[-1].view
        yield FailureCount(zset, group, view.shown_code, view.message, len(jobs))
