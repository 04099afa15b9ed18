"""Tokens from files follow their files; a broken file leaves the last good value in force."""

from pathlib import Path

import pytest

from restbroker.broker.tokens import Tokens
from restbroker.config.secret import Secret
from restbroker.config.tokens import Token
from restbroker.rules import arguments, signing
from restbroker.rules.arguments import Submission


def name_of(tokens: Tokens, given: str) -> str | None:
    proof = tokens.proof(given)
    return None if proof is None else proof.token.name


def submission() -> Submission:
    found = arguments.read(["status", {}, ""])
    assert isinstance(found, Submission)
    return found


def test_a_rotated_token_file_counts_without_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("old\n")
    tokens = Tokens([Token("t", (Secret(path=path),))])
    assert name_of(tokens, "old") == "t"
    path.write_text("new\n")
    assert name_of(tokens, "new") == "t"
    assert name_of(tokens, "old") is None


def test_a_token_file_that_changes_amid_a_flood_of_bad_tokens_counts_at_once(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("old")
    tokens = Tokens([Token("t", (Secret(path=path),))])
    assert name_of(tokens, "bad") is None
    path.write_text("newer")
    assert name_of(tokens, "newer") == "t"


def test_a_flood_of_bad_tokens_reads_no_file_that_looks_unchanged(
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


def test_a_token_file_that_vanished_leaves_the_last_value_in_force(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("old")
    tokens = Tokens([Token("t", (Secret(path=path),))])
    path.unlink()
    assert name_of(tokens, "other") is None
    assert name_of(tokens, "old") == "t"


def test_a_token_of_the_configuration_is_compared_as_it_is() -> None:
    assert name_of(Tokens([Token("t", (Secret("abc"),))]), "abc") == "t"
    assert name_of(Tokens([Token("t", (Secret("abc"),))]), "ab") is None


def test_each_of_several_tokens_is_found_with_both_its_secrets() -> None:
    tokens = Tokens([Token("app", (Secret("new"), Secret("old"))), Token("admin", (Secret("other"),))])
    assert [name_of(tokens, given) for given in ("new", "old", "other", "none")] == ["app", "app", "admin", None]
    previous = tokens.proof("old")
    assert previous is not None
    assert previous.is_previous


def test_a_signature_counts_for_its_own_token_only() -> None:
    tokens = Tokens([Token("app", (Secret("one"),)), Token("admin", (Secret("two"),))])
    signature = signing.sign("one", "app", 1, "j1", submission())
    found = tokens.proof(signature, "j1", submission())
    assert found is not None
    assert (found.token.name, found.signature is not None) == ("app", True)
    assert tokens.proof(signing.sign("one", "admin", 1, "j1", submission()), "j1", submission()) is None
    assert tokens.proof(signature, "", submission()) is None
    assert tokens.proof(signature, "j2", submission()) is None


def test_no_secret_is_in_a_representation() -> None:
    tokens = Tokens([Token("t", (Secret("s3cret-text"),))])
    assert "s3cret-text" not in f"{tokens!r} {tokens.proof('s3cret-text')!r}"
