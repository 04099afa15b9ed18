"""The settlements of the last seconds, in case Redis forgets them.

The acker calls `add`, recovery looks settlements up. A Redis that restarts without its last second, or a replica that
takes over, may list jobs as in progress that were settled: they are settled again, and not run. Or it may have them in
their queue, as if they had never been taken: then they run again, as jobs that may have run. Always holds: memory is
bounded by time and size.
"""

from array import array
from collections import deque
from collections.abc import Iterable
from typing import assert_never

import attrs

from restbroker.job.settlement import Ack, Dead, Drop, Requeue, Retry, Schedule, Settlement, is_unchanged_requeue

KEPT_S = 10.0
KEPT_BYTES = 32 * 1024 * 1024
LOSS_S = 60.0
_OVERHEAD_BYTES = 120


@attrs.define(eq=False)
class _Group:
    """What was settled together, column by column. An object for each ticket and each hash would take 96 bytes more."""

    at_s: float
    tickets: str
    """The tickets, one after the other, with blanks between them."""
    settlements: list[Settlement]
    jobs: "array[int]"
    """The hash of each job's bytes."""
    size_bytes: int

    def forget(self, count: int) -> None:
        """Forget the first `count` jobs."""
        self.size_bytes -= sum(map(_size, self.settlements[:count]))
        self.tickets = " ".join(self.tickets.split()[count:])
        del self.settlements[:count], self.jobs[:count]


@attrs.define(eq=False)
class RecentlySettled:
    """The last settlements of one pool. `now_s` is the time by any rising clock, the same for all methods."""

    _groups: deque[_Group] = attrs.field(factory=deque)
    _size_bytes: int = 0
    _by_ticket: dict[str, Settlement] | None = None
    """All by ticket, made at the first look-up: that is after an outage, and at the end."""
    _lost: set[int] = attrs.field(factory=set)
    _lost_until_s: float = float("-inf")

    def add(self, tickets: Iterable[str], settlements: list[Settlement], jobs: Iterable[bytes], now_s: float) -> None:
        """Keep settlements that Redis confirmed, with the ticket and the bytes of each job, all in the same order."""
        size_bytes = sum(map(_size, settlements))
        self._groups.append(
            _Group(
                at_s=now_s,
                tickets=" ".join(tickets),
                settlements=settlements,
                jobs=array("q", map(hash, jobs)),
                size_bytes=size_bytes,
            )
        )
        self._size_bytes += size_bytes
        self._by_ticket = None
        self.forget(now_s)

    def get(self, ticket: str) -> Settlement | None:
        """Return the settlement of this ticket; None if it is not kept, or not any more."""
        if self._by_ticket is None:
            self._by_ticket = {
                ticket: settlement
                for group in self._groups
                for ticket, settlement in zip(group.tickets.split(), group.settlements, strict=True)
            }
        return self._by_ticket.get(ticket)

    def forget(self, now_s: float) -> None:
        """Drop settlements older than `KEPT_S` seconds, and the oldest beyond `KEPT_BYTES`.

        To be called now and then, so that an idle pool keeps none.
        """
        groups = self._groups
        while groups and (now_s - groups[0].at_s > KEPT_S or (self._size_bytes > KEPT_BYTES and len(groups) > 1)):
            self._size_bytes -= groups.popleft().size_bytes
            self._by_ticket = None
        if not groups:
            return
        newest, count, surplus_bytes = self._groups[-1], 0, self._size_bytes - KEPT_BYTES
        while surplus_bytes > 0:
            surplus_bytes -= _size(newest.settlements[count])
            count += 1
        if count:
            newest.forget(count)
            self._size_bytes = newest.size_bytes

    def note_loss(self, jobs: Iterable[bytes], now_s: float) -> None:
        """Note that Redis may have lost its last writes: for `LOSS_S` seconds `may_have_run` is true of some jobs.

        These are `jobs` (their bytes) and all whose settlement is kept: they may be fetched again under new tickets.
        """
        settled = {
            job
            for group in self._groups
            for settlement, job in zip(group.settlements, group.jobs, strict=True)
            if not is_unchanged_requeue(settlement)
        }
        earlier = self._lost if now_s < self._lost_until_s else set()
        self._lost = earlier | settled | {hash(job) for job in jobs}
        self._lost_until_s = now_s + LOSS_S

    def may_have_run(self, job: bytes, now_s: float) -> bool:
        """Tell whether a fetched job (its bytes) is one of those that `note_loss` noted.

        Each is reported once, since a second job with equal bytes is a new job.
        """
        if not self._lost or hash(job) not in self._lost:
            return False
        self._lost.remove(hash(job))
        return now_s < self._lost_until_s


def _size(settlement: Settlement) -> int:
    if isinstance(settlement, Ack) and not settlement.replies:
        return _OVERHEAD_BYTES
    match settlement:
        case Ack(replies) | Drop(replies):
            return _OVERHEAD_BYTES + sum([len(reply.payload) for reply in replies])
        case Retry(_, payload, replies) | Dead(_, payload, replies):
            return _OVERHEAD_BYTES + len(payload) + sum([len(reply.payload) for reply in replies])
        case Schedule(_, payload):
            return _OVERHEAD_BYTES + len(payload)
        case Requeue(payload):
            return _OVERHEAD_BYTES + len(payload)
        case _:
            assert_never(settlement)
