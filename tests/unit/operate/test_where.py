"""The conditions of `--where`: what is understood, what holds, and what is refused and how."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.errors import UsageError
from restbroker.job.json_types import Json
from restbroker.operate.where import FIELDS, TIMES, read, with_fixed_time
from tests.support.rows import rows

NOW_S = datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()
HOUR_S, DAY_S = 3600.0, 86_400.0


def holds(typed: str, found: Json, *, ahead: bool = False) -> bool:
    (condition,) = read([typed], NOW_S, ahead=ahead)
    return condition.holds(found)


@rows(("typed", "found", "expected"), [
    ("  command  =register  ", "register", True),
    ("command = Register", "register", False),
    ("command = reg*", "register", True),
    ("command = *is*r", "register", True),
    ("command = *er*er", "register", False),
    ("command = r*r", "r", False),
    ("command != reg*", "register", False),
    ("command != register", None, True),
    ("command = register", None, False),
    ("message ~ TIMED out", "It timed OUT.", True),
    ("message ~ x", None, False),
    ("message ~ straße", "STRASSE 5", True),
    ("attempts > 2", 3, True),
    ("attempts < 3", 3, False),
    ("attempts = 3", 3, True),
    ("attempts != 3", None, True),
    ("usr != ann", None, False),
    ("user != ann", "bob", True),
    ("age = 5", 5, True),
    ("age > 4.5", 5, True),
    ("age > 4.5", "5", True),
    ("age > 4.5", "old", False),
    ("flag = true", True, True),
    ("groups ~ ops", ["dev", "ops"], True),
    ("user = ", "", True),
    ("arg.queue = a", "a", True),
])  # fmt: skip
def test_conditions_hold_for_texts_and_numbers(typed: str, found: Json, expected: bool) -> None:
    assert holds(typed, found) is expected


@rows(("typed", "ago_s", "expected"), [
    ("failed_at = 2026-11-20T10:00", 2 * HOUR_S, True),
    ("failed_at < '2026-11-20T11:30'", HOUR_S, True),
    ("failed_at > yesterday", 30 * HOUR_S, True),
    ("failed_at < yesterday", 37 * HOUR_S, True),
    ("failed_at = yesterday", 13 * HOUR_S, True),
    ("failed_at = yesterday", 11 * HOUR_S, False),
    ("failed_at = today", 11 * HOUR_S, True),
    ("failed_at != today", 11 * HOUR_S, False),
    ("failed_at = 2026-11-20", HOUR_S, True),
    ("failed_at > 2026-11-20T11:30", HOUR_S, False),
    ("failed_at < 2026-11-20T13:30+02:00", HOUR_S, True),
])  # fmt: skip
def test_times_are_dates_and_words(typed: str, ago_s: float, expected: bool) -> None:
    assert holds(typed, NOW_S - ago_s) is expected


@rows(("length", "found"), [("2m", "11:58:00"), ("1.5h", "10:30:00"), ("'90s'", "11:58:30"), ("1h30m", "10:30:00")])
def test_older_and_newer_take_a_duration(length: str, found: str) -> None:
    older, newer = read([f"failed_at older {length}", f"at  newer  {length}"], NOW_S)
    assert with_fixed_time(older) == f"failed_at < 2026-11-20T{found}Z"
    assert with_fixed_time(newer) == f"at > 2026-11-20T{found}Z"


@rows(("typed", "wrong"), [
    ("at older -2m", "older: expected a duration, found '-2m'"),
    ("at newer yesterday", "newer: expected a duration"),
    ("at older 2", "older: expected a duration"),
    ("user older 2d", "older is for times: at, failed_at, enqueued_at"),
    ("atolder 2d", "is not a condition"),
    ("at older", "is not a condition"),
])  # fmt: skip
def test_a_wrong_age_is_refused(typed: str, wrong: str) -> None:
    with pytest.raises(UsageError, match=wrong):
        read([typed], NOW_S)


@rows(("typed", "wrong"), [("at older 2h", "has no age"), ("at < 2h", "is ambiguous"), ("at > +2h", "is ambiguous")])
def test_a_duration_is_refused_for_what_is_due(typed: str, wrong: str) -> None:
    with pytest.raises(UsageError, match=wrong) as refused:
        read([typed], NOW_S, ahead=True)
    assert "Compare it with a time: at < 20" in (refused.value.hint or "")


@rows(
    "typed",
    ["failed_at < 2m", "failed_at > 2m", "failed_at<'2m'", "failed_at > -2m", "failed_at = 2m", "failed_at != 2m"],
)
def test_a_compared_duration_is_refused_with_both_meanings(typed: str) -> None:
    with pytest.raises(UsageError, match="is ambiguous: 2m is a duration") as refused:
        read([typed], NOW_S, ahead=True)
    assert refused.value.hint == "Write failed_at older 2m, or failed_at newer 2m."


@rows(("typed", "value"), [
    ("error = 'BadToken'", "BadToken"),
    ('error = "BadToken"', "BadToken"),
    ("error='Bad*'", "Bad*"),
    ("user = ''", ""),
    ("user = ' a '", " a "),
    ("user = '=a'", "=a"),
    ('message ~ "it\'s"', "it's"),
    ("message ~ 'it's'", "'it's'"),
    ("message ~ '", "'"),
    ("message ~ it's", "it's"),
])  # fmt: skip
def test_a_value_may_stand_in_quotes(typed: str, value: str) -> None:
    (condition,) = read([typed], NOW_S)
    assert condition.value == value
    assert read([with_fixed_time(condition)], NOW_S) == (condition,)


@rows("op", ["=", "!=", "~"])
def test_masked_value_satisfies_no_condition(op: str) -> None:
    assert not holds(f"user {op} *", "***")
    assert not holds(f"user {op} anything", "***")


@rows("name", ["password", "newpass", "token", "arg.password", "X-API-Key", "secretword"])
def test_secrets_cannot_be_searched_for(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be searched by secrets"):
        read([f"{name} = a*"], NOW_S)


def test_hidden_texts_cannot_be_searched_unless_they_are_shown() -> None:
    with pytest.raises(UsageError, match="hidden"):
        read(["body ~ love"], NOW_S, hidden=("body",))
    assert read(["body ~ love"], NOW_S)


@rows(("typed", "said"), [
    ("command", "is not a condition"),
    ("= x", "is not a condition"),
    ("comand = x", "did you mean command"),
    ("code != x", "did you mean error"),
    ("group = x", "did you mean failure_group"),
    ("attempts >= 5", "no operator >="),
    ("command < x", "has no order"),
    ("at ~ 5", "contains no text"),
    ("user ~ ", "needs a text"),
    ("at < soon", "not a time"),
    ("attempts > many", "not a number"),
    ("attempts ~ 5", "not a number"),
    ("a,b = 5", "is not a field"),
    (f"command = {'x' * 501}", "longer than"),
    (f"a=x{' ' * 28_000}y", "A condition is longer than 1000 characters: 'a=x"),
])  # fmt: skip
def test_wrong_condition_is_named_with_the_allowed_ones(typed: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        read([typed], NOW_S)
    assert caught.value.hint


def test_an_argument_that_is_called_like_a_field_has_a_prefix() -> None:
    (condition,) = read(["arg.comand = x"], NOW_S)
    assert (condition.argument, condition.field) == ("comand", "arg.comand")
    assert read(["user = x"], NOW_S)[0].argument == "user"
    assert read(["jid = x"], NOW_S)[0].argument is None


@given(st.text(max_size=60), st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20))
def test_any_text_is_a_condition_or_refused_in_words(typed: str, found: Json) -> None:
    try:
        conditions = read([typed], NOW_S)
    except UsageError:
        return
    for condition in conditions:
        condition.holds(found if found == found else None)  # noqa: PLR0124 - JSON has no NaN


@given(st.sampled_from(sorted(set(FIELDS) - set(TIMES) - {"attempts"})), st.text(max_size=30), st.text(max_size=30))
def test_equal_and_unequal_are_opposites(field: str, value: str, found: str) -> None:
    if found == "***" or value.lstrip()[:1] in set("=~<>"):
        return
    assert holds(f"{field} = {value}", found) is not holds(f"{field} != {value}", found)


@given(
    st.sampled_from(TIMES),
    st.sampled_from("<>="),
    st.one_of(
        st.sampled_from(["today", "yesterday", "2026-11-20", "0099-01-31", "2026-11-20T08:00+01:00"]),
        st.builds("{}{}{}".format, st.sampled_from(["", "-", "+"]), st.integers(0, 100), st.sampled_from("smhdw")),
    ),
    st.booleans(),
)
def test_a_fixed_condition_always_means_the_same(field: str, op: str, moment: str, ahead: bool) -> None:
    try:
        (meant,) = read([f"{field} {op} {moment}"], NOW_S, ahead=ahead)
    except UsageError:
        assert moment[-1] in "smhdw"
        return
    (later,) = read([with_fixed_time(meant)], NOW_S + 5 * DAY_S, ahead=ahead)
    assert (later.field, later.op, later.value) == (meant.field, meant.op, meant.value)
    assert with_fixed_time(later) == with_fixed_time(meant)


@rows("typed", ["user = 2h", "attempts > 2", "arg.at = today"])
def test_text_without_date_stays_as_typed(typed: str) -> None:
    (condition,) = read([typed], NOW_S)
    assert with_fixed_time(condition) == typed
    (condition,) = read(["at older 999999999w"], NOW_S)
    assert with_fixed_time(condition) == "at older 999999999w"
