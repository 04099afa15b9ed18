"""A source of the kind `mongooseim-amqp`: what counts by default, and what is refused before anything is started."""

from typing import Any

import attrs

from restbroker.config.events import EventSource
from tests.unit.config.conftest import Refused, Write

URL = "amqp://user:secret-word@127.0.0.1:5672/%2F"


def document(**options: Any) -> dict[str, Any]:
    given = {name: value for name, value in {"URL": URL, **options}.items() if value is not None}
    source: dict[str, Any] = {"Kind": "mongooseim-amqp", "Queue": "events", "Class": "Event", "Options": given}
    return {"RestQueue": "rest", "Token": "t", "Events": {"Sources": {"rabbit": source}}}


def source(write: Write, **options: Any) -> EventSource:
    events = write(document(**options)).config.events
    assert events is not None
    return events.sources[0]


def test_the_url_is_a_secret_of_the_source(write: Write) -> None:
    found = source(write)
    assert [secret.reveal() for secret in found.secrets] == [URL]
    assert "secret-word" not in f"{found} {attrs.asdict(found)}"


def test_a_url_that_cannot_be_used_is_refused_by_its_place_without_its_password(refused: Refused) -> None:
    for url, why in (
        ("http://user:secret-word@h", "The URL begins with amqp:// or amqps://"),
        ("amqp://user:secret-word@h/a/b", "cannot be used"),
    ):
        (problem,) = refused(document(URL=url))
        assert problem.startswith("Events.Sources.rabbit.Options.URL: ")
        assert why in problem
        assert "secret-word" not in problem, url


def test_an_exchange_that_cannot_be_used_is_told_beside_a_missing_url(refused: Refused) -> None:
    problems = refused(document(URL=None, Exchanges={"mine": {}}))
    places = ["Events.Sources.rabbit.Options.URL", "Events.Sources.rabbit.Options.Exchanges.mine.Carries"]
    assert [one.partition(": ")[0] for one in problems] == places


def test_a_login_that_goes_unencrypted_over_a_network_is_noted(write: Write) -> None:
    notes = write(document(URL="amqp://user:secret-word@rabbit.example.org")).notes
    (note,) = [one for one in notes if one.code == "PlainRabbitMQ"]
    assert "secret-word" not in note.message
    assert "amqp://rabbit.example.org:5672" in note.message


def test_certificates_without_tls_are_noted(write: Write) -> None:
    assert "NoTLS" in [note.code for note in write(document(TLS={})).notes]
