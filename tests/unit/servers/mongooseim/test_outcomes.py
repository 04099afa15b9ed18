"""What each answer of MongooseIM means for the job."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from hypothesis import given
from hypothesis import strategies as st

from restbroker.job.command import Call, Command
from restbroker.job.json_types import Json
from restbroker.job.outcome import Deferred, Delivered, Denied, Outcome, Rejected
from restbroker.servers.mongooseim.answer import read
from restbroker.servers.mongooseim.catalogue import for_version
from restbroker.servers.mongooseim.outcomes import CRASH_ATTEMPTS, NOTHING, Found, judge, question_after
from restbroker.servers.mongooseim.schema import operations
from restbroker.transport.message import Response
from tests.unit.servers.mongooseim.conftest import refusal

OPERATIONS = operations("admin", "6.8.0")
SPECS = for_version(None).commands
PASSWORD = "s3cr3t-p4ssw0rd"
REGISTER = "account.registerUser"
REMOVE = "account.removeUser"


def answer(
    command: str,
    body: Json | bytes = b"",
    status: int = 200,
    *,
    found: Found = NOTHING,
    arguments: Mapping[str, Json] | None = None,
    headers: Mapping[str, str] | None = None,
    **call: Any,
) -> Outcome:
    """What this answer to a command means."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = Response(status, headers or {}, raw, 0.01, said=(("Authorization", "Basic YWRtaW46aHVzaC1odXNo"),))
    made = Call(Command(command, arguments or {"password": PASSWORD}), **call)
    return judge(made, OPERATIONS.get(command), SPECS[command], read(raw), response, found, 1000.0)


def failed(command: str, *errors: Json, data: Json = None) -> Json:
    category, _, name = command.partition(".")
    return {"data": data or {category: {name: None}}, "errors": list(errors)}


def test_a_refusal_within_a_200_is_known_by_its_code() -> None:
    rows: list[tuple[str, str, str]] = [
        (REGISTER, "exists", "AlreadyExists"),
        ("account.banUser", "user_does_not_exist", "NotFound"),
        ("account.listUsers", "domain_not_found", "UnknownHost"),
        ("stanza.sendStanza", "no_sender", "BadArgument"),
        ("muc.deleteRoom", "never_heard_of", "Refused"),
        ("muc.deleteRoom", "category_disabled", "CommandForbidden"),
    ]
    for command, code, ours in rows:
        outcome = answer(command, failed(command, refusal(code, "Because")))
        assert isinstance(outcome, Rejected), code
        assert (outcome.reason.code, outcome.reason.message) == (ours, f"The server says: {code}: Because")
        assert outcome.reason.cure, code


def test_a_400_is_about_the_job_or_its_own_document_and_a_401_about_the_login_or_the_operation() -> None:
    refused: list[tuple[str, int, str, Sequence[str], str]] = [
        (REGISTER, 400, "input_coercion", (), "Rejected BadArgument"),
        (REGISTER, 400, "unknown_field", (), "Rejected UnknownCommand"),
        ("graphql", 400, "unknown_field", (), "Rejected BadArgument"),
        (REGISTER, 401, "wrong_credentials", (), "Denied LoginRefused"),
        (REGISTER, 401, "no_permissions", ("ROOT",), "Denied LoginRefused"),
        (REGISTER, 401, "no_permissions", ("ROOT", "account", "registerUser"), "Rejected CommandForbidden"),
    ]
    for command, status, code, path, fate in refused:
        outcome = answer(command, {"errors": [refusal(code, "No", *path)]}, status)
        assert isinstance(outcome, Rejected | Denied), code
        assert f"{type(outcome).__name__} {outcome.reason.code}" == fate, (command, status)


def test_no_is_an_answer() -> None:
    for name, member in (("checkUser", "exist"), ("checkPassword", "correct")):
        outcome = answer(f"account.{name}", {"data": {"account": {name: {member: False, "message": "no"}}}})
        assert isinstance(outcome, Delivered), name
        assert outcome.negative, name


def test_a_module_that_is_not_loaded_is_named() -> None:
    error = refusal("deps_not_loaded", "Some of required modules or services are not loaded", "muc", "deleteRoom")
    error["extensions"] |= {"not_loaded_modules": ["mod_muc"], "not_loaded_services": []}
    outcome = answer("muc.deleteRoom", failed("muc.deleteRoom", error))
    assert isinstance(outcome, Rejected)
    assert (outcome.reason.code, outcome.reason.cure) == (
        "UnknownCommand",
        "Load mod_muc in MongooseIM for that domain.",
    )


def test_what_says_that_it_is_so_already_is_done_by_a_job_that_may_have_run() -> None:
    rows: list[tuple[str, str]] = [
        (REGISTER, "exists"),
        ("domain.addDomain", "duplicate"),
        ("domain.removeDomain", "not_found"),
        ("roster.deleteContact", "contact_not_found"),
        ("session.kickUserSession", "no_session"),
        ("muc.deleteRoom", "room_not_found"),
    ]
    for command, code in rows:
        body = failed(command, refusal(code))
        outcome = answer(command, body, maybe_run=True)
        assert isinstance(outcome, Delivered), (command, code)
        assert outcome.note == "already done", (command, code)
        assert isinstance(answer(command, body), Rejected)


def test_who_lost_a_race_for_a_name_is_told_so_and_an_account_that_is_gone_was_removed() -> None:
    rows: list[tuple[str, str, bool, bool, str | None]] = [
        (REGISTER, "cannot_register", True, True, None),
        (REGISTER, "cannot_register", True, False, "AlreadyExists"),
        (REGISTER, "cannot_register", False, True, "Refused"),
        (REGISTER, "cannot_register", False, False, "Refused"),
        (REMOVE, "not_allowed", True, True, "Refused"),
        (REMOVE, "not_allowed", True, False, "Refused"),
        (REMOVE, "not_allowed", False, True, None),
        (REMOVE, "not_allowed", False, False, "NotFound"),
    ]
    for command, said, exists, maybe_run, code in rows:
        outcome = answer(command, failed(command, refusal(said)), found=Found(user_exists=exists), maybe_run=maybe_run)
        assert (outcome.reason.code if isinstance(outcome, Rejected) else None) == code, (command, exists, maybe_run)
        unknown = answer(command, failed(command, refusal(said)), maybe_run=True)
        assert isinstance(unknown, Deferred), (command, said)
        assert unknown.max_attempts == CRASH_ATTEMPTS, (command, said)


def test_a_list_that_was_done_in_part_is_delivered_with_a_note() -> None:
    command = "roster.addContacts"
    data = {"roster": {"addContacts": ["Contact added", None, None]}}
    errors = [
        refusal("user_not_exist", "No", "roster", "addContacts", 1),
        refusal("x", "No", "roster", "addContacts", 2),
    ]
    outcome = answer(command, failed(command, *errors, data=data))
    assert isinstance(outcome, Delivered)
    assert outcome.note == "partly done: 2 of 3 failed (user_not_exist, x)"
    assert isinstance(outcome.body, dict)
    assert outcome.body["errors"] == errors


def test_a_document_of_two_operations_is_judged_by_whether_any_was_done() -> None:
    error = refusal("exists", "No", "b", "account")
    half: Json = {"data": {"account": {"a": {"jid": "a@b"}, "b": None}}, "errors": [error]}
    outcome = answer("graphql", half, arguments={"query": "…"})
    assert isinstance(outcome, Delivered)
    assert outcome.note == "partly done: 1 failed (exists)"
    none: Json = {"data": {"account": {"a": None, "b": None}}, "errors": [error]}
    assert isinstance(answer("graphql", none, arguments={"query": "…"}), Rejected)


def test_a_password_that_the_server_says_is_masked_in_the_reply_too_and_for_a_document_of_ones_own() -> None:
    said: Json = {"data": {"account": {"checkPassword": {"message": f"Password '{PASSWORD}' for alice@localhost"}}}}
    document: Mapping[str, Json] = {"query": "…", "variables": {"password": PASSWORD}}
    for outcome in (answer("account.checkPassword", said), answer("graphql", said, arguments=document)):
        assert isinstance(outcome, Delivered)
        assert PASSWORD not in outcome.text + json.dumps(outcome.body)
        assert "alice@localhost" in outcome.text
        assert isinstance(outcome.body, dict)


def test_a_crash_or_a_500_waits_for_the_database_or_is_tried_a_few_times() -> None:
    crashed = failed(REGISTER, refusal("resolver_crash"))
    internal: Json = {"errors": [refusal("internal_server_error")]}
    for body, status in ((crashed, 200), (b"", 500), (internal, 500)):
        for well in (True, False):
            outcome = answer(REGISTER, body, status, found=Found(is_well=well))
            assert isinstance(outcome, Deferred), (status, well)
            assert (outcome.counts, outcome.pause_target) == (well, not well), (status, well)
            assert outcome.max_attempts == (CRASH_ATTEMPTS if well else None), (status, well)
            assert status != 200 or outcome.reason.code == ("ServerError" if well else "DatabaseAway"), (body, status)


def test_what_the_server_failed_at_itself_is_tried_again_where_it_may_be_repeated() -> None:
    for code in ("temporarily_unavailable", "internal_server_error", "rpc_error", "mnesia_error"):
        revoked, sent = (failed(name, refusal(code)) for name in ("token.revokeToken", "stanza.sendMessage"))
        later = answer("token.revokeToken", revoked, found=Found(is_well=True))
        assert isinstance(later, Deferred), code
        fate = (later.reason.code, later.maybe_run, later.counts, later.max_attempts)
        assert fate == ("ServerError", True, True, None), code
        away = answer("token.revokeToken", revoked, found=Found(is_well=False))
        assert isinstance(away, Deferred), code
        assert (away.reason.code, away.counts, away.pause_target) == ("DatabaseAway", False, True), code
        once = answer("stanza.sendMessage", sent, found=Found(is_well=True))
        assert isinstance(once, Rejected), code
        assert "may have been done" in (once.reason.cure or ""), code


def test_a_crash_beside_what_a_document_of_ones_own_did_is_no_reason_to_send_it_again() -> None:
    data: Json = {"stanza": {"sendMessage": {"id": "1"}}, "account": {"registerUser": None}}
    body: Json = {"data": data, "errors": [refusal("resolver_crash")]}
    for is_well in (True, False):
        outcome = answer("graphql", body, arguments={"query": "…"}, found=Found(is_well=is_well))
        assert isinstance(outcome, Delivered), is_well
        assert outcome.note == "partly done: 1 failed (resolver_crash)", is_well


def test_a_busy_proxy_says_when() -> None:
    outcome = answer(REGISTER, b"", 503, headers={"retry-after": "7"})
    assert isinstance(outcome, Deferred)
    assert (outcome.retry_after_s, outcome.counts, outcome.pause_target) == (7.0, False, True)


def test_no_message_shows_a_secret_that_the_server_says() -> None:
    error = refusal("user_does_not_exist", f"User a@b or {PASSWORD} or hush-hush does not exist")
    outcome = answer("account.checkPassword", failed("account.checkPassword", error))
    assert isinstance(outcome, Rejected)
    assert outcome.reason.message == "The server says: user_does_not_exist: User a@b or *** or *** does not exist"
    assert outcome.text is not None
    assert PASSWORD not in outcome.text


def test_only_what_leaves_something_open_is_asked_about() -> None:
    rows: list[tuple[str, str, str, str | None]] = [
        (REGISTER, "cannot_register", "not_allowed", "user"),
        (REGISTER, "cannot_register", "null_password", None),
        (REGISTER, "exists", "", None),
        (REMOVE, "not_allowed", "", "user"),
        ("account.changeUserPassword", "not_allowed", "", None),
        ("stanza.sendMessage", "resolver_crash", "", "health"),
        ("token.revokeToken", "internal_server_error", "", "health"),
    ]
    for command, code, message, asked in rows:
        raw = json.dumps(failed(command, refusal(code, message))).encode()
        assert question_after(OPERATIONS[command], read(raw), Response(200, {}, raw, 0.01)) == asked


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["data", "errors", "extensions", "code", "path", "message", "account"]), inner
        )
    ),
    max_leaves=12,
)


@given(
    st.sampled_from(sorted(SPECS)),
    st.sampled_from([200, 202, 302, 400, 401, 403, 404, 415, 429, 500, 502, 504, 700]) | st.integers(100, 999),
    st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()),
    st.booleans(),
)
def test_every_answer_has_an_outcome(command: str, status: int, raw: bytes, maybe_run: bool) -> None:
    response = Response(status, {}, raw, 0.01)
    call = Call(Command(command, {"password": PASSWORD}), maybe_run=maybe_run)
    found = read(raw)
    question_after(OPERATIONS.get(command), found, response)
    assert isinstance(judge(call, OPERATIONS.get(command), SPECS[command], found, response), get_args(Outcome))
