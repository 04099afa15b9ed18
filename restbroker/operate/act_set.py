"""The jobs of a set that an action means: one, several, or all that match conditions; for `act.perform`.

Always holds: nothing else is meant than the members that the set had when a person was shown them, or when the action
began (`inventory`).
"""

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final, Self

import attrs

from restbroker.job import hiding
from restbroker.light import frozen
from restbroker.operate import act_job, find
from restbroker.operate.act import EXAMPLES, ActionRun, Inventory, Outcome, Progress
from restbroker.operate.act_job import Action
from restbroker.operate.context import ConfigContext
from restbroker.operate.job import Refusal, StoredJob
from restbroker.operate.where import Where, with_fixed_time
from restbroker.store import paging, sets
from restbroker.store.client import Client
from restbroker.store.codes import Applied, Gone
from restbroker.store.keys import SortedSet
from restbroker.store.paging import Cursor
from restbroker.store.server import time_s
from restbroker.store.sets import Placement

_PIECE: Final = 250
BATCH: Final = 100
"""How many jobs are done between two moments at which it can be stopped."""
_NOT_AS_SHOWN: Final = (
    "It has changed since it was shown: someone else was faster, or it failed again. Check it, and run the "
    "command again if it is still needed."
)
_NOT_IN_TIME: Final = (
    "It was not found within ten seconds, because the set is large: give its key (`list --json`) to find it at once."
)


@frozen
class SetMoment:
    """When a person saw a set: `at_s` by Redis' clock (epoch seconds), and `newest`, its greatest score then.

    A form can carry it. A job that came or changed since has a greater score in the dead set, and a later time in
    itself in the others.
    """

    newest: float
    at_s: float

    def had(self, view: StoredJob) -> bool:
        """Tell whether the set had this job as it is, as far as it says when it came."""
        return view.score <= self.newest and view.last_change_s <= self.at_s


def moment_of(client: Client, zset: SortedSet) -> SetMoment:
    """Return the present moment of a set. Raise `StoreUnavailable` or `StoreRefused`."""
    last = paging.piece(client, zset, None, 1, newest_first=True).members
    return SetMoment(last[0][1] if last else -math.inf, time_s(client))


def inventory(client: Client, zset: SortedSet) -> Inventory:
    """Return all members of the set. Raise `StoreUnavailable` or `StoreRefused`.

    Jobs are not parsed: a hundred thousand take half a second.
    """
    return {hash(member) for part in paging.pieces(client, zset, _PIECE) for member in part.members}


@frozen
class SetJobs:
    """The jobs of a set with these job ids or keys (`ShownJob.key`), or else all that match the conditions.

    `inventory` limits them to those that the set held, unchanged, when a person saw it (`Progress.met` of a dry run);
    None: those that it holds when the action begins. `seen` limits them to those that were there at that moment. `jids`
    limits them to jobs with these ids that changed at `since_s` or later. `limit`: at most so many are done. With
    `rate_per_s` that many are done per second at most, on average.
    """

    zset: SortedSet
    names: tuple[str, ...] = ()
    where: Where = ()
    inventory: Inventory | None = None
    seen: SetMoment | None = None
    jids: frozenset[str] | None = None
    since_s: float = 0.0
    limit: int | None = None
    rate_per_s: float | None = None

    @property
    def place(self) -> str:
        """The set."""
        return self.zset

    @property
    def location(self) -> str:
        """The set in words."""
        return f"the {self.zset} set"

    @property
    def is_all(self) -> bool:
        """Whether all jobs of the set are meant."""
        return not self.names and not self.where and self.limit is None

    def require_sense(self, action: Action, _known: ConfigContext) -> None:
        """Raise `UsageError` if the action makes no sense in this set."""
        act_job.require_sense(self.zset, action)

    def which(self, known: ConfigContext) -> str:
        """Return which jobs are meant, in words. Keys stay as they are, to be replaced by ids when they are found."""
        most = "" if self.limit is None else f" (at most {self.limit})"
        if self.jids is not None:
            return f"{len(self.jids)} named"
        if not self.names:
            return hiding.mask_secrets("; ".join(map(with_fixed_time, self.where)) or "all", known.secrets) + most
        return (" ".join(self.names) if len(self.names) <= EXAMPLES else f"{len(self.names)} named") + most

    def size(self, client: Client) -> int:
        """Return how many jobs the set has."""
        return sets.size(client, self.zset)

    def as_seen(self, seen: Progress) -> Self:
        """Return only those of the jobs that a person was shown."""
        return attrs.evolve(self, inventory=seen.met)

    def batches(self, run: ActionRun) -> Iterator[float]:
        """Act on the jobs; yield after each batch how long to rest for the rate."""
        batch = BATCH if self.rate_per_s is None else max(1, min(BATCH, int(self.rate_per_s)))
        for done in self._act_on_names(run, batch) if self.names else self._act_on_matching(run, batch):
            yield 0.0 if self.rate_per_s is None or run.dry_run else done / self.rate_per_s

    def _act_on_names(self, run: ActionRun, batch: int) -> Iterator[int]:
        """Act on the jobs with these names; yield after each batch how many were done."""
        left = list(dict.fromkeys(self.names))
        run.progress = attrs.evolve(run.progress, met=(met := set[int]()))
        while left and (room := self._room(run, batch)):
            views, missing = [], []
            part, left = left[:room], left[room:]
            for name in part:
                found = find.locate(run.client, self.zset, name)
                if found.member is None:
                    if found.complete:
                        missing.append(name)
                    else:
                        run.refuse(_NOT_IN_TIME, 1)
                elif self.inventory is not None and hash(found.member) not in self.inventory:
                    run.refuse(_NOT_AS_SHOWN, 1)
                else:
                    met.add(hash(found.member))
                    views.append(view := StoredJob(*found.member, run.known))
                    # A key tells people nothing, and is none any more afterwards.
                    called = hiding.mask_secrets(view.jid or view.key, run.known.secrets)
                    run.which = run.which.replace(view.key, called)
            run.add(looked_at=len(views))
            outcomes = self._act_on(run, views)
            run.progress = attrs.evolve(run.progress, missing=(*run.progress.missing, *missing))
            yield sum(isinstance(outcome, Applied) for outcome in outcomes)

    def _act_on_matching(self, run: ActionRun, batch: int) -> Iterator[int]:
        """Act on the jobs that match all conditions, at most `batch` between two yields of how many were done.

        Any number of jobs may be read to find them.
        """
        place: Cursor | None = None
        # A dry run tells what it met.
        met = set[int]() if run.dry_run else self.inventory
        if met is None:
            met = inventory(run.client, self.zset)
        run.progress = attrs.evolve(run.progress, met=met)
        # Those of one key are done again in the order in which they died; before others, the last to be put is first.
        is_down = self.zset == "dead" and (run.action.first or not run.action.sends_again)
        while room := self._room(run, batch):
            part = paging.piece(run.client, self.zset, place, BATCH, newest_first=is_down)
            if not part.members:
                return
            views = [StoredJob(raw, score, run.known) for raw, score in part.members]
            there = [n for n, member in enumerate(part.members) if run.dry_run or hash(member) in met]
            there = [n for n in there if self.seen is None or self.seen.had(views[n])]
            count, matched = self._matching(run, views, there, room)
            if run.dry_run:
                met.update(hash(part.members[n]) for n in there[:count])
            run.add(looked_at=count)
            outcomes = self._act_on(run, [views[n] for n in matched])
            moved = {n for n, outcome in zip(matched, outcomes, strict=True) if isinstance(outcome, Applied | Gone)}
            place = part.behind(matched[-1] + 1 if len(matched) == room else None, set() if run.dry_run else moved)
            yield sum(isinstance(outcome, Applied) for outcome in outcomes)

    def _room(self, run: ActionRun, batch: int) -> int:
        """Return how many jobs may be done now: at most `batch`, and what is left of `limit`."""
        return batch if self.limit is None else min(batch, self.limit - run.progress.done)

    def _matching(
        self, run: ActionRun, views: Sequence[StoredJob], there: Sequence[int], room: int
    ) -> tuple[int, list[int]]:
        """Return how many of those that are `there` were checked, and which of them are to be done: at most `room`."""
        matched: list[int] = []
        may_be = find.may_have(self.jids or frozenset())
        for count, n in enumerate(there, start=1):
            is_meant = self.jids is None or (
                may_be(views[n].raw) and views[n].jid in self.jids and views[n].last_change_s >= self.since_s
            )
            if is_meant and not act_job.is_moved_already(views[n], run.action) and views[n].matches(self.where):
                # What comes into the dead set has the time of its death as its score.
                if self.seen is None or self.zset == "dead" or views[n].last_change_s:
                    matched.append(n)
                else:
                    run.refuse(act_job.NO_TIME, 1)
            if len(matched) == room:
                return count, matched
        return len(there), matched

    def _act_on(self, run: ActionRun, views: Sequence[StoredJob]) -> list[Outcome]:
        def plan(n: int, now_s: float, unique: int) -> Placement | Refusal:
            return act_job.plan(views[n], self.zset, run.action, now_s=now_s, unique=unique)

        return run.act_on(views, plan, partial(sets.place, run.client, self.zset))
