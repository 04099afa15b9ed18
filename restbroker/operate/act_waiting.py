"""Deletes or kills jobs that wait in a queue and match conditions; all other jobs keep their places.

Called by `restbroker queues` and the pages. Always holds: only jobs that waited when the command began are meant, so
that what a dry run showed is the most that is done; a job that a process took meanwhile is not touched; either the dead
set has room for all that are killed when it begins, or none is; every job is in its queue or at its new place, even
after a crash, and the same command again goes on with the rest; what is done is in the audit log.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, TypeAlias

import attrs

from restbroker.broker.tokens import Tokens
from restbroker.config.core import Config
from restbroker.errors import UsageError
from restbroker.job import hiding
from restbroker.job.json_types import Json
from restbroker.job.outcome import Reason
from restbroker.job.policy import Policy
from restbroker.job.settle import make_kill_replies
from restbroker.job.settlement import OrphanedJob, Reply
from restbroker.operate import claims, find
from restbroker.operate.act_batch import Outcome
from restbroker.operate.act_job import Action, Refusal, Verb, kill_text, plan_waiting
from restbroker.operate.audit import State
from restbroker.operate.context import ConfigContext
from restbroker.operate.entry import JobView
from restbroker.operate.names import exact
from restbroker.operate.queues import place_of, size_of
from restbroker.operate.tally import Progress, Tally
from restbroker.operate.tokens import proof_of
from restbroker.operate.where import Where, require_waiting, with_fixed_time
from restbroker.store import line_jobs, sets, unadmitted, waiting
from restbroker.store.client import Client
from restbroker.store.codes import Applied, Gone
from restbroker.store.paging import digest_of
from restbroker.store.server import time_s
from restbroker.store.waiting import MOST_TAKEN, QueueSnapshot, TakeRequest

VERBS: Final[tuple[Verb, ...]] = ("delete", "kill")
_PIECE: Final = 250
_PIECES: Final = 80
_MOST_REMEMBERED: Final = 10_000
"""The newest so many of the jobs that were taken are remembered.

After `_PIECES` pieces the jobs found in them are taken out, however few, before more are read.
"""
_LONGEST_REST_S: Final = 0.2
Rank: TypeAlias = int | bytes
"""A job's rank in the list, or the name under which it is stored in lines."""
_TOO_LARGE: Final = Refusal("It is too large to read. restbroker moves such a job to the dead set when it fetches it.")
_DEAD_SET_IS_FULL: Final = Refusal(
    "The dead set has no room for all of them (DeadLimit): retry or delete dead jobs, raise DeadLimit, kill fewer, or"
    " delete these jobs here."
)
_NOT_COUNTED: Final = Refusal(
    "There was no time to count whether the dead set has room for all of them (DeadLimit): use"
    " `restbroker queues kill`."
)


@attrs.frozen
class WaitingSelection:
    """Jobs of a queue to act on: those of the `snapshot` that match `where`, at most `limit`.

    Those in lines come first, as they would be handed out, then those of the list, the oldest first.

    `keys` limits them to the jobs with these keys (`JobView.key`), each as often as it is named. Without `keys`, jobs
    that say they were pushed after `until_s` are not meant.
    """

    queue: str
    snapshot: QueueSnapshot
    where: Where
    limit: int | None = None
    keys: Counter[str] | None = None
    until_s: float = math.inf


def select(
    client: Client, queue: str, where: Where, limit: int | None = None, *, keys: Iterable[str] | None = None
) -> WaitingSelection:
    """Return the jobs that wait in a queue now; with `keys`, only those with these keys.

    Raise `UsageError` if the queue's key is not a list, or if a condition is on failures.
    """
    require_waiting(where)
    own = exact(client, queue)
    size_of(client, own)
    snapshot = waiting.take_snapshot(client, own)
    if keys is None:
        return WaitingSelection(queue, snapshot, where, limit=limit)
    named = Counter(keys)
    return WaitingSelection(queue, snapshot, where, limit=named.total(), keys=named)


def perform(
    client: Client,
    action: Action,
    meant: WaitingSelection,
    config: Config,
    known: ConfigContext,
    *,
    dry_run: bool = False,
    rest: Callable[[float], None] = time.sleep,
    count_s: float = math.inf,
) -> Iterator[Progress]:
    """Act on the jobs, batch by batch; yield the progress after each batch, and once more at the end, with `ended`.

    `known`: the configuration's view of jobs. `rest` is called with the seconds to rest, at most `_LONGEST_REST_S`.
    What is to be killed is counted first, for at most `count_s` seconds.

    The action stops when the caller stops iterating. After each batch it rests for as long as the batch took, so that
    Redis has time for others. Raise `UsageError` if the action is impossible in a queue. Raise `StoreUnavailable` or
    `StoreRefused`: the batches before are done, and another call does the rest.
    """
    require_sense(meant.queue, action, known)
    described = hiding.mask_secrets("; ".join(map(with_fixed_time, meant.where)) or "all", known.secrets)
    if meant.keys is not None:
        described = f"{meant.keys.total()} named"
    elif meant.limit is not None:
        described += f", at most {meant.limit}"
    tally = Tally(client, place_of(meant.queue), action, context=known, where=described, dry_run=dry_run)
    tally.progress = Progress(meant.snapshot.total)
    run = _Run(meant, tally, config, Tokens(config.tokens))
    state: State = "interrupted"
    try:
        if action.begins_at_once and not dry_run:
            tally.begin()
            yield tally.progress
        if action.verb == "kill":
            run.refusal = _lack_of_room(run, client, config, rest, count_s)
        for busy_s in run.batches():
            yield tally.progress
            rest(min(busy_s, _LONGEST_REST_S))
        state = "ended"
    finally:
        tally.conclude(state)
    yield attrs.evolve(tally.progress, missing=run.missing, ended=True)


def _lack_of_room(
    run: "_Run", client: Client, config: Config, rest: Callable[[float], None], count_s: float
) -> Refusal | None:
    """Return why the dead set may not take all these jobs; None if it may.

    They are counted only if all that wait were too many.
    """
    meant, limit = run.selection, config.dead_limit
    room = limit - sets.size(client, "dead") + unadmitted.total(client)
    total = meant.snapshot.total
    if not limit or min(total, meant.limit or total) <= room:
        return None
    tally = Tally(client, "", run.tally.action, context=run.tally.context, where="", dry_run=True)
    tally.progress, until_s = Progress(total), time.monotonic() + count_s
    for busy_s in _Run(meant, tally, config, run.tokens).batches():
        if tally.progress.done > room:
            return _DEAD_SET_IS_FULL
        if time.monotonic() >= until_s:
            return _NOT_COUNTED
        rest(min(busy_s, _LONGEST_REST_S))
    return _DEAD_SET_IS_FULL if tally.progress.done > room else None


def require_sense(queue: str, action: Action, known: ConfigContext) -> None:
    """Raise `UsageError` if the action is impossible in a queue, or the queue is foreign without `foreign_queues`."""
    if action.verb not in VERBS:
        raise UsageError(f"Waiting jobs do not support {action.verb}.", f"Try: {', '.join(VERBS)}.")
    if known.target(queue) is None and not action.foreign_queues:
        raise UsageError(
            f"No target of this configuration serves the queue {queue!r}: its jobs may belong to another application.",
            f"This configuration serves: {', '.join(sorted(known.targets))}."
            " If you mean exactly this one, add --foreign-queues.",
        )


def consequence(queue: str, verb: Verb, known: ConfigContext) -> str:
    """Return what follows from the action for others, to be said before it is done."""
    callers = "Callers that wait get the answer Killed" if verb == "kill" else "Callers that wait get no answer"
    target = known.targets.get(queue)
    order = "; their keys lose their order" if target is not None and target.order is not None else ""
    return f"{callers}{order}."


@attrs.define(eq=False)
class _Run:
    """One action in the course of being carried out."""

    selection: WaitingSelection
    tally: Tally
    config: Config
    tokens: Tokens
    refusal: Refusal | None = None
    """Why none of the jobs is taken."""
    _planned: int = 0
    _taken: dict[bytes, None] = attrs.field(factory=dict)
    """The newest jobs that were taken: if others take many newer ones out meanwhile, some are read twice."""
    _unmet: Counter[str] = attrs.field(init=False)
    """How many of each key are still to be found."""

    @_unmet.default
    def _keys_named(self) -> Counter[str]:
        return Counter(self.selection.keys)

    def batches(self) -> Iterator[float]:
        """Act on the jobs; yield again and again for how many seconds Redis was kept busy since the last time."""
        if self.selection.snapshot.lines:
            yield from self._batches_of_lines()
        yield from self._batches_of_list()

    def _batches_of_lines(self) -> Iterator[float]:
        """Act on the jobs in lines; yield as `batches` does."""
        client, snapshot = self.tally.client, self.selection.snapshot
        known, seen = snapshot.of_lines, 0
        found: list[tuple[Rank, JobView]] = []
        began_s = time.monotonic()
        places = line_jobs.by_finish_time(snapshot.lines, self.tally.context.cost(self.selection.queue))
        for piece in line_jobs.pieces(client, snapshot.queue, places):
            looked_at = 0
            for line, number, raw in piece:
                if self._is_enough(found):
                    break
                looked_at += 1
                view = find.view_of_waiting(raw, self.selection.queue, self.tally.context)
                if self._is_selected(view):
                    found.append((line.field(number), view))
                if len(found) == MOST_TAKEN:
                    self.tally.count([], [], looked_at)
                    seen, looked_at = seen + looked_at, 0
                    self._act_on(found)
                    found = []
            seen += looked_at
            self.tally.count([], [], looked_at)
            # What moves into lines meanwhile is met in neither.
            line_jobs.hold(client, snapshot.queue)
            yield time.monotonic() - began_s
            began_s = time.monotonic()
            if self._is_enough(found):
                break
        else:
            self._count_missed(max(0, known - seen), len(found))
        if found:
            self._act_on(found)
            yield time.monotonic() - began_s

    def _batches_of_list(self) -> Iterator[float]:
        rank, pieces = self.selection.snapshot.size - 1, 0
        found: list[tuple[Rank, JobView]] = []
        while rank >= 0 and not self._is_enough(found):
            began_s = time.monotonic()
            if self.selection.snapshot.lines:
                line_jobs.hold(self.tally.client, self.selection.snapshot.queue)
            piece = waiting.piece(self.tally.client, self.selection.snapshot, rank, _PIECE)
            busy_s = time.monotonic() - began_s
            if piece is None:
                self.tally.miss(unseen=rank + 1)
                break
            self._count_missed(rank - piece.rank, len(found))
            if self._is_enough(found):
                break
            pieces, looked_at = pieces + 1, 0
            for rank, raw in piece.with_ranks:
                looked_at += 1
                view = find.view_of_waiting(raw, self.selection.queue, self.tally.context)
                if self._is_selected(view):
                    found.append((rank, view))
                if len(found) == MOST_TAKEN or self._is_enough(found):
                    break
            rank -= 1
            self.tally.count([], [], looked_at)
            # To take many out at once costs hardly more than to take one; but it is not to wait for ever.
            if found and (len(found) == MOST_TAKEN or pieces >= _PIECES):
                busy_s += self._act_on(found)
                found, pieces = [], 0
            yield busy_s
        if found:
            yield self._act_on(found)

    def _count_missed(self, jobs: int, pending: int) -> None:
        """Count jobs that others took before they were read: without conditions they were meant, up to the limit."""
        if self.selection.where or self.selection.keys is not None:
            self.tally.miss(unseen=jobs)
        elif self.selection.limit is None:
            self.tally.miss(gone=jobs)
        else:
            self.tally.miss(gone=min(jobs, self.selection.limit - self.tally.progress.matched - pending))

    @property
    def missing(self) -> tuple[str, ...]:
        """The keys of those that were named and not found."""
        return tuple(self._unmet.elements())

    def _is_enough(self, found: Sequence[tuple[Rank, JobView]]) -> bool:
        return self.selection.limit is not None and self.tally.progress.matched + len(found) >= self.selection.limit

    def _is_selected(self, view: JobView) -> bool:
        if self.selection.keys is None:
            return view.score <= self.selection.until_s and view.matches(self.selection.where)
        key = view.key
        if not self._unmet[key]:
            return False
        self._unmet[key] -= 1
        return True

    def _act_on(self, found: Sequence[tuple[Rank, JobView]]) -> float:
        """Act on these jobs; return how long it took, in seconds."""
        client = self.tally.client
        views = [view for _, view in found]
        began_s = time.monotonic()
        now_s = time_s(client)
        planned = [self._plan(view, rank, now_s) for rank, view in found]
        takings = [one for one in planned if isinstance(one, TakeRequest)]
        if self.tally.dry_run:
            codes: Iterator[Outcome] = iter([Applied()] * len(takings))
        else:
            if takings:
                self.tally.begin()
            codes = iter(waiting.take(client, self.selection.snapshot, takings) if takings else [])
        outcomes = [one if isinstance(one, Refusal) else next(codes) for one in planned]
        if not self.tally.dry_run:
            claims.release(client, self.tally.action.verb, views, outcomes)
        self._remember(
            [view.raw for view, outcome in zip(views, outcomes, strict=True) if isinstance(outcome, Applied)]
        )
        outcomes = [self._outcome_of(view, outcome) for view, outcome in zip(views, outcomes, strict=True)]
        self.tally.count(views, outcomes, 0)
        return time.monotonic() - began_s

    def _outcome_of(self, view: JobView, outcome: Outcome) -> Outcome:
        """Return what became of a job; nothing is said of one that was read twice and taken once."""
        return Refusal("") if isinstance(outcome, Gone) and view.raw in self._taken else outcome

    def _remember(self, raws: Sequence[bytes]) -> None:
        self._taken |= dict.fromkeys(raws)
        for raw in list(self._taken)[: max(0, len(self._taken) - _MOST_REMEMBERED)]:
            del self._taken[raw]

    def _plan(self, view: JobView, rank: Rank, now_s: float) -> TakeRequest | Refusal:
        action = self.tally.action
        if self.refusal is not None:
            return self.refusal
        if not view.raw:
            return _TOO_LARGE
        self._planned += 1
        placing = plan_waiting(view, action, now_s, self._planned)
        if isinstance(placing, Refusal):
            return placing
        return TakeRequest(rank, placing, self._answers(view, rank, now_s) if action.verb == "kill" else ())

    def _answers(self, view: JobView, rank: Rank, now_s: float) -> tuple[Reply, ...]:
        fields: dict[str, Json] = dict(view.fields or {})
        trusted = proof_of(self.tokens, fields, self.selection.queue) is not None
        config = self.config
        policy = Policy(config.backoff, config.response_queue, config.response_details, config.response_class)
        responses = policy.responses if trusted else None
        place = rank if isinstance(rank, int) else digest_of(rank)
        killed = OrphanedJob("killed", f"{view.key}-{place}", self.selection.queue, raw=view.raw, responses=responses)
        reason = Reason("Killed", kill_text(self.tally.action), "An operator decided this; ask them.")
        return make_kill_replies(killed, now_s, reason)
