"""Conditions on jobs, `FIELD OP VALUE`, as the command line's `--where` and the pages' filters take them.

`operate.find` reads them and calls `Condition.holds`; repeated conditions all must hold. Always holds: a field that
looks like a secret's name is refused, since a password could be guessed letter by letter with it, and a value that is
masked satisfies no condition.

Times: an ISO date or time (UTC where no zone is named), `today` or `yesterday`. A day stands for its beginning with `<`
and `>`, and for the whole of it with `=` and `!=`. A duration (`90s`, `15m`, `2h`, `1w`) stands only behind `older` and
`newer`: `failed_at < 2m` would hold for what is older than two minutes, and is read as the opposite. In texts `*`
stands for anything with `=` and `!=`. A value may stand in quotes.
"""

import re
from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from typing import Final, Literal, TypeAlias

from restbroker.config.values import written_s
from restbroker.errors import UsageError
from restbroker.job import rubyjson
from restbroker.job.hiding import MASK
from restbroker.job.json_types import Json
from restbroker.job.names import is_secret
from restbroker.light import frozen

Op: TypeAlias = Literal["=", "!=", "~", "<", ">"]

_OPS: Final[dict[str, Op]] = {"=": "=", "!=": "!=", "~": "~", "<": "<", ">": ">"}
TEXTS: Final = ("jid", "command", "queue", "target", "error", "message", "failure_group")
NUMBERS: Final = ("attempts",)
TIMES: Final = ("at", "failed_at", "enqueued_at")
FIELDS: Final = (*TEXTS, *NUMBERS, *TIMES)
ARGUMENT: Final = "arg."
"""The prefix for the name of an argument that is called as one of the fields, or nearly."""

_HEADINGS: Final = {"code": "error", "group": "failure_group", "job": "jid"}
"""What tables call fields: as names of arguments they would be in no job, and `!=` would mean every one."""
_AGES: Final[dict[str, Op]] = {"older": "<", "newer": ">"}
_FORM: Final = re.compile(r"([^\s=!~<>]*)\s*(!=|=|~|<|>|(?<=\s)(?:older|newer)(?=\s))")
_NAME: Final = re.compile(r"[\w.-]{1,100}")
_CONDITION: Final = re.compile(rf"\s*(?:[\w.-]{{1,100}}\s*[=!~<>]|(?:{'|'.join(TIMES)})\s+(?:{'|'.join(_AGES)})\s)")
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_DAY_S: Final = 86_400.0
_VALUE_LIMIT: Final = 500
_LIMIT: Final = 1000
"""The characters of a condition, with its blanks."""
_TIME: Final = "Give 2026-11-20, 2026-11-20T08:00, today or yesterday."
_DUE: Final = (
    "Compare it with a time: at < 2026-11-20T08:00 for what is due before, at > 2026-11-20T08:00 for what is due later."
)
_SOUGHT: Final = "Give text, a condition such as user=bob, or both; all must hold."
EXAMPLE: Final = "For example: --where 'command = send_message' --where 'failed_at > yesterday'."
"""Examples as the command line takes them."""


@frozen
class Span:
    """A time span in epoch seconds, without `end_s`; a moment begins and ends at once."""

    begin_s: float
    end_s: float


Value: TypeAlias = str | float | Span


@frozen
class Condition:
    """One condition. `field` is one of FIELDS, or `arg.` and an argument's name; `text` is as it was typed."""

    field: str
    op: Op
    value: Value
    text: str

    @property
    def argument(self) -> str | None:
        """The name of the condition's argument; None if it is on a field."""
        return self.field.removeprefix(ARGUMENT) if self.field.startswith(ARGUMENT) else None

    def holds(self, found: Json) -> bool:
        """Tell whether the condition holds for a job's value, None if the job has none.

        It never holds for a masked value, nor for an argument that the job does not have: a misspelt name with `!=`
        would mean every job.
        """
        if found == MASK or (found is None and self.argument is not None):
            return False
        return not self._is_true(found, "=") if self.op == "!=" else self._is_true(found, self.op)

    def _is_true(self, found: Json, op: Op) -> bool:
        match self.value:
            case Span(begin_s, end_s):
                if isinstance(found, bool) or not isinstance(found, int | float):
                    return False
                if op == "=":
                    return begin_s <= found < end_s or found == begin_s
                is_whole_day = end_s > begin_s
                return found < begin_s if op == "<" else found > begin_s or (is_whole_day and found == begin_s)
            case float(limit):
                number = _number(found) if isinstance(found, int | float | str) else None
                if number is None:
                    return False
                return number < limit if op == "<" else number > limit if op == ">" else number == limit
            case str(pattern):
                if found is None:
                    return False
                text = found if isinstance(found, str) else _as_text(found)
                return pattern.casefold() in text.casefold() if op == "~" else _fits(pattern, text)


Where: TypeAlias = tuple[Condition, ...]
"""Conditions that must all hold; if there are none, every job is meant."""


def require_waiting(where: Where) -> None:
    """Raise `UsageError` if a condition is on something that waiting jobs do not have."""
    if any(condition.field == "failure_group" for condition in where):
        raise UsageError(
            "failure_group is only for failed jobs; jobs that wait in a queue have none.",
            "Select by command, target, arguments or times: --where 'command = send_message'.",
        )


def read(typed: Sequence[str], now_s: float, *, ahead: bool = False, hidden: Sequence[str] = ()) -> Where:
    """Return the conditions that were typed. Raise `UsageError` with what is wrong and what is allowed.

    `ahead`: `at` is when a job is due, which has no age. `hidden`: arguments whose values are never
    shown (message texts, unless `ShowBodies`).
    """
    return tuple(_read(text, now_s, ahead=ahead, hidden=hidden) for text in typed if text.strip())


def require_fields(where: Where, known: Collection[str], of: str, hint: str) -> None:
    """Raise `UsageError` for a condition on a field, named or as an argument, that is not `known` of these."""
    for condition in where:
        if (name := condition.argument or condition.field) not in known:
            raise UsageError(f"{of} no field {name}.", f"These exist: {', '.join(known)}. {hint}")


@frozen
class SearchTerms:
    """A search: `texts` that must all be in a job, in upper or lower case, and conditions."""

    texts: tuple[str, ...]
    where: Where


def parse_search(typed: Sequence[str], now_s: float, *, hidden: Sequence[str] = ()) -> SearchTerms:
    """Return the terms: a name with an operator is a condition, anything else is a text, and so is a quoted term.

    Raise `UsageError`.
    """
    given = [text.strip() for text in typed if text.strip()]
    conditions = [text for text in given if _CONDITION.match(text)]
    texts = tuple(_unquote(text) for text in given if text not in conditions)
    if not given or "" in texts:
        raise UsageError("There is nothing to search for.", _SOUGHT)
    if any(len(text) > _VALUE_LIMIT for text in texts):
        raise UsageError(f"A search string is longer than {_VALUE_LIMIT} characters.", "Shorten it.")
    return SearchTerms(texts, read(conditions, now_s, hidden=hidden))


def with_fixed_time(condition: Condition) -> str:
    """Return the condition as text that always means the same: a date in place of `2h` or `yesterday`."""
    match condition.value:
        case Span(begin_s, end_s):
            with suppress(ValueError, OverflowError, OSError):  # beyond all dates, as nothing is
                begin = datetime.fromtimestamp(begin_s, UTC)
                moment = begin.date().isoformat() if end_s > begin_s else begin.isoformat().replace("+00:00", "Z")
                return f"{condition.field} {condition.op} {moment}"
        case _:
            pass
    return condition.text


def _read(typed: str, now_s: float, *, ahead: bool, hidden: Sequence[str]) -> Condition:
    if len(typed) > _LIMIT:
        raise UsageError(f"A condition is longer than {_LIMIT} characters: {_quote(typed)}.", "Shorten it.")
    begun = typed.lstrip()
    found = _FORM.match(begun)
    if found is None or not found[1]:
        raise UsageError(
            f"{_quote(typed)} is not a condition: FIELD OP VALUE, where OP is = != ~ < > older or newer.", EXAMPLE
        )
    name, word, value = *found.groups(), begun[found.end() :].strip()
    if value.startswith(("=", "~", "<", ">")):
        wrong = f"There is no operator {word}{value[0]}"
        raise UsageError(f"{wrong}; the operators are = != ~ < > older and newer.", EXAMPLE)
    if len(value) > _VALUE_LIMIT:
        raise UsageError(f"The value for {_printable(name)} is longer than {_VALUE_LIMIT} characters.", "Shorten it.")
    field, text = _field(name, hidden), f"{name} {word} {value}"
    is_due = ahead and field == "at"
    if word in _AGES:
        return Condition(field, _AGES[word], _age(field, word, _unquote(value), now_s, is_due=is_due), text)
    op = _OPS[word]
    return Condition(field, op, _value(field, op, _unquote(value), now_s, is_due=is_due), text)


def _unquote(value: str) -> str:
    """Return the value without quotes around it: many search languages have them there."""
    quote, inside = value[:1], value[1:-1]
    is_quoted = len(value) > 1 and quote in ("'", '"') and value.endswith(quote) and quote not in inside
    return inside if is_quoted else value


def _field(name: str, hidden: Sequence[str]) -> str:
    if name in FIELDS:
        return name
    plain = name.removeprefix(ARGUMENT)
    if _NAME.fullmatch(plain) is None:
        raise UsageError(f"{_printable(name)} is not a field.", f"These exist: {', '.join(FIELDS)}, or any argument.")
    if is_secret(plain):
        raise UsageError(
            f"{_printable(plain)} looks like the name of a secret, and jobs cannot be searched by secrets.",
            "That would let someone guess a secret letter by letter. Use another field.",
        )
    if plain.lower() in hidden:
        raise UsageError(
            f"{_printable(plain)} is a message text, and those are hidden.",
            "With ShowBodies in the configuration they are shown, and can be searched.",
        )
    heading = _HEADINGS.get(name.lower())
    near = [heading] if heading else get_close_matches(name.lower(), FIELDS, n=1, cutoff=0.75)
    if near and not name.startswith(ARGUMENT):
        raise UsageError(
            f"There is no field {_printable(name)}; did you mean {near[0]}?",
            f"These exist: {', '.join(FIELDS)}. For an argument of that name write {ARGUMENT}{_printable(name)}.",
        )
    return f"{ARGUMENT}{plain}"


def _value(field: str, op: Op, value: str, now_s: float, *, is_due: bool) -> Value:
    if field in TIMES:
        if op == "~":
            raise UsageError(f"{field} is a time, which contains no text: use = != < or >.", EXAMPLE)
        length = value.lstrip("+-")
        if written_s(length) is not None:
            message = f"{field} {op} {value} is ambiguous: {length} is a duration, but {field} is a moment."
            raise UsageError(message, _DUE if is_due else f"Write {field} older {length}, or {field} newer {length}.")
        span = _span(value, now_s)
        if span is None:
            raise UsageError(f"{_quote(value)} is not a time for {field}.", _TIME)
        return span
    if op == "~" and not value:
        raise UsageError(f"{field} ~ needs a text: every one contains nothing.", EXAMPLE)
    if field in TEXTS:
        if op in ("<", ">"):
            raise UsageError(f"{field} holds text, which has no order: use = != or ~.", EXAMPLE)
        return value
    if field in NUMBERS or op in ("<", ">"):
        number = _number(value)
        if number is None or op == "~":
            allowed = "= != < >" if field in NUMBERS else "a number after < and >"
            raise UsageError(f"{_quote(value)} is not a number for {_printable(field)}.", f"It takes {allowed}.")
        return number
    return value


def _age(field: str, word: str, value: str, now_s: float, *, is_due: bool) -> Span:
    """Return the moment that lies a duration back, for `older` and `newer`; raise `UsageError` if there is none."""
    if field not in TIMES:
        raise UsageError(f"{word} is for times: {', '.join(TIMES)}.", EXAMPLE)
    length_s = written_s(value)
    if length_s is None:
        raise UsageError(f"{word}: expected a duration, found {_quote(value)}.", f"For example: {field} {word} 30d.")
    if is_due:
        raise UsageError("at is when a job is due, which has no age.", _DUE)
    return Span(now_s - length_s, now_s - length_s)


def _span(value: str, now_s: float) -> Span | None:
    if value in ("today", "yesterday"):
        midnight = datetime.fromtimestamp(now_s, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        begin_s = (midnight - timedelta(days=value == "yesterday")).timestamp()
        return Span(begin_s, begin_s + _DAY_S)
    try:
        moment = datetime.fromisoformat(value)
        begin_s = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
    return Span(begin_s, begin_s + _DAY_S if _DAY.fullmatch(value) else begin_s)


def _number(value: str | float) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if abs(number) < float("inf") else None


def _as_text(found: Json) -> str:
    """Return a value that is no text as JSON has it: true, 5, ["a","b"]."""
    return rubyjson.dumps(found).decode()


def _fits(pattern: str, text: str) -> bool:
    """Tell whether the text is the pattern, in which `*` stands for anything."""
    if "*" not in pattern:
        return pattern == text
    first, *middle, last = pattern.split("*")
    if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
        return False
    # The first place is the best one for each part, so that no text takes long.
    place, end = len(first), len(text) - len(last)
    for part in middle:
        place = text.find(part, place, end)
        if place < 0:
            return False
        place += len(part)
    return True


def _quote(typed: str) -> str:
    return repr(typed) if len(typed) <= 80 else f"{typed[:60]!r}…"


def _printable(name: str) -> str:
    return name if len(name) <= 60 and name.isprintable() else repr(name[:60])
