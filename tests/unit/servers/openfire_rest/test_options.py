"""What a target of kind `openfire-rest` may say, and what it gets where it says nothing."""

from tests.unit.servers.conftest import Configured, Made
from tests.unit.servers.openfire_rest.conftest import BASE, SECRET


def test_the_path_of_the_console_is_filled_in(made: Made) -> None:
    paths = {"": BASE, "/proxied": "/proxied"}
    assert {path: made(URL=f"http://127.0.0.1:9090{path}").url.path for path in paths} == paths


def test_an_unencrypted_way_to_another_machine_and_a_missing_login_are_noted(configured: Configured) -> None:
    def notes(**members: object) -> set[str]:
        options = members.pop("Options", None)
        return {note.code for note in configured(options, **members).notes}

    url = f"http://of.example.org:9090{BASE}"
    assert "PlainLogin" in notes(URL=url)
    assert "PlainLogin" in notes(URL=url, Auth=None, Options={"Secret": SECRET})
    assert "NoCredentials" in notes(Auth=None)
    assert notes() == set()
