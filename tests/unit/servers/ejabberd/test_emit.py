"""Which messages of a job ejabberd sends to a component, and how it is made to send one."""

from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.config.events import EventSource
from restbroker.config.target import Target, Url
from restbroker.job.command import Command
from restbroker.job.event import text_of_test
from restbroker.job.json_types import Json
from restbroker.servers.component.derive import Deriver
from restbroker.servers.component.options import Options
from restbroker.servers.component.stanzas import Direct, StreamParser
from restbroker.servers.ejabberd.emit import emissions, messages_of
from restbroker.servers.event_contract import Emission, Parties

ADDRESSES: dict[str, Json] = {"from": "bot@example.org", "to": "bob@example.org"}
NUMBER: Final = "0" * 32
HELLO = ("bot@example.org", "bob@example.org", "hello")


@pytest.mark.parametrize(
    ("endpoint", "arguments", "expected"),
    [
        ("send_message", {"type": "chat", "subject": "", "body": "hello"}, [HELLO]),
        ("send_message/v1", {"type": "chat", "subject": "", "body": "hello", "id": "1"}, [HELLO]),
        (
            "send_message",
            {"type": "groupchat", "body": "hello"},
            [HELLO, ("bob@example.org", "bob@example.org", "hello")],
        ),
        ("send_message", {"type": "chat", "body": "a\r\nb\rc"}, [(*HELLO[:2], "a\nb\nc")]),
        ("send_message", {"type": "chat"}, []),
        ("send_message", {"type": "chat", "body": 7}, []),
        ("send_message", {"type": "chat", "body": "hello", "to": None}, []),
        ("send_stanza", {"stanza": "<message><body>hello</body></message>"}, [HELLO]),
        (
            "send_stanza",
            {"stanza": "<message type='groupchat'><body>hello</body></message>"},
            [HELLO, ("bob@example.org", "bob@example.org", "hello")],
        ),
        ("send_stanza", {"stanza": "<message/>"}, []),
        ("send_stanza", {"stanza": "<presence><body>hello</body></presence>"}, []),
        ("send_stanza", {"stanza": "<!DOCTYPE a [<!ENTITY b 'c'>]><message><body>hello</body></message>"}, []),
        ("send_stanza", {"stanza": "no XML"}, []),
        ("set_presence", {"body": "hello"}, []),
    ],
)
def test_the_messages_of_a_command_are_known(
    endpoint: str, arguments: dict[str, Json], expected: list[tuple[str, str, str]]
) -> None:
    assert messages_of(Command(endpoint, ADDRESSES | arguments)) == expected


_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.text(), inner, max_size=2)),
    max_leaves=4,
)


@given(
    st.sampled_from(["send_message", "send_stanza", "other"]),
    st.dictionaries(st.sampled_from(["from", "to", "body", "type", "stanza"]), _VALUES),
)
def test_no_argument_makes_it_raise(endpoint: str, arguments: dict[str, Json]) -> None:
    messages_of(Command(endpoint, arguments))


def emitted(parties: Parties | None = None, **options: Any) -> list[Emission]:
    made = Options(
        **{"name": "events.example.org", "hosts": ("example.org", "example.net"), "takes": ("message",), **options}
    )
    target = Target("one", "ejabberd", Url("http", "127.0.0.1", 1, "/api"), ("one",))
    return emissions(
        EventSource("a", "ejabberd-component", options=made), target, parties or Parties(), text_of_test(NUMBER)
    )


def test_a_test_message_of_each_host_goes_to_the_component() -> None:
    first, second = emitted()
    assert first.command.arguments == {
        "type": "headline",
        "from": "restbroker-check@example.org",
        "to": "events.example.org",
        "subject": "",
        "body": text_of_test(NUMBER),
    }
    assert second.command.arguments["from"] == "restbroker-check@example.net"
    assert first.members == {"type": "message", "from": "restbroker-check@example.org"}
    (named,) = emitted(Parties("ann@example.org", "bob@example.org"))
    arguments = named.command.arguments
    assert (arguments["from"], arguments["to"]) == ("ann@example.org", "bob@example.org")
    assert named.members == {"type": "message"}


def test_a_test_notification_is_one_of_the_host() -> None:
    (made,) = emitted(takes=("push",))
    given = made.command.arguments
    assert (given["from"], given["to"]) == ("example.org", "events.example.org")
    parser = StreamParser("events.example.org", frozenset({"example.org"}), 100_000)
    header = "<stream:stream id='1' xmlns:stream='http://etherx.jabber.org/streams' xmlns='jabber:component:accept'>"
    iq = str(given["stanza"]).replace("<iq ", "<iq from='example.org' to='events.example.org' ", 1)
    (_opened, direct) = parser.feed((header + iq).encode())
    assert isinstance(direct, Direct)
    deriver = Deriver("a", "events.example.org", frozenset({"example.org"}), frozenset(), frozenset({"push"}))
    event = deriver.event_of_push(direct.stanza, 0.0)
    assert event is not None
    assert (event.body, event.type, event.id) == (text_of_test(NUMBER), "push", NUMBER)
    assert made.trial is not None
    assert made.trial.arguments["days"] is None, "so that it never runs"


def test_message_not_taken_is_not_sent() -> None:
    assert [emission.what for emission in emitted(takes=("message", "push"))] == ["message", "message", "notification"]
    assert not emitted(takes=("presence", "receipt", "joined"))
