"""The settlements of the last seconds, in case Redis forgets them.

The committer remembers, the fetcher and the leftovers look up. A Redis that restarts without its last second, or a
replica that takes over, lists jobs as in hand that were settled; settling them again is right, running them is not.
Always holds: memory is bounded by time and size.
"""

from collections import deque

import attrs

from restbroker.rules.settlement import Ack, Dead, Drop, Retry, Schedule, Settlement

KEPT_S = 10.0
KEPT_BYTES = 32 * 1024 * 1024
_OVERHEAD_BYTES = 200


@attrs.define(eq=False)
class Recent:
    """Per lane. `now_s` is any rising clock."""

    _settlements: dict[str, Settlement] = attrs.field(factory=dict)
    _order: deque[tuple[float, str, int]] = attrs.field(factory=deque)
    _size_bytes: int = 0

    def add(self, ticket: str, settlement: Settlement, now_s: float) -> None:
        """Remembers a confirmed settlement."""
        size_bytes = _size(settlement)
        self._settlements[ticket] = settlement
        self._order.append((now_s, ticket, size_bytes))
        self._size_bytes += size_bytes
        while self._order and (now_s - self._order[0][0] > KEPT_S or self._size_bytes > KEPT_BYTES):
            _, oldest, gone_bytes = self._order.popleft()
            self._settlements.pop(oldest, None)
            self._size_bytes -= gone_bytes

    def get(self, ticket: str) -> Settlement | None:
        """What became of this ticket, if it is remembered."""
        return self._settlements.get(ticket)


def _size(settlement: Settlement) -> int:
    size_bytes = _OVERHEAD_BYTES
    if isinstance(settlement, Retry | Dead | Schedule):
        size_bytes += len(settlement.payload)
    if isinstance(settlement, Ack | Retry | Dead | Drop):
        size_bytes += sum(len(reply.payload) for reply in settlement.replies)
    return size_bytes
