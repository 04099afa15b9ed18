"""Retries, deletes, kills, reschedules, moves and edits jobs of a set: one, several, or all for which conditions hold.

Called by the command line and the pages. Always holds: every job is at its old place or at its new one, whatever
breaks; between two batches it can be stopped, and the same call again goes on, since what was done is no longer there;
what is done is written to the audit stream, before the first batch and after each.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import attrs

from restbroker.job import hiding
from restbroker.operate import find
from restbroker.operate.act_batch import Outcome, carry_out
from restbroker.operate.act_job import VERBS, Action, Left, Verb, is_there, plan, require_sense
from restbroker.operate.audit import State
from restbroker.operate.entry import Look
from restbroker.operate.known import Known
from restbroker.operate.tally import EXAMPLES, Progress, Rest, Tally
from restbroker.operate.where import Where, fixed
from restbroker.store import paging, sets
from restbroker.store.client import Client
from restbroker.store.codes import Applied, Gone
from restbroker.store.keys import SortedSet
from restbroker.store.paging import Cursor
from restbroker.store.server import time_s
from restbroker.store.sets import Placing

__all__ = ["VERBS", "Action", "Chosen", "Progress", "Rest", "Verb", "perform"]

BATCH: Final = 100
"""Jobs between two moments at which it can be stopped."""
_FUTURE: Final = "It says that it failed later than now: a clock is wrong, or whoever wrote it. Act on it by its id."
_NOT_IN_TIME: Final = (
    "It was not found in ten seconds, since the set is large: give its key (`list --json`), which finds it at once."
)


@attrs.frozen
class Chosen:
    """Which jobs: those with these job ids or keys (`Entry.key`), or else all for which the conditions hold.

    `rest`: of these, what an action that was stopped left (`Progress.rest`). `since_s`: what came since that moment is
    not meant either (`Progress.began_s` of a dry run that somebody was shown).
    """

    names: tuple[str, ...] = ()
    where: Where = ()
    rest: Rest | None = None
    since_s: float | None = None


def perform(
    client: Client,
    zset: SortedSet,
    action: Action,
    chosen: Chosen,
    known: Known,
    *,
    dry_run: bool = False,
    rate_per_s: float | None = None,
    pause: Callable[[float], None] = time.sleep,
) -> Iterator[Progress]:
    """Does it, batch by batch; yields after each how far it came, and at the end once more with `ended`.

    Who stops iterating stops it; the `rest` of the last progress is where it goes on. Jobs that come into the set
    meanwhile are left alone. With `rate_per_s` it does no more than that on average. Raises `UsageError` for what makes
    no sense there; `StoreUnavailable` and `StoreRefused`: what was done until then is done, call it again for the rest.
    """
    require_sense(zset, action)
    tally = Tally(client, zset, action, known, _described(action, chosen, known), dry_run=dry_run)
    run = _Run(zset, tally, chosen)
    batch = BATCH if rate_per_s is None else max(1, min(BATCH, int(rate_per_s)))
    state: State = "interrupted"
    try:
        for _ in run.named(chosen.names, batch) if chosen.names else run.matching(chosen.where, batch):
            yield tally.progress
            tally.progress = attrs.evolve(tally.progress, jids=())
            if rate_per_s is not None and tally.just_done and not dry_run:
                pause(tally.just_done / rate_per_s)
        state = "ended"
    finally:
        tally.conclude(state)
    yield attrs.evolve(tally.progress, ended=True, rest=None)


def _described(action: Action, chosen: Chosen, known: Known) -> str:
    if not chosen.names:
        which = "; ".join(map(fixed, chosen.where)) or "all"
    else:
        which = " ".join(chosen.names) if len(chosen.names) <= EXAMPLES else f"{len(chosen.names)} named"
    details = hiding.without(action.details, known.secrets)
    # Names may be keys, which are looked for in this text.
    return (which if chosen.names else hiding.without(which, known.secrets)) + details


@attrs.define(eq=False)
class _Run:
    """One action on its way."""

    zset: SortedSet
    tally: Tally
    chosen: Chosen
    _started_s: float = attrs.field(init=False)
    _began: tuple[float, float] = attrs.field(init=False)
    _planned: int = 0

    def __attrs_post_init__(self) -> None:
        """Looks how large the set is now: what comes later is not meant."""
        total = sets.size(self.tally.client, self.zset)
        # Before Redis is asked: an answer that comes late would make what fails meanwhile look as if it were to come.
        asked_s = time.monotonic()
        now_s = time_s(self.tally.client)
        self._began = (now_s, asked_s)
        self._started_s = now_s if self.chosen.since_s is None else self.chosen.since_s
        if (rest := self.chosen.rest) is not None:
            total, self._started_s, self._planned = min(total, rest.jobs), rest.since_s, rest.planned
            self.tally.progress = Progress(total, matched=rest.done, done=rest.done, run=rest.run)
        self.tally.progress = attrs.evolve(self.tally.progress, total=total, began_s=self._started_s)

    def named(self, names: Sequence[str], batch: int) -> Iterator[None]:
        """Does those of these names."""
        each = list(dict.fromkeys(names))
        for start in range(0, len(each), batch):
            looks, missing = [], []
            for name in each[start : start + batch]:
                found = find.locate(self.tally.client, self.zset, name)
                if found.member is not None:
                    looks.append(look := Look(*found.member, self.tally.known))
                    # A key tells people nothing, and is none any more afterwards.
                    shown = hiding.without(look.jid or look.key, self.tally.known.secrets)
                    self.tally.where = self.tally.where.replace(look.key, shown)
                elif found.complete:
                    missing.append(name)
                else:
                    self.tally.refused[_NOT_IN_TIME] += 1
            self._act_on(looks, len(looks))
            progress = self.tally.progress
            self.tally.progress = attrs.evolve(progress, missing=(*progress.missing, *missing))
            yield

    def matching(self, where: Where, batch: int) -> Iterator[None]:
        """Does those for which all conditions hold, `batch` at a time, however many have to be looked at for them."""
        place = Cursor.of(self.chosen.rest.after) if self.chosen.rest is not None else None
        newest_first = self.zset == "dead"
        while self.tally.progress.looked_at < self.tally.progress.total:
            left = self.tally.progress.total - self.tally.progress.looked_at
            part = paging.piece(self.tally.client, self.zset, place, min(BATCH, left), newest_first=newest_first)
            if not part.members:
                return
            looks = [Look(raw, score, self.tally.known) for raw, score in part.members]
            early, meant = self._chosen(looks, where, batch)
            codes = self._act_on([looks[n] for n in meant], len(early))
            moved = {n for n, code in zip(meant, codes, strict=True) if isinstance(code, Applied | Gone)}
            place = part.behind(early[-1] + 1 if len(meant) == batch else None, set() if self.tally.dry_run else moved)
            progress = self.tally.progress
            still = progress.total - progress.looked_at
            rest = Rest(str(place), still, self._started_s, self._planned, progress.done, progress.run)
            self.tally.progress = attrs.evolve(progress, rest=rest)
            yield

    def _chosen(self, looks: Sequence[Look], where: Where, batch: int) -> tuple[list[int], list[int]]:
        """Which of them count, up to the last that is meant if there are so many, and which of these are meant."""
        early: list[int] = []
        meant: list[int] = []
        for n, look in enumerate(looks):
            if self._came_later(look):
                if self._is_future(look) and look.matches(where):
                    self.tally.refused[_FUTURE] += 1
            elif not is_there(look, self.tally.action):
                early.append(n)
                if look.matches(where):
                    meant.append(n)
                if len(meant) == batch:
                    break
        return early, meant

    def _came_later(self, look: Look) -> bool:
        """Whether it failed, was put off, killed or edited since this began, or got its new time by this action."""
        if max(self._came_s(look), look.last_edit_s) > self._started_s:
            return True
        at_s = self.tally.action.at_s
        return at_s is not None and self.zset != "dead" and at_s <= look.score <= at_s + self._planned / 1e6

    def _came_s(self, look: Look) -> float:
        """When it came into the set, as far as it tells: of one that is dead the score does, whoever put it there."""
        return max(look.last_failure_s, look.score if self.zset == "dead" else 0.0)

    def _is_future(self, look: Look) -> bool:
        """Whether its failure cannot have been since this began."""
        return self._came_s(look) > self._began[0] + time.monotonic() - self._began[1]

    def _act_on(self, looks: Sequence[Look], looked_at: int) -> list[Outcome]:
        """Does these; what became of each."""
        edited: dict[str, Look] = {}
        now_s = self._started_s if self.tally.dry_run or not looks else time_s(self.tally.client)

        def planner(look: Look) -> Placing | Left:
            planned = self._plan(look, now_s)
            if self.tally.action.verb == "edit" and isinstance(planned, Placing) and planned.new is not None:
                edited[look.key] = Look(planned.new, look.score, self.tally.known)
            return planned

        if self.tally.dry_run:
            outcomes: list[Outcome] = [one if isinstance(one, Left) else Applied() for one in map(planner, looks)]
        else:
            outcomes = carry_out(self.tally.client, self.zset, looks, planner, self.tally.begin)
        for look, outcome in zip(looks, outcomes, strict=True) if edited else ():
            if isinstance(outcome, Applied):
                self.tally.preview(look, edited[look.key])
        self.tally.count(looks, outcomes, looked_at)
        return outcomes

    def _plan(self, look: Look, now_s: float) -> Placing | Left:
        self._planned += 1
        return plan(look, self.zset, self.tally.action, now_s, self._planned)
