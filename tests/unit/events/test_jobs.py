"""The job of an event is one that Sidekiq takes, and what is noted of it has no text."""

import json
from typing import Any

import attrs

from restbroker.config.events import EventSource, Filter, Handover, Route, Shape
from restbroker.events.deliver import incoming_event, route_of
from restbroker.job import redact
from restbroker.job.event import ServerEvent, mark_of_sent, mark_of_test, text_of_test
from restbroker.job.json_types import Json
from restbroker.store.events import IncomingEvent
from tests.support.rows import rows

SOURCE = EventSource("prosody", "prosody-rest", "/e", "events", "Chat::Event")
EVENT = ServerEvent("message", "a@b/c", "bot@d", "m1", "a secret text", None, "d", "prosody", 1000.0, {"body": "…"})


def arrived(source: EventSource, event: ServerEvent, jid: str) -> IncomingEvent:
    made = incoming_event(source, event, jid)
    assert made is not None
    return made


def test_the_job_is_a_complete_one() -> None:
    made = arrived(SOURCE, EVENT, "j1")
    job = json.loads(made.payload)
    assert {name: job[name] for name in ("class", "jid", "queue", "retry")} == {
        "class": "Chat::Event", "jid": "j1", "queue": "events", "retry": True,
    }  # fmt: skip
    (argument,) = job["args"]
    assert (argument["type"], argument["from"], argument["body"]) == ("message", "a@b/c", "a secret text")
    assert argument["raw"] == {"body": "…"}
    # A whole number of seconds would become an integer, and 1970 in Sidekiq 8.
    assert job["enqueued_at"] == job["created_at"] == argument["received_at"]
    assert b".0" in made.payload


def test_text_of_an_event_is_not_shown_with_its_job() -> None:
    event = attrs.evolve(
        EVENT, raw={"kind": "message", "body": "my pass: a secret text", "payload": {"data": "a secret text"}}
    )
    job = json.loads(arrived(SOURCE, event, "j1").payload)
    shown = json.dumps(redact.job(job))
    assert "a secret text" not in shown
    assert "a@b/c" in shown


def test_note_of_an_event_has_neither_text_nor_stanza() -> None:
    noted = json.loads(arrived(SOURCE, EVENT, "j1").record)
    assert noted == {
        "type": "message", "from": "a@b/c", "to": "bot@d", "id": "m1", "room": None, "presence": None, "server": "d",
        "source": "prosody", "received_at": 1000.0, "queue": "events", "jid": "j1",
    }  # fmt: skip


def test_only_an_event_with_an_id_can_be_known_to_come_again() -> None:
    watched = attrs.evolve(SOURCE, window_s=60.0)
    mark = arrived(watched, EVENT, "j1").mark
    assert mark is not None
    assert arrived(watched, EVENT, "j2").mark == mark
    assert arrived(watched, EVENT, "j1").window_ms == 60_000
    others: tuple[dict[str, Any], ...] = (
        {"id": "m2"},
        {"sender": "x"},
        {"receiver": "x"},
        {"source": "x"},
        {"type": "presence"},
    )
    assert mark not in {arrived(watched, attrs.evolve(EVENT, **other), "j").mark for other in others}


def test_without_ids_the_same_content_is_the_same_event() -> None:
    source = attrs.evolve(SOURCE, window_s=60.0, has_ids=False)
    event = attrs.evolve(EVENT, id=None, raw={"exchange": "chat_msg", "routing_key": "a.b@c.chat_msg_sent"})
    mark = arrived(source, event, "j1").mark
    assert arrived(source, attrs.evolve(event, received_at_s=2000.0), "j2").mark == mark
    received: Json = {"exchange": "chat_msg", "routing_key": "a.b@c.chat_msg_recv"}
    for other in ({"body": "x"}, {"sender": "x"}, {"receiver": "x"}, {"raw": received}):
        assert arrived(source, attrs.evolve(event, **other), "j3").mark not in (mark, "j3")


def test_presence_without_an_id_is_never_a_repetition() -> None:
    source = attrs.evolve(SOURCE, window_s=60.0, has_ids=False)
    assert arrived(source, attrs.evolve(EVENT, id=None, type="presence"), "j1").mark == "j1"


def test_each_other_event_is_known_by_its_job() -> None:
    watched = attrs.evolve(SOURCE, window_s=60.0)
    for event in (arrived(watched, attrs.evolve(EVENT, id=None), "j1"), arrived(SOURCE, EVENT, "j1")):
        assert event.mark == "j1"


def test_own_messages_are_looked_for_where_configured() -> None:
    guarded = attrs.evolve(SOURCE, own_s=30.0)
    one = arrived(guarded, EVENT, "j1")
    assert (one.sent_mark, one.sent_ms) == (mark_of_sent("a@b", "bot@d", "a secret text"), 30_000)
    for other in (arrived(SOURCE, EVENT, "j1"), arrived(guarded, attrs.evolve(EVENT, body=None), "j1")):
        assert other.sent_mark is None


def test_a_source_takes_what_it_wants() -> None:
    wanted = attrs.evolve(SOURCE, only=Filter(("message",), ("a@*",), ("bot@*",)))
    for source in (SOURCE, wanted):
        assert route_of(source, EVENT) == Route("events", "Chat::Event")
    assert route_of(attrs.evolve(SOURCE, only=Filter(("presence",))), EVENT) is None
    assert route_of(attrs.evolve(wanted, excluded=Filter(receiver=("nobody",), sender=("a@b",))), EVENT) is None


def test_the_first_route_that_fits_takes_an_event() -> None:
    bots = Route("bots", "Bot", only=Filter(receiver=("bot*",)), excluded=Filter(body=("*SPAM*",)))
    urgent = Route("urgent", "Urgent", only=Filter(body=("*urgent*",)))
    source = attrs.evolve(SOURCE, routes=(bots, urgent))
    bodies = ("hello", "spam, and urgent", "spam")
    found = [route_of(source, attrs.evolve(EVENT, body=body)) for body in bodies]
    assert found == [bots, urgent, None]


def test_unwanted_event_is_pushed_for_a_test_only() -> None:
    dropping = attrs.evolve(SOURCE, only=Filter(("presence",)))
    assert incoming_event(dropping, EVENT, "j1") is None
    text = text_of_test("0123456789abcdef" * 2)
    made = arrived(dropping, attrs.evolve(EVENT, body=text), "j1")
    assert (made.queue, made.test_mark) == ("", mark_of_test(text))
    assert made.test_mark is not None
    for other in (None, "", "hello", f"{text} ", f"> {text}", text.upper(), text[:-1]):
        assert mark_of_test(other) is None


def test_a_route_says_what_an_event_looks_like() -> None:
    shape = Shape({"tenant": "a", "level": 3}, {"from": "author", "body": "message"}, ("raw", "id"))
    job = json.loads(arrived(attrs.evolve(SOURCE, shape=shape), EVENT, "j1").payload)
    (event,) = job["args"]
    assert event == {
        "type": "message", "author": "a@b/c", "to": "bot@d", "message": "a secret text", "room": None, "presence": None,
        "server": "d", "source": "prosody", "received_at": event["received_at"], "tenant": "a", "level": 3,
    }  # fmt: skip
    assert "a secret text" not in json.dumps(redact.job(job))


@rows(
    ("sender", "is_dropped"),
    [
        *(("Bot@b/x", True), ("ann@b", True), ("ops@rooms.b/nick", True)),
        *(("dev@rooms.b", False), ("bob@b", False), ("x@b", False), (None, False)),
    ],
)
def test_what_its_own_command_may_have_said_is_dropped(sender: str | None, is_dropped: bool) -> None:
    """Else a server that posts what is said would never end; another room of the same host is another."""
    arguments = {"from": "bot@b", "to": "ann@b", "room": "{name}@rooms.b", "n": 1, "body": "x@b"}
    source = attrs.evolve(SOURCE, handover=Handover("chat", "send_message", arguments))
    event = attrs.evolve(EVENT, sender=sender, more={"name": "ops"})
    assert (incoming_event(source, event, "j1") is None) == is_dropped
