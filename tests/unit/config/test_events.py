"""What sources of events are read as, also of the kind `mongooseim-amqp`, and what is refused before a start."""

from typing import Any

import attrs
import pytest

from restbroker.config.events import EventSource, Filter, Route, Shape
from restbroker.job.names import BODY_NAMES
from tests.support.kinds import Fetched
from tests.unit.config.conftest import Refused, Write

BASE: dict[str, Any] = {"RestQueue": "rest", "Token": "t"}
SOURCE: dict[str, Any] = {"Kind": "prosody-rest", "Path": "/events/prosody", "Queue": "events", "Class": "Event"}
KNOWN = ", ".join(sorted(BODY_NAMES))
WHY = "restbroker could not recognise and hide message texts under another name"
LONG = "a-secret-of-many-letters"


def events(listen: str | None = None, **sources: dict[str, Any]) -> dict[str, Any]:
    section: dict[str, Any] = {"Sources": sources}
    return {**BASE, "Events": section if listen is None else {"Listen": listen, **section}}


def test_a_queue_that_a_target_serves_would_be_a_loop_for_a_source_and_for_a_route(refused: Refused) -> None:
    (problem,) = refused(events(prosody=SOURCE | {"Queue": "rest"}))
    assert problem == (
        "Events.Sources.prosody.Queue: the target ejabberd serves the queue 'rest', so that every event would be taken"
        " for a command; name a queue of your application."
    )
    (problem,) = refused(events(prosody=SOURCE | {"Routes": [{}, {"Queue": "rest"}]}))
    assert problem.startswith("Events.Sources.prosody.Routes[1].Queue: the target ejabberd serves the queue 'rest'")


def test_two_sources_with_one_path_are_refused(refused: Refused) -> None:
    (problem,) = refused(events(one=SOURCE, two=SOURCE))
    assert problem == "Events.Sources.two.Path: is also Events.Sources.one.Path; each source needs its own."


@pytest.mark.promise("Security: who can reach the ports", "to have an event taken that no server sent")
def test_where_others_may_reach_it_each_source_needs_a_secret_of_some_length(refused: Refused, write: Write) -> None:
    for address in ("0.0.0.0:8081", "[::]:8081", "events.example.org:80"):
        (missing,) = refused(events(address, prosody=SOURCE))
        assert missing.startswith("Events.Sources.prosody.Secret: is missing or empty, and Listen is open to others;")
        (short,) = refused(events(address, prosody=SOURCE | {"Secret": "short"}))
        assert "expected at least 16 characters, found fewer" in short, address
        assert "'short'" not in short, address
        loaded = write(events(address, prosody=SOURCE | {"Secret": LONG}))
        assert [note.code for note in loaded.notes if note.code == "PlainEvents"] == ["PlainEvents"], address
        assert LONG not in repr(loaded), address


def test_a_source_has_routes_that_keep_what_they_do_not_say(write: Write) -> None:
    route = {"Except": {"Body": ["*spam*"]}, "Class": "Bot", "Fields": {"level": 1}, "Omit": ["raw"]}
    more = {
        "Fields": {"tenant": "a"},
        "Names": {"from": "author", "body": "message"},
        "Routes": [route, {"Queue": "q"}],
    }
    found = write(events(prosody=SOURCE | more | {"Except": {"Sender": ["bot-*"]}})).config.events
    assert found is not None
    (source,) = found.sources
    assert source.excluded == Filter(sender=("bot-*",))
    shape = Shape({"tenant": "a"}, {"from": "author", "body": "message"})
    assert source.shape == shape
    own = Shape({"tenant": "a", "level": 1}, shape.names, ("raw",))
    assert source.routes == (
        Route("events", "Bot", excluded=Filter(body=("*spam*",)), shape=own),
        Route("q", "Event", shape=shape),
    )


def test_queue_and_class_are_needed_where_a_route_has_none(write: Write, refused: Refused) -> None:
    left = {name: value for name, value in SOURCE.items() if name not in ("Queue", "Class")}
    whole = {"Queue": "q", "Class": "C"}
    found = write(events(prosody=left | {"Routes": [whole]})).config.events
    assert found is not None
    assert found.sources[0].routes == (Route("q", "C"),)
    problems = refused(events(prosody=left | {"Routes": [whole, {"Queue": "q"}]}))
    assert problems == [
        "Events.Sources.prosody.Class: is missing or empty; each source needs Kind, Path, Queue and Class."
    ]


def test_names_that_clash_or_hide_a_text_are_refused(refused: Refused) -> None:
    rows: list[tuple[dict[str, Any], str]] = [
        ({"Fields": {"from": "x"}}, "Fields.from: is a member of events; choose another name."),
        ({"Names": {"id": "to"}}, "Names.id: 'to' is another member's name."),
        ({"Names": {"body": "comment"}}, f"Names.body: expected one of {KNOWN}, found 'comment'; {WHY}."),
    ]
    for written, problem in rows:
        assert refused(events(prosody=SOURCE | written)) == [f"Events.Sources.prosody.{problem}"]
        assert refused(events(prosody=SOURCE | {"Routes": [written]})) == [
            f"Events.Sources.prosody.Routes[0].{problem}"
        ]


FETCHED: dict[str, Any] = {"Kind": "fetched", "Queue": "events", "Class": "Event", "Options": {"Depth": 3}}


def test_a_kind_that_fetches_by_itself_has_options_and_no_path(write: Write) -> None:
    found = write(events("0.0.0.0:1", one=FETCHED)).config.events
    assert found is not None
    assert found.sources == (EventSource("one", "fetched", None, "events", "Event", options=Fetched(3)),)


def test_options_of_a_source_judge_the_whole_of_it_and_are_read_first(refused: Refused) -> None:
    assert refused(events(one=FETCHED | {"Options": {}})) == ["Events.Sources.one.Options.Depth: is missing."]
    (unread,) = refused(events(one=FETCHED | {"Options": {"Depth": "x"}}))
    assert unread.startswith("Events.Sources.one.Options.Depth: expected a whole number")
    (unknown,) = refused(events(one=FETCHED | {"Options": {"Depht": 3}}))
    assert (
        unknown == "Events.Sources.one.Options.Depht: is not a key of Events.Sources.one.Options; did you mean Depth?"
    )


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
