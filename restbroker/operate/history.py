"""How many jobs were done, minute by minute, and how long they took, as all processes write it for Sidekiq's metrics.

Called by the web pages. Always holds: minutes that are over are read once a minute at most, the newest minutes at each
call.
"""

from collections.abc import Sequence
from itertools import accumulate

import attrs

from restbroker.store import metrics
from restbroker.store.client import Client
from restbroker.store.metrics import Minute
from restbroker.telemetry.executions import BUCKET_LIMITS_MS

MINUTES = 180
_MINUTE_S = 60
_UNSETTLED = 2
"""Processes add to the newest minutes; what comes later than that is seen when the next minute begins."""


@attrs.define(eq=False)
class History:
    """The counts per minute of the last hours, cached between calls. Use one for each connection."""

    _known: dict[int, Minute] = attrs.field(factory=dict)

    def read(self, client: Client, now_s: float) -> Sequence[Minute]:
        """Return the last `MINUTES` minutes, the current one last. Raise `StoreUnavailable` or `StoreRefused`."""
        newest_s = int(now_s) // _MINUTE_S * _MINUTE_S
        wanted = range(newest_s - (MINUTES - 1) * _MINUTE_S, newest_s + 1, _MINUTE_S)
        again = wanted[-_UNSETTLED:] if newest_s in self._known else wanted
        found = {one.minute_s: one for one in metrics.read(client, again)}
        self._known = {minute_s: one for minute_s, one in {**self._known, **found}.items() if minute_s in wanted}
        return [self._known.get(minute_s, Minute(minute_s)) for minute_s in wanted]


def percentile_ms(histogram: Sequence[int], share: float) -> float | None:
    """Return the time (ms) that this share (0 to 1) of the executions did not exceed; None if there were none.

    It is approximate: each bucket's limit is 1.5 times the one before.
    """
    wanted = share * sum(histogram)
    below = 0
    limits = (0, *BUCKET_LIMITS_MS, BUCKET_LIMITS_MS[-1])
    for place, (count, total) in enumerate(zip(histogram, accumulate(histogram), strict=True)):
        if count and total >= wanted:
            part = (wanted - below) / count
            return limits[place] + (limits[place + 1] - limits[place]) * part
        below = total
    return None
