"""The results of jobs that a person sent again: done, failed once more and for what cause, or not ended yet.

Called by `retry --wait`, `edit --retry --wait` and the page of an action. Always holds: changes nothing; a job counts
as gone only if a walk through all places met it nowhere, twice; places that were not searched to the end are named.
"""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import chain
from typing import Final

import attrs

from restbroker.job.hiding import MASK
from restbroker.operate import audit
from restbroker.operate.audit import AuditEntry
from restbroker.operate.context import ConfigContext
from restbroker.operate.entry import JobView
from restbroker.operate.job_search import JobSearch, Match, SearchLimits, SearchQuery
from restbroker.store.client import Client
from restbroker.store.history import JobEnd
from restbroker.store.keys import SortedSet

SENT: Final = frozenset({"retry", "edit and retry"})
"""Actions that send jobs to their queues at once, as the audit log names them."""
KILLED: Final = "Killed"
_JID: Final = re.compile(rb'"jid"\s*:\s*"([^"\\]*)"')
_MOST_CAUSES: Final = 20
_CLOCKS_APART_S: Final = 60.0
"""A broker's clock may be so many seconds behind Redis'."""


@attrs.frozen
class FailureCount:
    """How many jobs failed again for one cause, and the set that they are in. `message` is from one of them.

    `code` is `KILLED` for jobs that a person killed since then, even if they failed before.
    """

    zset: SortedSet
    group: str | None
    code: str | None
    message: str | None
    jobs: int


@attrs.frozen(kw_only=True)
class ActionResult:
    """Counts of an action's jobs by their results.

    `done`: delivered. `dropped`: ended without delivery, as the jobs asked. `failed`: in the retry or dead set, by
    cause, largest first. `waiting`: in a queue, for their server, or for a new time that a person set; `queues` names
    some of these queues. These are in no queue, set or process any more: `gone`, if no History is kept: done, or
    deleted by a person; `deleted`: the History does not have them, so a person deleted them; `taken`: they were in
    queues that no target here serves, and another program took them. `unknown`: not found, but the search was
    incomplete (`unseen`, `refused`).
    """

    jobs: int
    done: int
    dropped: int
    gone: int
    taken: int
    waiting: int
    in_progress: int
    unknown: int
    failed: tuple[FailureCount, ...]
    unseen: tuple[str, ...]
    refused: tuple[str, ...]
    queues: tuple[str, ...] = ()
    deleted: int = 0

    @property
    def failed_jobs(self) -> int:
        """How many jobs failed again."""
        return sum(one.jobs for one in self.failed) - self.killed_jobs

    @property
    def killed_jobs(self) -> int:
        """How many jobs a person killed meanwhile."""
        return sum(one.jobs for one in self.failed if one.code == KILLED)

    @property
    def is_over(self) -> bool:
        """Whether no job is still on its way. Failed jobs with tries left do not count: they run again later."""
        return not (self.waiting or self.in_progress or self.unknown)


@attrs.frozen
class Run:
    """An action in the audit log. `note`: the newest entry, written at `noted_s` (epoch seconds).

    `jids`: the job ids in its entries (`note.done` jobs were done; the ids of only the first are kept). `elsewhere`:
    those that it sent to queues which no target of the writer's configuration served.
    """

    name: str
    began_s: float
    noted_s: float
    note: AuditEntry
    jids: tuple[str, ...]
    elsewhere: frozenset[str] = frozenset()


def run(client: Client, name: str) -> Run | None:
    """Return the action that began with this entry of the audit log; None if the log does not have it any more.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    found = audit.of_run(client, name)
    if not found:
        return None
    jids = dict.fromkeys(chain.from_iterable(one.note.jids for one in found))
    # Of one that had to be hidden no one could say where it is.
    elsewhere = frozenset(chain.from_iterable(one.note.elsewhere for one in found))
    shown = tuple(jid for jid in jids if MASK not in jid)
    return Run(name, found[0].at_s, found[-1].at_s, note=found[-1].note, jids=shown, elsewhere=elsewhere)


def follow(
    client: Client,
    jids: Sequence[str],
    since_s: float,
    known: ConfigContext,
    bounds: SearchLimits,
    *,
    elsewhere: Collection[str] = frozenset(),
    keeps_ends: bool = False,
) -> ActionResult:
    """Return the results of these jobs, which were sent at `since_s` (epoch seconds, Redis' clock) or later.

    `elsewhere`: those that were sent to queues which no target here serves. `keeps_ends`: brokers record how each job
    ends (`History`). Raise `StoreUnavailable`.
    """
    wanted = frozenset(jids)
    found = _look_twice(client, known, bounds, wanted, since_s=since_s)
    met, ends, missing = found.met, found.ends, wanted - found.met.keys() - found.ends.keys()
    unseen, refused = (tuple(found.unseen), tuple(found.refused)) if missing else ((), ())
    is_seen = not unseen and not refused
    kinds = Counter("schedule" if _is_deferred(one) else one.kind for one in met.values())
    queues = sorted({one.view.queue or "" for one in met.values() if one.kind in ("queue", "schedule")})
    done = sum(ending.code is None for ending in ends.values())
    return ActionResult(
        jobs=len(wanted),
        done=done,
        dropped=len(ends) - done,
        gone=len(missing.difference(elsewhere)) if is_seen and not keeps_ends else 0,
        taken=len(missing.intersection(elsewhere)) if is_seen else 0,
        waiting=kinds["queue"] + kinds["schedule"],
        in_progress=kinds["in progress"],
        unknown=0 if is_seen else len(missing),
        failed=tuple(_causes(met.values())),
        unseen=unseen,
        refused=refused,
        queues=tuple(queues[:_MOST_CAUSES]),
        deleted=len(missing.difference(elsewhere)) if is_seen and keeps_ends else 0,
    )


def job_states(client: Client, jids: Collection[str], known: ConfigContext, bounds: SearchLimits) -> dict[str, str]:
    """Return a word for where each job is, or for how it ended: its `Kind`, or a word of the History.

    "gone": it is nowhere, so it was done, or a person deleted it. Jobs that were not found, though not all was
    searched, are left out. Raise `StoreUnavailable`.
    """
    found = _look_twice(client, known, bounds, frozenset(jids), since_s=0.0)
    states = {jid: ending.outcome for jid, ending in found.ends.items()}
    states |= {jid: str(one.kind) for jid, one in found.met.items()}
    return states if found.unseen or found.refused else dict.fromkeys(jids, "gone") | states


@attrs.frozen
class _Positions:
    """Where jobs were met, by their ids, and how those ended that were not; dicts, to keep an order without twins."""

    met: dict[str, Match] = attrs.field(factory=dict)
    ends: dict[str, JobEnd] = attrs.field(factory=dict)
    unseen: dict[str, None] = attrs.field(factory=dict)
    refused: dict[str, None] = attrs.field(factory=dict)


def _look_twice(
    client: Client, known: ConfigContext, bounds: SearchLimits, jids: frozenset[str], since_s: float
) -> _Positions:
    """Look for the jobs until all are found, where that costs most last."""
    found, missing = _Positions(), set(jids)
    # Twice: one that moved back meanwhile, from a process or the retries to a queue, passed by what was looked at.
    for _ in range(2):
        if missing:
            walk = JobSearch(client, known, bounds, _query(frozenset(missing)))
            _meet(found, walk.likely_places(), missing, since_s)
            ended = [end.ending for end in walk.ends(since_s)] if missing else []
            found.ends.update({ending.jid: ending for ending in ended if ending.jid in missing})
            missing -= found.ends.keys()
            _meet(found, walk.rest_of_queues(), missing, since_s)
            found.unseen.update(dict.fromkeys(walk.unseen))
            found.refused.update(dict.fromkeys(walk.refused))
    return found


def _meet(found: _Positions, places: Iterator[Match], missing: set[str], since_s: float) -> None:
    """Note where jobs are met until none is missing."""
    for one in places if missing else ():
        jid = one.view.jid or ""
        if jid not in found.ends and not _is_of_other_job(one, since_s):
            found.met[jid] = one
            missing.discard(jid)
        if not missing:
            return


def _query(jids: frozenset[str]) -> SearchQuery:
    may = _may_have(jids)
    return SearchQuery(may, lambda view: view.jid in jids, lambda end: end.ending.jid in jids, may)


def _is_of_other_job(met: Match, since_s: float) -> bool:
    """Tell whether it was pushed and failed before these jobs were sent, so that it only has the jid of one of them."""
    if met.kind not in ("retry", "dead"):
        return False
    moments_s = [met.view.last_failure_s, met.view.last_edit_s, met.view.moment("enqueued_at") or 0.0]
    came_s = max(*moments_s, met.view.score if met.kind == "dead" else 0.0)
    return came_s < since_s - _CLOCKS_APART_S


def _has_failed(view: JobView) -> bool:
    """Tell whether it failed since it was sent."""
    return view.last_failure_s >= (view.moment("enqueued_at") or 0.0) - _CLOCKS_APART_S


def _is_deferred(met: Match) -> bool:
    """Tell whether a person set another time for it before it was tried."""
    return met.kind == "retry" and not _has_failed(met.view)


def _is_killed(view: JobView) -> bool:
    """Tell whether a person killed it, and it did not fail since."""
    history = view.entry().history if b'"killed"' in view.raw else ()
    return not _has_failed(view) or (bool(history) and history[-1].get("outcome") == "killed")


def _may_have(jids: frozenset[str]) -> Callable[[bytes], bool]:
    words = {jid.encode() for jid in jids if jid.isascii()}

    def may(raw: bytes) -> bool:
        named = _JID.findall(raw)
        # A record of an end names no `jid`, and JSON may write letters in several ways.
        return not named or len(words) < len(jids) or any(word in words for word in named)

    return may


def _causes(met: Iterable[Match]) -> Iterator[FailureCount]:
    """Yield those that failed again, by cause."""
    failed = [one for one in met if one.kind in ("retry", "dead") and not _is_deferred(one)]
    example = {_cause(one): one.view for one in failed}
    for (name, group, is_killed), jobs in Counter(map(_cause, failed)).most_common(_MOST_CAUSES):
        view = example[name, group, is_killed]
        code, message = (KILLED, "Someone killed it meanwhile.") if is_killed else (view.shown_code, view.message)
        yield FailureCount("dead" if name == "dead" else "retry", group, code, message=message, jobs=jobs)


def _cause(met: Match) -> tuple[str, str | None, bool]:
    return met.name, met.view.group, met.kind == "dead" and _is_killed(met.view)
