"""The figures of a process, per target, for its snapshot: what the stats page and `stats` add up.

A sink: `app` reports to it; whoever writes the process's snapshot calls `snapshot`. Always holds: memory is bounded
by the number of targets, and a job costs a fifth of a microsecond, where it comes with others of its command.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence

import attrs

from restbroker.telemetry.events import Event, JobFinished, JobsDelivered
from restbroker.telemetry.latency import Histogram, RecentLatency

RATE_WINDOW_S = 10


@attrs.define
class _TargetFigures:
    delivered: int = 0
    failed: int = 0
    # Of those that were not delivered at once: bounded, since outcomes are ours.
    outcomes: Counter[str] = attrs.field(factory=Counter)
    latency: RecentLatency = attrs.field(factory=RecentLatency)
    # Jobs per second of the clock, for the last ten whole seconds and the one that runs.
    per_second: dict[int, int] = attrs.field(factory=dict)

    def add(self, now_s: float, durations_s: Sequence[float], *, delivered: bool) -> None:
        count = len(durations_s)
        if delivered:
            self.delivered += count
        else:
            self.failed += count
        self.latency.add(now_s, durations_s)
        second = int(now_s)
        if second in self.per_second:
            self.per_second[second] += count
            return
        self.per_second = {old: jobs for old, jobs in self.per_second.items() if old >= second - RATE_WINDOW_S}
        self.per_second[second] = count

    def snapshot(self, now_s: float) -> dict[str, float | dict[str, int] | None]:
        second = int(now_s)
        # The second that runs is left out: it is not whole yet.
        recent = sum(jobs for old, jobs in self.per_second.items() if second - RATE_WINDOW_S <= old < second)
        return {
            "delivered": self.delivered,
            "failed": self.failed,
            "outcomes": {"delivered": self.delivered, **self.outcomes},
            "rate_per_s": recent / RATE_WINDOW_S,
            **self.latency.recent(now_s).summary_ms(),
        }


@attrs.define
class Figures:
    """Counts since the start, the rate of the last ten seconds, latencies of the last minute. `now_s`: any clock."""

    now_s: Callable[[], float] = time.monotonic
    _targets: dict[str, _TargetFigures] = attrs.field(factory=lambda: defaultdict(_TargetFigures), init=False)

    def __call__(self, event: Event) -> None:
        """Takes note of settled jobs; other events do not concern it. Never raises."""
        match event:
            case JobsDelivered(target, took_s):
                now_s, figures = self.now_s(), self._targets[target]
                for durations_s in took_s.values():
                    figures.add(now_s, durations_s, delivered=True)
            case JobFinished(target):
                figures, delivered = self._targets[target], event.outcome == "delivered"
                if event.outcome == "duplicate":
                    figures.outcomes["duplicate"] += 1
                    return
                figures.add(self.now_s(), (event.duration_s,), delivered=delivered)
                if not delivered:
                    figures.outcomes[event.outcome] += 1
            case _:
                pass

    def snapshot(self, target: str) -> Mapping[str, float | dict[str, int] | None]:
        """One target's `delivered`, `failed`, `outcomes` (how many had each), `rate_per_s`, `p50_ms`, `p95_ms` and
        `p99_ms` (None: nothing in the last minute).
        """
        return self._targets[target].snapshot(self.now_s())

    def durations(self) -> Mapping[str, Sequence[Histogram]]:
        """How long the jobs of each target took, since the start: in parts, for `latency.added` in any thread."""
        return {name: figures.latency.parts() for name, figures in self._targets.items()}
