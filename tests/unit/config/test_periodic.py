"""What `Periodic` is read as, and what of it is refused, by its place."""

import pytest

from restbroker.job.json_types import Json
from restbroker.job.schedule import Schedule
from tests.unit.config.conftest import Refused, Write

SERVED: dict[str, Json] = {"RestURL": "http://127.0.0.1:5281/api", "RestQueue": "rest", "Token": "t"}
DAILY: dict[str, Json] = {"Cron": "@daily", "Command": "status"}


def periodic(**members: Json) -> dict[str, Json]:
    return {**SERVED, "Periodic": {"nightly": {**DAILY, **members}}}


def test_a_command_has_defaults_for_all_but_its_time_and_its_name(write: Write) -> None:
    (one,) = write(periodic()).config.periodic
    assert (one.name, one.command, one.schedule) == ("nightly", "status", Schedule("@daily", "UTC"))
    assert (one.arguments, one.target, one.queue, one.token, one.expire_s) == ({}, None, None, None, None)
    assert (one.missed, one.late_s, one.overlap, one.retry) == ("skip", 60.0, "allow", True)


def test_what_is_written_counts(write: Write) -> None:
    (one,) = write(
        periodic(
            Cron="30 4 * * *",
            TimeZone="Europe/Berlin",
            Arguments={"host": "example.org", "deep": [None, {"a": 1}]},
            Missed="once",
            CatchUp="2h",
            Overlap="skip",
            Expiry="5m",
            Retry=3,
        )
    ).config.periodic
    assert one.schedule == Schedule("30 4 * * *", "Europe/Berlin")
    assert one.arguments == {"host": "example.org", "deep": [None, {"a": 1}]}
    assert (one.late_s, one.overlap, one.expire_s, one.retry) == (7200.0, "skip", 300.0, 3)
    (one,) = write(periodic(Missed="once", CatchUp="1s", Within="5m")).config.periodic
    assert one.late_s == 300.0


@pytest.mark.parametrize(
    ("members", "place", "why"),
    [
        ({"Cron": "0 4 * * * *"}, "Cron", "6 fields"),
        ({"Cron": "0 0 30 2 *"}, "Cron", "never due"),
        ({"Cron": "@reboot"}, "Cron", "@hourly"),
        ({"Cron": 5}, "Cron", "a cron expression"),
        ({"Cron": None}, "Cron", "is missing"),
        ({"Command": ""}, "Command", "is missing"),
        ({"TimeZone": "Mars/Olympus"}, "TimeZone", "a time zone"),
        ({"TimeZone": 1}, "TimeZone", "a time zone"),
        ({"Arguments": ["u"]}, "Arguments", "an object"),
        ({"Missed": "all"}, "Missed", "one of"),
        ({"Overlap": "wait"}, "Overlap", "one of"),
        ({"Within": "0s"}, "Within", "duration"),
        ({"Expiry": "0s"}, "Expiry", "a duration of more than 0, up to 366 days"),
        ({"Within": "4s"}, "Within", "5 s at least"),
        ({"CatchUp": "10000d"}, "CatchUp", "duration"),
        ({"CatchUp": "2h"}, "CatchUp", 'needs "Missed": "once"'),
        ({"Retry": -1}, "Retry", "a number of tries"),
        ({"Retry": "3"}, "Retry", "a number of tries"),
        ({"Every": "1h"}, "Every", "is not a key"),
    ],
)
def test_mistakes_are_named_by_their_place(refused: Refused, members: dict[str, Json], place: str, why: str) -> None:
    (problem,) = refused(periodic(**members))
    assert problem.startswith(f"Periodic.nightly.{place}: ")
    assert why in problem


def test_a_name_is_one_of_metrics_and_pages(refused: Refused) -> None:
    (problem,) = refused({**SERVED, "Periodic": {"Each night": DAILY}})
    assert problem.startswith("Periodic.Each night: expected a name")
