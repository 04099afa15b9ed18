"""Retries, deletes, kills, reschedules, moves and edits jobs of a set: one, several, or all for which conditions hold.

Called by the command line and the pages. Always holds: every job is at its old place or at its new one, whatever
breaks; between two batches it can be stopped, and the same call again goes on, since what was done is no longer there;
what is done is written to the audit stream, before the first batch and after each.
"""

import contextlib
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final, Self

import attrs

from restbroker.errors import StoreRefused, StoreUnavailable, UsageError
from restbroker.job import hiding
from restbroker.operate import audit, find
from restbroker.operate.act_batch import Outcome, carry_out, led_away, why_left
from restbroker.operate.act_job import VERBS, Action, Left, Verb, is_there, plan, require_sense
from restbroker.operate.audit import Note, State
from restbroker.operate.entry import Entry, Look
from restbroker.operate.known import Known
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
EXAMPLES: Final = 5
_NAMED_JIDS: Final = 1000
"""So many jobs of one action are named in the audit stream; of a million, the counts are enough."""
_NOTE_EVERY_S: Final = 1.0
"""From then on. With each batch, ten million jobs would push out what all others did."""
_FUTURE: Final = "It says that it failed later than now: a clock is wrong, or whoever wrote it. Act on it by its id."
_NOT_IN_TIME: Final = (
    "It was not found in ten seconds, since the set is large: give its key (`list --json`), which finds it at once."
)
_REST: Final = re.compile(r"(\d{1,12}) (\d{1,12}(?:\.\d{1,12})?) (\d{1,12}) (\S{1,100})", re.ASCII)


@attrs.frozen
class Rest:
    """Where an action that was stopped goes on: behind the place `after`, with so many `jobs` of the set to look at.

    What came since `since_s` (Redis' clock) is not meant; `planned` keeps the scores of one action apart.
    """

    after: str
    jobs: int
    since_s: float
    planned: int

    def __str__(self) -> str:
        """As a form may carry it: it tells nothing of any job."""
        return f"{self.jobs} {self.since_s!r} {self.planned} {self.after}"

    @classmethod
    def of(cls, written: str) -> Self:
        """The one that was written so. Raises `UsageError` for any other text."""
        found = _REST.fullmatch(written)
        if found is None:
            raise UsageError("It cannot be read where this action is to go on.", "Begin it again.")
        return cls(str(Cursor.of(found[4])), int(found[1]), float(found[2]), int(found[3]))


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


@attrs.frozen
class Progress:
    """How far it came, so far. `matched` = `done` + `gone` + all of `refused`, but for what changed meanwhile.

    `done`: with a dry run, what would be done. `gone`: somebody else was faster. `refused`: why jobs stay where they
    are, and how many. `foreign`: queues that this configuration does not serve, and how many jobs this leads there, or
    leaves since it would. `examples`: the first that matched, `missing`: names that nothing was found for. `previews`:
    of a dry run of an edit, the first that it would change, as they are and as they would be. `ended` is False as long
    as it goes on; `rest` is where, unless jobs were named. `began_s`: by Redis' clock, epoch seconds.
    """

    total: int
    looked_at: int = 0
    matched: int = 0
    done: int = 0
    gone: int = 0
    refused: Mapping[str, int] = attrs.field(factory=dict)
    foreign: Mapping[str, int] = attrs.field(factory=dict)
    examples: tuple[Entry, ...] = ()
    missing: tuple[str, ...] = ()
    previews: tuple[tuple[Entry, Entry], ...] = ()
    ended: bool = False
    rest: Rest | None = None
    began_s: float = 0.0


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
    run = _Run(client, zset, action, known, _described(action, chosen, known), chosen, dry_run=dry_run)
    batch = BATCH if rate_per_s is None else max(1, min(BATCH, int(rate_per_s)))
    state: State = "interrupted"
    try:
        for _ in run.named(chosen.names, batch) if chosen.names else run.matching(chosen.where, batch):
            yield run.progress
            if rate_per_s is not None and run.just_done and not dry_run:
                pause(run.just_done / rate_per_s)
        state = "ended"
    finally:
        run.conclude(state)
    yield attrs.evolve(run.progress, ended=True, rest=None)


def _described(action: Action, chosen: Chosen, known: Known) -> str:
    if not chosen.names:
        which = "; ".join(map(fixed, chosen.where)) or "all"
    else:
        which = " ".join(chosen.names) if len(chosen.names) <= EXAMPLES else f"{len(chosen.names)} named"
    changes = f" ({action.edit})" if action.edit is not None else ""
    # Names may be keys, which are looked for in this text.
    return (which if chosen.names else hiding.without(which, known.secrets)) + hiding.without(changes, known.secrets)


@attrs.define(eq=False)
class _Run:
    """One action on its way."""

    client: Client
    zset: SortedSet
    action: Action
    known: Known
    where: str
    chosen: Chosen
    dry_run: bool
    progress: Progress = attrs.field(init=False)
    just_done: int = 0
    _started_s: float = attrs.field(init=False)
    _began: tuple[float, float] = attrs.field(init=False)
    _planned: int = 0
    _begun: str | None = None
    _noted_s: float = -_NOTE_EVERY_S
    _refused: Counter[str] = attrs.field(factory=Counter)
    _foreign: Counter[str] = attrs.field(factory=Counter)

    def __attrs_post_init__(self) -> None:
        """Looks how large the set is now: what comes later is not meant."""
        total = sets.size(self.client, self.zset)
        # Before Redis is asked: an answer that comes late would make what fails meanwhile look as if it were to come.
        asked_s = time.monotonic()
        now_s = time_s(self.client)
        self._began = (now_s, asked_s)
        self._started_s = now_s if self.chosen.since_s is None else self.chosen.since_s
        if (rest := self.chosen.rest) is not None:
            total, self._started_s, self._planned = min(total, rest.jobs), rest.since_s, rest.planned
        self.progress = Progress(total, began_s=self._started_s)

    def named(self, names: Sequence[str], batch: int) -> Iterator[None]:
        """Does those of these names."""
        each = list(dict.fromkeys(names))
        for start in range(0, len(each), batch):
            looks, missing = [], []
            for name in each[start : start + batch]:
                found = find.locate(self.client, self.zset, name)
                if found.member is not None:
                    looks.append(look := Look(*found.member, self.known))
                    # A key tells people nothing, and is none any more afterwards.
                    self.where = self.where.replace(look.key, hiding.without(look.jid or look.key, self.known.secrets))
                elif found.complete:
                    missing.append(name)
                else:
                    self._refused[_NOT_IN_TIME] += 1
            self._act_on(looks, len(looks))
            self.progress = attrs.evolve(self.progress, missing=(*self.progress.missing, *missing))
            yield

    def matching(self, where: Where, batch: int) -> Iterator[None]:
        """Does those for which all conditions hold, `batch` at a time, however many have to be looked at for them."""
        place = Cursor.of(self.chosen.rest.after) if self.chosen.rest is not None else None
        newest_first = self.zset == "dead"
        while self.progress.looked_at < self.progress.total:
            left = self.progress.total - self.progress.looked_at
            part = paging.piece(self.client, self.zset, place, min(BATCH, left), newest_first=newest_first)
            if not part.members:
                return
            looks = [Look(raw, score, self.known) for raw, score in part.members]
            early, meant = self._chosen(looks, where, batch)
            codes = self._act_on([looks[n] for n in meant], len(early))
            moved = {n for n, code in zip(meant, codes, strict=True) if isinstance(code, Applied | Gone)}
            place = part.behind(early[-1] + 1 if len(meant) == batch else None, set() if self.dry_run else moved)
            still = self.progress.total - self.progress.looked_at
            rest = Rest(str(place), still, self._started_s, self._planned)
            self.progress = attrs.evolve(self.progress, rest=rest)
            yield

    def _chosen(self, looks: Sequence[Look], where: Where, batch: int) -> tuple[list[int], list[int]]:
        """Which of them count, up to the last that is meant if there are so many, and which of these are meant."""
        early: list[int] = []
        meant: list[int] = []
        for n, look in enumerate(looks):
            if self._came_later(look):
                if self._is_future(look) and look.matches(where):
                    self._refused[_FUTURE] += 1
            elif not is_there(look, self.action):
                early.append(n)
                if look.matches(where):
                    meant.append(n)
                if len(meant) == batch:
                    break
        return early, meant

    def conclude(self, state: State) -> None:
        """Writes down how it ended, if it began; an outage of Redis is told by what ended it."""
        if self._begun is not None:
            with contextlib.suppress(StoreUnavailable, StoreRefused):
                self._note(state)

    def _came_later(self, look: Look) -> bool:
        """Whether it failed, was put off or edited since this began, or was given its new time by this very action."""
        if max(look.last_failure_s, look.last_edit_s) > self._started_s:
            return True
        at_s = self.action.at_s
        return at_s is not None and self.zset != "dead" and at_s <= look.score <= at_s + self._planned / 1e6

    def _is_future(self, look: Look) -> bool:
        """Whether its failure cannot have been since this began."""
        return look.last_failure_s > self._began[0] + time.monotonic() - self._began[1]

    def _act_on(self, looks: Sequence[Look], looked_at: int) -> list[Outcome]:
        """Does these; what became of each."""
        if self.dry_run:
            planned = [self._plan(look, self._started_s) for look in looks]
            self._preview(looks, planned)
            outcomes: list[Outcome] = [one if isinstance(one, Left) else Applied() for one in planned]
        else:
            now_s = time_s(self.client) if looks else 0.0
            outcomes = carry_out(self.client, self.zset, looks, partial(self._plan, now_s=now_s), self._begin)
        self._count(looks, outcomes, looked_at)
        return outcomes

    def _preview(self, looks: Sequence[Look], planned: Sequence[Placing | Left]) -> None:
        """Keeps the first that an edit would change, as they are and as they would be."""
        if self.action.verb != "edit":
            return
        changed = [(look, one.new) for look, one in zip(looks, planned, strict=True) if isinstance(one, Placing)]
        shown = [
            (look.entry(), Look(new, look.score, self.known).entry())
            for look, new in changed[: EXAMPLES - len(self.progress.previews)]
            if new is not None
        ]
        self.progress = attrs.evolve(self.progress, previews=(*self.progress.previews, *shown))

    def _plan(self, look: Look, now_s: float) -> Placing | Left:
        self._planned += 1
        return plan(look, self.zset, self.action, now_s, self._planned)

    def _begin(self) -> None:
        if self._begun is None:
            self._begun = self._note("begun")

    def _count(self, looks: Sequence[Look], outcomes: Sequence[Outcome], looked_at: int) -> None:
        so_far = self.progress
        done = [look for look, outcome in zip(looks, outcomes, strict=True) if isinstance(outcome, Applied)]
        reasons = [why for outcome in outcomes if (why := why_left(outcome)) is not None]
        self._refused.update(why for why in reasons if why)
        self._foreign.update(led_away(looks, outcomes, self.action))
        shown = [look.entry() for look in looks[: EXAMPLES - len(so_far.examples)]]
        self.just_done = len(done)
        self.progress = attrs.evolve(
            so_far,
            looked_at=so_far.looked_at + looked_at,
            matched=so_far.matched + len(looks) - reasons.count(""),
            done=so_far.done + len(done),
            gone=so_far.gone + sum(isinstance(outcome, Gone) for outcome in outcomes),
            refused=dict(self._refused),
            foreign=dict(self._foreign),
            examples=(*so_far.examples, *shown),
        )
        jids = [look.jid or look.key for look in done] if so_far.done < _NAMED_JIDS else []
        if done and not self.dry_run and (jids or time.monotonic() >= self._noted_s + _NOTE_EVERY_S):
            self._noted_s = time.monotonic()
            self._note("going on", [hiding.without(jid, self.known.secrets) for jid in jids])

    def _note(self, state: State, jids: Sequence[str] = ()) -> str:
        so_far = self.progress
        note = Note(
            who=self.action.who,
            action=self.action.verb,
            place=self.zset,
            state=state,
            run=self._begun or "",
            where=self.where,
            why=self.action.why,
            done=so_far.done,
            refused=sum(so_far.refused.values()),
            gone=so_far.gone,
            jids=tuple(jids),
        )
        return audit.write(self.client, note)
