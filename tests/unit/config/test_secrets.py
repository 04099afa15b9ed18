"""Files of secrets, tokens, and what is shown of a target that has some."""

import re
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE, BOM_UTF32_LE
from pathlib import Path

import pytest

from restbroker.config.problems import Problems
from restbroker.config.secret import Secret, text_of
from restbroker.config.target import Bearer, Target
from restbroker.config.target_secrets import remove_secrets
from restbroker.config.tokens import Token
from restbroker.errors import ConfigError
from restbroker.job.json_types import Json
from tests.support.rows import rows
from tests.unit.config.conftest import Write

SECRETS = ("hunter2", "pässwörd €", "пароль-1", " two  blanks  ", "\ttab\t", "a", "a\x0bb")
ENDS = ("", "\n", "\r\n", "\r", "\n\n", "\r\n\r\n", "\x85", "\u2028", "\r\n\x1a")


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_is_the_same_from_any_editor(secret: str, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    for end in ENDS:
        text = secret + end
        raws = [text.encode(), BOM_UTF8 + text.encode()]
        raws += [BOM_UTF16_LE + text.encode("utf-16-le"), BOM_UTF16_BE + text.encode("utf-16-be")]
        if secret.isascii() and end.isascii():
            raws += [text.encode("utf-16-le"), text.encode("utf-16-be")]
        for raw in raws:
            file.write_bytes(raw)
            assert Secret(path=file).reveal() == secret, raw


def test_lines_of_a_secret_end_alike_on_every_system(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    for raw in (b"one\ntwo\n", b"one\r\ntwo\r\n", b"one\rtwo\r"):
        file.write_bytes(raw)
        assert Secret(path=file).reveal() == "one\ntwo"


@rows(
    "raw", [b"secret\0", b"\0secret", b"s\0e\0c", b"\xff", BOM_UTF32_LE + "secret".encode("utf-32-le"), b"\xfe\xff\0"]
)
def test_secret_that_is_no_text_is_refused_by_name(raw: bytes) -> None:
    with pytest.raises(ValueError, match="neither UTF-8 nor UTF-16") as caught:
        text_of(raw)
    assert "sec" not in repr((caught.value, caught.value.__cause__, caught.value.__context__))


@rows("raw", [b"", b"\n", b"\r", BOM_UTF8, BOM_UTF16_LE, BOM_UTF8 + b" \r\n"])
def test_a_file_with_nothing_but_marks_and_blanks_is_empty(raw: bytes, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(raw)
    with pytest.raises(ConfigError, match="is empty"):
        Secret(path=tmp_path / "secret").reveal()


def test_a_secret_whose_file_is_unreadable_is_not_missing_too(tmp_path: Path) -> None:
    problems = Problems(tmp_path)
    assert problems.try_secret("Options.Key", Secret(path=Path("none"))) is None
    problems.refuse("Options.Key", "must be given.")
    (problem,) = problems.problems
    assert problem.startswith("Options.KeyFile: The secret file ")


@pytest.mark.promise("Security: who controls a server's answers", "to have the login written where others see it")
def test_a_replaced_secret_is_masked_as_it_was_sent(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("the-first-key\n")
    target = Target(secrets=(Secret(path=file),), credentials=Bearer(Secret("a-token")))
    assert remove_secrets("the-first-key, a-token", target) == "***, ***"
    file.write_text("the-second-key\n")
    assert remove_secrets("the-first-key, the-second-key", target) == "***, ***"
    file.unlink()
    assert remove_secrets("the-second-key", target) == "***"
    assert remove_secrets(None, target) is None


SERVED: dict[str, Json] = {"RestURL": "http://127.0.0.1:5281/api", "RestQueue": "rest", "JabberDomain": "example.org"}


def revealed(token: Token) -> list[str]:
    return [secret.reveal() for secret in token.secrets]


def test_the_previous_secret_counts_after_the_current(write: Write, tmp_path: Path) -> None:
    (tmp_path / "now").write_text("new\n")
    token = write({**SERVED, "Tokens": {"app": {"SecretFile": "now", "PreviousSecret": "old"}}}).config.tokens[0]
    assert revealed(token) == ["new", "old"]
    (tmp_path / "now").write_text("newer\n")
    assert revealed(token) == ["newer", "old"]


def test_no_error_shows_a_secret_that_was_written_as_signed(write: Write) -> None:
    for written, found in (("my-token-secret", "a string"), (1234567890123456, "a whole number")):
        said = f"Tokens.app.Signed: expected true or false (written without quotes), found {found}."
        with pytest.raises(ConfigError, match=re.escape(said)) as caught:
            write({**SERVED, "Tokens": {"app": {"Secret": "my-token-secret", "Signed": written}}})
        assert str(written) not in str(caught.value)


def test_a_variable_counts_before_a_file_with_the_url_of_redis(write: Write, tmp_path: Path) -> None:
    (tmp_path / "url").write_text("redis://h\n")
    document = {**SERVED, "Token": "x", "RedisURLFile": "url"}
    assert write(document, {"RESTBROKER_REDIS_URL": "redis://v:1"}).config.redis_url == "redis://v:1/0"


def test_the_password_in_a_file_with_the_url_is_read_again(write: Write, tmp_path: Path) -> None:
    (tmp_path / "url").write_text("redis://bob:first@r:1/0")
    password = write({**SERVED, "Token": "x", "RedisURLFile": "url"}).config.redis_password
    assert password is not None
    assert password.last_text == "first"
    for text in ("redis://r:1", "no url", "", "redis://bob:first@other:1/0"):
        (tmp_path / "url").write_text(text)
        assert not password.is_other_than("first"), text
    (tmp_path / "url").write_text("redis://bob:sec%40nd@r:1/0")
    assert password.is_other_than("first")
    assert password.last_text == "sec@nd"
    assert password.texts_read == {"first", "sec@nd"}
