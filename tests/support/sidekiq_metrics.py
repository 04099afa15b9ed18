"""What the readers of Sidekiq's Metrics page ask Redis for, written down anew from what they do.

Used by tests that write metrics. Always holds: nothing here is made by restbroker's own names of keys; times are formed
by strftime's directives, as Ruby forms them ("%-H" is an hour without a leading zero).
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs

Found = dict[str, dict[str, int]]
"""Class → `p` (processed), `f` (failed), `ms` (milliseconds of the successes); what is not stored is missing."""


def _tens(at: datetime) -> str:
    # Minutes below ten count as "0", the others by their first digit.
    return at.strftime("j|%y%m%d|%-H:") + ("0" if at.minute < 10 else str(at.minute)[0])


@attrs.frozen
class Reader:
    """One page: where it looks for a moment's counts and for a class' times, and how far its steps back are."""

    step_s: int
    counts: Callable[[datetime], str]
    times: Callable[[str, datetime], str] | None

    def keys(self, now: datetime, steps: int) -> list[str]:
        """The keys of the counts from now back. Only the steps are even: `now` is any second."""
        return [self.counts(now - timedelta(seconds=self.step_s * back)) for back in range(steps)]

    def found(self, redis: Any, prefix: str, now: datetime, steps: int) -> list[Found]:
        every: list[Found] = []
        for key in self.keys(now, steps):
            classes: Found = {}
            for field, number in redis.hgetall(prefix + key).items():
                name, metric = field.decode().split("|")
                classes.setdefault(name, {})[metric] = int(number)
            every.append(classes)
        return every

    def histogram(self, redis: Any, prefix: str, name: str, at: datetime) -> list[int]:
        """A class' times in a minute: 26 numbers of 16 bits, zeros when nothing is stored."""
        assert self.times is not None
        asked = [word for place in range(26) for word in ("GET", "u16", f"#{place}")]
        counts: list[int] = redis.execute_command("BITFIELD_RO", prefix + self.times(name, at), *asked)
        return counts


SEVEN = Reader(
    60,
    lambda at: at.strftime("j|%Y%m%d") + f"|{at.hour}:{at.minute}",
    lambda name, at: at.strftime(f"{name}-%d-%H:%-M"),
)
EIGHT = Reader(
    60,
    lambda at: at.strftime("j|%y%m%d|%-H:%M"),
    lambda name, at: at.strftime(f"h|{name}-%-d-%-H:%-M"),
)
EIGHT_DAYS = Reader(600, _tens, None)
"""Sidekiq 8 for 24 to 72 hours: ten minutes a step, without times."""


def moment(at_s: float) -> datetime:
    return datetime.fromtimestamp(at_s, UTC)
