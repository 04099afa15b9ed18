from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given
from hypothesis import strategies as st

from restbroker.job import schedule
from restbroker.job.schedule import CronSchedule

# The days on which clocks are set forward and back, in 2026. Lord Howe's are set by half an hour; in Cairo and Santiago
# a day begins at 1:00, or ends twice.
CHANGES = {
    "Europe/Berlin": ("2026-03-29", "2026-10-25"),
    "America/New_York": ("2026-03-08", "2026-11-01"),
    "Australia/Lord_Howe": ("2026-10-04", "2026-04-05"),
    "Africa/Cairo": ("2026-04-24", "2026-10-29"),
    "America/Santiago": ("2026-09-06", "2026-04-04"),
}
WILD = ["* * * * *", "*/30 * * * *", "0 * * * *", "45 * * * *", "*/7 */2 * * *", "15 */1 * * *", "*/10 1-3 * * *"]
FIXED = [
    "30 2 * * *",
    "15 2 * * *",
    "45 1 * * *",
    "0 0 * * *",
    "30 0 * * *",
    "59 23 * * *",
    "0 4 * * *",
    "0,30 23 * * 6",
]


def seconds(day: str, zone: str, hour: int = 0) -> int:
    return int(datetime.fromisoformat(day).replace(hour=hour, tzinfo=ZoneInfo(zone)).timestamp())


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


def between(one: CronSchedule, first_s: int, last_s: int) -> list[str]:
    found: list[str] = []
    for tick in one.ticks(first_s - 1):
        if tick > last_s:
            return found
        found.append(one.local(tick).isoformat())
    raise AssertionError("It ended.")


def matching(cron: str, zone: str, first_s: int, last_s: int) -> list[str]:
    """Each minute whose time on the wall the expression names: what a clock that looks each minute would find."""
    fields = CronSim(cron, datetime.now(UTC))
    walls = [datetime.fromtimestamp(at_s, ZoneInfo(zone)) for at_s in range(first_s, last_s + 1, 60)]
    return [
        wall.isoformat()
        for wall in walls
        if wall.minute in fields.minutes and wall.hour in fields.hours and fields.match_day(wall.date())
    ]


@pytest.mark.parametrize("zone", CHANGES)
@pytest.mark.parametrize("change", [0, 1])
@pytest.mark.parametrize("cron", WILD)
def test_star_is_due_at_each_matching_minute(zone: str, change: int, cron: str) -> None:
    noon = seconds(CHANGES[zone][change], zone, 12)
    first_s, last_s = noon - 86_400, noon + 86_400
    assert between(CronSchedule(cron, zone), first_s, last_s) == matching(cron, zone, first_s, last_s)


@pytest.mark.parametrize("zone", CHANGES)
@pytest.mark.parametrize("change", [0, 1])
@pytest.mark.parametrize("cron", FIXED)
def test_a_time_of_day_is_due_once_a_day_whatever_the_clocks_do(zone: str, change: int, cron: str) -> None:
    """At the first of two such minutes; where there is none, at the first minute that there is."""
    noon = seconds(CHANGES[zone][change], zone, 12)
    first_s, last_s = noon - 86_400, noon + 86_400
    fields = CronSim(cron, datetime.now(UTC))
    day = datetime.fromtimestamp(first_s, ZoneInfo(zone)).date()
    walls: dict[datetime, int] = {}
    for at_s in range(first_s - 86_400, last_s + 86_400, 60):
        walls.setdefault(datetime.fromtimestamp(at_s, ZoneInfo(zone)).replace(tzinfo=None, fold=0), at_s)
    expected = []
    while day <= datetime.fromtimestamp(last_s, ZoneInfo(zone)).date():
        for hour in sorted(fields.hours) if fields.match_day(day) else ():
            for minute in sorted(fields.minutes):
                wall = datetime(day.year, day.month, day.day, hour, minute)  # noqa: DTZ001 - of a clock on a wall
                while wall not in walls:
                    wall += timedelta(minutes=1)
                expected.append(walls[wall])
        day += timedelta(days=1)
    meant = [at_s for at_s in sorted(set(expected)) if first_s <= at_s <= last_s]
    assert between(CronSchedule(cron, zone), first_s, last_s) == [
        datetime.fromtimestamp(at_s, ZoneInfo(zone)).isoformat() for at_s in meant
    ]


@pytest.mark.parametrize(
    ("cron", "after", "expected"),
    [
        ("0 0 29 2 *", "2026-11-26", ["2028-02-29", "2032-02-29"]),
        ("0 0 29 2 *", "2096-03-01", ["2104-02-29", "2108-02-29"]),
        ("0 0 LW * *", "2026-01-01", ["2026-01-30", "2026-02-27", "2026-03-31"]),
        ("0 0 * * 5#3", "2026-01-01", ["2026-01-16", "2026-02-20"]),
        ("0 0 * 2 MON#5", "2026-01-01", ["2044-02-29"]),
        ("0 0 1 1 1", "2026-12-31", ["2027-01-01", "2027-01-04", "2027-01-11"]),
        ("@monthly", "2026-01-31", ["2026-02-01", "2026-03-01"]),
        ("@Weekly", "2026-11-26", ["2026-11-29", "2026-12-06"]),
    ],
)
def test_days_of_the_calendar(cron: str, after: str, expected: list[str]) -> None:
    schedule.parse(cron)
    found = islice(CronSchedule(cron).ticks(at(f"{after}T00:00:00+00:00")), len(expected))
    assert [datetime.fromtimestamp(tick, UTC).date().isoformat() for tick in found] == expected


@pytest.mark.parametrize(
    ("cron", "why"),
    [
        ("0 0 30 2 *", "never due"),
        ("0 0 31 4,6,9,11 *", "never due"),
        ("0 0 */29 2 1#5", "never due"),
        ("0 * * * * *", "6 fields"),
        ("* * * *", "4 fields"),
        ("", "0 fields"),
        ("@reboot", "@hourly"),
        ("60 * * * *", "bad minute for cron: it takes 0 to 59"),
        ("0 24 * * *", "bad hour"),
        ("0 0 0 * *", "bad day of month"),
        ("0 0 * 13 *", "bad month"),
        ("0 0 * * 8", "bad day of week"),
        ("*/0 * * * *", "bad minute"),
        ("*/90 * * * *", "a step of 90 is too long for minute: each hour begins anew"),
        ("0 0,1-23/25 * * *", "a step of 25 is too long for hour: each day begins anew"),
        ("0 0 * * FRI-MON", "it takes 0 to 7, or SUN to SAT; a range begins with its smaller value"),
        ("٣ * * * *", "bad minute"),
    ],
)
def test_invalid_or_never_due_expression_is_refused(cron: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        schedule.parse(cron)


@pytest.mark.parametrize(
    ("cron", "same"), [("*/60 * * * *", "@hourly"), ("0 */24 * * *", "@daily"), ("0 0 1 */12 *", "@yearly")]
)
def test_a_step_may_be_as_long_as_its_field(cron: str, same: str) -> None:
    schedule.parse(cron)
    assert next(schedule.CronSchedule(cron).ticks(1.79e9)) == next(schedule.CronSchedule(same).ticks(1.79e9))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("europe/berlin", "Europe/Berlin"),
        ("Mars/Olympus", "Europe/Berlin"),
        ("../../etc/passwd", "called"),
        ("/etc/localtime", "called"),
        ("localtime", "itself"),
        ("right/Europe/Berlin", "itself"),
        ("", "called"),
    ],
)
def test_an_unknown_zone_is_refused(name: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        schedule.zone(name)


@given(
    cron=st.sampled_from([*WILD, *FIXED, "0 0 LW * *", "30 2 29 2 *"]),
    zone=st.sampled_from(["UTC", *CHANGES]),
    start_s=st.integers(at("2026-01-01T00:00:00+00:00"), at("2027-01-01T00:00:00+00:00")),
    later_s=st.integers(0, 3 * 86_400),
)
def test_the_moments_are_the_same_from_wherever_one_begins(cron: str, zone: str, start_s: int, later_s: int) -> None:
    one = CronSchedule(cron, zone)
    end_s = start_s + later_s
    found: list[int] = []
    for tick in one.ticks(start_s):
        if tick > end_s:
            break
        found.append(tick)
    assert found == sorted(set(found))
    assert all(tick % 60 == 0 for tick in found)
    assert one.newest(start_s, end_s) == (found[-1] if found else None)
    assert one.count(start_s, end_s + 1, 10_000) == len(found)
    assert one.count(start_s, end_s + 1, 3) == min(3, len(found))
    if found:
        assert next(one.ticks(found[0] - 1)) == found[0]
        middle = found[len(found) // 2]
        assert [tick for tick in islice(one.ticks(middle), len(found)) if tick <= end_s] == [
            tick for tick in found if tick > middle
        ]


def test_schedules_are_distinguished_by_their_meaning() -> None:
    assert CronSchedule("@daily").digest == CronSchedule(" 0  0 * * * ").digest
    assert (
        len({CronSchedule(*given).digest for given in [("0 0 * * *",), ("0 1 * * *",), ("0 0 * * *", "Asia/Tokyo")]})
        == 3
    )
    assert schedule.job_id("nightly", 60) == schedule.job_id("nightly", 60) != schedule.job_id("nightly", 120)
    assert CronSchedule("0 0 1 1 1").explanation == "At 00:00 on the first day of month and on Monday in January"
