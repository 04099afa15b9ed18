"""How far an action of a person on many jobs has come, and what is written of it in the audit log.

Called by `operate.act` and `operate.act_waiting`. Always holds: the entry that an action began is written before
anything is changed, and how far it came after what was done; no secret is in any.
"""

import contextlib
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Self

import attrs

from restbroker.errors import StoreRefused, StoreUnavailable, UsageError
from restbroker.job import hiding
from restbroker.operate import audit
from restbroker.operate.act_batch import Outcome, foreign_queues_of, reason_left
from restbroker.operate.act_job import Action, foreign_queue
from restbroker.operate.audit import AuditEntry, State
from restbroker.operate.context import ConfigContext
from restbroker.operate.edit import differences
from restbroker.operate.entry import Entry, JobView
from restbroker.operate.inventory import Inventory
from restbroker.store.client import Client
from restbroker.store.codes import Applied, Gone
from restbroker.store.paging import Cursor

EXAMPLES: Final = 5
_NAMED_JIDS: Final = 1000
"""So many jobs of one action are named in the audit log; of a million, the counts are enough."""
_NOTE_EVERY_S: Final = 1.0
"""How often an entry is written from then on. With each batch, ten million jobs would push out what all others did."""
_REST: Final = re.compile(r"(\d{1,12}) (\d{1,12}) (\d{1,12}) (\d{1,15}-\d{1,15}|-) (\S{1,100})", re.ASCII)


@attrs.frozen
class ResumePoint:
    """Where an action that was stopped goes on: behind the place `after`, with so many `jobs` of the set to look at.

    `planned` keeps the scores of one action apart. `done`: so many jobs it did until then. `run`: the audit entry that
    it began with; "": it did nothing yet.
    """

    after: str
    jobs: int
    planned: int
    done: int = 0
    run: str = ""

    def __str__(self) -> str:
        """Return the point as text that a form may carry; it reveals nothing of any job."""
        return f"{self.jobs} {self.planned} {self.done} {self.run or '-'} {self.after}"

    @classmethod
    def of(cls, written: str) -> Self:
        """Return the point that `str` made this text of. Raise `UsageError` for any other text."""
        found = _REST.fullmatch(written)
        if found is None:
            raise UsageError("The place where this action continues cannot be read.", "Start it again.")
        run = "" if found[4] == "-" else found[4]
        return cls(str(Cursor.of(found[5])), jobs=int(found[1]), planned=int(found[2]), done=int(found[3]), run=run)


@attrs.frozen
class Progress:
    """How far an action came, so far. `matched` = `done` + `gone` + all of `refused`, but for what changed meanwhile.

    `done`: with a dry run, what would be done. `gone`: someone else was faster. `refused`: why jobs stay where they
    are, and how many. `foreign_queues`: queues that this configuration does not serve, and how many jobs this leads
    there, or leaves since it would. `examples`: the first that matched, `missing`: names that nothing was found for.
    `previews`: of an edit, the first that it changed (or would), as they were and as they are then. `ended` is False as
    long as it goes on; `rest` is where, unless jobs were named. `inventory`: what is meant, as far as it was read.
    `began_s`: by Redis' clock, epoch seconds. `run`: the audit entry that it began with, "" where nothing was done.
    `jids`: the ids of the jobs of the last batch that were done, `elsewhere` those of them that were led to queues
    which this configuration does not serve. `unseen`: jobs that others took, or hid by taking the newest, before it was
    known whether they are meant.
    """

    total: int
    looked_at: int = 0
    matched: int = 0
    done: int = 0
    gone: int = 0
    refused: Mapping[str, int] = attrs.field(factory=dict)
    foreign_queues: Mapping[str, int] = attrs.field(factory=dict)
    examples: tuple[Entry, ...] = ()
    missing: tuple[str, ...] = ()
    previews: tuple[tuple[Entry, Entry], ...] = ()
    ended: bool = False
    rest: ResumePoint | None = None
    inventory: Inventory | None = attrs.field(default=None, repr=False)
    began_s: float = 0.0
    run: str = ""
    jids: tuple[str, ...] = attrs.field(default=(), repr=False)
    elsewhere: tuple[str, ...] = attrs.field(default=(), repr=False)
    unseen: int = 0


@attrs.define(eq=False)
class Tally:
    """The count of one action.

    `place` is the set, or `queue:NAME`; `where`, which jobs are meant, as the entries say it.

    `just_done`: jobs of the last batch. `refused`: why jobs stay where they are, and how many.
    """

    client: Client
    place: str
    action: Action
    context: ConfigContext
    where: str
    dry_run: bool
    progress: Progress = Progress(0)
    just_done: int = 0
    refused: Counter[str] = attrs.field(factory=Counter)
    _foreign: Counter[str] = attrs.field(factory=Counter)
    _noted_s: float = -_NOTE_EVERY_S

    def begin(self) -> None:
        """Write that it begins, unless that is written."""
        if not self.progress.run:
            self.progress = attrs.evolve(self.progress, run=self._note("begun"))

    def conclude(self, state: State) -> None:
        """Write down how it ended, if it began.

        If Redis does not answer, the error that ended the action says so.
        """
        if self.progress.run and not self.dry_run:
            with contextlib.suppress(StoreUnavailable, StoreRefused):
                self._note(state)

    def preview(self, before: JobView, after: JobView) -> None:
        """Keep what an edit makes of a job, if it is one of the first."""
        kept = self.progress.previews
        if len(kept) < EXAMPLES:
            self.progress = attrs.evolve(self.progress, previews=(*kept, (before.entry(), after.entry())))

    def count(self, looks: Sequence[JobView], outcomes: Sequence[Outcome], looked_at: int) -> None:
        """Count what became of these jobs, and write how far it came. `looked_at`: so many were read for them."""
        so_far = self.progress
        done = [look for look, outcome in zip(looks, outcomes, strict=True) if isinstance(outcome, Applied)]
        reasons = [why for outcome in outcomes if (why := reason_left(outcome)) is not None]
        self.refused.update(why for why in reasons if why)
        self._foreign.update(foreign_queues_of(looks, outcomes, self.action))
        shown = [look.entry() for look in looks[: EXAMPLES - len(so_far.examples)]]
        self.just_done = len(done)
        self.progress = attrs.evolve(
            so_far,
            looked_at=so_far.looked_at + looked_at,
            matched=so_far.matched + len(looks) - reasons.count(""),
            done=so_far.done + len(done),
            gone=so_far.gone + sum(isinstance(outcome, Gone) for outcome in outcomes),
            refused=dict(self.refused),
            foreign_queues=dict(self._foreign),
            examples=(*so_far.examples, *shown),
            jids=tuple(look.jid_then for look in done),
            elsewhere=tuple(look.jid_then for look in done if foreign_queue(look, self.action) is not None),
        )
        jids = self.progress.jids if so_far.done < _NAMED_JIDS else []
        if done and not self.dry_run and (jids or time.monotonic() >= self._noted_s + _NOTE_EVERY_S):
            self._noted_s = time.monotonic()
            self._note("going on", self._hidden(jids), self._hidden(self.progress.elsewhere if jids else ()))

    def miss(self, *, gone: int = 0, unseen: int = 0) -> None:
        """Count jobs that could not be read: `gone` are those that were meant."""
        so_far = self.progress
        self.progress = attrs.evolve(
            so_far, matched=so_far.matched + gone, gone=so_far.gone + gone, unseen=so_far.unseen + unseen
        )

    def _hidden(self, jids: Sequence[str]) -> tuple[str, ...]:
        return tuple(hiding.mask_secrets(jid, self.context.secrets) for jid in jids)

    def _note(self, state: State, jids: Sequence[str] = (), elsewhere: Sequence[str] = ()) -> str:
        so_far = self.progress
        note = AuditEntry(
            who=self.action.who,
            action=self.action.name,
            place=self.place,
            state=state,
            run=so_far.run,
            where=self.where,
            why=self.action.why,
            done=so_far.done,
            refused=sum(so_far.refused.values()),
            gone=so_far.gone,
            jids=tuple(jids),
            elsewhere=tuple(elsewhere),
            changes="; ".join(self._changes()),
        )
        return audit.write(self.client, note)

    def _changes(self) -> Iterator[str]:
        """Yield what was changed of the first jobs, as it may be shown."""
        given = () if self.action.edit is None else self.action.edit.values
        for before, after in self.progress.previews:
            told = (f"{name}: {was} → {now}" for name, was, now in differences(before, after, given))
            yield f"{after.jid or before.key}: {', '.join(told)}"
