"""Carries out a person's action on many jobs: one loop of batches for the jobs of a set and for those of a queue.

The command line and the pages call `perform`; `act_set` and `act_waiting` find the jobs of their places, a batch at a
time. Always holds: every job is at its old place or at its new one, even after a crash; the audit entry that it began
is written before anything is changed, and how far it came after what was done; between two batches it can be stopped,
also by others (`audit.request_stop`), and the same call again goes on, since finished jobs are no longer there; a job
that cannot go where it should stays where it is, and the reason is counted; no secret is in an entry.
"""

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Final, Protocol, Self, TypeAlias, TypeVar, assert_never

import attrs

from restbroker.errors import StoreRefused, StoreUnavailable
from restbroker.job import hiding
from restbroker.light import define, field, frozen
from restbroker.operate import audit, claims, order_wait
from restbroker.operate.act_job import VERBS, Action, Verb, foreign_queue, home_queue
from restbroker.operate.audit import AuditEntry, State
from restbroker.operate.context import ConfigContext
from restbroker.operate.edit import differences
from restbroker.operate.enqueue import find_process_if_known
from restbroker.operate.job import FOREIGN_QUEUE, Refusal, ShownJob, StoredJob
from restbroker.store.client import Client
from restbroker.store.codes import Applied, Clash, Code, Gone, Refused
from restbroker.store.order import BusyKey
from restbroker.store.server import time_s
from restbroker.store.sets import Placement

__all__ = ["VERBS", "Action", "ActionRun", "Jobs", "Progress", "Verb", "perform"]

Outcome: TypeAlias = Code | Refusal
Step = TypeVar("Step")
Inventory: TypeAlias = set[int]
"""Hashes of the members, each with its score, that a set had when a person was shown them, or when an action began.

No clock and no field of a job tells when that came into the set. The hashes have a key of this process, so that no one
can make a job that is taken for another one.
"""
EXAMPLES: Final = 5
_TWIN: Final = "An identical job is there already."
_MOST_CLASHES: Final = 5
_NAMED_JIDS: Final = 1000
"""So many jobs of one action are named in the audit log; of a million, the counts are enough."""
_NOTE_EVERY_S: Final = 1.0
"""How often an entry is written from then on. With each batch, ten million jobs would push out what all others did."""
_LONGEST_REST_S: Final = 1.0
"""An action that rests for longer looks meanwhile whether it is to stop."""


@frozen
class Progress:
    """Progress of an action. `matched` is `done` + `gone` + all of `refused`, except for jobs that changed meanwhile.

    `done`: how many jobs were done, or would be in a dry run. `gone`: jobs that something else took first. `refused`:
    {reason: how many jobs stayed}. `foreign_queues`: {queue that this configuration does not serve: how many jobs were
    sent there, or stayed because they would be; or were deleted or killed that belong there}. `examples`: the first
    matching jobs. `missing`: names of jobs that were not found. `previews`: the first edited jobs, as (before, after).

    `ended` is False until the last report. `met`: the members of the set that were met, for a person who is shown them.
    `began_s`: by Redis' clock (epoch seconds). `run`: the action's first audit entry, "" if it has none. `jids`: ids of
    the jobs done since the last report. `unseen`: jobs that disappeared before they could be tested: others took them,
    or took the newest job by which places in the queue are counted. `rest_s`: for how many seconds the caller is to
    leave Redis alone before it goes on. `notes`: in the last report, how to open the keys that jobs had stopped which
    left them.
    """

    total: int
    looked_at: int = 0
    matched: int = 0
    done: int = 0
    gone: int = 0
    refused: Mapping[str, int] = field(factory=dict)
    foreign_queues: Mapping[str, int] = field(factory=dict)
    examples: tuple[ShownJob, ...] = ()
    missing: tuple[str, ...] = ()
    previews: tuple[tuple[ShownJob, ShownJob], ...] = ()
    ended: bool = False
    met: Inventory | None = field(default=None, repr=False)
    began_s: float = 0.0
    run: str = ""
    jids: tuple[str, ...] = field(default=(), repr=False)
    unseen: int = 0
    rest_s: float = 0.0
    notes: tuple[str, ...] = ()


class Jobs(Protocol):
    """The jobs of one place that a person means: `act_set.SetJobs` or `act_waiting.WaitingJobs`."""

    @property
    def place(self) -> str:
        """The place in audit entries."""

    @property
    def location(self) -> str:
        """The place in words."""

    @property
    def limit(self) -> int | None:
        """How many jobs are done at most; None: all that are meant."""

    def require_sense(self, action: Action, known: ConfigContext) -> None:
        """Raise `UsageError` if the action makes no sense here."""

    def which(self, known: ConfigContext) -> str:
        """Return which jobs are meant, in words for the audit log, with secrets masked."""

    def size(self, client: Client) -> int:
        """Return how many jobs the place has, or had when a person saw it."""

    def batches(self, run: "ActionRun") -> Iterator[float]:
        """Act on the jobs by `run.act_on`; yield after each batch for how many seconds Redis is to be left alone."""

    def as_seen(self, seen: Progress) -> Self:
        """Return only those of the jobs that a person was shown, by a dry run that came so far."""


def perform(
    client: Client, jobs: Jobs, action: Action, known: ConfigContext, *, dry_run: bool = False
) -> Iterator[Progress]:
    """Act on the jobs, batch by batch; yield the progress after each batch, and once more at the end, with `ended`.

    `known`: the configuration's view of jobs. The caller rests as each report says. The action stops when the caller
    stops iterating; it stops by itself, without a last report, where `audit.request_stop` asks for it. Jobs that come
    meanwhile are left alone. Raise `UsageError` if the place does not support the action. Raise `StoreUnavailable` or
    `StoreRefused`: the batches before are done, and another call does the rest.
    """
    jobs.require_sense(action, known)
    if action.edit is not None:
        action = attrs.evolve(action, edit=attrs.evolve(action.edit, version=_versions(client)))
    which = jobs.which(known) + hiding.mask_secrets(action.details, known.secrets)
    progress = Progress(jobs.size(client), began_s=time_s(client))
    run = ActionRun(client, action, known, jobs.place, which, dry_run=dry_run, progress=progress)
    state: State = "interrupted"
    try:
        if action.begins_at_once and not dry_run:
            run.begin()
            yield run.progress
        for rest_s in jobs.batches(run):
            for piece_s in _pieces(rest_s):
                yield attrs.evolve(run.progress, rest_s=piece_s)
                run.progress = attrs.evolve(run.progress, jids=())
                if run.progress.run and audit.stopped_by(run.client, run.progress.run) is not None:
                    return
        state = "ended"
    finally:
        run.conclude(state)
    yield attrs.evolve(run.progress, ended=True)


def _versions(client: Client) -> Callable[[str], str | None]:
    """Return a function that reads, once for each queue, the server's version as a running process found it."""

    @cache
    def version(queue: str) -> str | None:
        found = find_process_if_known(client, queue)
        return None if found is None else found.server_version

    return version


def _pieces(rest_s: float) -> Iterator[float]:
    while rest_s > _LONGEST_REST_S:
        yield _LONGEST_REST_S
        rest_s -= _LONGEST_REST_S
    yield rest_s


@define(eq=False)
class ActionRun:
    """One action in the course of being carried out. `place` and `which` are those of its audit entries."""

    client: Client
    action: Action
    known: ConfigContext
    place: str
    which: str
    dry_run: bool
    progress: Progress
    _planned: int = 0
    _noted_s: float = -_NOTE_EVERY_S
    _stoppers: Mapping[str, tuple[str, BusyKey]] = field(factory=dict)
    _left_keys: list[tuple[str, BusyKey]] = field(factory=list)

    def begin(self) -> None:
        """Write the action's first audit entry, unless it is written. Raise `StoreUnavailable` or `StoreRefused`."""
        if not self.progress.run:
            self._stoppers = order_wait.stoppers(self.client, self.known) if self.place == "dead" else {}
            self.progress = attrs.evolve(self.progress, run=audit.begin(self.client, self._entry("begun")))

    def conclude(self, state: State) -> None:
        """Write the action's last audit entry, if it has a first one.

        If Redis does not answer, do nothing: the error that ended the action says so.
        """
        self.progress = attrs.evolve(self.progress, notes=order_wait.notes_on_left(self._left_keys, self.known))
        if self.progress.run:
            with contextlib.suppress(StoreUnavailable, StoreRefused):
                audit.write(self.client, self._entry(state))

    def act_on(
        self,
        views: Sequence[StoredJob],
        plan: Callable[[int, float, int], Step | Refusal],
        carry_out: Callable[[list[Step]], Sequence[Outcome]],
    ) -> list[Outcome]:
        """Act on these jobs in one step, and count them; return what became of each.

        `plan(n, now_s, unique)` returns where the job `views[n]` goes, or why it stays; it is called again, for
        different bytes, if the set that the job goes to already holds an equal one. `carry_out` returns what became
        of each of these steps. Raise `StoreUnavailable`: any of the jobs may have been changed.
        """
        if not views:
            return []
        # Before anything is changed, as this loads catalogues: Python loses a Ctrl-C that comes while it imports.
        examples = self.progress.examples
        examples += tuple(view.shown() for view in views[: EXAMPLES - len(examples)])
        self.progress = attrs.evolve(self.progress, examples=examples)
        now_s = self.progress.began_s if self.dry_run else time_s(self.client)
        outcomes: dict[int, Outcome] = {}
        steps: dict[int, Step] = {}
        pending: Sequence[int] = range(len(views))
        for _ in range(_MOST_CLASHES):
            going: dict[int, Step] = {}
            for n in pending:
                self._planned += 1
                planned = plan(n, now_s, self._planned)
                if isinstance(planned, Refusal):
                    outcomes[n] = planned
                else:
                    going[n] = planned
            if going and not self.dry_run:
                self.begin()
                outcomes |= zip(going, carry_out([*going.values()]), strict=True)
            elif going:
                outcomes |= dict.fromkeys(going, Applied())
            steps |= going
            pending = [n for n in going if isinstance(outcomes[n], Clash)]
            if not pending:
                break
        done = [n for n in steps if isinstance(outcomes[n], Applied)]
        self._preview(views, done, steps)
        self._note_keys(views, done, steps)
        found = [outcomes[n] for n in range(len(views))]
        self._count(views, found)
        if self.action.verb in ("delete", "kill") and not self.dry_run:
            claims.release(self.client, [view for view, outcome in zip(views, found, strict=True) if _is_done(outcome)])
        return found

    def add(self, *, looked_at: int = 0, gone: int = 0, unseen: int = 0) -> None:
        """Count jobs that were read to find the others, or could not be read.

        `gone` were selected, `unseen` could not be tested.
        """
        so_far = self.progress
        self.progress = attrs.evolve(
            so_far,
            looked_at=so_far.looked_at + looked_at,
            matched=so_far.matched + gone,
            gone=so_far.gone + gone,
            unseen=so_far.unseen + unseen,
        )

    def refuse(self, why: str, jobs: int) -> None:
        """Count jobs that stay where they are for this reason."""
        refused = Counter(self.progress.refused) + Counter({why: jobs})
        self.progress = attrs.evolve(self.progress, refused=dict(refused))

    def refuse_done(self, why: str) -> None:
        """Count the jobs that a dry run would have done as those that stay."""
        self.refuse(why, self.progress.done)
        self.progress = attrs.evolve(self.progress, done=0, jids=())

    def _note_keys(self, views: Sequence[StoredJob], done: Sequence[int], steps: Mapping[int, object]) -> None:
        """Note the keys that dead jobs had stopped which were deleted, or are of another key now."""
        for n in done if self._stoppers else ():
            stopped, step = self._stoppers.get(views[n].jid or ""), steps[n]
            if stopped is not None and isinstance(step, Placement):
                after = None if step.new is None else StoredJob(step.new, 0.0, self.known, step.queue)
                if after is None or not order_wait.has_key(after, *stopped):
                    self._left_keys.append(stopped)

    def _preview(self, views: Sequence[StoredJob], done: Sequence[int], steps: Mapping[int, object]) -> None:
        """Keep the first edited jobs, before and after."""
        kept = list(self.progress.previews)
        for n in done if self.action.edit is not None else ():
            step = steps[n]
            if len(kept) < EXAMPLES and isinstance(step, Placement) and step.new is not None:
                kept.append((views[n].shown(), StoredJob(step.new, views[n].score, self.known).shown()))
        self.progress = attrs.evolve(self.progress, previews=tuple(kept))

    def _count(self, views: Sequence[StoredJob], outcomes: Sequence[Outcome]) -> None:
        """Count these jobs' outcomes and write the progress."""
        so_far = self.progress
        jids = tuple(view.jid_then for view, outcome in zip(views, outcomes, strict=True) if _is_done(outcome))
        reasons = [why for outcome in outcomes if (why := _reason_left(outcome)) is not None]
        foreign = Counter(_foreign_queues_of(views, outcomes, self.action))
        self.progress = attrs.evolve(
            so_far,
            matched=so_far.matched + len(views) - reasons.count(""),
            done=so_far.done + len(jids),
            gone=so_far.gone + sum(isinstance(outcome, Gone) for outcome in outcomes),
            refused=dict(Counter(so_far.refused) + Counter(why for why in reasons if why)),
            foreign_queues=dict(Counter(so_far.foreign_queues) + foreign),
            jids=so_far.jids + jids,
        )
        named = jids if so_far.done < _NAMED_JIDS else ()
        if jids and not self.dry_run and (named or time.monotonic() >= self._noted_s + _NOTE_EVERY_S):
            self._noted_s = time.monotonic()
            audit.write(self.client, self._entry("going on", named))

    def _entry(self, state: State, jids: Sequence[str] = ()) -> AuditEntry:
        so_far = self.progress
        return AuditEntry(
            who=self.action.who,
            action=self.action.name,
            place=self.place,
            state=state,
            run=so_far.run,
            where=self.which,
            why=self.action.why,
            done=so_far.done,
            refused=sum(so_far.refused.values()),
            gone=so_far.gone,
            jids=tuple(hiding.mask_secrets(jid, self.known.secrets) for jid in jids),
            changes="; ".join(self._changes()),
            left="; ".join(self._left()),
        )

    def _left(self) -> Iterator[str]:
        """Yield which keys stay stopped, and how many jobs stayed for each reason."""
        yield from self.progress.notes
        if self.progress.missing:
            yield f"{len(self.progress.missing)}: gone"
        for why, count in self.progress.refused.items():
            yield f"{count}: {hiding.mask_secrets(why, self.known.secrets)}"

    def _changes(self) -> Iterator[str]:
        """Yield what was changed of the first jobs, as it may be shown."""
        given = () if self.action.edit is None else self.action.edit.values
        for before, after in self.progress.previews:
            told = (f"{name}: {was} → {now}" for name, was, now in differences(before, after, given))
            yield f"{after.jid or before.key}: {', '.join(told)}"


def _is_done(outcome: Outcome) -> bool:
    return isinstance(outcome, Applied)


def _foreign_queues_of(views: Sequence[StoredJob], outcomes: Sequence[Outcome], action: Action) -> Iterator[str]:
    """Yield the foreign queue of each job that was sent to one or taken from one, or that stayed because of it.

    A queue is foreign if no target of this configuration serves it. Tokens in queue names are masked.
    """
    for view, outcome in zip(views, outcomes, strict=True):
        queue = foreign_queue(view, action) or home_queue(view, action)
        if queue is not None and (_is_done(outcome) or outcome == FOREIGN_QUEUE):
            yield hiding.mask_secrets(queue, view.context.secrets)


def _reason_left(outcome: Outcome) -> str | None:
    """Return why a job stayed in its place, "" if it already was where it should be; None if it did not stay."""
    match outcome:
        case Refusal(why):
            return why
        case Clash():
            return _TWIN
        case Refused(text):
            return f"Redis refused: {text}"
        case Applied() | Gone():
            return None
        case _:
            assert_never(outcome)
