"""What a target of kind `openfire-rest` may say, and what it gets where it says nothing."""

from tests.unit.servers.conftest import Configured, Made, Problems
from tests.unit.servers.openfire_rest.conftest import BASE, SECRET


def test_the_path_of_the_console_is_filled_in(made: Made) -> None:
    paths = {"": BASE, "/proxied": "/proxied"}
    assert {path: made(URL=f"http://127.0.0.1:9090{path}").url.path for path in paths} == paths


def test_a_login_that_the_plugin_does_not_take_is_refused_by_its_place(problems: Problems) -> None:
    assert problems({"Secret": SECRET}) == [
        "Auth: and the shared secret exclude one another: the plugin takes one of them."
    ]
    # It answers 500 to a whole JID.
    assert problems(Auth={"Basic": {"User": "admin@example.org", "Pass": "x"}}) == [
        "Auth: needs the administrator's name alone, such as admin, not a whole JID."
    ]
    (bearer,) = problems(Auth={"Bearer": {"Token": SECRET}})
    assert "must be Basic" in bearer
    assert "SecretFile" in bearer
    (secret,) = problems({"Secret": "two words"}, Auth=None)
    assert secret.startswith("Options.Secret")


def test_an_unencrypted_way_to_another_machine_and_a_missing_login_are_noted(configured: Configured) -> None:
    def notes(**members: object) -> set[str]:
        options = members.pop("Options", None)
        return {note.code for note in configured(options, **members).notes}

    url = f"http://of.example.org:9090{BASE}"
    assert "PlainLogin" in notes(URL=url)
    assert "PlainLogin" in notes(URL=url, Auth=None, Options={"Secret": SECRET})
    assert "NoCredentials" in notes(Auth=None)
    assert notes() == set()
