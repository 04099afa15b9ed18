"""How far an action of a person on many jobs has come, and what is written of it in the audit log.

Called by `operate.act` and `operate.act_waiting`. Always holds: the entry that an action began is written before
anything is changed, and how far it came after what was done; no secret is in any.
"""

import contextlib
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import attrs

from restbroker.errors import StoreRefused, StoreUnavailable
from restbroker.job import hiding
from restbroker.operate import audit
from restbroker.operate.act_batch import Outcome, foreign_queues_of, reason_left
from restbroker.operate.act_job import Action
from restbroker.operate.audit import AuditEntry, State
from restbroker.operate.context import ConfigContext
from restbroker.operate.edit import differences
from restbroker.operate.entry import Entry, JobView
from restbroker.operate.inventory import Inventory
from restbroker.store.client import Client
from restbroker.store.codes import Applied, Gone

EXAMPLES: Final = 5
_NAMED_JIDS: Final = 1000
"""So many jobs of one action are named in the audit log; of a million, the counts are enough."""
_NOTE_EVERY_S: Final = 1.0
"""How often an entry is written from then on. With each batch, ten million jobs would push out what all others did."""


@attrs.frozen
class Progress:
    """Progress of an action. `matched` is `done` + `gone` + all of `refused`, except for jobs that changed meanwhile.

    `done`: how many jobs were done, or would be in a dry run. `gone`: jobs that something else took first. `refused`:
    {reason: how many jobs stayed}. `foreign_queues`: {queue that this configuration does not serve: how many jobs were
    sent there, or stayed because they would be; or were deleted or killed that belong there}. `examples`: the first
    matching jobs. `missing`: names of jobs that were not found. `previews`: the first edited jobs, as (before, after).

    `ended` is False until the last report. `inventory`: the members read so far. `began_s`: by Redis' clock (epoch
    seconds). `run`: the action's first audit entry, "" if it has none. `jids`: ids of the jobs done in the last batch.
    `unseen`: jobs that disappeared before they could be
    tested: others took them, or took the newest job by which places in the queue are counted.
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
    inventory: Inventory | None = attrs.field(default=None, repr=False)
    began_s: float = 0.0
    run: str = ""
    jids: tuple[str, ...] = attrs.field(default=(), repr=False)
    unseen: int = 0


@attrs.define(eq=False)
class Tally:
    """The count of one action.

    `place` and `where` are those of its audit entries (`AuditEntry`). `just_done`: how many jobs the last batch did.
    `refused`: {reason: how many jobs stayed}.
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
        """Write the action's first audit entry, unless it is written. Raise `StoreUnavailable` or `StoreRefused`."""
        if not self.progress.run:
            self.progress = attrs.evolve(self.progress, run=self._note("begun"))

    def conclude(self, state: State) -> None:
        """Write the action's last audit entry, if it has a first one.

        If Redis does not answer, do nothing: the error that ended the action says so.
        """
        if self.progress.run and not self.dry_run:
            with contextlib.suppress(StoreUnavailable, StoreRefused):
                self._note(state)

    def preview(self, before: JobView, after: JobView) -> None:
        """Keep a job before and after an edit, if it is one of the first."""
        kept = self.progress.previews
        if len(kept) < EXAMPLES:
            self.progress = attrs.evolve(self.progress, previews=(*kept, (before.entry(), after.entry())))

    def count(self, views: Sequence[JobView], outcomes: Sequence[Outcome], looked_at: int) -> None:
        """Count these jobs' outcomes and write the progress. `looked_at`: how many jobs were read to find them."""
        so_far = self.progress
        done = [view for view, outcome in zip(views, outcomes, strict=True) if isinstance(outcome, Applied)]
        reasons = [why for outcome in outcomes if (why := reason_left(outcome)) is not None]
        self.refused.update(why for why in reasons if why)
        self._foreign.update(foreign_queues_of(views, outcomes, self.action))
        shown = [view.entry() for view in views[: EXAMPLES - len(so_far.examples)]]
        self.just_done = len(done)
        self.progress = attrs.evolve(
            so_far,
            looked_at=so_far.looked_at + looked_at,
            matched=so_far.matched + len(views) - reasons.count(""),
            done=so_far.done + len(done),
            gone=so_far.gone + sum(isinstance(outcome, Gone) for outcome in outcomes),
            refused=dict(self.refused),
            foreign_queues=dict(self._foreign),
            examples=(*so_far.examples, *shown),
            jids=tuple(view.jid_then for view in done),
        )
        jids = self.progress.jids if so_far.done < _NAMED_JIDS else []
        if done and not self.dry_run and (jids or time.monotonic() >= self._noted_s + _NOTE_EVERY_S):
            self._noted_s = time.monotonic()
            self._note("going on", self._hidden(jids))

    def miss(self, *, gone: int = 0, unseen: int = 0) -> None:
        """Count jobs that could not be read: `gone` were selected, `unseen` could not be tested."""
        so_far = self.progress
        self.progress = attrs.evolve(
            so_far, matched=so_far.matched + gone, gone=so_far.gone + gone, unseen=so_far.unseen + unseen
        )

    def _hidden(self, jids: Sequence[str]) -> tuple[str, ...]:
        return tuple(hiding.mask_secrets(jid, self.context.secrets) for jid in jids)

    def _note(self, state: State, jids: Sequence[str] = ()) -> str:
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
            changes="; ".join(self._changes()),
            left="; ".join(self._left()),
        )
        return audit.write(self.client, note)

    def _left(self) -> Iterator[str]:
        """Yield how many jobs stayed for each reason."""
        if self.progress.missing:
            yield f"{len(self.progress.missing)}: gone"
        yield from (f"{count}: {hiding.mask_secrets(why, self.context.secrets)}" for why, count in self.refused.items())

    def _changes(self) -> Iterator[str]:
        """Yield what was changed of the first jobs, as it may be shown."""
        given = () if self.action.edit is None else self.action.edit.values
        for before, after in self.progress.previews:
            told = (f"{name}: {was} → {now}" for name, was, now in differences(before, after, given))
            yield f"{after.jid or before.key}: {', '.join(told)}"
