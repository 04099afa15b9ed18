"""The settlements of the last seconds, in case Redis forgets them.

The committer remembers, the fetcher and the leftovers look up. A Redis that restarts without its last second, or a
replica that takes over, lists jobs as in hand that were settled; settling them again is right, running them is not.
Always holds: memory is bounded by time and number.
"""

from collections import deque

import attrs

from restbroker.rules.settlement import Settlement

KEPT_S = 10.0
KEPT_AT_MOST = 20_000


@attrs.define(eq=False)
class Recent:
    """Per lane. `now_s` is any rising clock."""

    _settlements: dict[str, Settlement] = attrs.field(factory=dict)
    _order: deque[tuple[float, str]] = attrs.field(factory=deque)

    def add(self, ticket: str, settlement: Settlement, now_s: float) -> None:
        """Remembers a confirmed settlement."""
        self._settlements[ticket] = settlement
        self._order.append((now_s, ticket))
        while self._order and (now_s - self._order[0][0] > KEPT_S or len(self._order) > KEPT_AT_MOST):
            self._settlements.pop(self._order.popleft()[1], None)

    def get(self, ticket: str) -> Settlement | None:
        """What became of this ticket, if it is remembered."""
        return self._settlements.get(ticket)
