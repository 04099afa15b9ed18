"""Whether a generation may still start requests: only while its last confirmed heartbeat is young.

The heartbeat calls `confirm`, the link checks `is_fresh`. Always holds: a process that was suspended, or cut off from
Redis for so long that another may have taken its jobs, starts no request before Redis has answered again. Time is
CLOCK_BOOTTIME, which advances while a virtual machine is suspended.
"""

import sys
import time

import attrs
import trio

FENCE_AFTER_S = 20.0
"""Seconds of a reaper's own healthy time for which a heartbeat stands still before the reaper fences its process."""
MARGIN_S = 5.0


_BOOT_CLOCK = time.CLOCK_BOOTTIME if sys.platform == "linux" else time.CLOCK_MONOTONIC


def boot_time_s() -> float:
    """Return the seconds since the machine started, suspensions included."""
    return time.clock_gettime(_BOOT_CLOCK)


@attrs.define(eq=False)
class Lease:
    """The right of one generation to start requests, for all its pools."""

    granted: trio.Event = attrs.field(factory=trio.Event)
    """Set by the first confirmation."""
    _until_s: float = float("-inf")

    @property
    def is_fresh(self) -> bool:
        """Whether a request may be started now."""
        return time.clock_gettime(_BOOT_CLOCK) < self._until_s

    @property
    def age_s(self) -> float | None:
        """Seconds since the last confirmed heartbeat was sent; None: none was confirmed yet."""
        return boot_time_s() - self._until_s + FENCE_AFTER_S - MARGIN_S if self.granted.is_set() else None

    def confirm(self, asked_at_s: float) -> None:
        """Note that Redis confirmed a heartbeat that was sent at `asked_at_s` (boot time).

        Requests may be started until 15 s after that time.
        """
        self._until_s = asked_at_s + FENCE_AFTER_S - MARGIN_S
        self.granted.set()
