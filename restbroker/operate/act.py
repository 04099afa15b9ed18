"""Retries, deletes, kills, reschedules, moves and edits jobs of a set: one, several, or all that match conditions.

Called by the command line and the pages. Always holds: every job is at its old place or at its new one, even after a
crash; between two batches it can be stopped, and the same call again goes on, since finished jobs are no longer there;
what is done is written to the audit log, before the first batch and after each.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import attrs

from restbroker.job import hiding
from restbroker.operate import claims, find
from restbroker.operate.act_batch import Outcome, carry_out
from restbroker.operate.act_job import VERBS, Action, Refusal, Verb, is_moved_already, plan, require_sense
from restbroker.operate.audit import State
from restbroker.operate.context import ConfigContext
from restbroker.operate.entry import JobView
from restbroker.operate.inventory import Inventory, inventory
from restbroker.operate.tally import EXAMPLES, Progress, Tally
from restbroker.operate.where import Where, with_fixed_time
from restbroker.store import paging, sets
from restbroker.store.client import Client
from restbroker.store.codes import Applied, Gone
from restbroker.store.keys import SortedSet
from restbroker.store.paging import Cursor
from restbroker.store.server import time_s
from restbroker.store.sets import Placement

__all__ = ["VERBS", "Action", "Progress", "Selection", "SetMoment", "Verb", "perform"]

BATCH: Final = 100
"""How many jobs are done between two moments at which it can be stopped."""
_NOT_AS_SHOWN: Final = (
    "It has changed since it was shown: someone else was faster, or it failed again. Check it, and run the "
    "command again if it is still needed."
)
_NOT_IN_TIME: Final = (
    "It was not found within ten seconds, because the set is large: give its key (`list --json`) to find it at once."
)


@attrs.frozen
class SetMoment:
    """When a person saw a set: `at_s` by Redis' clock (epoch seconds), and `newest`, its greatest score then.

    A form can carry it. A job that came or changed since has a greater score in the dead set, and a later time in
    itself in the others.
    """

    newest: float
    at_s: float

    def had(self, view: JobView) -> bool:
        """Tell whether the set had this job as it is."""
        return view.score <= self.newest and view.last_change_s <= self.at_s


def moment_of(client: Client, zset: SortedSet) -> SetMoment:
    """Return the present moment of a set. Raise `StoreUnavailable` or `StoreRefused`."""
    last = paging.piece(client, zset, None, 1, newest_first=True).members
    return SetMoment(last[0][1] if last else -math.inf, time_s(client))


@attrs.frozen
class Selection:
    """The jobs to act on: those with these job ids or keys (`Entry.key`), or else all that match the conditions.

    `inventory` limits them to those that the set held, unchanged, when a person saw it (`Progress.inventory` of a dry
    run); None: those that it holds when the action begins. `seen` limits them to those that were there at that moment.
    `limit`: at most so many are done.
    """

    names: tuple[str, ...] = ()
    where: Where = ()
    inventory: Inventory | None = None
    seen: SetMoment | None = None
    limit: int | None = None


def perform(
    client: Client,
    zset: SortedSet,
    action: Action,
    chosen: Selection,
    known: ConfigContext,
    *,
    dry_run: bool = False,
    rate_per_s: float | None = None,
    pause: Callable[[float], None] = time.sleep,
) -> Iterator[Progress]:
    """Act on the jobs, batch by batch; yield the progress after each batch, and once more at the end, with `ended`.

    The action stops when the caller stops iterating. Jobs that enter the set meanwhile are left alone. With
    `rate_per_s` it acts on that many jobs per second at most, on average. Raise `UsageError` if the set does not
    support the action. Raise `StoreUnavailable` or `StoreRefused`: the batches before are done, and another call does
    the rest.
    """
    require_sense(zset, action)
    tally = Tally(client, zset, action, context=known, where=_describe(action, chosen, known), dry_run=dry_run)
    run = _Run(zset, tally, chosen)
    batch = BATCH if rate_per_s is None else max(1, min(BATCH, int(rate_per_s)))
    state: State = "interrupted"
    try:
        if action.begins_at_once and not dry_run:
            tally.begin()
            yield tally.progress
        for _ in run.act_on_names(chosen.names, batch) if chosen.names else run.act_on_matching(chosen.where, batch):
            yield tally.progress
            tally.progress = attrs.evolve(tally.progress, jids=())
            if rate_per_s is not None and tally.just_done and not dry_run:
                pause(tally.just_done / rate_per_s)
        state = "ended"
    finally:
        tally.conclude(state)
    yield attrs.evolve(tally.progress, ended=True)


def _describe(action: Action, chosen: Selection, known: ConfigContext) -> str:
    if not chosen.names:
        which = "; ".join(map(with_fixed_time, chosen.where)) or "all"
    else:
        which = " ".join(chosen.names) if len(chosen.names) <= EXAMPLES else f"{len(chosen.names)} named"
    details = hiding.mask_secrets(action.details, known.secrets)
    details += "" if chosen.limit is None else f" (at most {chosen.limit})"
    # Names may be keys, which are looked for in this text.
    return (which if chosen.names else hiding.mask_secrets(which, known.secrets)) + details


@attrs.define(eq=False)
class _Run:
    """One action in the course of being carried out."""

    zset: SortedSet
    tally: Tally
    selection: Selection
    _planned: int = 0

    def __attrs_post_init__(self) -> None:
        """Note how many jobs there are, and when it began."""
        client = self.tally.client
        self.tally.progress = Progress(sets.size(client, self.zset), began_s=time_s(client))

    def act_on_names(self, names: Sequence[str], batch: int) -> Iterator[None]:
        """Act on the jobs with these names; yield after each batch."""
        each = list(dict.fromkeys(names))[: self.selection.limit]
        shown, found_now = self.selection.inventory, Inventory(self.zset)
        for start in range(0, len(each), batch):
            views, missing = [], []
            for name in each[start : start + batch]:
                found = find.locate(self.tally.client, self.zset, name)
                if found.member is None:
                    if found.complete:
                        missing.append(name)
                    else:
                        self.tally.refused[_NOT_IN_TIME] += 1
                elif shown is not None and found.member not in shown:
                    self.tally.refused[_NOT_AS_SHOWN] += 1
                else:
                    found_now.add([found.member])
                    views.append(view := JobView(*found.member, self.tally.context))
                    # A key tells people nothing, and is none any more afterwards.
                    called = hiding.mask_secrets(view.jid or view.key, self.tally.context.secrets)
                    self.tally.where = self.tally.where.replace(view.key, called)
            self._act_on(views, len(views))
            progress = self.tally.progress
            missing = [*progress.missing, *missing]
            self.tally.progress = attrs.evolve(progress, missing=tuple(missing), inventory=found_now)
            yield

    def act_on_matching(self, where: Where, batch: int) -> Iterator[None]:
        """Act on the jobs that match all conditions, at most `batch` between two yields.

        Any number of jobs may be read to find them.
        """
        client, dry_run = self.tally.client, self.tally.dry_run
        place: Cursor | None = None
        seen = self.selection.seen
        # A dry run tells what it met.
        meant = Inventory(self.zset) if dry_run else self.selection.inventory
        if meant is None:
            meant = inventory(client, self.zset)
        self.tally.progress = attrs.evolve(self.tally.progress, inventory=meant)
        while (part := paging.piece(client, self.zset, place, BATCH, newest_first=self.zset == "dead")).members:
            room = self._room(batch)
            if not room or (not dry_run and meant.is_behind(part.members[0][1])):
                return
            views = [JobView(raw, score, self.tally.context) for raw, score in part.members]
            there = [n for n, one in enumerate(part.members) if dry_run or one in meant]
            there = [n for n in there if seen is None or seen.had(views[n])]
            count, matched = self._matching(views, there, where, room)
            if dry_run:
                meant.add(part.members[n] for n in there[:count])
            codes = self._act_on([views[n] for n in matched], count)
            moved = {n for n, code in zip(matched, codes, strict=True) if isinstance(code, Applied | Gone)}
            place = part.behind(matched[-1] + 1 if len(matched) == room else None, set() if dry_run else moved)
            yield

    def _room(self, batch: int) -> int:
        """Return how many jobs the next batch may have."""
        limit = self.selection.limit
        return batch if limit is None else min(batch, limit - self.tally.progress.done)

    def _matching(
        self, views: Sequence[JobView], there: Sequence[int], where: Where, batch: int
    ) -> tuple[int, list[int]]:
        """Return how many of those that are `there` were checked, and which of them are to be done: at most `batch`."""
        matched: list[int] = []
        for count, n in enumerate(there, start=1):
            if not is_moved_already(views[n], self.tally.action) and views[n].matches(where):
                matched.append(n)
            if len(matched) == batch:
                return count, matched
        return len(there), matched

    def _act_on(self, views: Sequence[JobView], looked_at: int) -> list[Outcome]:
        """Act on these jobs; return what became of each."""
        edited: dict[str, JobView] = {}
        now_s = self.tally.progress.began_s if self.tally.dry_run or not views else time_s(self.tally.client)

        def planner(view: JobView) -> Placement | Refusal:
            planned = self._plan(view, now_s)
            if self.tally.action.verb == "edit" and isinstance(planned, Placement) and planned.new is not None:
                edited[view.key] = JobView(planned.new, view.score, self.tally.context)
            return planned

        if self.tally.dry_run:
            outcomes: list[Outcome] = [one if isinstance(one, Refusal) else Applied() for one in map(planner, views)]
        else:
            outcomes = carry_out(self.tally.client, self.zset, views, plan=planner, before=self.tally.begin)
            claims.release(self.tally.client, self.tally.action.verb, views, outcomes)
        for job, outcome in zip(views, outcomes, strict=True) if edited else ():
            if isinstance(outcome, Applied):
                self.tally.preview(job, edited[job.key])
        self.tally.count(views, outcomes, looked_at)
        return outcomes

    def _plan(self, view: JobView, now_s: float) -> Placement | Refusal:
        self._planned += 1
        return plan(view, self.zset, self.tally.action, now_s=now_s, unique=self._planned)
