"""A job's token must be one of the configured ones, exactly."""

import pytest

from restbroker.rules import auth
from restbroker.rules.json_types import Json


def test_each_configured_token_is_allowed() -> None:
    assert auth.allowed("one", ["one", "two"])
    assert auth.allowed("two", ["one", "two"])


@pytest.mark.parametrize("given", ["", "on", "onee", "ONE", None, 1, True, ["one"], {"one": 1}])
def test_anything_else_is_not(given: Json) -> None:
    assert not auth.allowed(given, ["one"])


def test_an_empty_token_never_matches_even_if_one_is_configured() -> None:
    assert not auth.allowed("", [""])
