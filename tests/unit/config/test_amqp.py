"""A source of the kind `mongooseim-amqp`: what counts by default, and what is refused before anything is started."""

from pathlib import Path
from typing import Any

import attrs
import pytest

from restbroker.config.events import EventSource
from restbroker.events.amqp.settings import Exchange, Settings
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


def settings(write: Write, **options: Any) -> Settings:
    found = source(write, **options).options
    assert isinstance(found, Settings)
    return found


def test_a_source_needs_no_more_than_a_url(write: Write) -> None:
    found = settings(write)
    assert found.exchanges == (
        Exchange("presence", "presence", ("#",)),
        Exchange("chat_msg", "chat", ("#.chat_msg_recv",)),
        Exchange("groupchat_msg", "groupchat", ("#.groupchat_msg_sent",)),
    )
    assert (found.queue, found.queue_type, found.prefetch) == ("restbroker.rabbit", "quorum", 400)
    assert found.server.url.reveal() == URL


def test_every_option_counts(write: Write, tmp_path: Path) -> None:
    (tmp_path / "url").write_text(f"{URL}\n")
    exchanges = {
        "chat_msg": {"Durable": True, "Create": False, "Keys": ["#"]},
        "Own.Rooms": {"Carries": "groupchat", "Type": "fanout"},
    }
    more = {"RabbitQueue": "mine", "QueueType": "classic", "Prefetch": 10, "Exchanges": exchanges}
    found = settings(write, URL=None, URLFile="url", **more)
    assert found.exchanges == (
        Exchange("chat_msg", "chat", ("#",), is_durable=True, create=False),
        Exchange("Own.Rooms", "groupchat", ("#.groupchat_msg_sent",), type="fanout"),
    )
    assert (found.queue, found.queue_type, found.prefetch) == ("mine", "classic", 10)


def test_the_url_is_a_secret_of_the_source(write: Write) -> None:
    found = source(write)
    assert [secret.reveal() for secret in found.secrets] == [URL]
    assert "secret-word" not in f"{found} {attrs.asdict(found)}"


@pytest.mark.parametrize(
    ("options", "place", "why"),
    [
        ({"URL": None}, "URL", "is missing or empty"),
        ({"URL": "http://user:secret-word@h"}, "URL", "The URL begins with amqp:// or amqps://"),
        ({"URL": "amqp://user:secret-word@h/a/b"}, "URL", "cannot be used"),
        ({"URL": None, "URLFile": "nowhere"}, "URLFile", "cannot be read"),
        ({"Exchanges": {"own": {}}}, "Exchanges.own.Carries", "is missing"),
        ({"Exchanges": {"chat_msg": {"Type": "direct"}}}, "Exchanges.chat_msg.Keys", "is missing"),
        ({"Exchanges": {}}, "Exchanges", "is empty"),
        ({"Exchanges": {"chat_msg": {"Durable": "no"}}}, "Exchanges.chat_msg.Durable", "expected true or false"),
        ({"Prefetch": 0}, "Prefetch", "expected a whole number from 1 to 10000"),
        ({"QueueType": "stream"}, "QueueType", "expected one of"),
        ({"Queue": "x"}, "Queue", "is no key of"),
    ],
)
def test_what_cannot_be_used_is_refused_by_its_place(
    refused: Refused, options: dict[str, Any], place: str, why: str
) -> None:
    (problem,) = refused(document(**options))
    assert problem.startswith(f"Events.Sources.rabbit.Options.{place}: ")
    assert why in problem
    assert "secret-word" not in problem


def test_a_login_that_goes_unencrypted_over_a_network_is_noted(write: Write) -> None:
    notes = write(document(URL="amqp://user:secret-word@rabbit.example.org")).notes
    (note,) = [one for one in notes if one.code == "PlainRabbitMQ"]
    assert "secret-word" not in note.message
    assert "amqp://rabbit.example.org:5672" in note.message


def test_certificates_without_tls_are_noted(write: Write) -> None:
    assert "NoTLS" in [note.code for note in write(document(TLS={})).notes]
