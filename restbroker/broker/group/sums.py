"""The values of a group's workers for /metrics, added up. The supervisor keeps them.

Always holds: no counter runs backwards, whichever worker ends: what it told last stays in the sum. What it did after
that is lost for /metrics: nothing when it ends well, two seconds when it is killed.
"""

import attrs

from restbroker.telemetry import series
from restbroker.telemetry.series import Samples


@attrs.define(eq=False)
class Sums:
    """`wanted`: how many workers there should be."""

    wanted: int
    _living: dict[int, Samples] = attrs.field(factory=dict)
    """What each told last, by its process id."""
    _gone: Samples = attrs.field(factory=dict)
    _starts: int = 0

    def started(self, pid: int) -> None:
        """A worker was."""
        self._starts += 1
        self._living[pid] = {}

    def heard(self, pid: int, samples: Samples) -> None:
        """It told its values."""
        self._living[pid] = samples

    def ended(self, pid: int) -> None:
        """It lives no longer."""
        self._gone = series.together([self._gone, series.counters(self._living.pop(pid))])

    def samples(self) -> Samples:
        """The values of the group."""
        return {
            **series.together([self._gone, *self._living.values()]),
            "restbroker_workers": {(): len(self._living)},
            "restbroker_workers_wanted": {(): self.wanted},
            "restbroker_worker_starts_total": {(): self._starts},
        }
