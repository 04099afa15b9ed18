"""What a notification (XEP-0357) becomes, and how the component answers it and other questions."""

import json
from typing import Final
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.config.events import EventSource
from restbroker.events.deliver import incoming_event
from restbroker.job import redact
from restbroker.job.event import ServerEvent
from restbroker.servers.component.derive import Deriver, answer_to, answer_to_push, has_text
from restbroker.servers.component.stanzas import Direct, Stanza, StreamParser

NAME: Final = "push.example.org"
HOST: Final = "example.org"
DERIVER: Final = Deriver("ejabberd", NAME, frozenset({HOST}), frozenset(), frozenset({"push"}))
SOURCE: Final = EventSource("ejabberd", "ejabberd-component", None, "q", "Event", window_s=60.0)
HEADER: Final = "<stream:stream id='1' xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams'>"


def field(name: str, *values: str) -> str:
    return f"<field var='{name}'>{''.join(f'<value>{value}</value>' for value in values)}</field>"


def form(*fields: str) -> str:
    return f"<x xmlns='jabber:x:data' type='submit'>{''.join(fields)}</x>"


SUMMARY: Final = form(field("FORM_TYPE", "urn:xmpp:push:summary"), field("last-message-body", "New message"))
OPTIONS: Final = f"<publish-options>{form(field('secret', 'hidden-option'))}</publish-options>"


def pubsub(summary: str = SUMMARY, options: str = OPTIONS, node: str = "n1") -> str:
    notification = f"<notification xmlns='urn:xmpp:push:0'>{summary}</notification>"
    publish = f"<publish node='{node}'><item>{notification}</item></publish>"
    return f"<pubsub xmlns='http://jabber.org/protocol/pubsub'>{publish}{options}</pubsub>"


def iq(
    content: str | None = None, sender: str = HOST, to: str = NAME, kind: str = "set", number: str = "id='rr-1'"
) -> Stanza:
    """Such an iq, as the parser returns it."""
    parser = StreamParser(NAME, DERIVER.hosts, 1024 * 1024)
    content = pubsub() if content is None else content
    items = parser.feed(f"{HEADER}<iq type='{kind}' from='{sender}' to='{to}' {number}>{content}</iq>".encode())
    (direct,) = (item for item in items if isinstance(item, Direct))
    return direct.stanza


def event(one: Stanza) -> ServerEvent:
    found = DERIVER.event_of_push(one, 1.5)
    assert found is not None
    return found


def parts(answer: str | None) -> tuple[str, str, str]:
    """The answer's type, its error's type, and the condition."""
    assert answer is not None
    element = ET.fromstring(answer)  # noqa: S314  our own
    error = element.find("error")
    if error is None:
        return element.attrib["type"], "", ""
    return element.attrib["type"], error.attrib["type"], error[0].tag.rpartition("}")[2]


def test_a_notification_has_the_members_of_every_event() -> None:
    found = event(iq())
    options, summary = {"secret": "hidden-option"}, {"last-message-body": "New message"}
    assert found == ServerEvent(
        "push",
        None,
        None,
        id="rr-1",
        body="New message",
        room=None,
        server=HOST,
        source="ejabberd",
        received_at_s=1.5,
        raw={"kind": "push", "node": "n1", "options": options, "summary": summary},
        digest=found.digest,
        more={"node": "n1"},
    )


def test_summary_and_options_are_read_as_they_are_written() -> None:
    """Prosody leaves out the value of an empty field; a field may come twice, or have two values."""
    fields = (field("last-message-sender", "ann@example.org"), field("last-message-body"), field("message-count", "1"))
    found = event(
        iq(pubsub(form(*fields), f"<publish-options>{form(field('a', '1'), field('a', '2', '3'))}</publish-options>"))
    )
    assert (found.sender, found.body, has_text(found)) == ("ann@example.org", None, True)
    assert isinstance(found.raw, dict)
    assert found.raw["summary"] == {
        "last-message-sender": "ann@example.org",
        "last-message-body": None,
        "message-count": "1",
    }
    assert found.raw["options"] == {"a": ["1", "2", "3"]}


@pytest.mark.parametrize("summary", ["", form(), form(field("message-count", "1"), field("last-message-body"))])
def test_notification_without_message_is_an_event_without_text(summary: str) -> None:
    found = event(iq(pubsub(summary, options="")))
    assert not has_text(found)
    assert isinstance(found.raw, dict)
    assert found.raw["options"] == {}


def test_the_mark_is_of_host_and_id_alone() -> None:
    def mark(one: Stanza, deriver: Deriver = DERIVER) -> str | None:
        found = deriver.event_of_push(one, 1.5)
        assert found is not None
        made = incoming_event(SOURCE, found, "jid")
        assert made is not None
        return made.mark

    two = Deriver("ejabberd", NAME, frozenset({HOST, "example.net"}), frozenset(), frozenset({"push"}))
    assert mark(iq()) == mark(iq(pubsub(node="n2")))
    assert len({mark(iq()), mark(iq(number="id='rr-2'")), mark(iq(sender="example.net"), two)}) == 3


@pytest.mark.promise
@pytest.mark.parametrize(
    "one",
    [
        iq(sender="ann@example.org/phone"),
        iq(sender="ann@example.org"),
        iq(sender="example.org/x"),
        iq(sender="example.net"),
        iq(to=f"x@{NAME}"),
        iq(to=f"{NAME}/x"),
        iq(kind="get"),
        iq(number=""),
        iq("<pubsub xmlns='http://jabber.org/protocol/pubsub'/>"),
        iq("<pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='n1'><item/></publish></pubsub>"),
    ],
)
def test_lookalike_of_a_notification_waits_and_is_no_event(one: Stanza) -> None:
    assert DERIVER.event_of_push(one, 1.5) is None
    assert parts(answer_to(one, NAME, takes_push=True)) == ("error", "wait", "service-unavailable")


@pytest.mark.promise
def test_with_push_off_a_notification_waits() -> None:
    off = Deriver("ejabberd", NAME, DERIVER.hosts, frozenset(), frozenset({"message"}))
    assert off.event_of_push(iq(), 1.5) is None
    assert parts(answer_to(iq(), NAME, takes_push=False)) == ("error", "wait", "service-unavailable")


def test_question_to_another_name_is_not_answered() -> None:
    """The server closes the stream of a component that speaks for another."""
    assert answer_to(iq(to="other.example.org"), NAME, takes_push=True) is None
    for kind in ("result", "error"):
        assert answer_to(iq(kind=kind), NAME, takes_push=True) is None


def test_ping_and_disco_are_answered_and_nothing_else() -> None:
    ping, info = "<ping xmlns='urn:xmpp:ping'/>", "<query xmlns='http://jabber.org/protocol/disco#info'{}/>"
    assert parts(answer_to(iq(ping, kind="get"), NAME, takes_push=False)) == ("result", "", "")
    refused = ("error", "cancel", "service-unavailable")
    others = (iq(ping), iq(info.format(" node='n'"), kind="get"), iq("<query xmlns='jabber:iq:version'/>", kind="get"))
    assert [parts(answer_to(other, NAME, takes_push=True)) for other in others] == [refused] * 3
    for takes_push, identity in ((True, ("pubsub", "push")), (False, ("component", "generic"))):
        answer = ET.fromstring(answer_to(iq(info.format(""), kind="get"), NAME, takes_push=takes_push) or "")  # noqa: S314  our own
        (query,) = answer
        assert (query[0].get("category"), query[0].get("type")) == identity
        assert ("urn:xmpp:push:0" in {feature.get("var") for feature in query[1:]}) == takes_push


_TEXTS: Final = st.text(st.characters(min_codepoint=32, max_codepoint=0xD7FF), max_size=8)
_NAMES: Final = st.sampled_from(
    [
        *(f"{{http://jabber.org/protocol/pubsub}}{name}" for name in ("pubsub", "publish", "item", "publish-options")),
        *("{urn:xmpp:push:0}notification", "{jabber:x:data}x", "{jabber:x:data}field", "{jabber:x:data}value"),
        *("{urn:xmpp:ping}ping", "{http://jabber.org/protocol/disco#info}query", "{urn:x}y"),
    ]
)


def _element(name: str, given: dict[str, str], text: str, children: list[ET.Element]) -> ET.Element:
    element = ET.Element(name, given)
    element.text = text
    element.extend(children)
    return element


_GIVEN: Final = st.dictionaries(st.sampled_from(["node", "var", "type"]), _TEXTS)
_TREES: Final = st.recursive(
    st.builds(_element, _NAMES, _GIVEN, _TEXTS, st.just([])),
    lambda inner: st.builds(_element, _NAMES, _GIVEN, _TEXTS, st.lists(inner, max_size=3)),
    max_leaves=12,
)
_VALID: Final = iq().element[0]


@pytest.mark.promise
@given(
    st.lists(st.one_of(_TREES, st.just(_VALID)), max_size=3),
    st.booleans(),
    st.sampled_from(["get", "set"]),
    st.sampled_from([HOST, "ann@example.org/x", "example.net", "a@b", "x\"/'<&>"]),
    st.sampled_from([NAME, f"x@{NAME}", f"{NAME}/x", f"x@{NAME}/y"]),
    st.one_of(st.none(), _TEXTS),
    st.booleans(),
)
def test_no_notification_is_answered_but_by_result_or_wait(
    children: list[ET.Element],
    is_pubsub: bool,
    kind: str,
    sender: str,
    to: str,
    number: str | None,
    takes_push: bool,
) -> None:
    if is_pubsub:
        children = [_element("{http://jabber.org/protocol/pubsub}pubsub", {}, "", children), *children]
    given = {"type": kind, "from": sender, "to": to} | ({} if number is None else {"id": number})
    element = _element("{jabber:component:accept}iq", given, "", children)
    one = Stanza(element, sender, to, "")
    deriver = Deriver("ejabberd", NAME, DERIVER.hosts, frozenset(), frozenset({"push"} if takes_push else ()))
    if found := deriver.event_of_push(one, 1.5):
        assert takes_push
        assert (sender, to) == (HOST, NAME)
        made = incoming_event(SOURCE, found, "jid")
        assert made is not None
        json.loads(made.payload)
        answers = [answer_to_push(found, NAME, "result"), answer_to_push(found, NAME, "wait")]
    else:
        answers = [answer_to(one, NAME, takes_push=takes_push) or ""]
    is_notification = any(child.tag.endswith("}pubsub") for child in children)
    for answer in answers:
        reply = ET.fromstring(answer)  # noqa: S314  our own
        assert (reply.get("from"), reply.get("to"), reply.get("id")) == (to, sender, number or "")
        if is_notification:
            assert parts(answer)[:2] in (("result", ""), ("error", "wait"))


@pytest.mark.promise
@pytest.mark.parametrize("show_bodies", [False, True])
def test_publish_options_are_masked_whatever_their_name(show_bodies: bool) -> None:
    found = event(iq(pubsub(options=f"<publish-options>{form(field('plain', 'hidden-option'))}</publish-options>")))
    made = incoming_event(SOURCE, found, "jid")
    assert made is not None
    fields = json.loads(made.payload) | {"error_message": "bad device hidden-option"}
    assert b"hidden-option" in made.payload
    assert b"hidden-option" not in made.record
    shown = json.dumps(redact.job(fields, show_bodies=show_bodies))
    assert "hidden-option" not in shown
    assert "n1" not in shown, "the node may be all that it takes"
