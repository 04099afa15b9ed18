"""What a target of kind `openfire-rest` may say, and what it gets where it says nothing."""

from tests.unit.connectors.openfire_rest.conftest import BASE, BASIC, SECRET, Configured, Made, Problems


def test_concurrency_and_idle_time_suit_the_server_and_its_console_path_is_filled_in(made: Made) -> None:
    target = made(URL="http://127.0.0.1:9090")
    assert (target.concurrency, target.idle_expiry_s, target.url.path) == (6, 25.0, BASE)
    assert target.host_header is None
    assert made(URL="http://127.0.0.1/proxied").url.path == "/proxied"


def test_a_login_and_the_shared_secret_exclude_one_another(problems: Problems) -> None:
    assert problems({"Secret": SECRET}) == [
        "Auth: and the shared secret exclude one another: the plugin takes one of them."
    ]


def test_a_bearer_token_is_refused_and_the_shared_secret_named(problems: Problems) -> None:
    (problem,) = problems(Auth={"Bearer": {"Token": SECRET}})
    assert "must be Basic" in problem
    assert "SecretFile" in problem


def test_a_secret_that_is_no_header_is_refused(problems: Problems) -> None:
    (problem,) = problems({"Secret": "two words"}, Auth=None)
    assert problem.startswith("Options.Secret")


def test_an_unencrypted_way_to_another_machine_and_a_missing_login_are_noted(configured: Configured) -> None:
    def notes(**members: object) -> set[str]:
        options = members.pop("Options", None)
        return {note.code for note in configured(options, **members).notes}

    url = f"http://of.example.org:9090{BASE}"
    assert "PlainLogin" in notes(URL=url)
    assert "PlainLogin" in notes(URL=url, Auth=None, Options={"Secret": SECRET})
    assert "NoCredentials" in notes(Auth=None)
    assert notes() == set()


def test_broadcasts_are_held_where_broadcasts_are(made: Made) -> None:
    assert "broadcast_message" in made().at_most_once
    assert "broadcast_message" not in made(AtMostOnce=[]).at_most_once


def test_the_secret_is_known_as_one(made: Made) -> None:
    (secret,) = made({"Secret": SECRET}, Auth=None).secrets
    assert secret.reveal() == SECRET
    assert SECRET not in repr(made({"Secret": SECRET}, Auth=None))
    assert made(Auth=BASIC).secrets == ()


def test_a_login_with_a_domain_is_refused_since_the_plugin_answers_500_to_it(problems: Problems) -> None:
    (problem,) = problems(Auth={"Basic": {"User": "admin@example.org", "Pass": "x"}})
    assert problem == "Auth: needs the administrator's name alone, such as admin, and no whole JID."
