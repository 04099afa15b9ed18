"""What each answer of MongooseIM means for the job."""

import json
from collections.abc import Mapping
from typing import Any

from restbroker.job.command import Call, Command
from restbroker.job.json_types import Json
from restbroker.job.outcome import Deferred, Delivered, Outcome, Rejected
from restbroker.servers.mongooseim.answer import read
from restbroker.servers.mongooseim.catalogue import for_version, operations
from restbroker.servers.mongooseim.outcomes import CRASH_ATTEMPTS, NOTHING, FollowUp, classify
from restbroker.transport.message import Response
from tests.unit.servers.conftest import fate
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
    found: FollowUp = NOTHING,
    arguments: Mapping[str, Json] | None = None,
    headers: Mapping[str, str] | None = None,
    **call: Any,
) -> Outcome:
    """What this answer to a command means."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = Response(
        status, headers or {}, raw, 0.01, request_pairs=(("Authorization", "Basic YWRtaW46aHVzaC1odXNo"),)
    )
    made = Call(Command(command, arguments or {"password": PASSWORD}), **call)
    return classify(made, OPERATIONS.get(command), SPECS[command], read(raw), response, found, 1000.0)


def failed(command: str, *errors: Json, data: Json = None) -> Json:
    category, _, name = command.partition(".")
    return {"data": data or {category: {name: None}}, "errors": list(errors)}


def test_done_before_counts_if_every_error_says_so() -> None:
    rows: list[tuple[str, list[str], dict[str, Any], str]] = [
        (REGISTER, ["exists"], {"ok_if_exists": True}, "Delivered already done"),
        ("roster.deleteContact", ["contact_not_found"], {"maybe_run": True}, "Delivered already done"),
        ("roster.deleteContact", ["contact_not_found"], {"ok_if_exists": True}, "Rejected NotFound"),
        ("muc.deleteRoom", ["room_not_found", "category_disabled"], {"maybe_run": True}, "Rejected NotFound"),
    ]
    found = [(*row[:3], fate(answer(row[0], failed(row[0], *map(refusal, row[1])), **row[2]))) for row in rows]
    assert found == rows


def test_a_value_in_the_spelling_of_erlang_is_in_no_message() -> None:
    """Erlang breaks long texts, and writes others as numbers: neither would be recognised as a message's text."""
    value = '<<"<message><body>one long text that goes on, and then">>,\n  <<"goes on. The reason it failed is: x">>'
    said = f"Input coercion failed for type XmlElement with value {value}. The reason it failed is: <<112,195,182>>"
    outcome = answer("stanza.sendStanza", {"errors": [refusal("input_coercion", said)]}, 400, arguments={})
    assert isinstance(outcome, Rejected)
    assert "goes" not in outcome.reason.message
    assert outcome.reason.message.endswith("for type XmlElement. The reason it failed is: <<112,195,182>>")


def test_a_module_that_is_not_loaded_is_named() -> None:
    error = refusal("deps_not_loaded", "Some of required modules or services are not loaded", "muc", "deleteRoom")
    error["extensions"] |= {"not_loaded_modules": ["mod_muc"], "not_loaded_services": []}
    outcome = answer("muc.deleteRoom", failed("muc.deleteRoom", error))
    assert isinstance(outcome, Rejected)
    assert (outcome.reason.code, outcome.reason.hint) == (
        "UnknownCommand",
        "Load mod_muc in MongooseIM for that domain.",
    )


def test_who_lost_a_race_for_a_name_is_told_so_and_an_account_that_is_gone_was_removed() -> None:
    rows: list[tuple[str, str, bool, bool, str | None]] = [
        (REGISTER, "cannot_register", False, True, "Refused"),
        (REMOVE, "not_allowed", False, True, None),
        (REMOVE, "not_allowed", False, False, "NotFound"),
    ]
    for command, said, exists, maybe_run, code in rows:
        outcome = answer(
            command, failed(command, refusal(said)), found=FollowUp(user_exists=exists), maybe_run=maybe_run
        )
        assert (outcome.reason.code if isinstance(outcome, Rejected) else None) == code, (command, exists, maybe_run)
        unknown = answer(command, failed(command, refusal(said)), maybe_run=True)
        assert isinstance(unknown, Deferred), (command, said)
        assert unknown.max_attempts == CRASH_ATTEMPTS, (command, said)


def test_a_password_that_the_server_says_is_masked_in_the_reply_too_and_for_a_document_of_ones_own() -> None:
    said: Json = {"data": {"account": {"checkPassword": {"message": f"Password '{PASSWORD}' for alice@localhost"}}}}
    document: Mapping[str, Json] = {"query": "…", "variables": {"password": PASSWORD}}
    for outcome in (answer("account.checkPassword", said), answer("graphql", said, arguments=document)):
        assert isinstance(outcome, Delivered)
        assert PASSWORD not in outcome.text + json.dumps(outcome.body)
        assert "alice@localhost" in outcome.text
        assert isinstance(outcome.body, dict)


def test_the_answer_to_what_had_been_done_before_or_in_part_is_without_secrets_and_login() -> None:
    error = refusal("exists", f"alice with {PASSWORD} exists for hush-hush")
    said, partly = failed(REGISTER, error), failed(REGISTER, error, data={"account": {"registerUser": {}}})
    for outcome in (
        answer(REGISTER, said, maybe_run=True),
        answer(REGISTER, said, ok_if_exists=True),
        answer(REGISTER, partly),
    ):
        assert isinstance(outcome, Delivered)
        assert isinstance(outcome.body, dict)
        for told in (outcome.text, json.dumps(outcome.body)):
            assert "alice with *** exists for ***" in told


def test_the_answer_to_a_document_that_names_a_password_is_whole() -> None:
    said: Json = {"data": {"account": {"registerUser": {"message": "user registered", "jid": "bob@localhost"}}}}
    query = 'mutation { account { registerUser(username: "bob", password: "s3cret-pw") { message jid } } }'
    outcome = answer("graphql", said, arguments={"query": query, "variables": {"domain": "localhost"}})
    assert isinstance(outcome, Delivered)
    assert outcome.body == said


def test_a_document_that_cannot_be_read_is_not_quoted() -> None:
    rows = [
        ("scanner_error", 'Cannot scan line 1 because of illegal characters "s3cret) {'),
        ("parser_error", "Cannot parse line 1 because of syntax error before: s3cret"),
    ]
    for code, said in rows:
        error: Json = {"message": said, "extensions": {"code": code}}
        outcome = answer("graphql", {"errors": [error]}, 400, arguments={"query": '{a(b: "s3cret) {c}}'})
        assert isinstance(outcome, Rejected)
        assert (outcome.reason.code, "line 1" in outcome.reason.message) == ("BadArgument", True)
        assert "s3cret" not in repr(outcome)
