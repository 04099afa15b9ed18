"""Files of secrets are read as editors of any system write them."""

from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE, BOM_UTF32_LE
from pathlib import Path

import pytest

from restbroker.config.files import text_of
from restbroker.config.secret import Secret
from restbroker.errors import ConfigError
from tests.support.rows import rows

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
def test_what_is_no_text_is_refused_by_name(raw: bytes) -> None:
    with pytest.raises(ValueError, match="neither UTF-8 nor UTF-16") as caught:
        text_of(raw)
    assert "sec" not in repr((caught.value, caught.value.__cause__, caught.value.__context__))


@rows("raw", [b"", b"\n", b"\r", BOM_UTF8, BOM_UTF16_LE, BOM_UTF8 + b" \r\n"])
def test_a_file_with_nothing_but_marks_and_blanks_is_empty(raw: bytes, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(raw)
    with pytest.raises(ConfigError, match="is empty"):
        Secret(path=tmp_path / "secret").reveal()
