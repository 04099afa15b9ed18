"""Counts what is asked of the roster service, for /metrics.

Always holds: its labels are numbers of our own.
"""

from collections import Counter

import attrs

from restbroker.rosters.service.reader import Reader
from restbroker.telemetry.latency import Histogram
from restbroker.telemetry.series import METRICS, Distribution, Making, Samples

_SECONDS = "restbroker_roster_request_seconds"


@attrs.define(eq=False)
class Traffic:
    """Since the start of the process."""

    reader: Reader
    _statuses: Counter[int] = attrs.field(factory=Counter)
    _durations: Histogram = attrs.field(factory=Histogram)

    def answered(self, status: int, duration_s: float) -> None:
        """A request was answered so, after so long."""
        self._statuses[status] += 1
        self._durations.add((duration_s,))

    def samples(self) -> Making:
        """The values of this moment."""
        statuses, durations, calls = dict(self._statuses), self._durations.copied(), self.reader.calls

        def made() -> Samples:
            counts = durations.between(METRICS[_SECONDS].limits_s)
            return {
                "restbroker_roster_requests_total": {(str(status),): number for status, number in statuses.items()},
                _SECONDS: {(): Distribution(counts, durations.total_s)},
                "restbroker_roster_reads_total": {(): calls},
            }

        return made
