"""What Prosody gets for a job, as JSON or as the XML that the job gives, what is refused unsent, and its options."""

import base64
import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.job import redact
from restbroker.job.command import Call, Command
from restbroker.job.hiding import HIDDEN
from restbroker.job.json_types import Json
from restbroker.job.outcome import Delivered, Outcome, Rejected
from restbroker.servers import registry
from restbroker.servers.api.ad_hoc import COMMANDS as ACCOUNTS
from restbroker.servers.prosody import xml_stanza
from restbroker.servers.prosody.catalogue import for_version
from tests.support.receiver import Answer, Received, Receiver
from tests.unit.servers.conftest import JID, Made, Opened, Usual, answering, refused_unsent

BASIC = {"Basic": {"User": "broker", "Pass": "b4sic-s3cr3t"}}


@pytest.fixture
def usual() -> Usual:
    """The usual target of this kind."""
    url = "http://127.0.0.1:5280/rest"
    entry = {"Kind": "prosody-rest", "URL": url, "Auth": BASIC, "Domain": "example.org"}
    return Usual("chat", entry, "/rest", lambda _: Answer(202, b""))


def all_modules(url: str) -> Mapping[str, str]:
    """Options that name each module of this server."""
    return {"AdminURL": f"{url}/admin_api", "AdminToken": "4dmin", "MsgURL": f"{url}/msg"}


TO = {"to": "a@example.org"}
COMMANDS = "xmlns='http://jabber.org/protocol/commands'"
PING = "<ping xmlns='urn:xmpp:ping'/>"
RESULT = json.dumps({"kind": "iq", "type": "result", "id": "1", "from": "example.org", "to": "broker@example.org"})


def login(received: Received) -> str:
    """What stands in the header of HTTP Basic."""
    return base64.b64decode(received.headers["authorization"].removeprefix("Basic ")).decode()


async def test_whole_jid_as_user_is_its_local_part_and_token_a_bearer(opened: Opened) -> None:
    auth = {"Basic": {"User": "broker@example.org", "Pass": "p"}}
    async with opened(Auth=auth, Domain=None) as bench:
        assert login(await bench.sent("message", to="juliet@example.org", body="x")) == "broker:p"
    async with opened(Auth={"Bearer": {"Token": "t0ken"}}) as bench:
        got = await bench.sent("message", to="juliet@example.org", body="x")
    assert got.headers["authorization"] == "Bearer t0ken"


async def test_null_and_own_kind_count_as_absent_and_members_pass(
    opened: Opened,
) -> None:
    async with opened(options={"Fields": ["receipt"]}) as bench:
        assert json.loads((await bench.sent("message", **TO, receipt=True)).body)["receipt"] is True
        got = await bench.sent("message", to="a@example.org", body="x", subject=None, kind="message")
        other = await bench.deliver("message", to="a@example.org", kind="presence")
    assert json.loads(got.body) == {"kind": "message", "id": JID, "to": "a@example.org", "body": "x"}
    assert isinstance(other, Rejected)


async def test_a_command_on_an_account_of_no_host_is_refused(opened: Opened) -> None:
    async with opened(Domain=None) as bench:
        outcome = await bench.deliver("unregister", user="ann")
    assert isinstance(outcome, Rejected)
    assert 'the argument "host" is missing' in outcome.reason.message


async def test_prosody_gives_up_on_an_iq_before_we_do(opened: Opened) -> None:
    async with opened(answering(200, RESULT.encode()), RequestTimeout="30s") as bench:
        call = Call(Command("iq", {"to": "a@example.org", "ping": True}), timeout_s=30.0)
        await bench.connector.deliver(call, bench.link)
        short = Call(Command("ping", {"to": "a@example.org"}), timeout_s=2.0)
        await bench.connector.deliver(short, bench.link)
    assert [got.headers["prosody-rest-timeout"] for got in bench.server.received] == ["29", "1.6"]


async def test_a_report_in_unknown_words_is_done_with_a_note(opened: Opened) -> None:
    ways = [f"The following accounts were {way}:\na@h\n" for way in ("successfully deleted", "skipped")]
    odd = "The following accounts were successfully disconnected:\na@h/The following accounts could not be x:\n"
    unknown = "an unknown note: see the answer"
    notes = {"Gone: a@h": unknown, "".join(ways): unknown, "".join(reversed(ways)): unknown, odd: None}
    for text, noted in notes.items():
        node = f"http://jabber.org/protocol/admin#{'end-user-session' if text == odd else 'delete-user'}"
        stanza = {"type": "result", "command": {"node": node, "note": {"type": "info", "text": text}}}
        async with opened(answering(200, json.dumps(stanza).encode())) as bench:
            outcome = await bench.deliver("iq", **TO)
        assert isinstance(outcome, Delivered), text
        assert outcome.note == noted, text


async def test_command_of_an_unconfigured_module_names_the_option(opened: Opened) -> None:
    async with opened() as bench:
        known, unknown = await bench.deliver("announcement"), await bench.deliver("create_room")
        other = await bench.deliver("msg")
    assert [outcome.reason.code for outcome in (known, unknown, other)] == ["UnknownCommand"] * 3
    assert known.reason.hint == "Give the URL of its module in the target's Options: AdminURL."
    assert other.reason.hint == "Give the URL of its module in the target's Options: MsgURL."
    assert "AdminURL" not in unknown.reason.hint


VERSION = json.dumps({"type": "result", "kind": "iq", "version": {"name": "Prosody", "version": "0.12.3"}}).encode()


async def test_probe_asks_the_own_host_for_its_version_if_there_is_one(opened: Opened) -> None:
    async with opened(answering(200, VERSION)) as bench:
        assert (await bench.connector.probe(bench.link)).ok
        (got,) = bench.server.received
    async with opened(answering(400), Auth={"Bearer": {"Token": "t"}}, Domain=None) as bench:
        assert (await bench.connector.probe(bench.link)).ok
        (without,) = bench.server.received
    assert (got.method, got.target) == ("GET", "/rest/version/example.org")
    assert (without.method, without.target, without.body) == ("POST", "/rest", b"{}")


ADMIN = "http://127.0.0.1:5280/admin_api/"
MSG = "http://127.0.0.1:5280/msg"
CANARY = "c4n4ry-s3cr3t"


def test_a_target_has_the_commands_of_the_modules_that_it_names(made: Made) -> None:
    alone = registry.catalogue_of(made(), None)
    whole = registry.catalogue_of(made({"AdminURL": ADMIN, "AdminToken": "t", "MsgURL": MSG}), None)
    stanzas = ["message", "presence", "iq", "stanza", "iq_get", "ping", "version", "disco", "items"]
    assert list(alone.commands) == [*stanzas, *(account.name for account in ACCOUNTS)]
    assert (alone.version, alone.is_whole) == ("chat", True)
    assert set(whole.commands) == set(registry.catalogue("prosody-rest").commands) > set(alone.commands)


ANSWER = b"<iq type='result' id='1' from='example.org'><query xmlns='jabber:iq:version'><name>P</name></query></iq>"
BOMB = "<!DOCTYPE m [<!ENTITY a 'aa'><!ENTITY b '&a;&a;'>]><message to='a@b'><body>&b;</body></message>"


async def test_stanza_is_sent_as_given_but_for_address_and_message_id(opened: Opened) -> None:
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
    ("message", {**TO, "bdoy": "x"}, "which message does not have; did you mean body?"),
    ("announcement", {"body": "x", "recipients": "all", "host": "other.org"}, 'the argument "host" is not the host'),
    ("msg", {"to": "a@b/c?d", "body": "x"}, 'the argument "to" becomes a part of the path'),
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
    ("message", {**TO, "xml": "<message/>", "body": "x"}, 'the argument "xml" cannot be given with "body": write'),
    ("iq_get", {**TO, "xml": f"<iq type='get'>{PING}</iq>"}, "there is an argument 'xml'"),
]


async def test_stanza_prosody_would_drop_or_refuse_is_refused_unsent(opened: Opened) -> None:
    async with opened(options=all_modules) as bench:
        for command, arguments, why in REFUSED:
            assert why in await refused_unsent(bench, command, **arguments)


async def test_the_answer_comes_back_as_the_xml_that_it_is(opened: Opened) -> None:
    async with opened(answering(200, ANSWER)) as bench:
        outcome: Outcome = await bench.deliver("stanza", xml=f"<iq type='get' to='a@b'>{PING}</iq>")
    assert isinstance(outcome, Delivered)
    assert (outcome.text, outcome.body) == (ANSWER.decode(), None)


async def test_only_an_iq_that_asks_may_be_sent_again_by_the_transport(opened: Opened) -> None:
    for kind, is_repeatable in (("get", True), ("set", False)):
        assert xml_stanza.is_question({"xml": f"<iq type='{kind}' to='a@b'>{PING}</iq>"}) is is_repeatable
    assert not xml_stanza.is_question({"xml": "<message to='a@b' type='get'/>"})
    assert not xml_stanza.is_question({"xml": "<"})


def test_xml_is_shown_like_message_texts_but_not_with_a_secret() -> None:
    text = {"xml": "<message to='a@b'><body>psst</body></message>"}
    secret = {"xml": "<iq type='set' to='a@b'><x><field var='password'><value>psst</value></field></x></iq>"}
    rows = [(text, False, False), (text, True, True), (secret, False, False), (secret, True, False)]
    for arguments, show_bodies, is_shown in rows:
        shown = redact.arguments(for_version(None).commands["stanza"], arguments, show_bodies=show_bodies)
        assert ("psst" in str(shown)) is is_shown, shown


@given(st.binary() | st.text().map(str.encode))
def test_no_answer_makes_the_reading_of_xml_raise(body: bytes) -> None:
    xml_stanza.as_json(body)


async def test_form_with_a_password_hides_the_servers_words_not_ours(opened: Opened) -> None:
    why = "Trying to add a user on elsewhere.example but command was sent to example.org"
    field = "<field var='password'><value>c4n4ry-of-bob</value></field>"
    form = f"<iq type='set' to='example.org'><command node='n'><x xmlns='jabber:x:data'>{field}</x></command></iq>"
    given: Json = {"node": "n", "data": {"password": "c4n4ry-of-bob"}}
    said = json.dumps({"kind": "iq", "type": "result", "command": {"note": {"type": "error", "text": why}}})
    xml = f"<iq type='result'><command {COMMANDS}><note type='error'>{why}</note></command></iq>"
    rows: list[tuple[str, dict[str, Any], str, str]] = [
        ("iq", {"to": "example.org", "type": "set", "command": given}, said, why),
        ("stanza", {"xml": form}, xml, f"{len(xml)} bytes {HIDDEN}"),
    ]
    for command, arguments, answer, shown in rows:
        async with opened(answering(200, answer.encode())) as bench:
            outcome = await bench.deliver(command, **arguments)
        assert isinstance(outcome, Rejected), command
        assert outcome.reason.hint == "Correct the form; check that the accounts exist on its host.", command
        assert outcome.reason.message == f"The ad-hoc command failed: {shown}", command
        assert "c4n4ry" not in repr(outcome), command


async def test_check_notes_a_missing_domain_and_an_absent_server(made: Made) -> None:
    with Receiver(answering(400)) as server:
        target = made(URL=server.url + "/rest", Auth={"Bearer": {"Token": "t"}}, Domain=None)
        assert [finding.code for finding in await registry.check(target)] == ["Reachable", "NoDomain"]
    assert [finding.code for finding in await registry.check(target)] == ["Unreachable"]
