"""Deletes, kills, moves or edits jobs that wait in a queue and match conditions; all other jobs keep their places.

Edited jobs keep theirs too. Called by `restbroker queues`. Always holds: only jobs that waited when the command began
are meant, so that what a dry run showed is the most that is done; a job that a process took meanwhile is not touched;
every job is in its queue or at its new place, even after a crash, and the same command again goes on with the rest;
what is done is in the audit log.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, TypeAlias

import attrs

from restbroker.broker.tokens import Tokens
from restbroker.config.core import Config
from restbroker.errors import UsageError
from restbroker.job import hiding
from restbroker.job.auth import place_refusal
from restbroker.job.json_types import Json
from restbroker.job.order import key_in
from restbroker.job.outcome import Reason
from restbroker.job.policy import Policy
from restbroker.job.rubyjson import object_of
from restbroker.job.settle import make_kill_replies
from restbroker.job.settlement import OrphanedJob, Reply
from restbroker.operate import claims, find
from restbroker.operate.act_batch import Outcome
from restbroker.operate.act_job import UNCHANGED, Action, Refusal, Verb, kill_text, plan_waiting
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
from restbroker.store.sets import Placement
from restbroker.store.waiting import MOST_TAKEN, QueueSnapshot, TakeRequest

VERBS: Final[tuple[Verb, ...]] = ("delete", "kill", "move")
"""The verbs that take jobs out; `edit` leaves them there."""
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
    "The dead set is full (DeadLimit): retry or delete dead jobs, raise DeadLimit, or delete these jobs here."
)
_OTHER_KEY: Final = Refusal(
    "It would have another key then, and be done out of its order (OrderBy): delete it, and queue another one."
)
_EDITED_SINCE: Final = Refusal(
    "Someone edited it meanwhile: check it, and run the command again if it is still needed."
)


@attrs.frozen
class WaitingSelection:
    """Jobs of a queue to act on: those of the `snapshot` that match `where`, at most `limit`.

    Those in lines come first, as they would be handed out, then those of the list, the oldest first.

    `keys` limits them to the jobs with these keys (`JobView.key`), each as often as it is named. `since_s`: when the
    snapshot was taken, by Redis' clock (epoch seconds).
    """

    queue: str
    snapshot: QueueSnapshot
    where: Where
    since_s: float
    limit: int | None = None
    keys: Counter[str] | None = None


def select(
    client: Client, queue: str, where: Where, limit: int | None = None, *, keys: Iterable[str] | None = None
) -> WaitingSelection:
    """Return the jobs that wait in a queue now; with `keys`, only those with these keys.

    Raise `UsageError` if the queue's key is not a list, or if a condition is on failures.
    """
    require_waiting(where)
    own = exact(client, queue)
    size_of(client, own)
    since_s = time_s(client)
    snapshot = waiting.take_snapshot(client, own)
    if keys is None:
        return WaitingSelection(queue, snapshot, where, since_s=since_s, limit=limit)
    named = Counter(keys)
    return WaitingSelection(queue, snapshot, where, since_s=since_s, limit=named.total(), keys=named)


def perform(
    client: Client,
    action: Action,
    meant: WaitingSelection,
    config: Config,
    known: ConfigContext,
    *,
    dry_run: bool = False,
    rest: Callable[[float], None] = time.sleep,
) -> Iterator[Progress]:
    """Act on the jobs, batch by batch; yield the progress after each batch, and once more at the end, with `ended`.

    `known`: the configuration's view of jobs. `rest` is called with the seconds to rest, at most `_LONGEST_REST_S`.

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
    described += hiding.mask_secrets(action.details, known.secrets)
    tally = Tally(client, place_of(meant.queue), action, context=known, where=described, dry_run=dry_run)
    tally.progress = Progress(meant.snapshot.total)
    run = _Run(meant, tally, config, Tokens(config.tokens))
    state: State = "interrupted"
    try:
        for busy_s in run.batches():
            yield tally.progress
            rest(min(busy_s, _LONGEST_REST_S))
        state = "ended"
    finally:
        tally.conclude(state)
    yield attrs.evolve(tally.progress, missing=run.missing, ended=True)


def require_sense(queue: str, action: Action, known: ConfigContext) -> None:
    """Raise `UsageError` if the action is impossible in a queue, or leads to a foreign one without `foreign_queues`."""
    if action.verb not in (*VERBS, "edit"):
        raise UsageError(f"Waiting jobs do not support {action.verb}.", f"Try: {', '.join(VERBS)}, edit.")
    if action.verb == "edit" and action.edit is None:
        raise UsageError("There is nothing to change.", "Give arguments or a command.")
    if action.edit is not None and action.edit.queue is not None:
        raise UsageError("An edit cannot change the queue of a waiting job.", "Move it.")
    if action.verb == "move" and action.queue == queue:
        raise UsageError(f"They wait in {queue} already.", "Name another queue.")
    for name in (queue, *([action.queue] if action.queue else [])):
        if known.target(name) is None and action.edit is not None:
            raise UsageError(
                f"No target of this configuration serves the queue {name!r}, so their rights are unknown.",
                f"They cannot be edited here. This configuration serves: {', '.join(sorted(known.targets))}.",
            )
        if known.target(name) is None and not action.foreign_queues:
            raise UsageError(
                f"No target of this configuration serves the queue {name!r}: its jobs may belong to another "
                "application.",
                f"This configuration serves: {', '.join(sorted(known.targets))}."
                " If you mean exactly this one, add --foreign-queues.",
            )


@attrs.define(eq=False)
class _Run:
    """One action in the course of being carried out."""

    selection: WaitingSelection
    tally: Tally
    config: Config
    tokens: Tokens
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
            return view.matches(self.selection.where)
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
        planned = self._within_dead_limit(planned)
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
        for view, one, outcome in zip(views, planned, outcomes, strict=True):
            if isinstance(one, TakeRequest) and one.stays and isinstance(outcome, Applied):
                new = find.view_of_waiting(one.placement.new or b"", self.selection.queue, self.tally.context)
                self.tally.preview(view, new)
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
        if not view.raw:
            return _TOO_LARGE
        self._planned += 1
        placing = plan_waiting(view, action, now_s, self._planned)
        if action.verb == "edit" and view.last_edit_s > self.selection.since_s:
            # Where others delete newer jobs, what this edited is met again.
            return Refusal("") if placing == UNCHANGED else _EDITED_SINCE
        if isinstance(placing, Refusal):
            return placing
        if action.verb == "edit" and self._changes_key(view, placing):
            return _OTHER_KEY
        if action.verb == "move" and (refused := self._token_refusal(view)) is not None:
            return refused
        answers = self._answers(view, rank, now_s) if action.verb == "kill" else ()
        return TakeRequest(rank, placing, answers, stays=action.verb == "edit")

    def _changes_key(self, view: JobView, placing: Placement) -> bool:
        """Tell whether the job would be done in the order of another key: it would overtake or hold up others."""
        target = self.tally.context.targets.get(self.selection.queue)
        order, new = None if target is None else target.order, object_of(placing.new or b"")
        return order is not None and new is not None and key_in(order, new) != key_in(order, view.fields or {})

    def _token_refusal(self, view: JobView) -> Refusal | None:
        """Return why a broker would refuse the job's token there; None if it would not, or if the token is unknown."""
        action = self.tally.action
        target = self.tally.context.target(action.queue)
        proof = proof_of(self.tokens, view.fields or {}, self.selection.queue)
        if proof is None or target is None or action.queue is None:
            return None
        refused = place_refusal(proof.token, target, action.queue)
        return None if refused is None else Refusal(f"It would be refused there: {refused.text}")

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

    def _within_dead_limit(self, planned: Sequence[TakeRequest | Refusal]) -> list[TakeRequest | Refusal]:
        """Return the plans, with those for which the dead set has no room refused."""
        limit = self.config.dead_limit
        if self.tally.action.verb != "kill" or not limit:
            return list(planned)
        done = self.tally.progress.done if self.tally.dry_run else 0
        room = limit - sets.size(self.tally.client, "dead") + unadmitted.total(self.tally.client) - done
        result: list[TakeRequest | Refusal] = []
        for one in planned:
            if isinstance(one, TakeRequest):
                room -= 1
            result.append(_DEAD_SET_IS_FULL if isinstance(one, TakeRequest) and room < 0 else one)
        return result
