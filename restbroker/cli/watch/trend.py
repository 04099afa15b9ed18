"""How the numbers changed since the watch began: rates, changes, and the data of the two small charts.

Used by `loop` and `screen`. Always holds: memory is bounded however long it runs, and the charts span all of that
time: when there are too many spans, every two become one.
"""

import attrs

from restbroker.operate.overview import SystemStats

_MOST_SPANS = 240


@attrs.define
class _Span:
    """What happened in some neighbouring ticks: over how many seconds, jobs done, the largest backlog."""

    ticks: int = 0
    lasted_s: float = 0.0
    done: int = 0
    backlog: int = 0

    def include(self, other: "_Span") -> None:
        self.ticks += other.ticks
        self.lasted_s += other.lasted_s
        self.done += other.done
        self.backlog = max(self.backlog, other.backlog)


@attrs.frozen
class Trend:
    """The past at one moment; `lasted_s` is how many seconds the watch has lasted.

    `per_s` has the rate of each total since the read before, and is empty after the first read; `changes` how much more
    there is of each than at the first read; `throughput` (jobs per second) and `backlog` (jobs) what the charts draw,
    oldest first.
    """

    lasted_s: float = 0.0
    backlog_now: int = 0
    per_s: dict[str, float] = attrs.field(factory=dict)
    changes: dict[str, int] = attrs.field(factory=dict)
    throughput: tuple[float, ...] = ()
    backlog: tuple[float, ...] = ()


@attrs.define
class TrendHistory:
    """The totals and the backlog of all reads, from which `trend` makes rates, changes and charts.

    Times are seconds by a clock that never goes back.
    """

    _first: tuple[float, dict[str, int]] | None = None
    _last: tuple[float, dict[str, int]] | None = None
    _per_s: dict[str, float] = attrs.field(factory=dict)
    _backlog: int = 0
    _spans: list[_Span] = attrs.field(factory=list)
    _ticks_per_span: int = 1

    def add(self, now_s: float, seen: SystemStats) -> None:
        """Add the stats of one more read; totals that fell, since Redis was emptied, have no rate."""
        totals = dict(seen["totals"])
        self._backlog = backlog(seen)
        if self._first is None or self._last is None:
            self._first = self._last = (now_s, totals)
            return
        last_s, before = self._last
        lasted_s = max(now_s - last_s, 1e-3)
        self._last = (now_s, totals)
        grown = {name: totals[name] - before[name] for name in ("processed", "failed")}
        self._per_s = {name: round(more / lasted_s, 1) for name, more in grown.items() if more >= 0}
        self._add(_Span(1, lasted_s, max(0, grown["processed"]), self._backlog))

    def trend(self) -> Trend:
        """Return the trend over all reads so far."""
        if self._first is None or self._last is None:
            return Trend()
        (first_s, first), (last_s, last) = self._first, self._last
        return Trend(
            lasted_s=last_s - first_s,
            backlog_now=self._backlog,
            per_s=dict(self._per_s),
            changes={name: number - first[name] for name, number in last.items()},
            throughput=tuple(span.done / span.lasted_s for span in self._spans),
            backlog=tuple(float(span.backlog) for span in self._spans),
        )

    def _add(self, span: _Span) -> None:
        if self._spans and self._spans[-1].ticks < self._ticks_per_span:
            self._spans[-1].include(span)
            return
        if len(self._spans) == _MOST_SPANS:
            for earlier, later in zip(self._spans[::2], self._spans[1::2], strict=True):
                earlier.include(later)
            del self._spans[1::2]
            self._ticks_per_span *= 2
        self._spans.append(span)


def backlog(seen: SystemStats) -> int:
    """Return how many jobs wait in all queues."""
    return sum(size for queue in seen["queues"] if isinstance(size := queue["size"], int))
