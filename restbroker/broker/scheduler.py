"""Moves due jobs from the retry and schedule sets to their queues.

One task per process; several processes and Ruby's pollers may do the same at the same time. Always holds: bytes move
unchanged, whichever program wrote them; a job that restbroker wrote goes to queues of this configuration only; an entry
that no worker could read becomes dead, and one that stays is passed over, so that neither blocks the entries that are
due after it; "due" is by the clock of Redis, and `StoreHealth` learns how far that is from ours. It asks each
second whether anything is due, and reads the sets only then; twice a minute it asks what time it is in Redis.
"""

import hashlib
import math
import random
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Final, Literal

import trio

from restbroker.broker.health import ProcessTask, boot_time_s
from restbroker.errors import StoreRefused
from restbroker.job import retry, rubyjson
from restbroker.job.json_types import Json
from restbroker.job.unserved_queues import OVERDUE_S, counts_text, unserved_queue
from restbroker.light import define, field, frozen
from restbroker.store import server, sets
from restbroker.store.codes import Applied, Clash, Refused
from restbroker.store.sets import BEGINNING, Placement, Position
from restbroker.telemetry.events import JobsPromoted, OperatorWarning

POLL_S = 1.0
CLOCK_S: Final = 30.0
# In what cannot be read as JSON. If there are several, one of them may be in the arguments.
_QUEUE: Final = re.compile(rb'"queue"\s*:\s*"([A-Za-z0-9_.:-]{1,200})"')
_BATCH = 100
_NOT_SERVED: Final = (
    "Start the restbroker that serves it, or serve it here (RestQueue, or Queues of a target). Or list them: "
    "restbroker retries list (or scheduled list) --where 'queue = NAME', and move or delete them."
)


@frozen
class UnservedQueue:
    """A due entry that restbroker wrote for `queue`, which this configuration does not serve: it stays in its set."""

    queue: str


@define
class _Sweep:
    """A way through what is due in a set, from `begun`: how far it is, and what it met that stays, by queue."""

    begun: Position = BEGINNING
    after: Position = BEGINNING
    unserved: Counter[str] = field(factory=Counter)

    def go_behind(self, staying: list[float]) -> None:
        """Go on behind what stays, which has these scores."""
        self.after = self.after.behind(staying)

    def pause(self) -> None:
        """Have the next sweep begin here; it skips nothing by number, since what stays may be gone by then."""
        self.begun = self.after = Position(self.after.score, self.after.ties if self.after.ties >= _BATCH else 0)
        self.unserved.clear()


@define(eq=False)
class Scheduler(ProcessTask):
    """Moves due jobs, for one process. `queues`: all that this configuration serves."""

    queues: Collection[str]
    _ahead: dict[str, _Sweep] = field(factory=lambda: defaultdict(_Sweep))
    """For each set, the way behind all that stays."""
    _again: dict[str, _Sweep] = field(factory=lambda: defaultdict(_Sweep))
    """For each set, the way through what stays, and what came to lie among it."""
    _asked_at_s: float = -math.inf
    _outages: int = 0

    async def run(self) -> None:
        """Move due jobs about every second until cancelled; a full batch is followed by the next one at once."""
        while True:
            full = [await self._try_to_move(zset) for zset in await self._look()]
            if not any(full):
                await trio.sleep(POLL_S * random.uniform(0.5, 1.5))  # noqa: S311 - spreads polls of many processes

    async def _look(self) -> Sequence[Literal["schedule", "retry"]]:
        """Return the sets in which something is due, as far as can be told."""
        try:
            if self._outages != self.health.outages or boot_time_s() >= self._asked_at_s + CLOCK_S:
                # It may be another Redis, with another clock, or its clock was set.
                self._outages, self._asked_at_s = self.health.outages, boot_time_s()
                self.health.record_clock(await self.until_up(server.time_s), self._asked_at_s)
            return await self.until_up(sets.with_due, self.health.latest_redis_s)
        except StoreRefused:
            # Of which set it is said below.
            return "schedule", "retry"

    async def _try_to_move(self, zset: Literal["retry", "schedule"]) -> bool:
        try:
            return await self._move(zset)
        except StoreRefused as error:
            # Jobs in the queues must still be delivered; an operator has to fix the key or the rights.
            self._complain(zset, error.message, error.hint)
            return False

    def _complain(self, zset: str, why: str, hint: str | None) -> None:
        self.warn_once("SetRefused", f"Due jobs in {zset!r} stay there: {why}", hint)

    async def _move(self, zset: Literal["retry", "schedule"]) -> bool:
        """Move what is due behind all that stays; of that, look again at one page, however much there is.

        Return whether there is more to move at once.
        """
        ahead, again = self._ahead[zset], self._again[zset]
        if (await self._sweep(zset, ahead))[0]:
            return True
        if ahead.begun == BEGINNING:
            self._name(zset, ahead.unserved)
        ahead.pause()
        if ahead.after == BEGINNING:
            return False
        full, moved = await self._sweep(zset, again)
        if full:
            return moved
        self._name(zset, again.unserved)
        if again.after == BEGINNING:
            del self._ahead[zset]
        del self._again[zset]
        return False

    async def _sweep(self, zset: Literal["retry", "schedule"], sweep: _Sweep) -> tuple[bool, bool]:
        """Move one page; return whether it was a full one, and whether any of it was moved."""
        called_at_s = boot_time_s()
        due = await self.until_up(sets.due, zset, _BATCH, sweep.after)
        self.health.record_clock(due.now_s, called_at_s)
        # Sidekiq Web takes out all entries of one score to act on one of them: each that dies gets its own.
        planned = [plan(raw, due.now_s + n / 1_000_000, self.queues) for n, (raw, _) in enumerate(due.members)]
        moves = [placement for placement in planned if isinstance(placement, Placement)]
        codes = iter(await self.until_up(sets.place, zset, moves) if moves else [])
        moved: list[Placement] = []
        staying: list[float] = []
        for placement, (_, score) in zip(planned, due.members, strict=True):
            if isinstance(placement, UnservedQueue):
                staying.append(score)
                sweep.unserved[placement.queue] += due.now_s - score >= OVERDUE_S
                continue
            match next(codes):
                case Applied():
                    moved.append(placement)
                case Refused() | Clash():
                    staying.append(score)
                    why = f"due jobs for the queue {placement.queue!r} cannot be moved there"
                    self._complain(zset, why, "Check that key's type.")
                case _:  # Gone: another program has moved it
                    pass
        if moved:
            dead = sum(move.queue is None for move in moved)
            self.report(JobsPromoted(zset, len(moved) - dead, dead))
        sweep.go_behind(staying)
        return due.more, bool(moved)

    def _name(self, zset: str, found: Mapping[str, int]) -> None:
        """Report the queues that overdue jobs wait for, each once."""
        news = {queue: jobs for queue, jobs in found.items() if jobs and (zset, queue) not in self._reported}
        self._reported |= {(zset, queue) for queue in news}
        if news:
            message = (
                f"{sum(news.values())} due jobs that restbroker wrote stay in {zset!r}, since no target of this"
                f" configuration serves their queue: {counts_text(news)}."
            )
            self.report(OperatorWarning("QueueNotServed", message, _NOT_SERVED))


def plan(raw: bytes, now_s: float, served: Collection[str]) -> Placement | UnservedQueue:
    """Return where a due entry goes: unchanged to its queue, or wrapped to the dead set if it is no job.

    Return `UnservedQueue` if it stays. `served`: the queues of this configuration. A job without a queue goes to
    `default`, and one whose queue is a number to the queue of that name, as Ruby's client would push it. JSON that only
    Ruby can read (comments, unknown escapes) goes to the queue that it names: the program that serves it decides.
    """
    try:
        fields = rubyjson.loads(raw)
    except rubyjson.Unreadable as error:
        named = _QUEUE.findall(raw) if raw.startswith(b"{") and raw.endswith(b"}") else []
        if len(named) == 1:
            return Placement(raw, named[0].decode())
        return _park(raw, f"A due entry is not valid JSON: {error}.", now_s)
    if not isinstance(fields, dict):
        return _park(raw, "A due entry is JSON, but not an object.", now_s)
    foreign = unserved_queue(fields, served)
    if foreign is not None:
        return UnservedQueue(foreign)
    queue = _name(fields.get("queue", "default"))
    if not queue:
        return _park(raw, "A due entry names no usable queue.", now_s)
    return Placement(raw, queue)


def _name(queue: Json) -> str:
    if isinstance(queue, float):
        return rubyjson.float_text(queue)
    return str(queue) if isinstance(queue, str | int) and not isinstance(queue, bool) else ""


def _park(raw: bytes, message: str, now_s: float) -> Placement:
    jid = hashlib.sha1(raw, usedforsecurity=False).hexdigest()[:24]
    fields = retry.wrap_unreadable(
        raw, queue="default", jid=jid, reason_code="UnreadablePayload", message=message, now_s=now_s
    )
    return Placement(raw, zset="dead", new=rubyjson.dumps(fields), score=now_s)
