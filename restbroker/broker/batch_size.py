"""How many jobs a pool keeps ready beyond its idle workers: as many as it settled in its last 25 ms, 4 to 200.

It also says how many are started between two settlements. The acker counts here what it settles; the poller and the
ready buffer read it. A slow target thus reserves few jobs that another process could do.
"""

from collections import deque

import attrs

SPAN_S = 0.025
_LEAST = 4
_MOST = 200
_GROUPS = 4


@attrs.define(eq=False)
class BatchSize:
    """The batch size of one pool. Times are seconds of any rising clock, the same for both methods."""

    lead: int = 0
    """How many jobs are started from one confirmation of Redis to the next: twice the largest of the last groups.

    Twice, since from a call to the answer of the next it takes two calls; the largest, since too few would keep workers
    waiting, and groups small.
    """
    _started_s: float = 0.0
    _current: int = 0
    _previous: int = 0
    _groups: deque[int] = attrs.field(factory=lambda: deque([0], maxlen=_GROUPS))

    def note_settled(self, count: int, now_s: float) -> None:
        """Note a group of `count` jobs that were settled at `now_s`."""
        self._groups.append(count)
        self.lead = 2 * max(self._groups)
        self._roll(now_s)
        self._current += count

    def reserve(self, now_s: float) -> int:
        """Return how many jobs to keep ready."""
        self._roll(now_s)
        return max(_LEAST, min(_MOST, max(self._current, self._previous)))

    def _roll(self, now_s: float) -> None:
        elapsed_s = now_s - self._started_s
        if elapsed_s < SPAN_S:
            return
        self._previous = self._current if elapsed_s < 2 * SPAN_S else 0
        self._current = 0
        self._started_s = now_s
