"""What `Token` and `Tokens` are read as."""

from pathlib import Path

from restbroker.config.tokens import Token
from restbroker.job.json_types import Json
from tests.unit.config.conftest import Refused, Write

SERVED: dict[str, Json] = {"RestURL": "http://127.0.0.1:5281/api", "RestQueue": "rest", "JabberDomain": "example.org"}
LONG = "a-secret-of-enough-length"


def revealed(token: Token) -> list[str]:
    return [secret.reveal() for secret in token.secrets]


def test_the_previous_secret_counts_after_the_current_one_and_both_are_read_anew(write: Write, tmp_path: Path) -> None:
    (tmp_path / "now").write_text("new\n")
    token = write({**SERVED, "Tokens": {"app": {"SecretFile": "now", "PreviousSecret": "old"}}}).config.tokens[0]
    assert revealed(token) == ["new", "old"]
    (tmp_path / "now").write_text("newer\n")
    assert revealed(token) == ["newer", "old"]


def test_the_flat_token_is_the_first_of_all_and_called_default(write: Write) -> None:
    tokens = write({**SERVED, "Token": "flat", "Tokens": {"app": {"Secret": "one"}}}).config.tokens
    assert [(token.name, revealed(token)) for token in tokens] == [("default", ["flat"]), ("app", ["one"])]
    assert [token.flat for token in tokens] == [True, False]
    alone = write({**SERVED, "Tokens": {"default": {"Secret": "one"}}}).config.tokens
    assert [(token.name, token.flat) for token in alone] == [("default", False)]


def test_a_signed_tokens_previous_secret_must_be_long_too(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "old").write_text("short\n")
    written: dict[str, Json] = {"Secret": LONG, "PreviousSecretFile": "old", "Signed": True}
    (problem,) = refused({**SERVED, "Tokens": {"app": written}})
    assert problem.startswith("Tokens.app.PreviousSecretFile: expected at least 16 characters")


def test_the_name_of_the_flat_token_is_taken_and_some_token_must_be_given(refused: Refused) -> None:
    (problem,) = refused({**SERVED, "Token": "flat", "Tokens": {"default": {"Secret": "one"}}})
    assert problem.startswith("Tokens.default: is the name of the token that Token gives")
    (problem,) = refused({**SERVED, "Token": "same", "Tokens": {"a": {"Secret": "other", "PreviousSecret": "same"}}})
    assert problem == "Tokens.a.PreviousSecret: is the same secret as Token; each token needs its own."
    empty: tuple[dict[str, Json], ...] = ({}, {"Tokens": {}}, {"Tokens": {"_": "a comment"}})
    for none in empty:
        (problem,) = refused({**SERVED, **none})
        assert problem.startswith("Token: is missing or empty"), none
