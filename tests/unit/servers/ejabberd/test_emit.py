"""Which messages of a job ejabberd tells a component of, and how it is made to tell of one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.config.events import EventSource
from restbroker.config.target import Target, Url
from restbroker.job.command import Command
from restbroker.job.json_types import Json
from restbroker.servers.component.options import Options
from restbroker.servers.ejabberd.emit import emission, messages_of
from restbroker.servers.event_contract import Parties

ADDRESSES: dict[str, Json] = {"from": "bot@example.org", "to": "bob@example.org"}
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
        ("send_message", {"type": "chat", "body": "\x00"}, []),
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


def test_a_test_message_goes_to_the_component_itself() -> None:
    source = EventSource("a", "ejabberd-component", options=Options(name="events.example.org", hosts=("example.org",)))
    target = Target("one", "ejabberd", Url("http", "127.0.0.1", 1, "/api"), ("one",))
    made = emission(source, target, Parties(), "hello")
    assert made.command.arguments == {
        "type": "headline",
        "from": "restbroker-check@example.org",
        "to": "events.example.org",
        "subject": "",
        "body": "hello",
    }
    named = emission(source, target, Parties("ann@example.org", "bob@example.org"), "hello").command.arguments
    assert (named["from"], named["to"]) == ("ann@example.org", "bob@example.org")
