"""A message with an id becomes a stanza, or no request."""

from xml.etree import ElementTree as ET

import pytest

from restbroker.job.command import Call, Command
from restbroker.job.json_types import Json
from restbroker.servers.api.arguments import InvalidArguments
from restbroker.servers.ejabberd.stanza import as_stanza, is_for
from tests.support.rows import rows

GIVEN: dict[str, Json] = {
    "type": "chat",
    "from": "shop@example.org",
    "to": "bob@example.org",
    "subject": "",
    "body": "hi",
    "id": "order-7",
}


def call(endpoint: str = "send_message", **changes: Json) -> Call:
    return Call(Command(endpoint, GIVEN | changes), maybe_run=True, identity="i")


def test_who_sends_and_who_gets_it_stand_beside_the_stanza_as_the_job_has_them() -> None:
    made = as_stanza(call())
    assert made.command.arguments == {
        "from": "shop@example.org",
        "to": "bob@example.org",
        "stanza": '<message type="chat" id="order-7"><body>hi</body></message>',
    }
    assert (made.command.endpoint, made.maybe_run, made.identity) == ("send_stanza", True, "i")


def test_the_version_of_the_interface_that_the_job_names_stays() -> None:
    assert as_stanza(call("send_message/v1")).command.endpoint == "send_stanza/v1"


def test_only_a_message_with_an_id_is_sent_so() -> None:
    without = {name: value for name, value in GIVEN.items() if name != "id"}
    assert [is_for(call()), is_for(call("send_message/v1"))] == [True, True]
    assert [is_for(call("send_stanza")), is_for(Call(Command("send_message", without)))] == [False, False]


@rows("text", ["<body>&amp;]]></message>", "\"'\t\r\n\r x", "☂ 𝄞"])
def test_whatever_a_text_has_stays_text(text: str) -> None:
    stanza = as_stanza(call(type=text, id=text, subject=text, body=text)).command.arguments["stanza"]
    message = ET.fromstring(str(stanza))  # noqa: S314 - our own
    assert message.attrib == {"type": text, "id": text}
    assert [(part.tag, part.text) for part in message] == [("subject", text), ("body", text)]


def test_an_empty_subject_stands_beside_an_empty_body_alone() -> None:
    stanza = as_stanza(call(body="")).command.arguments["stanza"]
    assert stanza == '<message type="chat" id="order-7"><subject /><body /></message>'


@pytest.mark.parametrize("value", ["\x00", "\ud800", 5, None, ["a"]], ids=repr)
@pytest.mark.parametrize("name", list(GIVEN))
def test_what_is_no_text_of_xml_is_refused_by_its_name(name: str, value: Json) -> None:
    with pytest.raises(InvalidArguments, match=f'the argument "{name}"'):
        as_stanza(Call(Command("send_message", GIVEN | {name: value})))


def test_an_empty_id_a_missing_and_an_unknown_argument_are_refused() -> None:
    with pytest.raises(InvalidArguments, match='"id" is not a string, or is empty'):
        as_stanza(call(id=""))
    with pytest.raises(InvalidArguments, match='"lang" is unknown'):
        as_stanza(call(lang="en"))
    with pytest.raises(InvalidArguments, match='"body" is missing'):
        as_stanza(Call(Command("send_message", {name: value for name, value in GIVEN.items() if name != "body"})))
