"""The settlements of the last seconds, in case Redis forgets them.

The committer remembers, the fetcher and the leftovers look up. A Redis that restarts without its last second, or a
replica that takes over, lists jobs as in hand that were settled; settling them again is right, running them is not.
Or it has them in their queue, as if they had never been taken: then they run again, as jobs that may have run.
Always holds: memory is bounded by time and size.
"""

from collections import deque
from collections.abc import Iterable

import attrs

from restbroker.rules.settlement import Ack, Back, Dead, Drop, Retry, Schedule, Settlement

KEPT_S = 10.0
KEPT_BYTES = 32 * 1024 * 1024
DOUBTED_S = 60.0
_OVERHEAD_BYTES = 200


@attrs.define(eq=False)
class Recent:
    """Per lane. `now_s` is any rising clock; the same for all methods."""

    _settlements: dict[str, tuple[Settlement, int]] = attrs.field(factory=dict)
    _order: deque[tuple[float, str, int]] = attrs.field(factory=deque)
    _size_bytes: int = 0
    _doubted: set[int] = attrs.field(factory=set)
    _doubted_until_s: float = float("-inf")

    def add(self, settled: Iterable[tuple[str, Settlement, bytes]], now_s: float) -> None:
        """Remembers confirmed settlements: ticket, settlement, and of which job it was."""
        for ticket, settlement, job in settled:
            size_bytes = _size(settlement)
            self._settlements[ticket] = (settlement, hash(job))
            self._order.append((now_s, ticket, size_bytes))
            self._size_bytes += size_bytes
        while self._order and (now_s - self._order[0][0] > KEPT_S or self._size_bytes > KEPT_BYTES):
            _, oldest, gone_bytes = self._order.popleft()
            self._settlements.pop(oldest, None)
            self._size_bytes -= gone_bytes

    def get(self, ticket: str) -> Settlement | None:
        """What became of this ticket, if it is remembered."""
        known = self._settlements.get(ticket)
        return None if known is None else known[0]

    def doubt(self, jobs: Iterable[bytes], now_s: float) -> None:
        """Redis may have forgotten something: `jobs`, and all that are remembered, may come under new tickets."""
        settled = {job for settlement, job in self._settlements.values() if not isinstance(settlement, Back)}
        earlier = self._doubted if now_s < self._doubted_until_s else set()
        self._doubted = earlier | settled | {hash(job) for job in jobs}
        self._doubted_until_s = now_s + DOUBTED_S

    def may_have_run(self, job: bytes, now_s: float) -> bool:
        """Whether a job that was fetched is one of those; once for each, since another with equal bytes is another."""
        if not self._doubted or hash(job) not in self._doubted:
            return False
        self._doubted.remove(hash(job))
        return now_s < self._doubted_until_s


def _size(settlement: Settlement) -> int:
    if isinstance(settlement, Ack) and not settlement.replies:
        return _OVERHEAD_BYTES
    size_bytes = _OVERHEAD_BYTES
    if isinstance(settlement, Retry | Dead | Schedule):
        size_bytes += len(settlement.payload)
    if isinstance(settlement, Ack | Retry | Dead | Drop):
        size_bytes += sum(len(reply.payload) for reply in settlement.replies)
    return size_bytes
