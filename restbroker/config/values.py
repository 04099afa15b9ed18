"""What a key's value may look like: one kind per form, with a strict reader and its JSON schema.

Used by the classes of keys, which say the kind of each, and by `config.reader`. Always holds: a reader returns the
typed value or raises `BadValue`, and never turns one type into another silently (`true` is no 1, `3.7` is no 3).
"""

import json
import math
import re
from collections.abc import Mapping
from typing import Literal

from restbroker.config.kinds import ListOf, Scalar
from restbroker.job import hiding
from restbroker.job.json_types import Json
from restbroker.job.retry import Backoff, ExponentialBackoff, SidekiqBackoff

DAY_S = 86_400.0
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)(ms|s|m|h|d)", re.ASCII)
_NO_TIME = re.compile(r"0+(?:\.0+)?(?:ms|s|m|h|d)?", re.ASCII)
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": DAY_S}
_BIND = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+)):(\d{1,5})", re.ASCII)
PATTERN = re.compile(r"[A-Za-z0-9_./?*-]{1,100}", re.ASCII)
_DIGITS = re.compile(r"[+-]?\d{1,30}", re.ASCII)


class BadValue(ValueError):
    """A value that its key does not take. `expected` says what it takes, `where` names the part that is wrong."""

    def __init__(self, expected: str, found: Json, where: str = "") -> None:
        super().__init__(expected)
        self.expected = expected
        self.found = found
        self.where = where


def describe(value: Json, *, secret: bool = False) -> str:
    """What was found, in words. A secret's value is not shown, nor the login in an address, wherever it was written."""
    match value:
        case None:
            return "nothing (null)"
        case bool():
            name = "true or false"
        case int():
            name = "a whole number"
        case float():
            name = "a number"
        case str():
            name = "a text"
        case Mapping():
            return "an object"
        case _:
            return "a list"
    if secret:
        return name
    try:
        shown = hiding.without(json.dumps(value, ensure_ascii=True), frozenset())
    except ValueError:  # Python refuses to write integers of more than 4300 digits.
        return f"{name} of thousands of digits"
    return f"{name} ({shown if len(shown) <= 60 else shown[:57] + '…'})"


def is_plain(text: str) -> bool:
    """No control character and no half of a surrogate pair: safe in a header, a key and a log line."""
    return not any(c < " " or c == "\x7f" or "\ud800" <= c <= "\udfff" for c in text)


def text(expected: str = "a text") -> Scalar:
    """Any text without control characters."""

    def read(value: Json) -> str:
        if not isinstance(value, str):
            raise BadValue(expected, value)
        if not is_plain(value):
            raise BadValue(f"{expected} without line breaks and control characters", value)
        return value

    return Scalar("text", {"type": "string"}, read, str)


def whole(least: int, most: int) -> Scalar:
    """A whole number in these bounds, both included."""
    expected = f"a whole number from {least} to {most}"

    def read(value: Json) -> int:
        if isinstance(value, str) and _DIGITS.fullmatch(value):
            raise BadValue(f"{expected} (written without quotes)", value)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise BadValue(expected, value)
        return value

    return Scalar("whole number", {"type": "integer", "minimum": least, "maximum": most}, read, json_or_text)


def switch() -> Scalar:
    """`true` or `false`."""

    def read(value: Json) -> bool:
        if not isinstance(value, bool):
            raise BadValue("true or false (written without quotes)", value)
        return value

    return Scalar("true or false", {"type": "boolean"}, read, lambda text: json_or_text(text.strip().lower()))


def choice(*options: str) -> Scalar:
    """One of these words."""
    expected = "one of " + ", ".join(f'"{option}"' for option in options)

    def read(value: Json) -> str:
        if not isinstance(value, str) or value not in options:
            raise BadValue(expected, value)
        return value

    return Scalar("word", {"enum": list(options)}, read, str)


def duration(most_days: int = 1) -> Scalar:
    """A duration as seconds: a number of seconds, or a text with a unit; at most so many days."""
    schema: dict[str, Json] = {
        "anyOf": [
            {"type": "number", "exclusiveMinimum": 0, "maximum": most_days * DAY_S},
            {"type": "string", "pattern": r"^\d+(\.\d+)?(ms|s|m|h|d)$"},
        ]
    }
    return Scalar("duration", schema, lambda value: seconds(value, most_days), json_or_text)


def duration_or_none() -> Scalar:
    """As `duration`, or 0 for none."""
    whole = duration()

    def read(value: Json) -> float:
        is_none = not isinstance(value, bool) and (value == 0 or (isinstance(value, str) and _NO_TIME.fullmatch(value)))
        return 0.0 if is_none else seconds(value)

    return Scalar("duration, or 0", {"anyOf": [whole.schema, {"const": 0}]}, read, json_or_text)


def seconds(value: Json, most_days: int = 1) -> float:
    """The seconds of `10`, `2.5`, `"250ms"`, `"30s"`, `"5m"`, `"2h"` or `"1d"`: more than 0, at most so many days."""
    most_s = most_days * DAY_S
    limit = "24 hours" if most_days == 1 else f"{most_days} days"
    expected = f'a duration up to {limit}: a number of seconds, or a text such as "250ms", "30s", "5m", "2h"'
    match value:
        case bool():
            raise BadValue(expected, value)
        case int() | float():
            found = float(value) if -most_s <= value <= most_s else math.inf
        case str():
            parts = _DURATION.fullmatch(value.strip())
            found = float(parts[1]) * _UNITS_S[parts[2]] if parts else math.inf
        case _:
            raise BadValue(expected, value)
    if not 0 < found <= most_s:
        raise BadValue(expected, value)
    return found


def anything() -> Scalar:
    """For keys that are understood and ignored: a wrong type of what nobody reads is no reason to stop."""
    return Scalar("anything", {}, lambda value: value, json_or_text)


def backoff() -> Scalar:
    """How long a failed job waits: `"sidekiq"`, or an object of `Base`, `Factor` and `Cap`."""
    wait = duration().schema
    schema: dict[str, Json] = {
        "anyOf": [
            {"const": "sidekiq"},
            {
                "type": "object",
                "properties": {"Base": wait, "Factor": {"type": "number", "minimum": 1, "maximum": 100}, "Cap": wait},
                "additionalProperties": False,
            },
        ]
    }
    return Scalar("backoff", schema, read_backoff, json_or_text)


def read_backoff(value: Json) -> Backoff:
    """The back-off rule of a `Backoff` key."""
    if value == "sidekiq":
        return SidekiqBackoff()
    parts = ("Base", "Factor", "Cap")
    if not isinstance(value, Mapping) or not set(value) <= set(parts):
        raise BadValue('"sidekiq" or an object of "Base", "Factor" and "Cap"', value)
    base_s = _part("Base", value.get("Base", 1))
    cap_s = _part("Cap", value.get("Cap", 3600))
    factor = value.get("Factor", 2)
    if isinstance(factor, bool) or not isinstance(factor, int | float) or not 1 <= factor <= 100:
        raise BadValue("a number from 1 to 100", factor, "Factor")
    if cap_s < base_s:
        raise BadValue("a duration that is not shorter than Base", value.get("Cap", 3600), "Cap")
    return ExponentialBackoff(base_s=base_s, factor=float(factor), cap_s=cap_s)


def word(name: str, form: re.Pattern[str], expected: str) -> Scalar:
    """A text of this form."""

    def read(value: Json) -> str:
        if not isinstance(value, str) or not form.fullmatch(value) or not is_plain(value):
            raise BadValue(expected, value)
        return value

    return Scalar(name, {"type": "string", "pattern": f"^({form.pattern})$"}, read, str)


def patterns() -> ListOf:
    """A list of commands' names, with `*` and `?` as wildcards."""
    item = word("name", PATTERN, 'a command such as "send_message" or "announce_*"')
    return ListOf("list of names", item, 'a list of commands such as ["announce_*", "send_message"]')


def bind() -> Scalar:
    """An address to listen on, as `host:port`."""
    return Scalar("host:port", {"type": "string", "pattern": r"^.+:\d{1,5}$"}, _read_bind, str)


def _read_bind(value: Json) -> tuple[str, int]:
    parts = _BIND.fullmatch(value) if isinstance(value, str) else None
    if parts is None or int(parts[3]) > 65535:
        raise BadValue('an address and port such as "127.0.0.1:8090" or "[::1]:8090"', value)
    return parts[1] or parts[2], int(parts[3])


LogLevel = Literal["debug", "info", "warning", "error"]


def _part(name: str, value: Json) -> float:
    try:
        return seconds(value)
    except BadValue as bad:
        raise BadValue(bad.expected, bad.found, name) from None


def json_or_text(given: str) -> Json:
    """What an environment variable says: JSON where it is JSON, else the text itself."""
    try:
        value: Json = json.loads(given)
    except (ValueError, RecursionError):
        return given
    return value
