"""Stanzas that a job gives as XML: what Prosody gets, what is refused, what answers mean, and what a token allows."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from restbroker.config.tokens import Token
from restbroker.job import redact
from restbroker.job.auth import AccessRequest, refusal
from restbroker.job.command import Command
from restbroker.job.outcome import Delivered, Outcome, Rejected
from restbroker.servers.prosody import xml_stanza
from restbroker.servers.prosody.catalogue import for_version
from tests.unit.servers.conftest import JID, Opened, answering

SPECS = for_version(None).commands
TO = {"to": "a@example.org"}
PING = "<ping xmlns='urn:xmpp:ping'/>"
VERSION = b"<iq type='result' id='1' from='example.org'><query xmlns='jabber:iq:version'><name>P</name></query></iq>"
BOMB = "<!DOCTYPE m [<!ENTITY a 'aa'><!ENTITY b '&a;&a;'>]><message to='a@b'><body>&b;</body></message>"


async def test_a_stanza_is_sent_as_it_was_given_but_for_its_address_and_the_id_of_a_message(opened: Opened) -> None:
    rows: list[tuple[str, dict[str, Any], str]] = [
        (
            "stanza",
            {"xml": " <message to='a@b'><body>x &lt;☂<![CDATA[<]]></body><!-- c --><o xmlns='urn:o'/></message>"},
            f'<message to="a@b" id="{JID}"><body>x &lt;☂&lt;</body><o xmlns="urn:o"></o></message>',
        ),
        (
            "message",
            {**TO, "xml": "<message id='own' xmlns='jabber:client'><body>x</body></message>"},
            '<message id="own" xmlns="jabber:client" to="a@example.org"><body>x</body></message>',
        ),
        (
            "presence",
            {**TO, "type": "unavailable", "xml": "<presence/>"},
            f'<presence id="{JID}" to="a@example.org" type="unavailable"></presence>',
        ),
        (
            "iq",
            {**TO, "xml": f"<iq type='get' to='a@example.org'>{PING}</iq>"},
            '<iq type="get" to="a@example.org"><ping xmlns="urn:xmpp:ping"></ping></iq>',
        ),
    ]
    for command, arguments, body in rows:
        async with opened(answering(202)) as bench:
            got = await bench.sent(command, **arguments)
        assert (got.method, got.target, got.body.decode()) == ("POST", "/rest", body)
        assert (got.headers["content-type"], got.headers["accept"]) == ("application/xmpp+xml",) * 2
        assert ("prosody-rest-timeout" in got.headers) == (command in ("iq", "stanza"))


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("stanza", {"xml": "<message to='a@b'>"}, "is not well-formed: no element found (line 1, column 19)"),
    ("stanza", {"xml": "<message to='a@b'>&x;</message>"}, "is not well-formed: undefined entity"),
    ("stanza", {"xml": BOMB}, "has a document type"),
    ("stanza", {"xml": "<?php?><message to='a@b'/>"}, "has a document type or an instruction"),
    ("stanza", {"xml": "<stream to='a@b'/>"}, "is not a message, presence or iq"),
    ("stanza", {"xml": "<c:message xmlns:c='jabber:client' to='a@b'/>"}, "is not a message, presence or iq"),
    ("stanza", {"xml": "<message xmlns='jabber:server' to='a@b'/>"}, "is not of the namespace jabber:client"),
    ("stanza", {"xml": "<message/>"}, 'has no JID as its "to"'),
    ("stanza", {"xml": "<iq type='result' to='a@b'><x/></iq>"}, "is an iq whose type is neither get nor set"),
    ("stanza", {"xml": "<iq type='get' to='a@b'/>"}, "is an iq that does not contain exactly one element"),
    ("stanza", {"xml": f"<message to='a@b'>{'<x>' * 200}{'</x>' * 200}</message>"}, "nests elements deeper"),
    ("message", {**TO, "xml": f"<iq type='get'>{PING}</iq>"}, "is no message"),
    ("message", {**TO, "xml": "<message to='b@example.org'/>"}, 'has another to than the argument "to"'),
    (
        "message",
        {**TO, "xml": "<message from='b@example.org'/>"},
        'has a "from": give the sender as the argument "from"',
    ),
    ("message", {**TO, "xml": "<message/>", "body": "x"}, 'the argument "xml" cannot stand beside "body": write'),
    ("iq_get", {**TO, "xml": f"<iq type='get'>{PING}</iq>"}, "there is an argument 'xml'"),
]


async def test_what_is_no_stanza_or_has_another_address_than_its_arguments_is_refused_before_anything_is_sent(
    opened: Opened,
) -> None:
    async with opened() as bench:
        for command, arguments, why in REFUSED:
            outcome = await bench.deliver(command, **arguments)
            assert isinstance(outcome, Rejected), why
            assert (outcome.reason.code, why in outcome.reason.message) == ("BadArgument", True), outcome.reason
        assert bench.server.received == []


async def test_the_answer_comes_back_as_the_xml_that_it_is(opened: Opened) -> None:
    async with opened(answering(200, VERSION)) as bench:
        outcome: Outcome = await bench.deliver("stanza", xml=f"<iq type='get' to='a@b'>{PING}</iq>")
    assert isinstance(outcome, Delivered)
    assert (outcome.text, outcome.body) == (VERSION.decode(), None)


async def test_only_an_iq_that_asks_may_be_sent_again_by_the_transport(opened: Opened) -> None:
    for kind, is_repeatable in (("get", True), ("set", False)):
        assert xml_stanza.is_question({"xml": f"<iq type='{kind}' to='a@b'>{PING}</iq>"}) is is_repeatable
    assert not xml_stanza.is_question({"xml": "<message to='a@b' type='get'/>"})
    assert not xml_stanza.is_question({"xml": "<"})


def test_a_token_bound_to_hosts_sends_xml_by_the_commands_alone_whose_address_it_is_asked_for() -> None:
    token = Token("app", (), allow=("*",), hosts=("example.org",))
    rows = [
        ("message", {**TO, "xml": "<message/>"}, None),
        ("message", {"to": "a@b", "xml": "<message to='a@example.org'/>"}, "HostNotAllowed"),
        ("stanza", {"xml": "<message to='a@example.org'/>"}, "HostNotAllowed"),
        ("iq", {**TO, "xml": f"<iq type='get'>{PING}</iq>"}, "HostNotAllowed"),
    ]
    for name, arguments, code in rows:
        refused = refusal(token, AccessRequest(Command(name, arguments), SPECS[name], {}, None, "main", "q"))
        assert (refused.code if refused else None) == code, name


def test_xml_is_shown_as_message_texts_are_and_never_where_it_names_a_secret() -> None:
    text = {"xml": "<message to='a@b'><body>psst</body></message>"}
    secret = {"xml": "<iq type='set' to='a@b'><x><field var='password'><value>psst</value></field></x></iq>"}
    rows = [(text, False, False), (text, True, True), (secret, False, False), (secret, True, False)]
    for arguments, show_bodies, is_shown in rows:
        shown = redact.arguments(SPECS["stanza"], arguments, show_bodies=show_bodies)
        assert ("psst" in str(shown)) is is_shown, shown


@given(st.binary() | st.text().map(str.encode))
def test_no_answer_makes_the_reading_of_xml_raise(body: bytes) -> None:
    xml_stanza.as_json(body)
