"""What Prosody gets for a job, byte for byte, and what is refused before anything is sent."""

import base64
import json
from typing import Any

from restbroker.job.command import Call, Command
from restbroker.job.outcome import Delivered, Rejected
from tests.support.receiver import Received
from tests.unit.servers.conftest import JID, Opened, answering
from tests.unit.servers.prosody_rest.conftest import all_modules

RESULT = json.dumps({"kind": "iq", "type": "result", "id": "1", "from": "example.org", "to": "broker@example.org"})


def login(received: Received) -> str:
    """What stands in the header of HTTP Basic."""
    return base64.b64decode(received.headers["authorization"].removeprefix("Basic ")).decode()


async def test_a_whole_jid_as_user_is_sent_as_its_local_part_alone_and_a_token_as_bearer(opened: Opened) -> None:
    auth = {"Basic": {"User": "broker@example.org", "Pass": "p"}}
    async with opened(Auth=auth, Domain=None) as bench:
        assert login(await bench.sent("message", to="juliet@example.org", body="x")) == "broker:p"
    async with opened(Auth={"Bearer": {"Token": "t0ken"}}) as bench:
        got = await bench.sent("message", to="juliet@example.org", body="x")
    assert got.headers["authorization"] == "Bearer t0ken"


async def test_null_and_the_own_kind_are_as_if_they_were_not_given_and_members_of_fields_are_passed_on(
    opened: Opened,
) -> None:
    async with opened(options={"Fields": ["receipt"]}) as bench:
        assert json.loads((await bench.sent("message", **TO, receipt=True)).body)["receipt"] is True
        got = await bench.sent("message", to="a@example.org", body="x", subject=None, kind="message")
        refused = await bench.deliver("message", to="a@example.org", kind="presence")
    assert json.loads(got.body) == {"kind": "message", "id": JID, "to": "a@example.org", "body": "x"}
    assert isinstance(refused, Rejected)


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


TO = {"to": "a@example.org"}


async def test_what_prosody_would_drop_or_do_elsewhere_is_refused_unsent(opened: Opened) -> None:
    rows: list[tuple[str, dict[str, Any], str]] = [
        ("message", {**TO, "bdoy": "x"}, "which message does not have; did you mean body?"),
        ("message", {**TO, "thread": {"id": "a\x01"}}, 'the argument "thread" has a control character'),
        (
            "announcement",
            {"body": "x", "recipients": "all", "host": "other.org"},
            'the argument "host" is not the host',
        ),
        ("msg", {"to": "a@b/c?d", "body": "x"}, 'the argument "to" becomes a part of the path'),
    ]
    async with opened(options=all_modules) as bench:
        for command, arguments, why in rows:
            outcome = await bench.deliver(command, **arguments)
            assert isinstance(outcome, Rejected), why
            assert (outcome.reason.code, why in outcome.reason.message) == ("BadArgument", True), outcome.reason
        assert bench.server.received == []


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


async def test_a_command_of_a_module_that_is_not_configured_says_which_option_names_it(opened: Opened) -> None:
    async with opened() as bench:
        known, unknown = await bench.deliver("announcement"), await bench.deliver("create_room")
        other = await bench.deliver("msg")
    assert [outcome.reason.code for outcome in (known, unknown, other)] == ["UnknownCommand"] * 3
    assert known.reason.hint == "Give the URL of its module in the target's Options: AdminURL."
    assert other.reason.hint == "Give the URL of its module in the target's Options: MsgURL."
    assert "AdminURL" not in unknown.reason.hint


VERSION = json.dumps({"type": "result", "kind": "iq", "version": {"name": "Prosody", "version": "0.12.3"}}).encode()


async def test_the_probe_asks_the_own_host_for_its_version_or_without_one_sends_no_stanza(opened: Opened) -> None:
    async with opened(answering(200, VERSION)) as bench:
        assert (await bench.connector.probe(bench.link)).ok
        (got,) = bench.server.received
    async with opened(answering(400), Auth={"Bearer": {"Token": "t"}}, Domain=None) as bench:
        assert (await bench.connector.probe(bench.link)).ok
        (without,) = bench.server.received
    assert (got.method, got.target) == ("GET", "/rest/version/example.org")
    assert (without.method, without.target, without.body) == ("POST", "/rest", b"{}")
