"""What each answer of Openfire means: those that 1.2.5 and 1.3.10 were seen to give, and those that were read."""

import json
from collections.abc import Mapping
from typing import Any

from restbroker.job.command import Call, Command
from restbroker.job.json_types import Json
from restbroker.job.outcome import Delivered, Outcome, Rejected
from restbroker.servers.openfire.rest.catalogue import TABLE, for_version
from restbroker.servers.openfire.rest.outcomes import classify
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


def test_refused_question_shows_no_login_and_no_secret() -> None:
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


def test_refusal_is_the_plugins_in_either_spelling_and_in_xml() -> None:
    xml = b"<error><exception>X</exception><message>Could not</message><ressource>a&amp;b</ressource></error>"
    for body, about in ((error("X"), "zz"), (error("X", old=True), "zz"), (xml, "a&b")):
        outcome = answer("get_user", 404, body)
        assert isinstance(outcome, Rejected)
        assert outcome.reason.message == f"Status 404: X, Could not, {about}"
    assert fate(answer("delete_room_affiliation", 409, error("NotAllowedException"))) == "Rejected Refused"


def test_the_body_says_what_was_done_of_many_rooms() -> None:
    good, bad = ({"roomName": name, "message": f"m-{name}"} for name in ("Success", "Failure"))
    rows: list[tuple[Json, str]] = [
        ({"success": [good], "failure": [], "other": []}, "Delivered"),
        ({"success": [good], "other": [bad]}, "Delivered partly done: 1 of 2 failed"),
        ({"success": {}, "failure": {"result": [bad]}}, "Rejected CommandFailed"),
    ]
    assert [(said, fate(answer("create_rooms_bulk", 200, said, maybe_run=True))) for said, _ in rows] == rows


def test_repeated_rename_of_a_missing_user_is_for_a_person() -> None:
    arguments = {"username": "a", "newUsername": "b"}
    outcome = answer("update_user", 404, error("UserNotFoundException"), arguments=arguments, maybe_run=True)
    first = answer("update_user", 404, error("UserNotFoundException"), arguments=arguments)
    assert (fate(outcome), fate(first)) == ("Rejected NotFound", "Rejected NotFound")
    assert "may have renamed the account, or only part of it" in str(outcome)
    assert "may have renamed" not in str(first)
