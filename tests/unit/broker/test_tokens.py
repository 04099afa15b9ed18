"""Tokens from files follow their files; a broken file leaves the last good value in force."""

from pathlib import Path

import attrs
import pytest

from restbroker.broker.tokens import Tokens
from restbroker.config.secret import Secret
from restbroker.config.tokens import Token
from restbroker.job import arguments, signing
from restbroker.job.arguments import Submission
from restbroker.job.json_types import Json
from restbroker.telemetry.events import Event, OperatorWarning
from tests.support.rows import rows


@attrs.define(eq=False)
class Clock:
    """A clock that stands still until a test turns it."""

    at_s: float = 1000.0

    def now_s(self) -> float:
        return self.at_s


def name_of(tokens: Tokens, given: str) -> str | None:
    proof = tokens.proof(given)
    return None if proof is None else proof.token.name


def followed(place: Path, text: str = "old") -> tuple[Path, Clock, Tokens]:
    """A file with this secret, and tokens that follow it."""
    path, clock = place / "token", Clock()
    path.write_text(text)
    return path, clock, Tokens([Token("t", (Secret(path=path),))], now_s=clock.now_s)


def submission() -> Submission:
    found = arguments.read(["status", {}, ""])
    assert isinstance(found, Submission)
    return found


def test_replaced_secrets_stay_hidden_in_messages_for_a_while(tmp_path: Path) -> None:
    path, clock, tokens = followed(tmp_path, "secret-0")
    for number in range(1, 30):
        path.write_text(f"secret-{number}")
        clock.at_s += 1.0
        assert name_of(tokens, f"secret-{number}") == "t"
    assert tokens.values == tuple(f"secret-{number}" for number in range(29, 18, -1))


@pytest.mark.promise("A good citizen", "a replaced token is refused within a second")
def test_replaced_secret_is_refused_a_second_later_unprompted(tmp_path: Path) -> None:
    """This needs no use of another secret."""
    path, clock, tokens = followed(tmp_path)
    assert name_of(tokens, "old") == "t"
    path.write_text("newer")
    assert name_of(tokens, "old") == "t"
    clock.at_s += 1.0
    assert name_of(tokens, "old") is None


def test_requested_rereading_happens_at_the_next_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, clock, tokens = followed(tmp_path)
    monkeypatch.setattr("restbroker.broker.tokens._stat_of", lambda _path: (1, 3, 0, 0))
    tokens.reread()
    assert name_of(tokens, "old") == "t"
    path.write_text("new")
    clock.at_s += 5.0
    assert name_of(tokens, "old") == "t"
    tokens.reread()
    assert name_of(tokens, "old") is None


@pytest.mark.promise("A good citizen", "a replaced token is refused within a second")
@pytest.mark.parametrize("text", ["", " \n", None])
def test_unusable_file_keeps_its_last_value_with_one_warning(tmp_path: Path, text: str | None) -> None:
    path, other, clock, events = tmp_path / "token", tmp_path / "other", Clock(), list[Event]()
    path.write_text("old")
    other.write_text("other-old")
    listed = [Token("t", (Secret(path=path),)), Token("o", (Secret(path=other),))]
    tokens = Tokens(listed, events.append, clock.now_s)
    path.unlink() if text is None else path.write_text(text)
    other.write_text("other-new")
    for _ in range(3):
        clock.at_s += 2.0
        assert [name_of(tokens, given) for given in ("old", "other-new")] == ["t", "o"]
        assert [name_of(tokens, given) for given in ("other-old", "", " ")] == [None, None, None]
    (warned,) = events
    assert isinstance(warned, OperatorWarning)
    assert warned.code == "SecretFileUnusable"
    assert str(path) in warned.message
    path.write_text("new")
    clock.at_s += 1.0
    assert [name_of(tokens, given) for given in ("old", "new")] == [None, "t"]
    path.write_text("")
    clock.at_s += 1.0
    assert name_of(tokens, "new") == "t"
    assert len(events) == 2


def test_flood_of_bad_tokens_reads_no_file_that_looks_unchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "token"
    path.write_text("old")
    tokens = Tokens([Token("t", (Secret(path=path),))])
    reads: list[Path] = []
    read_text = Path.read_text

    def counted(self: Path, encoding: str) -> str:
        reads.append(self)
        return read_text(self, encoding=encoding)

    monkeypatch.setattr(Path, "read_text", counted)
    assert [name_of(tokens, f"bad-{number}") for number in range(100)] == [None] * 100
    assert len(reads) <= 2


def test_each_of_several_tokens_is_found_with_both_its_secrets() -> None:
    tokens = Tokens([Token("app", (Secret("new"), Secret("old"))), Token("admin", (Secret("other"),))])
    assert [name_of(tokens, given) for given in ("new", "old", "other", "none")] == ["app", "app", "admin", None]
    previous = tokens.proof("old")
    assert previous is not None
    assert previous.is_previous


def test_a_signature_counts_for_the_token_whose_secret_made_it() -> None:
    tokens = Tokens([Token("app", (Secret("one"),)), Token("admin", (Secret("two"),))])
    signature = signing.sign("one", "app", 1_795_165_609, "j1", submission(), "q")
    found = tokens.proof(signature, "j1", submission(), "q")
    assert found is not None
    assert (found.token.name, found.signature is not None) == ("app", True)
    assert tokens.proof(signature, "", submission(), "q") is None
    assert tokens.proof(signature, "j2", submission(), "q") is None
    assert tokens.proof(signature.replace("app", "admin"), "j1", submission(), "q") is None


@pytest.mark.parametrize("name", ["t0", "nobodys"])
def test_signed_text_is_written_out_once_for_all_tokens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = tmp_path / "token"
    path.write_text("old")
    listed = [Token(f"t{number}", (Secret(f"new-{number}"), Secret(f"old-{number}"))) for number in range(20)]
    tokens = Tokens([*listed, Token("file", (Secret(path=path),))])
    given = signing.sign("none", name, 1_795_165_609, "j1", submission(), "q")
    made: list[Json] = []
    canonical = signing.canonical

    def counted(value: Json) -> str:
        made.append(value)
        return canonical(value)

    monkeypatch.setattr(signing, "canonical", counted)
    # Makes the search begin again.
    path.write_text("newer")
    assert tokens.proof(given, "j1", submission(), "q") is None
    assert len(made) == 1


@rows(("secret", "name", "found"), [
    ("one", "b", ("app", True)),
    ("one", "old-name", ("app", True)),
    ("none", "old-name", None),
])  # fmt: skip
def test_signature_counts_for_its_secrets_token_by_any_name(
    secret: str, name: str, found: tuple[str, bool] | None
) -> None:
    tokens = Tokens([Token("app", (Secret("new"), Secret("one"))), Token("b", (Secret("two"),))])
    proof = tokens.proof(signing.sign(secret, name, 1_795_165_609, "j1", submission(), "q"), "j1", submission(), "q")
    assert (None if proof is None else (proof.token.name, proof.is_previous)) == found


def test_no_secret_is_in_a_representation() -> None:
    tokens = Tokens([Token("t", (Secret("s3cret-text"),))])
    assert "s3cret-text" not in f"{tokens!r} {tokens.proof('s3cret-text')!r}"


def test_bad_token_rereads_a_changed_file_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second later it rereads one that looks unchanged."""
    path, clock, tokens = followed(tmp_path)
    assert name_of(tokens, "bad") is None
    path.write_text("newer")
    assert [name_of(tokens, given) for given in ("newer", "old")] == ["t", None]
    monkeypatch.setattr("restbroker.broker.tokens._stat_of", lambda _path: (1, 3, 0, 0))
    assert name_of(tokens, "bad") is None
    path.write_text("newest")
    assert name_of(tokens, "newest") is None
    clock.at_s += 1.0
    assert name_of(tokens, "newest") == "t"


def place_of(given: Json, *secrets: str) -> int | None:
    """The place of the token whose secret this is, of tokens with these."""
    tokens = Tokens([Token(str(place), (Secret(secret),)) for place, secret in enumerate(secrets)])
    found = tokens.of_secret(given)
    return None if found is None else int(found.token.name)


def test_each_secret_is_found_at_its_place() -> None:
    assert place_of("one", "one", "two") == 0
    assert place_of("two", "one", "two") == 1
    assert place_of("one", "two", "one", "one") == 1, "of equal ones the first is meant"


@pytest.mark.promise("Security: who can push to the queues", "a command without a token, or with a guessed one")
def test_every_secret_is_compared_with_even_after_one_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []

    def compare(given: bytes, secret: bytes) -> bool:
        compared.append(secret)
        return given == secret

    monkeypatch.setattr("hmac.compare_digest", compare)
    assert place_of("one", "one", "two", "three") == 0
    assert compared == [b"one", b"two", b"three"]


@rows("given", ["", "on", "onee", "ONE", None, 1, True, ["one"], {"one": 1}])
def test_anything_else_is_no_secret(given: Json) -> None:
    assert place_of(given, "one") is None


def test_an_empty_secret_never_matches_even_if_one_is_configured() -> None:
    assert place_of("", "") is None
