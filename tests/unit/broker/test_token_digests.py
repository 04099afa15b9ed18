"""What a heartbeat says of a pool's tokens: it tells whether others are alike, and gives no secret away."""

import json
from pathlib import Path
from typing import Any

import pytest

from restbroker.broker.tokens import Tokens, unlike
from restbroker.config.secret import Secret
from restbroker.config.target import Target, Url
from restbroker.config.tokens import Token
from restbroker.job.json_types import Json

TARGET = Target("t", "scripted", Url("http", "127.0.0.1", 1), ("rest", "vip"))
LONG, OLD = "a-secret-that-nobody-guesses", "the-secret-before-that-one"


def token(*secrets: str, name: str = "a", **more: Any) -> Token:
    return Token(name, tuple(map(Secret, secrets)), **more)


def said(*tokens: Token) -> Json:
    return Tokens(tokens).digests([TARGET])["rest"]


def is_unlike(mine: Json, other: Json) -> bool:
    return unlike({"rest": mine}, {"tokens": {"rest": other}}) == ["rest"]


BEFORE: Any = (token(LONG),)


@pytest.mark.parametrize(
    ("other", "differs"),
    [
        (BEFORE, False),
        ((token(LONG, allow=("a", "b")),), True),
        ((token(OLD),), True),
        ((token(LONG, name="b"),), True),
        ((token(LONG, hosts=("x",)),), True),
        ((token(LONG, signed=True),), True),
        ((token(LONG), token(OLD, name="b")), True),
        # One that reaches the other queue alone.
        ((token(LONG), token(OLD, name="b", queues=("vip",))), False),
        # In the midst of a rotation, whichever process has the new file first.
        ((token(OLD, LONG),), False),
        ((token(LONG, OLD),), False),
        ((token(OLD, "another-one-for-all"),), True),
    ],
)
def test_differing_tokens_of_a_queue_are_detected(other: tuple[Token, ...], differs: bool) -> None:
    assert is_unlike(said(*BEFORE), said(*other)) == differs
    assert is_unlike(said(*other), said(*BEFORE)) == differs


def test_a_grants_order_makes_no_difference() -> None:
    assert not is_unlike(said(token(LONG, allow=("a", "b"))), said(token(LONG, allow=("b", "a"))))


@pytest.mark.parametrize("odd", [None, [], {}, "x", ["x"], ["x", []], [1, {}]])
def test_foreign_text_in_a_heartbeat_is_no_difference(odd: Json) -> None:
    assert not is_unlike(said(*BEFORE), odd)


@pytest.mark.promise("Security: who can read Redis", "to guess a token's secret from a heartbeat")
def test_heartbeat_has_no_secret_and_unequal_digests() -> None:
    text = json.dumps(Tokens([token(LONG, OLD), token("third-one", name="b")]).digests([TARGET]))
    assert not [token for token in (LONG, OLD, "third-one") if token in text]
    (_, secrets) = json.loads(text)["rest"]
    assert sorted(map(len, secrets.values())) == [1, 2]
    assert len({digest for each in secrets.values() for digest in each}) == 3


def test_idle_process_reports_new_secret_in_its_file(tmp_path: Path) -> None:
    """Else it would look unlike one that has jobs, and so has read the file again."""
    file, now_s = tmp_path / "token", [0.0]
    file.write_text(OLD)
    tokens = Tokens([Token("a", (Secret(path=file),))], now_s=lambda: now_s[0])
    before = tokens.digests([TARGET])
    file.write_text(LONG)
    now_s[0] = 5.0
    assert tokens.digests([TARGET]) == {"rest": said(*BEFORE), "vip": said(*BEFORE)} != before
