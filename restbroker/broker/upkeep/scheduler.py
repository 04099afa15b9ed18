"""Moves due jobs from the retry and schedule sets to their queues.

One task per process; several processes and Ruby's pollers may do the same at the same time. Always holds: bytes move
unchanged, whoever they belong to; what no worker could read is parked, so that it never blocks what is due after it;
"due" is by the clock of Redis, and all others are told how far that is from ours.
"""

import hashlib
import random
import re
import time
from typing import Final, Literal

import attrs
import trio

from restbroker.broker.health import StoreHealth
from restbroker.errors import StoreRefused
from restbroker.rules import retry, rubyjson
from restbroker.rules.json_types import Json
from restbroker.store import sets
from restbroker.store.codes import Applied, Clash, Refused
from restbroker.store.connection import Connection
from restbroker.telemetry.events import JobsPromoted, Report, Warned

POLL_S = 1.0
# In what cannot be read as JSON. If there are several, one of them may be in the arguments.
_QUEUE: Final = re.compile(rb'"queue"\s*:\s*"([A-Za-z0-9_.:-]{1,200})"')
_BATCH = 100


@attrs.define(eq=False)
class Scheduler:
    """`store`: a connection that nothing urgent waits for."""

    store: Connection
    health: StoreHealth
    report: Report
    _told: set[tuple[str, str]] = attrs.field(factory=set)
    _stuck: dict[str, int] = attrs.field(factory=dict)

    async def run(self) -> None:
        """Polls until cancelled; a full batch is followed by the next one at once."""
        while True:
            full = [await self._try_to_move("schedule"), await self._try_to_move("retry")]
            if not any(full):
                await trio.sleep(POLL_S * random.uniform(0.5, 1.5))  # noqa: S311 - spreads polls of many processes

    async def _try_to_move(self, zset: Literal["retry", "schedule"]) -> bool:
        try:
            return await self._move(zset)
        except StoreRefused as error:
            # Delivering what is in the queues must go on; a person has to mend the key or the rights.
            self._complain(zset, error.message, error.cure)
            return False

    def _complain(self, zset: str, why: str, cure: str | None) -> None:
        if (zset, why) not in self._told:
            self._told.add((zset, why))
            self.report(Warned("SetRefused", f"Due jobs in {zset!r} stay there: {why}", cure))

    async def _move(self, zset: Literal["retry", "schedule"]) -> bool:
        skip = self._stuck.get(zset, 0)
        asked_at_s = time.time()
        due = await self.health.insist(self.store, sets.due, zset, _BATCH, skip)
        self.health.saw_clock(due.now_s, asked_at_s, time.time())
        # Sidekiq Web takes out all entries of one score to act on one of them: each that is parked gets its own.
        moves = [plan(raw, due.now_s + place / 1_000_000) for place, (raw, _) in enumerate(due.members)]
        codes = await self.health.insist(self.store, sets.promote, zset, moves) if moves else []
        moved = [move for move, code in zip(moves, codes, strict=True) if isinstance(code, Applied)]
        stuck = [move for move, code in zip(moves, codes, strict=True) if isinstance(code, Refused | Clash)]
        parked = sum(move.queue is None for move in moved)
        if moved:
            self.report(JobsPromoted(zset, len(moved) - parked, parked))
        for queue in {move.queue for move in stuck}:
            self._complain(zset, f"due jobs for the queue {queue!r} cannot be moved there", "Look at that key's type.")
        full = len(due.members) == _BATCH
        # What cannot be moved stays first in line: page past it, and begin anew once the end is reached.
        self._stuck[zset] = skip + len(stuck) if full else 0
        return full


def plan(raw: bytes, now_s: float) -> sets.Move:
    """Where a due member goes: to its queue unchanged, or wrapped to the dead set if it is no job.

    A job without a queue goes to `default`, and one whose queue is a number to the queue of that name, as Ruby's client
    would push it. What only Ruby can read (comments, unknown escapes) goes to the queue that it names:
    whoever serves that decides.
    """
    try:
        fields = rubyjson.loads(raw)
    except rubyjson.Unreadable as error:
        named = _QUEUE.findall(raw) if raw.startswith(b"{") and raw.endswith(b"}") else []
        if len(named) == 1:
            return sets.Move(raw, named[0].decode(), None, now_s)
        return _park(raw, f"A due entry is not valid JSON: {error}.", now_s)
    if not isinstance(fields, dict):
        return _park(raw, "A due entry is JSON, but not an object.", now_s)
    queue = _name(fields.get("queue", "default"))
    if not queue:
        return _park(raw, "A due entry names no usable queue.", now_s)
    return sets.Move(raw, queue, None, now_s)


def _name(queue: Json) -> str:
    match queue:
        case bool():
            return ""
        case str():
            return queue
        case int():
            return str(queue)
        case float():
            return rubyjson.float_text(queue)
        case _:
            return ""


def _park(raw: bytes, message: str, now_s: float) -> sets.Move:
    jid = hashlib.sha1(raw, usedforsecurity=False).hexdigest()[:24]
    fields = retry.wrap_unreadable(raw, "default", jid, "UnreadablePayload", message, now_s)
    return sets.Move(raw, None, rubyjson.dumps(fields), now_s)
