"""The jobs that wait in a queue and that a person deletes or kills, by conditions or by name; for `act.perform`.

Always holds: only jobs that waited when they were selected are meant, so that what a dry run showed is the most that is
done; all other jobs keep their places; a job that a process took meanwhile is not touched; either the dead set has room
for all that are killed when it begins, or none is.
"""

import math
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Final, Self

import attrs

from restbroker.broker.tokens import Tokens
from restbroker.config.core import Config
from restbroker.errors import UsageError
from restbroker.job import hiding
from restbroker.job.job import digest
from restbroker.job.json_types import Json
from restbroker.job.outcome import Reason
from restbroker.job.policy import Policy
from restbroker.job.settle import make_kill_replies
from restbroker.job.settlement import OrphanedJob, Reply
from restbroker.light import define, field, frozen
from restbroker.operate import act_job, find
from restbroker.operate.act import ActionRun, Progress
from restbroker.operate.act_job import NO_TIME, Action, Verb, kill_text
from restbroker.operate.context import ConfigContext
from restbroker.operate.job import Refusal, StoredJob
from restbroker.operate.names import display_name, exact
from restbroker.operate.queues import place_of, size_of
from restbroker.operate.tokens import proof_of
from restbroker.operate.where import Where, require_waiting, with_fixed_time
from restbroker.store import key_queues, sets, unadmitted, waiting
from restbroker.store.client import Client
from restbroker.store.waiting import MOST_TAKEN, QueueSnapshot, TakeRequest

VERBS: Final[tuple[Verb, ...]] = ("delete", "kill")
_PIECE: Final = 250
_PIECES: Final = 80
"""After so many pieces the jobs found in them are taken out, however few, before more are read."""
_LONGEST_REST_S: Final = 0.2
_TOO_LARGE: Final = Refusal("It is too large to read. restbroker moves such a job to the dead set when it fetches it.")
_DEAD_SET_IS_FULL: Final = Refusal(
    "The dead set has no room for all of them (DeadLimit): retry or delete dead jobs, raise DeadLimit, kill fewer, or"
    " delete these jobs here."
)


@frozen
class WaitingJobs:
    """Jobs of a queue: those of the `snapshots` that match `where`, at most `limit`.

    Those in lines come first, one line after the other, then those of the list, the oldest first.

    `keys` limits them to the jobs with these keys (`Job.key`), each as often as it is named. Without `keys`, jobs
    that say they were pushed after `until_s` are not meant, nor, if it is finite, those that do not say when.
    """

    queue: str
    snapshots: tuple[QueueSnapshot, ...]
    config: Config
    tokens: Tokens
    where: Where = ()
    limit: int | None = None
    keys: Counter[str] | None = None
    until_s: float = math.inf

    @property
    def place(self) -> str:
        """The queue, in audit entries."""
        return place_of(self.queue)

    @property
    def location(self) -> str:
        """The queue in words."""
        return f"the queue {self.queue}"

    def require_sense(self, action: Action, known: ConfigContext) -> None:
        """Raise `UsageError` if it is impossible in a queue, or the queue is foreign without `foreign_queues`."""
        if action.verb not in VERBS:
            raise UsageError(f"Waiting jobs do not support {action.verb}.", f"Try: {', '.join(VERBS)}.")
        if known.target(self.queue) is None and not action.foreign_queues:
            raise UsageError(
                f"No target of this configuration serves the queue {self.queue!r}: its jobs may belong to another"
                " application.",
                f"This configuration serves: {', '.join(sorted(known.targets))}."
                " If you mean exactly this one, add --foreign-queues.",
            )

    def which(self, known: ConfigContext) -> str:
        """Return which jobs are meant, in words, with secrets masked."""
        if self.keys is not None:
            return f"{self.keys.total()} named"
        if self.snapshots and all(snapshot.job_key is not None for snapshot in self.snapshots):
            return f"the key {display_name((self.snapshots[0].job_key or b'').decode('utf-8', 'replace'), known)}"
        found = hiding.mask_secrets("; ".join(map(with_fixed_time, self.where)) or "all", known.secrets)
        return found if self.limit is None else f"{found} (at most {self.limit})"

    def size(self, _client: Client) -> int:
        """Return how many jobs waited when these were selected."""
        return sum(snapshot.size for snapshot in self.snapshots)

    def as_seen(self, _seen: Progress) -> Self:
        """Return the same: what came since they were selected is not meant anyway."""
        return self

    def batches(self, run: ActionRun) -> Iterator[float]:
        """Act on the jobs; yield after each batch for how long to rest: as long as Redis was kept busy.

        What is to be killed is counted first: either the dead set has room for all, or none is killed.
        """
        room = self._room(run.client) if run.action.verb == "kill" else math.inf
        trial = run if run.dry_run else attrs.evolve(run, dry_run=True)
        if room < math.inf:
            yield from _QueueWalk(self, trial, room).batches()
        if _DEAD_SET_IS_FULL.why in trial.progress.refused:
            run.progress = trial.progress
        elif room == math.inf or not run.dry_run:
            yield from _QueueWalk(self, run).batches()

    def _room(self, client: Client) -> float:
        """Return how many jobs the dead set has room for; infinite if these are not more in any case."""
        room = self.config.dead_limit - sets.size(client, "dead") + unadmitted.total(client)
        total = self.size(client)
        fits = not self.config.dead_limit or min(total, self.limit or total) <= room
        return math.inf if fits else room


def select(
    client: Client,
    queue: str,
    where: Where,
    config: Config,
    limit: int | None = None,
    *,
    keys: Iterable[str] | None = None,
    until_s: float = math.inf,
    job_keys: Sequence[bytes] | None = None,
) -> WaitingJobs:
    """Return the jobs that wait in a queue now; with `keys`, only those with these keys (`Job.key`).

    With `job_keys`, only those in the lines of these.

    Raise `UsageError` if the queue's key is not a list, or if a condition is on failures.
    """
    require_waiting(where)
    own = exact(client, queue)
    size_of(client, own)
    target = next((target.name for target in config.targets if queue in target.queues), None)
    snapshots = waiting.take_snapshots(client, own, target, job_keys)
    named = None if keys is None else Counter(keys)
    limit = limit if named is None else named.total()
    tokens = Tokens(config.tokens)
    return WaitingJobs(queue, snapshots, config, tokens, where, limit=limit, keys=named, until_s=until_s)


def consequence(queue: str, verb: Verb, known: ConfigContext) -> str:
    """Return what follows from the action for others, to be said before it is done."""
    callers = "Callers that wait get the answer Killed" if verb == "kill" else "Callers that wait get no answer"
    target = known.targets.get(queue)
    order = "; their keys lose their order" if target is not None and target.order is not None else ""
    return f"{callers}{order}."


@define(eq=False)
class _QueueWalk:
    """One walk through these jobs, of an action or of a dry run. `room`: if more would be done, none is."""

    jobs: WaitingJobs
    run: ActionRun
    room: float = math.inf
    _is_full: bool = False
    _found: list[tuple[int, StoredJob]] = field(factory=list)
    """Those that are to be taken out next."""
    _unmet: Counter[str] = field(init=False)
    """How many of each key are still to be found."""

    @_unmet.default
    def _keys_named(self) -> Counter[str]:
        return Counter(self.jobs.keys)

    def batches(self) -> Iterator[float]:
        """Act on the jobs; yield again and again for how many seconds Redis is to be left alone."""
        for snapshot in self.jobs.snapshots:
            yield from self._act_on_all(snapshot)
        self.run.progress = attrs.evolve(self.run.progress, missing=tuple(self._unmet.elements()))

    def _pieces(self, snapshot: QueueSnapshot) -> Iterator[Sequence[tuple[int, bytes]]]:
        client, rank = self.run.client, snapshot.size - 1
        while rank >= 0:
            if self.jobs.snapshots[1:]:
                # What moves into lines meanwhile is met in neither.
                key_queues.hold(client, snapshot.queue)
            piece = waiting.piece(client, snapshot, rank, _PIECE)
            if piece is None and snapshot.job_key is None:
                self.run.add(unseen=rank + 1)
                return
            if piece is None:
                self._count_missed(rank + 1)
                return
            self._count_missed(rank - piece.rank)
            yield [*piece.with_ranks]
            rank = piece.rank - len(piece.jobs)

    def _act_on_all(self, snapshot: QueueSnapshot) -> Iterator[float]:
        """Act on those jobs of one list that are meant; yield after each piece how long to rest."""
        kept, began_s, pieces = 0, time.monotonic(), self._pieces(snapshot)
        while not self._is_enough() and (piece := next(pieces, None)) is not None:
            looked_at = 0
            for rank, raw in piece:
                if self._is_enough():
                    break
                looked_at += 1
                view = find.view_of_waiting(raw, self.jobs.queue, self.run.known)
                if self._is_selected(view):
                    self._found.append((rank, view))
                # To take many out at once costs hardly more than to take one; but it is not to wait for ever.
                if len(self._found) == MOST_TAKEN:
                    self._act_on_found(snapshot)
            self.run.add(looked_at=looked_at)
            kept = kept + 1 if self._found else 0
            if kept >= _PIECES:
                self._act_on_found(snapshot)
            yield min(time.monotonic() - began_s, _LONGEST_REST_S)
            began_s = time.monotonic()
        if self._found:
            self._act_on_found(snapshot)
            yield min(time.monotonic() - began_s, _LONGEST_REST_S)

    def _count_missed(self, jobs: int) -> None:
        """Count jobs that others took before they were read: without conditions they were meant, up to the limit."""
        if self.jobs.where or self.jobs.keys is not None:
            self.run.add(unseen=jobs)
        elif self.jobs.limit is None:
            self.run.add(gone=jobs)
        else:
            self.run.add(gone=min(jobs, self.jobs.limit - self.run.progress.matched - len(self._found)))

    def _is_enough(self) -> bool:
        return self.jobs.limit is not None and self.run.progress.matched + len(self._found) >= self.jobs.limit

    def _is_selected(self, view: StoredJob) -> bool:
        if self.jobs.keys is None:
            if view.score > self.jobs.until_s or not view.matches(self.jobs.where):
                return False
            if view.score or self.jobs.until_s == math.inf:
                return True
            self.run.refuse(NO_TIME, 1)
            return False
        key = view.key
        if not self._unmet[key]:
            return False
        self._unmet[key] -= 1
        return True

    def _act_on_found(self, snapshot: QueueSnapshot) -> None:
        found, self._found = self._found, []

        def plan(n: int, now_s: float, unique: int) -> TakeRequest | Refusal:
            return self._plan(*found[n], snapshot, now_s, unique)

        take = partial(waiting.take, self.run.client, snapshot)
        self.run.act_on([view for _, view in found], plan, take)
        if self.run.progress.done > self.room:
            self._is_full = True
            self.run.refuse_done(_DEAD_SET_IS_FULL.why)

    def _plan(
        self, rank: int, view: StoredJob, snapshot: QueueSnapshot, now_s: float, unique: int
    ) -> TakeRequest | Refusal:
        if self._is_full:
            return _DEAD_SET_IS_FULL
        if not view.raw:
            return _TOO_LARGE
        placing = act_job.plan(view, "retry", self.run.action, now_s=now_s, unique=unique)
        if isinstance(placing, Refusal):
            return placing
        place = str(rank) if snapshot.job_key is None else f"{digest(snapshot.job_key)}-{rank}"
        return TakeRequest(rank, placing, self._answers(view, place, now_s) if self.run.action.verb == "kill" else ())

    def _answers(self, view: StoredJob, place: str, now_s: float) -> tuple[Reply, ...]:
        queue, config = self.jobs.queue, self.jobs.config
        fields: dict[str, Json] = dict(view.fields or {})
        trusted = proof_of(self.jobs.tokens, fields, queue) is not None
        policy = Policy(config.backoff, config.response_queue, config.response_details, config.response_class)
        responses = policy.responses if trusted else None
        killed = OrphanedJob("killed", f"{view.key}-{place}", queue, raw=view.raw, responses=responses)
        reason = Reason("Killed", kill_text(self.run.action), "An operator decided this. Ask them.")
        return make_kill_replies(killed, now_s, reason)
