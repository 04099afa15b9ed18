"""What Prosody gets for a job, byte for byte, and what is refused before anything is sent."""

import base64
import json
from typing import Any

from restbroker.job.command import Call, Command
from restbroker.job.outcome import Rejected
from restbroker.servers.prosody.connector import health_of
from restbroker.transport.message import Response
from tests.support.receiver import Received
from tests.unit.servers.conftest import JID, Opened, answering
from tests.unit.servers.prosody_rest.conftest import all_modules

RESULT = json.dumps({"kind": "iq", "type": "result", "id": "1", "from": "example.org", "to": "broker@example.org"})


def login(received: Received) -> str:
    """What stands in the header of HTTP Basic."""
    return base64.b64decode(received.headers["authorization"].removeprefix("Basic ")).decode()


async def test_a_message_is_one_post_of_its_members_with_the_local_part_as_login(opened: Opened) -> None:
    async with opened() as bench:
        got = await bench.sent("message", to="juliet@example.org", body="Hi «there»", type="chat")
    assert (got.method, got.target, login(got)) == ("POST", "/rest", "broker:b4sic-s3cr3t")
    assert (got.headers["content-type"], got.headers["accept"]) == ("application/json", "application/json")
    assert got.headers["host"] == "example.org"
    members = {"kind": "message", "id": JID, "to": "juliet@example.org", "body": "Hi «there»", "type": "chat"}
    assert json.loads(got.body) == members
    assert got.headers["content-length"] == str(len(got.body))


async def test_a_whole_jid_as_user_is_sent_as_its_local_part_alone_and_a_token_as_bearer(opened: Opened) -> None:
    auth = {"Basic": {"User": "broker@example.org", "Pass": "p"}}
    async with opened(Auth=auth, Domain=None) as bench:
        assert login(await bench.sent("message", to="juliet@example.org", body="x")) == "broker:p"
    async with opened(Auth={"Bearer": {"Token": "t0ken"}}) as bench:
        got = await bench.sent("message", to="juliet@example.org", body="x")
    assert got.headers["authorization"] == "Bearer t0ken"


async def test_a_message_keeps_its_own_id_and_an_iq_gets_none(opened: Opened) -> None:
    async with opened(answering(200, RESULT.encode())) as bench:
        assert json.loads((await bench.sent("message", to="a@example.org", id="mine")).body)["id"] == "mine"
        assert "id" not in json.loads((await bench.sent("iq", to="a@example.org", ping=True)).body)


async def test_null_and_the_own_kind_are_as_if_they_were_not_given_and_members_of_fields_are_passed_on(
    opened: Opened,
) -> None:
    async with opened(options={"Fields": ["receipt"]}) as bench:
        assert json.loads((await bench.sent("message", **TO, receipt=True)).body)["receipt"] is True
        got = await bench.sent("message", to="a@example.org", body="x", subject=None, kind="message")
        refused = await bench.deliver("message", to="a@example.org", kind="presence")
    assert json.loads(got.body) == {"kind": "message", "id": JID, "to": "a@example.org", "body": "x"}
    assert isinstance(refused, Rejected)


async def test_what_only_asks_is_a_get_where_the_jid_can_stand_in_a_path(opened: Opened) -> None:
    rows: list[tuple[str, dict[str, Any], str, str, Any]] = [
        ("ping", {"to": "example.org"}, "GET", "/rest/ping/example.org", None),
        ("version", {"to": "a@example.org/r"}, "GET", "/rest/version/a@example.org/r", None),
        ("items", {"to": "rooms.example.org"}, "GET", "/rest/items/rooms.example.org", None),
        ("version", {"to": "a@example.org/r r"}, "POST", "/rest", {"version": {}, "to": "a@example.org/r r"}),
        ("ping", {"to": "я@example.org"}, "POST", "/rest", {"ping": True, "to": "я@example.org"}),
        ("iq_get", {"to": "a.org", "lastactivity": {}}, "POST", "/rest", {"to": "a.org", "lastactivity": {}}),
        ("disco", {"to": "a.org", "node": "x"}, "POST", "/rest", {"disco": "x", "to": "a.org"}),
        ("items", {"to": "a.org/%41"}, "POST", "/rest", {"items": True, "to": "a.org/%41"}),
    ]
    for command, arguments, method, target, body in rows:
        async with opened(answering(200, RESULT.encode())) as bench:
            got = await bench.sent(command, **arguments)
        assert (got.method, got.target) == (method, target), (command, arguments)
        assert (json.loads(got.body) if got.body else None) == (body and {"kind": "iq", "type": "get", **body})


async def test_a_command_on_an_account_is_an_ad_hoc_command_to_its_host(opened: Opened) -> None:
    async with opened(answering(200, RESULT.encode())) as bench:
        own = json.loads((await bench.sent("unregister", user="ann")).body)
        other = json.loads((await bench.sent("unregister", user="ann", host="b.org")).body)
    assert (own["kind"], own["type"], own["to"]) == ("iq", "set", "example.org")
    assert own["command"]["node"] == "http://jabber.org/protocol/admin#delete-user"
    assert own["command"]["data"]["accountjids"] == ["ann@example.org"]
    assert (other["to"], other["command"]["data"]["accountjids"]) == ("b.org", ["ann@b.org"])


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


async def test_the_other_modules_get_their_own_logins_and_paths(opened: Opened) -> None:
    async with opened(answering(201), all_modules) as bench:
        sent = [
            await bench.sent("announcement", body="Soon", recipients="online", host="example.org"),
            await bench.sent("invite", username="romeo", ttl=60),
            await bench.sent("users"),
            await bench.sent("update_user", username="romeo", display_name="R"),
            await bench.sent("delete_user", username="romeo"),
            await bench.sent("msg", to="juliet@example.org", body="Hi"),
        ]
    assert [(got.method, got.target, got.body.decode()) for got in sent] == [
        ("POST", "/admin_api/server/announcement", '{"body":"Soon","recipients":"online"}'),
        ("POST", "/admin_api/invites/account", '{"username":"romeo","ttl":60}'),
        ("GET", "/admin_api/users", ""),
        ("PUT", "/admin_api/users/romeo", '{"display_name":"R"}'),
        ("DELETE", "/admin_api/users/romeo", ""),
        ("POST", "/msg/juliet@example.org", '{"body":"Hi"}'),
    ]
    assert {got.headers["authorization"] for got in sent[:-1]} == {"Bearer 4dmin"}
    assert login(sent[-1]) == "broker@example.org:b4sic-s3cr3t"
    # A charset behind it would be answered 415.
    assert sent[-1].headers["content-type"] == "application/json"


TO = {"to": "a@example.org"}
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("message", {"body": "x"}, 'the argument "to" is missing'),
    ("message", {"to": None, "body": "x"}, 'the argument "to" is null, where a JID'),
    ("message", {"to": "@@", "body": "x"}, 'the argument "to" is a string, but not a JID such as'),
    ("message", {"to": ["a@b"]}, 'the argument "to" is a list, where a JID'),
    ("message", {"to": "a@b c", "body": "x"}, "but not a JID such as"),
    (
        "register",
        {"user": "a", "password": ""},
        'the argument "password" is a string, but not a password of at least one',
    ),
    ("change_password", {"user": "a", "newpass": ""}, 'the argument "newpass" is a string, but not a password'),
    ("message", {**TO, "from": "@", "body": "x"}, 'the argument "from" is a string, but not a JID'),
    (
        "presence",
        {**TO, "muc": {"password": "p"}},
        'the argument "muc" is an object, where an object that has history',
    ),
    ("message", {**TO, "bdoy": "x"}, "there is an argument 'bdoy', which message does not have; did you mean body?"),
    ("message", {**TO, "body": 5}, 'the argument "body" is a number, where a string is needed'),
    ("message", {**TO, "body": "a\x00b"}, 'the argument "body" has a control character'),
    ("message", {**TO, "thread": {"id": "a\x01"}}, 'the argument "thread" has a control character'),
    ("message", {**TO, "body": "\ud800"}, 'the argument "body" has a control character or half of one'),
    ("message", {**TO, "markable": "true"}, 'the argument "markable" is a string, where true or false is needed'),
    ("presence", {**TO, "priority": True}, 'the argument "priority" is a boolean, where a whole number is needed'),
    ("presence", {"show": "away"}, 'the argument "to" is missing'),
    ("announcement", {"body": "x", "recipients": "everybody"}, '"online", "all", or a list of JIDs'),
    ("announcement", {"body": "x", "recipients": []}, '"online", "all", or a list of JIDs'),
    ("announcement", {"body": "x", "recipients": ["@"]}, '"online", "all", or a list of JIDs'),
    ("announcement", {"body": "x", "recipients": "all", "host": "other.org"}, 'the argument "host" is not the host'),
    ("invite", {"groups": "a"}, 'the argument "groups" is a string, where a list of strings is needed'),
    ("user", {"username": "../invites"}, 'the argument "username" becomes a part of the path'),
    ("user", {"username": ".."}, 'the argument "username" becomes a part of the path'),
    ("user", {"username": ""}, 'the argument "username" becomes a part of the path'),
    ("msg", {"to": "a@b/c?d", "body": "x"}, 'the argument "to" becomes a part of the path'),
    ("register", {"user": "a"}, 'the argument "password" is missing'),
    ("register", {"user": "a@example.org", "password": "x"}, "but not the name of an account, without its host"),
    ("unregister", {"user": "a", "host": "a@example.org"}, 'the argument "host" is a string, but not a host such as'),
    ("kick_user", {"user": "a", "resource": "x" * 2000}, "the arguments make no JID"),
]


async def test_what_prosody_would_drop_without_a_word_is_refused_before_anything_is_sent(opened: Opened) -> None:
    async with opened(options=all_modules) as bench:
        for command, arguments, why in REFUSED:
            outcome = await bench.deliver(command, **arguments)
            assert isinstance(outcome, Rejected), why
            assert outcome.reason.code == "BadArgument", why
            assert why in outcome.reason.message
            assert not outcome.reason.message.endswith("?.")
        assert bench.server.received == []


async def test_a_command_of_a_module_that_is_not_configured_says_which_option_names_it(opened: Opened) -> None:
    async with opened() as bench:
        known, unknown = await bench.deliver("announcement"), await bench.deliver("create_room")
        other = await bench.deliver("msg")
    assert [outcome.reason.code for outcome in (known, unknown, other)] == ["UnknownCommand"] * 3
    assert known.reason.hint == "Give the URL of its module in the target's Options: AdminURL."
    assert other.reason.hint == "Give the URL of its module in the target's Options: MsgURL."
    assert "AdminURL" not in unknown.reason.hint


VERSION = json.dumps({"type": "result", "kind": "iq", "version": {"name": "Prosody", "version": "0.12.3"}}).encode()
ERROR = json.dumps({"type": "error", "kind": "iq", "error": {"condition": "service-unavailable"}}).encode()


def test_the_probe_tells_a_server_that_works_from_a_refused_login_and_a_wrong_address() -> None:
    rows: list[tuple[int, bytes, bool, bool, str | None]] = [
        (200, VERSION, True, False, "0.12.3"),
        (200, ERROR, True, False, None),
        (400, b"", True, False, None),
        (401, b"", False, True, None),
        (404, b"<html>", False, True, None),
        (200, b"<html>", False, True, None),
        (301, b"", False, True, None),
        (500, b"", False, False, None),
    ]
    for status, body, is_ok, is_denied, version in rows:
        found = health_of(Response(status, {}, body, 0.0)).probe
        assert (found.ok, found.denied, found.version) == (is_ok, is_denied, version), (status, body)
        assert found.ok or found.hint, (status, body)


async def test_the_probe_asks_the_own_host_for_its_version_or_without_one_sends_no_stanza(opened: Opened) -> None:
    async with opened(answering(200, VERSION)) as bench:
        assert (await bench.connector.probe(bench.link)).ok
        (got,) = bench.server.received
    async with opened(answering(400), Auth={"Bearer": {"Token": "t"}}, Domain=None) as bench:
        assert (await bench.connector.probe(bench.link)).ok
        (without,) = bench.server.received
    assert (got.method, got.target) == ("GET", "/rest/version/example.org")
    assert (without.method, without.target, without.body) == ("POST", "/rest", b"{}")
