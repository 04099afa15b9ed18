"""How many jobs a lane keeps ready beyond its idle workers: what it settled in its last 10 ms, 4 to 100.

The committer counts, the fetcher asks. A slow target thus holds few jobs that another process could do.
"""

import attrs

_SPAN_S = 0.01
_LEAST = 4
_MOST = 100


@attrs.define(eq=False)
class Pace:
    """Per lane. Times are any rising seconds, the same clock for both methods."""

    _began_s: float = 0.0
    _current: int = 0
    _previous: int = 0

    def settled(self, count: int, now_s: float) -> None:
        """Notes jobs that were settled at `now_s`."""
        self._roll(now_s)
        self._current += count

    def reserve(self, now_s: float) -> int:
        """How many jobs to keep ready."""
        self._roll(now_s)
        return max(_LEAST, min(_MOST, max(self._current, self._previous)))

    def _roll(self, now_s: float) -> None:
        elapsed_s = now_s - self._began_s
        if elapsed_s < _SPAN_S:
            return
        self._previous = self._current if elapsed_s < 2 * _SPAN_S else 0
        self._current = 0
        self._began_s = now_s
