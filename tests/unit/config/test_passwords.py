"""The file with the passwords of Openfire's users. The other options: golden configuration."""

from pathlib import Path

import pytest

from restbroker.config.passwords import passwords_in
from restbroker.config.secret import Secret
from restbroker.errors import ConfigError


def test_a_file_of_passwords_is_read_by_name_and_shows_nothing(tmp_path: Path) -> None:
    file = tmp_path / "passwords"
    file.write_text("Romeo:a:b\n\njuliet@example.org: c \n")
    assert passwords_in(Secret(path=file)) == {"romeo": "a:b", "juliet": " c "}
    for text in ("romeo:s3cret\nROMEO:s3cret\n", "s3cret", ":s3cret", "romeo:"):
        file.write_text(text)
        with pytest.raises(ConfigError) as refused:
            passwords_in(Secret(path=file))
        assert "s3cret" not in str(refused.value), text
