"""What is written under the options of a target of kind `openfire-chat`, and what is odd or wrong about it."""

import json
from pathlib import Path
from typing import Any

import pytest

from restbroker.config.load import load
from restbroker.config.passwords import passwords_in
from restbroker.config.secret import Secret
from restbroker.config.target import Target
from restbroker.errors import ConfigError
from restbroker.servers import registry
from restbroker.servers.openfire.chat.options import Options

ADMIN = {"Basic": {"User": "admin", "Pass": "p"}}


def loaded(base: Path, **members: Any) -> tuple[Target, set[str]]:
    entry = {"Kind": "openfire-chat", "URL": "http://127.0.0.1:7070", "Queues": ["chat"], **members}
    file = base / "env.json"
    file.write_text(json.dumps({"Token": "t", "Targets": {"chat": entry}}))
    found = load(file, {}, {}, registry.kinds())
    return found.config.targets[0], {note.code for note in found.notes}


def test_the_path_is_found_in_what_people_write_and_another_left_as_it_is(tmp_path: Path) -> None:
    def path(written: str) -> str:
        return loaded(tmp_path, Auth=ADMIN, URL=f"http://127.0.0.1:7070{written}")[0].url.path

    assert {path(one) for one in ("", "/", "/rest/api", "/rest/api/", "/rest/api/restapi/v1")} == {"/rest/api"}
    assert path("/openfire/api") == "/openfire/api"


def test_a_secret_takes_the_place_of_the_login_and_users_need_their_passwords(tmp_path: Path) -> None:
    (tmp_path / "passwords").write_text("romeo:p\n")
    target, notes = loaded(tmp_path, Options={"Secret": "s3cret"})
    assert target.options_as(Options).secret == Secret("s3cret")
    assert "NoPasswords" in notes
    _, notes = loaded(tmp_path, Options={"Secret": "s3cret", "PasswordsFile": "passwords"})
    assert "NoPasswords" not in notes
    assert "NoCredentials" in loaded(tmp_path)[1]
    assert "PlainLogin" in loaded(tmp_path, URL="http://chat.example.org:7070", Options={"Secret": "s3cret"})[1]


def test_a_file_of_passwords_is_read_by_name_and_shows_nothing(tmp_path: Path) -> None:
    file = tmp_path / "passwords"
    file.write_text("Romeo:a:b\n\njuliet@example.org: c \n")
    assert passwords_in(Secret(path=file)) == {"romeo": "a:b", "juliet": " c "}
    for text in ("romeo:s3cret\nROMEO:s3cret\n", "s3cret", ":s3cret", "romeo:"):
        file.write_text(text)
        with pytest.raises(ConfigError) as refused:
            passwords_in(Secret(path=file))
        assert "s3cret" not in str(refused.value), text
