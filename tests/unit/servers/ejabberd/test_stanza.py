"""A message with an id becomes a stanza, or no request."""

from xml.etree import ElementTree as ET

from restbroker.job.command import Call, Command
from restbroker.job.json_types import Json
from restbroker.servers.ejabberd.stanza import as_stanza
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


def test_the_version_of_the_interface_that_the_job_names_stays() -> None:
    assert as_stanza(call("send_message/v1")).command.endpoint == "send_stanza/v1"


@rows("text", ["<body>&amp;]]></message>", "\"'\t\r\n\r x", "☂ 𝄞"])
def test_whatever_a_text_has_stays_text(text: str) -> None:
    stanza = as_stanza(call(type=text, id=text, subject=text, body=text)).command.arguments["stanza"]
    message = ET.fromstring(str(stanza))  # noqa: S314 - our own
    assert message.attrib == {"type": text, "id": text}
    assert [(part.tag, part.text) for part in message] == [("subject", text), ("body", text)]


def test_an_empty_subject_stands_beside_an_empty_body_alone() -> None:
    stanza = as_stanza(call(body="")).command.arguments["stanza"]
    assert stanza == '<message type="chat" id="order-7"><subject /><body /></message>'
