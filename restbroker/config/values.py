"""Functions for all values: describe a wrong one, tell whether a text is safe, read and show a duration.

Used by `config.key` and by other readers of values of the same form. Always holds: a description of a wrong value
shows no secret.
"""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal

from restbroker.job.json_types import Json
from restbroker.job.names import is_secret

DAY_S = 86_400.0
_LOGIN = re.compile(r"""(?::/{1,2}+|(?:^|["'(/])(?=[^"'(/:]*+:(?!/)))(.*)""")
"""A login in a word, up to the word's last `@`: it begins behind a scheme, or with a user's name before a colon."""
_BEGINNING = re.compile(r":/{1,2}+|(?:^|/)(?=[^\s\"'(/:]*+:[^\s/])")
"""Where a login begins in a whole value, in which a password may have blanks."""
_QUERY = re.compile(r"([?&;]([^\s=?&;#]{1,64})=)([^&#]+)")
"""A parameter in the query of an address: all before its value, its name, and its value."""
_NO_LOGIN = re.compile(r"…|(?:USER)?:PASSWORD|[^:]*:\{[^{}]*\}|(?:mailto|xmpp|sips?|acct):[^:]*")
"""What is no login: a mask, a placeholder in our own texts, a template's argument, the address of a user."""
ARGUMENT = re.compile(r"\{[^{}]*\}")
"""A template that consists of one job argument only, such as `{user}`."""
_IN_QUERIES = frozenset({"key", "auth", "sig"})
"""Names of parameters that are secret in a query, though not elsewhere."""
_UNITS_S = {"w": 7 * DAY_S, "d": DAY_S, "h": 3600.0, "m(?:in)?": 60.0, "s": 1.0, "ms": 0.001}
_PARTS = " ?".join(rf"(?:(\d{{1,9}}(?:\.\d{{1,6}})?) ?{unit})?" for unit in _UNITS_S)
DURATION_PATTERN: Final = rf"^(?=\d){_PARTS}$"
"""A duration in text, such as `250 ms` and `2h30m`: each unit once, the largest first."""
_DURATION = re.compile(DURATION_PATTERN, re.ASCII)
_TENTHS: Final = 9.95
"""Numbers below this are shown with one decimal."""
_SHOWN: Final = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))

LogLevel = Literal["debug", "info", "warning", "error"]


class BadValue(ValueError):
    """A value that its key does not take: `expected` says what the key takes, `where` names the wrong part.

    `secret`: the value may be one, though it is not the key's.
    """

    def __init__(self, expected: str, found: Json, where: str = "", *, secret: bool = False) -> None:
        super().__init__(expected)
        self.expected = expected
        self.value = found
        self.where = where
        self.secret = secret

    def text(self, *, secret: bool) -> str:
        """Return the text of the problem, without the value if it is `secret`."""
        return f"expected {self.expected}, found {describe(self.value, secret=secret or self.secret)}."


class BadValues(Exception):
    """The wrong parts of an object, each with its name as `where`."""

    def __init__(self, each: Sequence[BadValue]) -> None:
        super().__init__(each)
        self.each = each


def read_parts(**readers: Callable[[], Any]) -> dict[str, Any]:
    """Return the value of each part of an object by the part's name; raise `BadValues` if one of them is wrong."""
    found, wrong = {}, []
    for name, read in readers.items():
        try:
            found[name] = read()
        except BadValue as bad:
            bad.where = name
            wrong.append(bad)
    if wrong:
        raise BadValues(wrong)
    return found


def describe(value: Json, *, secret: bool = False) -> str:
    """Return a description of a value, without what it says if `secret`, and always without the login in an address."""
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
            name = "a string"
        case Mapping():
            return "an object"
        case _:
            return "a list"
    if secret:
        return name
    from restbroker.job import hiding  # slow to load, and of use only where something is wrong

    try:
        masked = hiding.hide_everywhere(value, lambda text, _: without_logins(text), 0)
        shown = hiding.mask_secrets(json.dumps(masked, ensure_ascii=True), frozenset())
    except ValueError:  # Python refuses to write integers of more than 4300 digits.
        return f"{name} of thousands of digits"
    return f"{name} ({shown if len(shown) <= 60 else shown[:57] + '…'})"


def without_logins(value: str) -> str:
    """Return a value as it may be quoted: without the login of any address in it and without secrets in its query.

    That holds also for an address that was taken for a path, whose `//` is then `/`. Call it before a text is cut,
    since the `@` shows where a login ends.
    """
    if "@" in value:
        end = value.rindex("@")
        login = _BEGINNING.search(value, 0, end)
        if login is not None and re.search(r"\s", value[login.end() : end]):
            value = f"{value[: login.end()]}***{value[end:]}"
    return words_without_logins(_QUERY.sub(_without_secret, value) if "=" in value else value)


def words_without_logins(message: str) -> str:
    """Return a whole message without the logins of addresses: word by word, since no value's end is known in it."""
    return re.sub(r"\S+", _without_login, message) if "@" in message else message


def _without_secret(part: re.Match[str]) -> str:
    name = part[2].lower()
    is_shown = not (is_secret(name) or name in _IN_QUERIES) or ARGUMENT.fullmatch(part[3])
    return part[0] if is_shown else f"{part[1]}***"


def _without_login(word: re.Match[str]) -> str:
    before, _, host = word[0].rpartition("@")
    login = _LOGIN.search(before)
    if login is None or not login[1] or _NO_LOGIN.fullmatch(login[1]):
        return word[0]
    return f"{before[: login.start(1)]}***@{host}"


def is_plain(text: str) -> bool:
    """Tell whether a text has no control character and no half of a surrogate pair.

    Such a text is safe in a header, a key and a log line.
    """
    return not any(c < " " or c == "\x7f" or "\ud800" <= c <= "\udfff" for c in text)


def too_short(found_s: float, least_s: float) -> str:
    """Return the text of the problem that a duration is shorter than the least."""
    return f"expected at least {duration_text(least_s)}, found {duration_text(found_s)}."


def seconds(value: Json, most_days: int = 1) -> float:
    """Return the seconds of a duration such as `10`, `2.5`, `"250 ms"`, `"30s"`, `"5m"`, `"2h30m"` or `"1d"`.

    Raise `BadValue` unless it is more than 0 and at most `most_days` days.
    """
    most_s = most_days * DAY_S
    match value:
        case int() | float() if not isinstance(value, bool):
            found = float(value) if -most_s <= value <= most_s else math.inf
        case str():
            length_s = written_s(value.strip())
            found = math.inf if length_s is None else length_s
        case _:
            found = math.inf
    if not 0 < found <= most_s:
        limit = "24 hours" if most_days == 1 else f"{most_days} days"
        least = "" if found else " of more than 0,"
        raise BadValue(
            f"a duration{least} up to {limit}: a number of seconds, or "
            'a string with units (w, d, h, m, s, ms) such as "2h30m" or "250 ms"',
            value,
        )
    return found


def written_s(text: str) -> float | None:
    """Return the seconds of a duration with units, such as `2h30m`, `250 ms` or `0s`; None for any other text."""
    parts = _DURATION.fullmatch(text)
    if parts is None:
        return None
    return sum(float(number) * unit_s for number, unit_s in zip(parts.groups("0"), _UNITS_S.values(), strict=True))


def far_year(moment_s: float) -> str | None:
    """Return the year of a moment (epoch seconds) beyond the calendar, which is probably in milliseconds; else None."""
    year = 1970 + moment_s / 31_556_952
    return f"the year {year:,.0f} (milliseconds?)" if 10_000 < year < 100_000 else None


def duration_text(length_s: float) -> str:
    """Return a duration as people see it everywhere: `3.2 ms`, `250 ms`, `4.5 s`, `45 s`, `2 h 30 min`, `3 d`.

    It has the largest unit that fits, with the next one below; a decimal is shown below 10 s and 10 ms. Programs get
    numbers of one unit instead.
    """
    if length_s < 0.9995:
        return f"{_brief(max(0.0, length_s * 1000))} ms" if length_s > 0 else "0 s"
    if length_s < _TENTHS:
        return f"{_brief(length_s)} s"
    rest, parts = round(length_s), []
    for size_s, unit in _SHOWN:
        count, rest = divmod(rest, size_s)
        if count:
            parts.append(f"{count} {unit}")
        elif parts:
            break
    return " ".join(parts[:2])


def _brief(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0") if number < _TENTHS else f"{number:.0f}"


def json_or_text(given: str) -> Json:
    """Return the JSON value in a variable's text; the text itself if it is no JSON."""
    try:
        value: Json = json.loads(given)
    except (ValueError, RecursionError):
        return given
    return value
