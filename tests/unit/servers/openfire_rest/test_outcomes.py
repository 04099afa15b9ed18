"""What each answer of Openfire means: those that 1.2.5 and 1.3.10 were seen to give, and those that were read."""

import json
from collections.abc import Mapping
from itertools import product
from typing import Any

from restbroker.job.command import Call, Command
from restbroker.job.json_types import Json
from restbroker.job.outcome import Delivered, Denied, Outcome, Rejected
from restbroker.servers.openfire.rest.catalogue import for_version
from restbroker.servers.openfire.rest.outcomes import classify
from restbroker.servers.openfire.rest.table import TABLE
from restbroker.transport.message import Response
from tests.unit.servers.conftest import fate

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
    response = Response(status, headers or {}, raw, 0.01, request_pairs=(("Authorization", LOGIN),))
    return classify(Call(Command(command, arguments or {}), **call), TABLE[command], SPECS[command], response, 1000.0)


def error(exception: str, message: str = "Could not", resource: str = "zz", *, old: bool = False) -> Json:
    """As the plugin writes it; up to 1.2 with the other spelling."""
    return {"exception": exception, "message": message, "ressource" if old else "resource": resource}


def test_the_no_to_a_question_shows_neither_the_login_nor_a_secret_of_the_job() -> None:
    arguments: dict[str, Json] = {"name": "jdbc", "token": PASSWORD}
    body = {"said": f"{LOGIN} {PASSWORD} JSESSIONID=node0abcdefgh", "fails": "jdbc"}
    response = Response(
        503, {}, json.dumps(body).encode(), 0.01, request_pairs=(("Cookie", "JSESSIONID=node0abcdefgh"),)
    )
    for command in (name for name in SPECS if name.startswith(("liveness", "readiness"))):
        outcome = classify(Call(Command(command, arguments)), TABLE[command], SPECS[command], response)
        assert isinstance(outcome, Delivered), command
        assert (outcome.negative, outcome.body) == (True, {"said": "*** *** ***", "fails": "jdbc"}), command
        assert PASSWORD not in outcome.text, command


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
        assert (fate(outcome), outcome.reason.message) == (meaning, told), (old, command)
    body = (
        b'<?xml version="1.0" encoding="UTF-8" standalone="yes"?><error><exception>UserNotFoundException</exception>'
        b"<message>Could not get user</message><ressource>a&amp;b</ressource></error>"
    )
    outcome = answer("get_user", 404, body, {"content-type": "application/xml"})
    assert isinstance(outcome, Rejected)
    assert outcome.reason.message == "Status 404: UserNotFoundException, Could not get user, a&b"


def test_the_body_says_what_was_done_of_many_rooms() -> None:
    """So it does for the old service, which says 200 to everything."""
    good, bad = ({"roomName": name, "message": f"m-{name}"} for name in ("Success", "Failure"))
    exists, gone = (f"<error>User{what}Exception</error>".encode() for what in ("AlreadyExists", "NotFound"))
    rows: list[tuple[str, Json | bytes, str, str]] = [
        ("create_rooms_bulk", {"success": [good], "failure": [], "other": []}, "", "Delivered"),
        ("create_rooms_bulk", {"success": [good], "other": [bad]}, "", "Delivered partly done: 1 of 2 failed"),
        ("create_rooms_bulk", {"success": {}, "failure": {"result": [bad]}}, "", "Rejected CommandFailed"),
        ("legacy_userservice", exists, "add", "Delivered already done"),
        ("legacy_userservice", gone, "delete", "Delivered already done"),
        ("legacy_userservice", gone, "update", "Rejected NotFound"),
        ("legacy_userservice", b"", "dance", "Rejected CommandFailed"),
    ]
    found = [(*row[:3], fate(answer(row[0], 200, row[1], arguments={"type": row[2]}, maybe_run=True))) for row in rows]
    assert [row for row in found if row not in rows] == []


def test_a_repeated_rename_that_finds_nobody_is_for_a_person_to_look_at() -> None:
    arguments = {"username": "a", "newUsername": "b"}
    outcome = answer("update_user", 404, error("UserNotFoundException"), arguments=arguments, maybe_run=True)
    first = answer("update_user", 404, error("UserNotFoundException"), arguments=arguments)
    assert (fate(outcome), fate(first)) == ("Rejected NotFound", "Rejected NotFound")
    assert "may have renamed the account, or only part of it" in str(outcome)
    assert "may have renamed" not in str(first)


def test_a_resource_that_an_old_plugin_lacks_is_named_with_the_version_that_brought_it() -> None:
    outcome = answer("invite_to_room", 404)
    assert fate(outcome) == "Denied UnknownCommand"
    assert isinstance(outcome, Denied)
    assert "came with 1.3.8" in outcome.reason.message
    assert fate(answer("create_rooms_bulk", 405)) == "Denied UnknownCommand"
    # What needs no login is sent without one, for which plugins before 1.8 ask (measured on 1.3.10).
    assert fate(answer("readiness", 401)) == "Denied UnknownCommand"
