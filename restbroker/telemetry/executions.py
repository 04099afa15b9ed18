"""Counts settled jobs for Sidekiq's Metrics page, per minute and command, until they are written to Redis.

A sink: `app` reports to it. What writes the process's record calls `take`, and `give_back` when Redis is away;
`store.metrics` writes what was taken. Always holds: memory is bounded, even if producers invent names and Redis stays
away; names are safe wherever Sidekiq Web puts them; a job costs a fifth of a microsecond, where it comes with others of
its command.
"""

import math
import re
import time
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Final

import attrs

from restbroker.telemetry.events import Event, JobFinished, JobsDelivered
from restbroker.telemetry.latency import Histogram

# fmt: off
BUCKET_LIMITS_MS: Final = (
    20, 30, 45, 65, 100,
    150, 225, 335, 500, 750,
    1_100, 1_700, 2_500, 3_800, 5_750,
    8_500, 13_000, 20_000, 30_000, 45_000,
    65_000, 100_000, 150_000, 225_000, 335_000,
)
# fmt: on
"""A time belongs to the first bucket whose limit is above it, or to the one after the last (Sidekiq 6.5 to 8)."""
BUCKETS: Final = len(BUCKET_LIMITS_MS) + 1
# A limit of a `Histogram` belongs to the bucket below it: this is the longest time that is less than Sidekiq's.
_LIMITS_S: Final = tuple(math.nextafter(limit_ms / 1000, 0) for limit_ms in BUCKET_LIMITS_MS)

NAMES_PER_MINUTE: Final = 200
BACKLOG_MINUTES: Final = 60
"""The minutes that are kept, as many as the page shows at first; older executions are forgotten."""
TAKEN_AT_ONCE: Final = 50
"""The most executions that one take returns.

Redis does nothing else while it adds them: measured 0.1 ms each at most, with times in every bucket.
"""
_OTHER: Final = "other"
_UNNAMED: Final = "unnamed"
_LONGEST_NAME: Final = 64
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_.~-]")
_READABLE: Final = re.compile(r"[A-Za-z0-9]")


@attrs.define
class Executions:
    """How often a command ran within the minute that began at `minute_s` (epoch seconds, UTC).

    `times` are those of the successes only: Sidekiq times nothing that failed.
    """

    minute_s: int
    command: str
    failed: int = 0
    times: Histogram = attrs.field(factory=lambda: Histogram(_LIMITS_S))

    @property
    def total(self) -> int:
        """The number of successes and failures."""
        return sum(self.times.counts) + self.failed


@attrs.define
class ExecutionCounts:
    """Executions since the last take. `now_s`: the time of day, epoch seconds."""

    now_s: Callable[[], float] = time.time
    # By minute and name. None: taken; its name stays, or each take would let another 200 into the same minute.
    _minutes: dict[int, dict[str, Executions | None]] = attrs.field(factory=dict, init=False)

    def __call__(self, event: Event) -> None:
        """Count settled jobs, as `stat:processed` and `stat:failed` do: `schedule` and `back` were no tries.

        Other events are ignored. Never raises.
        """
        match event:
            case JobsDelivered():
                minute_s = self._open_minute()
                for command, durations_s in event.took_s.items():
                    self._of(minute_s, command).times.add(durations_s)
            case JobFinished(fate="ack"):
                self._of(self._open_minute(), event.command).times.add((event.duration_s,))
            case JobFinished(fate="retry" | "dead" | "drop"):
                self._of(self._open_minute(), event.command).failed += 1
            case _:
                pass

    def take(self) -> tuple[Executions, ...]:
        """Return the executions counted since the last take, the oldest first, and remove them.

        At most 50; after a long outage of Redis the next takes return the rest.
        """
        counted = (one for minute in self._minutes.values() for one in minute.values() if one is not None)
        taken = tuple(islice(counted, TAKEN_AT_ONCE))
        for one in taken:
            self._minutes[one.minute_s][one.command] = None
        return taken

    def give_back(self, executions: Iterable[Executions]) -> None:
        """Count again what was taken and could not be written; forget what is older than an hour."""
        for one in executions:
            minute = self._minutes.get(one.minute_s)
            if minute is not None:
                if (since := minute.get(one.command)) is not None:
                    one.failed += since.failed
                    one.times.include(since.times)
                minute[one.command] = one

    def _open_minute(self) -> int:
        minute_s = int(self.now_s()) // 60 * 60
        if minute_s not in self._minutes:
            self._minutes[minute_s] = {}
            if len(self._minutes) > BACKLOG_MINUTES:
                # The one that was opened first, not the earliest: a clock may be set back.
                del self._minutes[next(iter(self._minutes))]
        return minute_s

    def _of(self, minute_s: int, command: str) -> Executions:
        # What an endpoint says behind the command (`register/v1`) may be anything, a secret too.
        command = command.partition("/")[0]
        # Names that are not safe miss here each time, which costs them another microsecond.
        return self._minutes[minute_s].get(command) or self._add(minute_s, command)

    def _add(self, minute_s: int, command: str) -> Executions:
        minute, name = self._minutes[minute_s], safe_name(command)
        if name not in minute and len(minute) >= NAMES_PER_MINUTE:
            name = _OTHER
        found = minute[name] = minute.get(name) or Executions(minute_s, name)
        return found


def safe_name(command: str) -> str:
    """Return a command's name as Sidekiq Web can show it: letters, digits and `_ . ~ -`, at most 64.

    Other characters become `_`; a name without a letter or digit becomes `unnamed`. Sidekiq splits at `|`; its page of
    one class cannot be reached with `/` or `$` in the name; and its Metrics page puts names into HTML and into a link
    as they are (read in its views).
    """
    short = command[:_LONGEST_NAME]
    return _UNSAFE.sub("_", short) if _READABLE.search(short) else _UNNAMED
