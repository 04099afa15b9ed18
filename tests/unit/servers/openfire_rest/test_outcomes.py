"""What each answer of Openfire means: those that 1.2.5 and 1.3.10 were seen to give, and those that were read."""

import json
from collections.abc import Mapping
from itertools import product
from typing import Any, get_args

from hypothesis import given
from hypothesis import strategies as st

from restbroker.job.command import Call, Command
from restbroker.job.json_types import Json
from restbroker.job.outcome import Deferred, Delivered, Denied, Outcome, Rejected
from restbroker.servers.openfire.rest.catalogue import for_version
from restbroker.servers.openfire.rest.outcomes import BROKEN_ATTEMPTS, REDIRECTED_ATTEMPTS, judge
from restbroker.servers.openfire.rest.ways import ways
from restbroker.transport.message import Response

SPECS = for_version(None).commands
PASSWORD = "s3cr3t-p4ssw0rd"
LOGIN = "Basic YWRtaW46YjRzaWM="


def answer(
    command: str,
    status: int,
    body: Json | bytes = b"",
    headers: Mapping[str, str] | None = None,
    arguments: Mapping[str, Json] | None = None,
    **call: Any,
) -> Outcome:
    """What this answer to a command means."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = Response(status, headers or {}, raw, 0.01, said=(("Authorization", LOGIN),))
    return judge(Call(Command(command, arguments or {}), **call), ways()[command], SPECS[command], response, 1000.0)


def error(exception: str, message: str = "Could not", resource: str = "zz", *, old: bool = False) -> Json:
    """As the plugin writes it; up to 1.2 with the other spelling."""
    return {"exception": exception, "message": message, "ressource" if old else "resource": resource}


def code(outcome: Outcome) -> str:
    """The outcome in a word."""
    match outcome:
        case Delivered():
            return outcome.note or ("no" if outcome.negative else "done")
        case _:
            return f"{type(outcome).__name__} {outcome.reason.code}"


def test_a_refusal_says_what_the_plugin_says_in_either_spelling_and_in_xml() -> None:
    rows: list[tuple[str, int, str, str]] = [
        ("create_user", 409, "UserAlreadyExistsException", "Rejected AlreadyExists"),
        ("create_user", 400, "PasswordIsNull", "Rejected BadArgument"),
        ("delete_roster_item", 404, "RosterItemNotFound", "Rejected NotFound"),
        ("delete_room_affiliation", 409, "NotAllowedException", "Rejected Refused"),
        ("add_room_affiliation", 403, "NotAllowedException", "Rejected CommandForbidden"),
    ]
    for (command, status, exception, meaning), old in product(rows, (True, False)):
        outcome = answer(command, status, error(exception, "Could not do it", old=old))
        assert isinstance(outcome, Rejected), (command, exception)
        told = f"Status {status}: {exception}, Could not do it, zz"
        assert (code(outcome), outcome.reason.message) == (meaning, told), (old, command)
    body = (
        b'<?xml version="1.0" encoding="UTF-8" standalone="yes"?><error><exception>UserNotFoundException</exception>'
        b"<message>Could not get user</message><ressource>a&amp;b</ressource></error>"
    )
    outcome = answer("get_user", 404, body, {"content-type": "application/xml"})
    assert isinstance(outcome, Rejected)
    assert outcome.reason.message == "Status 404: UserNotFoundException, Could not get user, a&b"


def test_what_exists_or_is_gone_counts_as_done_after_a_try_that_may_have_done_it() -> None:
    exists, gone = error("UserAlreadyExistsException"), error("UserNotFoundException")
    assert code(answer("create_user", 409, exists, attempt=2)) == "Rejected AlreadyExists"  # a redirect did nothing
    assert code(answer("create_user", 409, exists, maybe_run=True)) == "already exists after a retry"
    assert code(answer("create_user", 409, exists, ok_if_exists=True)) == "already done"
    assert code(answer("delete_user", 404, gone, attempt=2)) == "Rejected NotFound"
    assert code(answer("delete_user", 404, gone, maybe_run=True)) == "already done"
    assert code(answer("unlock_user", 404, gone, maybe_run=True)) == "Rejected NotFound"


def test_a_repeated_rename_that_finds_nobody_is_for_a_person_to_look_at() -> None:
    arguments = {"username": "a", "newUsername": "b"}
    outcome = answer("update_user", 404, error("UserNotFoundException"), arguments=arguments, maybe_run=True)
    first = answer("update_user", 404, error("UserNotFoundException"), arguments=arguments)
    assert (code(outcome), code(first)) == ("Rejected NotFound", "Rejected NotFound")
    assert "may have renamed the account, or half of it" in str(outcome)
    assert "may have renamed" not in str(first)


def test_500_is_tried_a_few_times_with_the_hint_that_it_may_be_bad_input() -> None:
    outcome = answer("create_user", 500)
    assert isinstance(outcome, Deferred)
    assert (outcome.max_attempts, outcome.pause_target) == (BROKEN_ATTEMPTS, False)
    assert "bad input" in outcome.reason.text


def test_a_redirect_to_the_login_page_is_tried_a_few_times_and_names_the_property() -> None:
    outcome = answer("create_user", 302, b"", {"location": "http://u:p@127.0.0.1:9090/login.jsp?url=%2Fusers"})
    assert isinstance(outcome, Deferred)
    assert (outcome.reason.code, outcome.max_attempts, outcome.counts) == ("Redirected", REDIRECTED_ATTEMPTS, True)
    assert "http://127.0.0.1:9090/login.jsp:" in outcome.reason.message
    assert "adminConsole.access.allow-wildcards-in-excludes" in outcome.reason.text


def test_a_resource_that_an_old_plugin_lacks_is_named_with_the_version_that_brought_it() -> None:
    outcome = answer("invite_to_room", 404)
    assert code(outcome) == "Denied UnknownCommand"
    assert isinstance(outcome, Denied)
    assert "came with 1.9.0" in outcome.reason.message
    assert code(answer("create_rooms_bulk", 405)) == "Denied UnknownCommand"
    # What needs no login is sent without one, for which plugins before 1.8 ask (measured on 1.3.10).
    assert code(answer("readiness", 401)) == "Denied UnknownCommand"


def test_of_a_bulk_what_failed_is_counted() -> None:
    good, bad = ({"roomName": name, "resultType": name, "message": f"m-{name}"} for name in ("Success", "Failure"))
    assert code(answer("create_rooms_bulk", 200, {"success": [good], "failure": [], "other": []})) == "done"
    partly = {"success": [good], "failure": [bad], "other": []}
    assert code(answer("create_rooms_bulk", 200, partly)) == "partly done: 1 of 2 failed"
    none = answer("create_rooms_bulk", 200, {"success": {}, "failure": {"result": [bad]}})
    assert isinstance(none, Rejected)
    assert none.reason.message == "1 of 1 failed: Failure: m-Failure"


def test_the_old_user_service_is_judged_by_its_text() -> None:
    rows: list[tuple[str, str, int, str]] = [
        ("<result>ok</result>", "add", 1, "done"),
        ("<result><groupname>a</groupname></result>", "grouplist", 1, "done"),
        ("<error>UserAlreadyExistsException</error>", "add", 1, "Rejected AlreadyExists"),
        ("<error>UserAlreadyExistsException</error>", "add", 2, "already done"),
        ("<error>UserNotFoundException</error>", "delete", 2, "already done"),
        ("<error>UserNotFoundException</error>", "update", 2, "Rejected NotFound"),
        ("<error>RequestNotAuthorised</error>", "add", 1, "Rejected CommandFailed"),
        ("<error>UserServiceDisabled</error>", "add", 1, "Rejected CommandFailed"),
        ("", "dance", 1, "Rejected CommandFailed"),
    ]
    for text, kind, attempt, meaning in rows:
        outcome = answer("legacy_userservice", 200, text.encode(), arguments={"type": kind}, maybe_run=attempt > 1)
        assert code(outcome) == meaning, (text, kind)


@given(st.sampled_from(sorted(ways())), st.integers(100, 999), st.binary(max_size=200), st.booleans())
def test_every_answer_has_an_outcome(command: str, status: int, body: bytes, again: bool) -> None:
    assert isinstance(answer(command, status, body, maybe_run=again), get_args(Outcome))


def test_no_password_that_a_server_repeats_reaches_a_message() -> None:
    body = error("IllegalArgumentException", f"what is {PASSWORD}? {LOGIN}")
    for command, status in product(("create_user", "update_user"), (400, 401, 403, 404, 409, 418, 500)):
        told = repr(answer(command, status, body, arguments={"username": "a", "password": PASSWORD}))
        assert [secret for secret in (PASSWORD, LOGIN.split()[1]) if secret in told] == [], (command, status)
