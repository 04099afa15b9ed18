"""Which answer of ejabberd becomes which outcome. Bodies are as measured on 23.01 and 24.12."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import assert_never

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.config.secret import Secret
from restbroker.config.target import Basic
from restbroker.connectors.ejabberd import catalogue
from restbroker.connectors.ejabberd.outcomes import judge
from restbroker.connectors.login import authorization
from restbroker.rules.command import Call, Command, CommandSpec
from restbroker.rules.json_types import Json
from restbroker.rules.outcome import Deferred, Delivered, Denied, Outcome, Rejected, Uncertain, Unsent
from restbroker.transport.message import Response

COMMANDS = catalogue.for_version("24.12").commands
PAGE = b"<?xml version='1.0'?><html><head><title>x</title></head><body><h1>502 Bad Gateway</h1></body></html>"


def judged(
    command: str,
    status: int,
    body: bytes | Json,
    arguments: Mapping[str, Json] | None = None,
    *,
    headers: Mapping[str, str] | None = None,
    maybe_run: bool = False,
    ok_if_exists: bool = False,
    truncated: bool = False,
    now_s: float = 0.0,
    password: str = "",
) -> Outcome:
    """The outcome of this answer; a body that is not bytes is sent as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    call = Call(Command(command, arguments or {}), maybe_run=maybe_run, ok_if_exists=ok_if_exists)
    login = authorization(Basic("admin@localhost", Secret(password)))
    response = Response(status, headers or {}, data, 0.1, truncated, login)
    return judge(call, COMMANDS.get(command.partition("/")[0]), response, now_s)


def error(code: int, message: str) -> Json:
    """An error as ejabberd's API words it."""
    return {"status": "error", "code": code, "message": message}


def in_short(outcome: Outcome) -> str:
    """The outcome's kind and what tells it from others of its kind."""
    match outcome:
        case Delivered():
            return f"Delivered {'no' if outcome.negative else outcome.note or 'yes'}"
        case Deferred():
            details = [outcome.reason.code, "counts" if outcome.counts else "free"]
            details += ["pauses"] if outcome.pause_target else []
            details += [f"max {outcome.max_attempts}"] if outcome.max_attempts else []
            return "Deferred " + " ".join(details)
        case Rejected() | Uncertain() | Unsent() | Denied():
            return f"{type(outcome).__name__} {outcome.reason.code}"
        case _:
            assert_never(outcome)


DUPLICATE = error(10090, "User a@localhost already registered")


@pytest.mark.parametrize(
    ("command", "status", "body", "expected"),
    [
        ("register", 200, "User a@localhost successfully registered", "Delivered yes"),
        ("connected_users_number", 200, 1, "Delivered yes"),
        ("connected_users_number", 200, {"num_sessions": 1}, "Delivered yes"),
        ("get_roster", 200, [], "Delivered yes"),
        ("unregister", 200, "", "Delivered yes"),
        ("unregister", 200, b'""', "Delivered yes"),
        ("check_account", 200, 0, "Delivered yes"),
        ("check_account", 200, 1, "Delivered no"),
        ("check_password", 200, 1, "Delivered no"),
        ("create_room", 200, 0, "Delivered yes"),
        ("create_room", 200, 1, "Rejected CommandFailed"),
        ("create_room/v1", 200, 1, "Rejected CommandFailed"),
        ("create_room", 200, {"res": 1}, "Rejected CommandFailed"),
        ("restart_module", 200, 1, "Rejected CommandFailed"),
        ("ban_account", 200, 1, "Rejected CommandFailed"),
        ("a_command_of_ours", 200, 1, "Delivered yes"),
        ("register", 200, PAGE, "Denied NotTheApi"),
        ("register", 200, b"", "Denied NotTheApi"),
        ("send_message", 204, b"", "Denied NotTheApi"),
        ("register", 302, b"", "Denied Redirected"),
        ("register", 307, b"", "Denied Redirected"),
        ("register", 400, "Request have missing argument: password", "Rejected BadArgument"),
        ("register", 400, "Request have unknown arguments: [z]", "Rejected BadArgument"),
        ("register", 400, "Request has unknown argument: z", "Rejected BadArgument"),
        ("register", 400, "Request have duplicate argument", "Rejected BadArgument"),
        ("register", 400, "Arg 5 is not in format binary", "Rejected BadArgument"),
        ("registered_users", 400, "Unknown virtual host", "Rejected UnknownHost"),
        ("send_stanza", 400, "unclosed token", "Rejected BadArgument"),
        ("send_stanza_c2s", 400, "no_session", "Rejected NotFound"),
        ("get_vcard", 400, "error_no_vcard_found", "Rejected NotFound"),
        ("create_room", 400, "Room already exists", "Rejected AlreadyExists"),
        ("set_room_affiliation", 400, "Room doesn't exists", "Rejected NotFound"),
        ("subscribe_room", 400, "Subscriptions are not allowed", "Rejected Refused"),
        ("get_room_options", 400, "400 Bad Request", "Rejected BadRequest"),
        ("register", 400, PAGE, "Rejected Refused"),
        ("register/x", 400, error(40, "Missing command name."), "Rejected UnknownCommand"),
        ("register", 400, "unknown_command", "Deferred ServerStopping free pauses"),
        ("a_command_of_ours", 400, "unknown_command", "Rejected UnknownCommand"),
        ("register", 401, error(10, "You are not authorized to call this command."), "Denied LoginRefused"),
        ("register", 403, error(32, "AccessRules: …"), "Denied CommandForbidden"),
        ("register", 404, error(40, "Endpoint not found."), "Rejected UnknownCommand"),
        ("register", 404, error(44, "Command not found."), "Rejected UnknownCommand"),
        ("change_password", 404, "unknown_user", "Rejected NotFound"),
        ("register", 404, b"<html><h1>404 Not Found</h1></html>", "Denied WrongUrl"),
        ("register", 409, DUPLICATE, "Rejected AlreadyExists"),
        ("register", 413, b"too large", "Rejected Refused"),
        ("register", 408, b"", "Deferred ServerBusy free pauses"),
        ("register", 425, b"", "Deferred ServerBusy free pauses"),
        ("register", 429, b"", "Deferred ServerBusy free pauses"),
        ("register", 503, PAGE, "Deferred ServerBusy free pauses"),
        ("register", 500, error(10001, "Unknown virtual host"), "Rejected UnknownHost"),
        (
            "register",
            500,
            error(10001, "Can't register user a@@x at node n: Malformed username"),
            "Rejected BadArgument",
        ),
        (
            "register",
            500,
            error(10001, "Can't register user a@x at node n: Database failure"),
            "Deferred ServerError counts",
        ),
        ("add_rosteritem", 500, "internal_error", "Deferred ServerError counts max 3"),
        ("backup", 500, error(0, "Can't store backup"), "Deferred ServerError counts"),
        ("register", 502, PAGE, "Deferred ServerError counts pauses"),
        ("register", 504, PAGE, "Uncertain GatewayTimeout"),
        ("register", 599, b"", "Deferred ServerError counts"),
        ("register", 101, b"", "Rejected OddAnswer"),
        ("register", 999, b"", "Rejected OddAnswer"),
    ],
)
def test_each_answer_has_its_outcome(command: str, status: int, body: bytes | Json, expected: str) -> None:
    assert in_short(judged(command, status, body)) == expected


@pytest.mark.parametrize(("status", "body"), [(401, error(401, "no")), (404, PAGE), (302, b""), (200, PAGE)])
def test_a_cure_names_what_is_wrong_and_not_only_a_key_that_some_configurations_lack(
    status: int, body: bytes | Json
) -> None:
    outcome = judged("kick_user", status, body)
    assert isinstance(outcome, Denied)
    assert re.search(r"the target's (URL|user) \(Rest(URL|User)\b", outcome.reason.cure or "")


@pytest.mark.parametrize(
    ("command", "status", "body"),
    [
        ("register", 409, DUPLICATE),
        ("a_command_of_ours", 409, DUPLICATE),
        ("create_room", 400, "Room already exists"),
        ("create_room_with_opts", 400, "Room already exists"),
        ("destroy_room", 400, "Room doesn't exists"),
        ("ban_account", 200, 1),
    ],
)
def test_what_an_earlier_sending_did_counts_as_done(command: str, status: int, body: Json) -> None:
    assert in_short(judged(command, status, body, maybe_run=True)) == "Delivered already done"


@pytest.mark.parametrize(
    ("status", "body", "password", "expected"),
    [
        (400, "Room already exists", "exists", "Delivered already done"),
        (400, "Unknown virtual host", "virtual", "Rejected UnknownHost"),
        (400, "unknown_command", "unknown_command", "Deferred ServerStopping free pauses"),
        (500, error(10001, "Database failure"), "failure", "Deferred ServerError counts"),
        (500, "internal_error", "internal_error", "Deferred ServerError counts max 3"),
    ],
)
def test_a_word_of_ejabberds_is_understood_though_it_is_the_logins_password(
    status: int, body: Json, password: str, expected: str
) -> None:
    outcome = judged("create_room", status, body, maybe_run=True, password=password)
    assert in_short(outcome) == expected
    assert isinstance(outcome, Delivered) or password not in f"{outcome.reason.message} {outcome}"


@pytest.mark.parametrize(
    ("command", "status", "body"),
    [
        ("create_room", 400, "Unknown virtual host"),
        ("send_message", 400, "Room already exists"),
        ("create_room", 200, 1),
    ],
)
def test_other_refusals_of_a_second_sending_stay_refusals(command: str, status: int, body: Json) -> None:
    assert isinstance(judged(command, status, body, maybe_run=True), Rejected)


def test_a_create_that_may_find_its_object_is_done() -> None:
    assert in_short(judged("register", 409, DUPLICATE, ok_if_exists=True)) == "Delivered already done"
    assert in_short(judged("create_room", 400, "Room already exists", ok_if_exists=True)) == "Delivered already done"


def test_a_destroyed_room_is_not_a_create_that_found_its_object() -> None:
    outcome = judged("destroy_room", 400, "Room doesn't exists", ok_if_exists=True)
    assert in_short(outcome) == "Rejected NotFound"


def test_the_answer_is_delivered_as_sent_and_parsed() -> None:
    outcome = judged("get_roster", 200, '[{"jid": "ä@x"}]'.encode())
    assert outcome == Delivered('[{"jid": "ä@x"}]', [{"jid": "ä@x"}], 200)


def test_a_truncated_answer_is_delivered_and_says_so() -> None:
    outcome = judged("connected_users", 200, b'["a@x", "b', truncated=True)
    assert outcome == Delivered('["a@x", "b', None, 200, note="answer truncated")


def test_retry_after_is_understood_as_seconds() -> None:
    outcome = judged("register", 429, b"", headers={"retry-after": "7"})
    assert isinstance(outcome, Deferred)
    assert outcome.retry_after_s == 7.0


def test_retry_after_is_understood_as_a_date() -> None:
    date = format_datetime(datetime.fromtimestamp(1_000_090, UTC), usegmt=True)
    outcome = judged("register", 503, b"", headers={"retry-after": date}, now_s=1_000_000.0)
    assert isinstance(outcome, Deferred)
    assert outcome.retry_after_s == 90.0


@pytest.mark.parametrize("text", ["", "soon", "-5", "1e9", "Mon, 99 Foo 2020"])
def test_a_retry_after_that_makes_no_sense_is_ignored(text: str) -> None:
    outcome = judged("register", 503, b"", headers={"retry-after": text})
    assert isinstance(outcome, Deferred)
    assert outcome.retry_after_s is None


def test_an_absurd_retry_after_is_bounded_to_a_day() -> None:
    outcome = judged("register", 503, b"", headers={"retry-after": "999999999"})
    assert isinstance(outcome, Deferred)
    assert outcome.retry_after_s == 86400.0


def test_byte_lists_are_shown_as_text() -> None:
    outcome = judged("set_last", 400, "Arg <<70,114,195,164>> is not in format integer")
    assert isinstance(outcome, Rejected)
    assert outcome.reason.message == 'The server says: Arg "Frä" is not in format integer'


def test_the_words_of_a_page_are_its_heading() -> None:
    outcome = judged("register", 502, PAGE)
    assert isinstance(outcome, Deferred)
    assert outcome.reason.message == "The server says: x"


@pytest.mark.parametrize("name", ["password", "newpass", "Secret", "access_token", "pass"])
@pytest.mark.parametrize("secret", ["hunter2", 'a"b\\c', "pÄss", 4711, ["hunter2", {"x": "y9z"}]])
def test_a_secret_that_the_server_echoes_is_masked(name: str, secret: Json) -> None:
    leaves = ["hunter2", "y9z"] if isinstance(secret, list) else [str(secret)]
    for leaf in leaves:
        numbers = ",".join(str(byte) for byte in leaf.encode())
        for body in (error(0, f"Bad {leaf}!"), f"Arg {leaf} is bad", f"Arg <<{numbers}>> is bad"):
            outcome = judged("whatever", 400, orjson.dumps(body), {name: secret})
            assert isinstance(outcome, Rejected)
            assert leaf not in outcome.reason.message
            assert leaf not in str(outcome.text)
            assert "***" in outcome.reason.message


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
_errors = st.fixed_dictionaries({}, optional={"code": _json, "message": _json, "status": _json})
_bodies = (
    st.binary(max_size=200)
    | _json.map(lambda body: json.dumps(body).encode())
    | _errors.map(lambda body: json.dumps(body).encode())
)


@given(
    command=st.sampled_from([*sorted(COMMANDS), "a_command_of_ours"]),
    status=st.integers(100, 999),
    body=_bodies,
    password=_json,
    retry_after=st.none() | st.text(max_size=40),
    maybe_run=st.booleans(),
    truncated=st.booleans(),
)
def test_judging_never_raises(
    command: str, status: int, body: bytes, password: Json, retry_after: str | None, maybe_run: bool, truncated: bool
) -> None:
    headers = {} if retry_after is None else {"retry-after": retry_after}
    arguments = {"password": password}
    outcome = judged(command, status, body, arguments, headers=headers, maybe_run=maybe_run, truncated=truncated)
    assert in_short(outcome)
    assert isinstance(outcome, Delivered) <= (status < 300 or maybe_run)


@given(depth=st.sampled_from([100, 5000, 100_000]), status=st.sampled_from([200, 400, 500]))
def test_deeply_nested_bodies_do_not_raise(depth: int, status: int) -> None:
    assert in_short(judged("register", status, b"[" * depth))


def test_a_spec_that_is_unknown_does_not_matter_to_the_judge() -> None:
    none: CommandSpec | None = None
    outcome = judge(Call(Command("x", {})), none, Response(200, {}, b"1", 0.1))
    assert outcome == Delivered("1", 1, 200)
