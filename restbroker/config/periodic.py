"""The key `Periodic`: commands that become jobs at set times.

Used by the broker, by `check` and by `restbroker periodic`. Always holds of loaded ones: each has an expression that is
due some day, in a zone that exists. `run` and `check` also check its command as `enqueue` does
(`operate.request`).
"""

from collections.abc import Mapping
from typing import Annotated, Final, Literal, TypeAlias

import attrs

from restbroker.config import forms
from restbroker.config.key import Form, duration, key, text, word
from restbroker.config.problems import Problems, at
from restbroker.config.values import BadValue, duration_text, is_plain
from restbroker.job import schedule
from restbroker.job.json_types import Json
from restbroker.job.schedule import CronSchedule
from restbroker.light import frozen

_EXAMPLE: Final = 'a cron expression such as "30 4 * * *" or "@daily"'
_LEAST_WITHIN_S: Final = 5.0
_CATCH_UP_S: Final = 86_400.0
_MOST_RETRIES: Final = 999_999


def _read_cron(value: Json) -> str:
    if not isinstance(value, str) or not is_plain(value):
        raise BadValue(_EXAMPLE, value)
    try:
        schedule.parse(value)
    except ValueError as error:
        raise BadValue(f"{_EXAMPLE} ({error})", value) from None
    return value


def _read_zone(value: Json) -> str:
    if not isinstance(value, str) or not is_plain(value):
        raise BadValue('a time zone such as "Europe/Berlin"', value)
    try:
        schedule.zone(value)
    except ValueError as error:
        raise BadValue(f"a time zone ({error})", value) from None
    return value


def _read_arguments(value: Json) -> Mapping[str, Json]:
    if not isinstance(value, dict):
        raise BadValue('an object of arguments such as {"host": "example.org"}', value)
    return value


def _read_retry(value: Json) -> bool | int:
    if isinstance(value, bool) or (isinstance(value, int) and 0 <= value <= _MOST_RETRIES):
        return value
    raise BadValue("a number of tries, true or false (written without quotes)", value)


_Cron: TypeAlias = Annotated[str, Form("cron expression", {"type": "string"}, _read_cron, str)]
_Zone: TypeAlias = Annotated[str, Form("time zone", {"type": "string"}, _read_zone, str)]
_Arguments: TypeAlias = Annotated[Mapping[str, Json], Form("object", {"type": "object"}, _read_arguments)]
_Retry: TypeAlias = Annotated[
    bool | int,
    Form(
        "number, true or false",
        {"anyOf": [{"type": "boolean"}, {"type": "integer", "minimum": 0, "maximum": _MOST_RETRIES}]},
        _read_retry,
    ),
]
_Year: TypeAlias = Annotated[float, duration(366)]


@frozen
class PeriodicCommand:
    """A command that becomes a job at set times. Durations are seconds."""

    name: str = ""
    cron: _Cron = key("Cron", default="", mandatory="always")
    """When: minute, hour, day of month, month, day of week; or @hourly, @daily, @weekly, @monthly, @yearly."""
    zone: _Zone = key("TimeZone", default="UTC")
    """The time zone of `Cron`."""
    command: Annotated[str, text()] = key("Command", default="", mandatory="always")
    """The command."""
    arguments: _Arguments = key("Arguments", default=attrs.Factory(dict), in_repr=False)
    """Its arguments, by name."""
    target: forms.Name | None = key("Target")
    """The target; by default that of Queue, or the one with the command."""
    queue: forms.Name | None = key("Queue")
    """A queue of that target; by default the first."""
    # Secret, since some write the token itself.
    token: forms.Name | None = key("Token", in_repr=False, secret=True)
    """The name of the token; by default the first that allows it."""
    missed: Literal["skip", "once"] = key("Missed", default="skip")
    """What of times at which no process ran: "skip" them, or run "once" for the last of them."""
    within_s: forms.Duration = key("Within", default=60.0, shown="60s")
    """How late a job is pushed nevertheless."""
    catch_up_s: _Year = key("CatchUp", default=_CATCH_UP_S, shown="24h")
    """With Missed "once": how late at most."""
    overlap: Literal["allow", "skip"] = key("Overlap", default="allow")
    """Whether a job is pushed before the last one is done: "allow", or "skip" it."""
    expire_s: _Year | None = key("Expiry")
    """Drop the job unless it is sent within this time."""
    reply_id: Annotated[str, word("reply id", r".{1,200}", "a text of 1 to 200 characters")] | None = key("ReplyId")
    """The id of its answers, which come to ResponseQueue; by default it has none."""
    retry: _Retry = key("Retry", default=True)
    """How often to try again: a number, true (25) or false."""

    @property
    def schedule(self) -> CronSchedule:
        """When it is due."""
        return CronSchedule(self.cron, self.zone)

    @property
    def late_s(self) -> float:
        """How late a job may be pushed."""
        return self.within_s if self.missed == "skip" else max(self.within_s, self.catch_up_s)

    def check(self, problems: Problems) -> None:
        """Add a problem for each key that is missing, or that no process could keep to."""
        place = at("Periodic", self.name)
        for member, value in (("Cron", self.cron), ("Command", self.command)):
            if not value:
                problems.refuse(at(place, member), "is missing or empty; each periodic command needs Cron and Command.")
        if self.missed == "skip" and self.catch_up_s != _CATCH_UP_S:
            problems.refuse(at(place, "CatchUp"), 'needs "Missed": "once": with "skip" nothing is caught up.')
        if self.within_s < _LEAST_WITHIN_S:
            least = duration_text(_LEAST_WITHIN_S)
            problems.refuse(at(place, "Within"), f"must be {least} at least: a job is pushed within a second or so.")
