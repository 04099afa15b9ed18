"""Tokens from files follow their files; a broken file leaves the last good value in force."""

from pathlib import Path

from restbroker.broker.tokens import Tokens
from restbroker.config.secret import Secret
from restbroker.config.tokens import Token


def test_a_rotated_token_file_counts_without_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("old\n")
    tokens = Tokens([Token("t", (Secret(path=path),))])
    assert tokens.allow("old")
    path.write_text("new\n")
    assert tokens.allow("new")
    assert not tokens.allow("old")


def test_a_token_file_that_vanished_leaves_the_last_value_in_force(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("old")
    tokens = Tokens([Token("t", (Secret(path=path),))])
    path.unlink()
    assert not tokens.allow("other")
    assert tokens.allow("old")


def test_a_token_of_the_configuration_is_compared_as_it_is() -> None:
    assert Tokens([Token("t", (Secret("abc"),))]).allow("abc")
    assert not Tokens([Token("t", (Secret("abc"),))]).allow("ab")
