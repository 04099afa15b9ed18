"""What becomes fit for Sidekiq's sets, and what need not change."""

import time

import pytest

from restbroker.job import rubyjson
from restbroker.job.json_types import Json
from restbroker.job.repair import fractional, parse_list, repair, seconds
from tests.support.rows import rows


@rows(("given", "moment_s"), [
    (0.5, 0.5), (0.25, 0.25), ("0.5", 0.5), (1e11, 1e8 + 5e-7), (99_999_999_999.5, 99_999_999_999.5),
    (99_999_999_999_500.5, 99_999_999_999.5005),
    (-0.5, None), (1e14, None), (1.0005e14, None), (True, None), ([], None),
])  # fmt: skip
def test_time_is_in_seconds_or_milliseconds_of_a_plausible_year(given: Json, moment_s: float | None) -> None:
    assert seconds(given) == (None if moment_s is None else pytest.approx(moment_s, abs=1e-6))


def test_the_first_second_of_1970_is_a_time() -> None:
    assert seconds(0) == 5e-7


def test_time_is_exact_to_the_microsecond() -> None:
    assert fractional(0.12345649) == 0.123456


@rows("text", ["5", '"text"', "{}", "null", "{"])
def test_args_as_text_that_are_no_list_are_one_argument(text: str) -> None:
    assert parse_list(text) is None
    assert repair({"args": text}, "q")["args"] == [text]


def test_too_deep_arguments_stay_text_also_without_a_token() -> None:
    deep = "[" * 95 + "]" * 95
    assert parse_list(f'["register",{deep}]') == ["register", deep]
    assert rubyjson.dumps(repair({"args": f'["register",{deep}]'}, "q")["args"])


@rows(("given", "stays"), [(60, True), (1_000_000_000, True), (1_000_000_001, False), ("60", False)])
def test_a_retry_for_that_sidekiq_takes_stays(given: Json, *, stays: bool) -> None:
    assert ("retry_for" in repair({"retry_for": given}, "q")) is stays


@rows("text", [
    "2026-01-02 03:04:05 UTC", "2026-01-02T03:04:05", "2026-01-02T03:04:05Z", "2026-01-02 04:04:05 +0100",
])  # fmt: skip
def test_date_without_zone_is_utc_wherever_the_broker_runs(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        assert seconds(text) == pytest.approx(1_767_323_045, abs=1e-3)
    finally:
        monkeypatch.undo()
        time.tzset()
