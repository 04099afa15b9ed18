"""When a periodic command is due: a cron expression in a time zone, as moments that are the same for every process.

Used by `config` for what is written, by the broker for what is due, and by everything that shows it. Always holds: the
moments of an expression are a fixed set, from wherever one begins to look; they are whole minutes, each once. Where a
clock is set forward, a time of day that is skipped is due once, at the first minute behind the gap; where it is set
back, once, at the first of the two. An expression whose minute or hour begins with * is due at each minute that
matches, in both of the repeated hours, as in Debian's cron. cronsim reads and explains expressions; their moments are
found here, since it leaves some out where a clock changes by half an hour.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from functools import cache, lru_cache
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Final

from restbroker.light import frozen

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from cronsim import CronSim

NAMES: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
"""The names of expressions."""
_FIELDS: Final = ("minute", "hour", "day of month", "month", "day of week")
_RANGES: Final = {
    "minute": "0 to 59",
    "hour": "0 to 23",
    "day of month": "1 to 31, or L",
    "month": "1 to 12, or JAN to DEC",
    "day of week": "0 to 7, or SUN to SAT",
}
_MOST_STEPS: Final = {"minute": 60, "hour": 24, "day of month": 31, "month": 12, "day of week": 7}
"""A longer step is never made: cronsim reads it as the first value alone, and explains it otherwise."""
_UNITS: Final = {"minute": "hour", "hour": "day", "day of month": "month", "month": "year", "day of week": "week"}
_STEP: Final = re.compile(r"/(\d+)", re.ASCII)
_MOST_DAYS: Final = 60 * 366
"""An expression that is due on none of so many days never is: all leap years, and the gap of 2100, are among them."""
_DAY: Final = timedelta(days=1)
_ZERO: Final = timedelta()
_NO_NAMES: Final = ("localtime", "posix", "right/")


@frozen
class CronSchedule:
    """An expression of five fields, and the name of a time zone; `parse` and `zone` tell whether they can be used."""

    cron: str
    zone: str = "UTC"

    @property
    def digest(self) -> str:
        """What tells this schedule from another one."""
        return hashlib.sha256(f"{_normal(self.cron)} {self.zone}".encode()).hexdigest()[:16]

    @property
    def explanation(self) -> str:
        """What the expression means, in English: `At 04:30 every day`."""
        return _cron_sim(_normal(self.cron)).explain()

    def ticks(self, after_s: float) -> Iterator[int]:
        """Yield the moments (epoch seconds) later than `after_s`, the next one first."""
        day = self.local(after_s).date() - _DAY
        for _ in range(_MOST_DAYS):
            yield from (tick for tick in _ticks_of(_normal(self.cron), self.zone, day) if tick > after_s)
            day += _DAY

    def newest(self, after_s: float, until_s: float) -> int | None:
        """Return the last moment later than `after_s` and not later than `until_s`; None if there is none."""
        day, first = self.local(until_s).date() + _DAY, self.local(after_s).date() - _DAY
        while day >= first:
            found = [tick for tick in _ticks_of(_normal(self.cron), self.zone, day) if after_s < tick <= until_s]
            if found:
                return max(found)
            day -= _DAY
        return None

    def count(self, after_s: float, before_s: float, most: int) -> int:
        """Return how many moments are between the two, at most `most`."""
        return sum(1 for _ in islice(takewhile(lambda tick: tick < before_s, self.ticks(after_s)), most))

    def local(self, at_s: float) -> datetime:
        """Return a moment (epoch seconds) in the schedule's time zone."""
        return datetime.fromtimestamp(at_s, zone(self.zone))


def parse(cron: str) -> None:
    """Raise `ValueError`, with a text for people, if this is no expression of five fields that is due some day."""
    from cronsim import CronSimError

    if cron.strip().startswith("@") and _normal(cron) == cron.strip():
        raise ValueError(f"the names are {', '.join(NAMES)}")
    fields = _normal(cron).split()
    if len(fields) != len(_FIELDS):
        seconds = "; there is none for seconds" if len(fields) == len(_FIELDS) + 1 else ""
        has = "1 field" if len(fields) == 1 else f"{len(fields)} fields"
        raise ValueError(f"it has {has}, not five ({', '.join(_FIELDS)}){seconds}")
    try:
        _cron_sim(" ".join(fields))
    except CronSimError as error:
        # cronsim calls a day bad, too, that none of the months has.
        if str(error) == "Bad day-of-month" and _is_cron(" ".join((*fields[:3], "*", fields[4]))):
            raise ValueError("it is never due: these months have no such day") from None
        wrong = str(error).lower().replace("-", " ")
        name = wrong.removeprefix("bad ")
        taken = f": it takes {_RANGES[name]}" if name in _RANGES else ""
        rises = "; a range begins with its smaller value" if taken and "-" in fields[_FIELDS.index(name)] else ""
        raise ValueError(f"{wrong} for cron{taken}{rises}") from None
    for name, field in zip(_FIELDS, fields, strict=True):
        for step in map(int, _STEP.findall(field)):
            if step > _MOST_STEPS[name]:
                raise ValueError(f"a step of {step} is too long for {name}: each {_UNITS[name]} begins anew")
    if next(CronSchedule(cron).ticks(0), None) is None:
        raise ValueError("it is never due: no day matches all of its fields")


@lru_cache(maxsize=64)
def zone(name: str) -> "ZoneInfo":
    """Return the time zone of this name. Raise `ValueError`, with a text for people, if there is none."""
    from zoneinfo import ZoneInfo

    # Its own zone depends on the machine, and the others count leap seconds, or are the same again.
    if name.startswith(_NO_NAMES):
        raise ValueError("name the zone itself")
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        pass
    from difflib import get_close_matches

    known = _known_zones()
    near = get_close_matches(name.lower(), known, n=1)
    raise ValueError(f"did you mean {known[near[0]]}?" if near else "zones are called as Europe/Berlin")


@cache
def _known_zones() -> Mapping[str, str]:
    """Return the zone of each name in lower case; this looks into many files."""
    from zoneinfo import available_timezones

    return {zone.lower(): zone for zone in sorted(available_timezones()) if not zone.startswith(_NO_NAMES)}


def job_id(name: str, tick: int) -> str:
    """Return the id of the job that the periodic command of this name is at this moment, in every process."""
    return hashlib.sha256(f"periodic {name} {tick}".encode()).hexdigest()[:24]


def _normal(cron: str) -> str:
    words = cron.split()
    return NAMES.get(cron.strip().lower(), " ".join(words))


def _is_cron(cron: str) -> bool:
    from cronsim import CronSimError

    try:
        _cron_sim(cron)
    except CronSimError:
        return False
    return True


@lru_cache(maxsize=256)
def _cron_sim(cron: str) -> "CronSim":
    from cronsim import CronSim

    return CronSim(cron, datetime(2000, 1, 1, tzinfo=UTC))


@lru_cache(maxsize=256)
def _ticks_of(cron: str, name: str, day: date) -> tuple[int, ...]:
    """Return the moments that belong to a day of the zone's calendar, in rising order."""
    fields = _cron_sim(cron)
    if day.month not in fields.months or not fields.match_day(day):
        return ()
    minute_field, hour_field, *_ = cron.split()
    is_wild = minute_field.startswith("*") or hour_field.startswith("*")
    found: set[int] = set()
    for hour in fields.hours:
        for minute in fields.minutes:
            first = datetime.combine(day, time(hour, minute), zone(name))
            second = first.replace(fold=1)
            gained = (second.utcoffset() or _ZERO) - (first.utcoffset() or _ZERO)
            if gained <= _ZERO:
                found.add(int(first.timestamp()))
            if is_wild and gained < _ZERO:
                found.add(int(second.timestamp()))
            elif not is_wild and gained > _ZERO:
                found.add(_behind_gap(first))
    return tuple(sorted(found))


def _behind_gap(skipped: datetime) -> int:
    """Return the first minute (epoch seconds) behind the gap that this time of day is in."""
    # Read with the offset that counts behind the gap, it is before the gap: by less than the gap is long.
    moment = skipped.replace(fold=1)
    at_s, offset = int(moment.timestamp()), moment.utcoffset()
    while datetime.fromtimestamp(at_s, skipped.tzinfo).utcoffset() != offset:
        at_s += 60
    return at_s
