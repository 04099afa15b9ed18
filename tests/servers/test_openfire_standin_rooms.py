"""The stand-in's rooms, sessions, messages and properties answer as plugins 1.2.5 and 1.3.10 were measured to."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.openfire.asking import JSON, XML, Asker
from tests.support.openfire.server import Openfire

LOBBY: dict[str, Any] = {
    "roomName": "lobby",
    "naturalName": "Lobby",
    "description": "d",
    "persistent": True,
    "publicRoom": True,
}
BOB = "bob@example.org"


@pytest.fixture(params=["1.2", "1.5", "1.12"])
def asker(request: pytest.FixtureRequest) -> Iterator[Asker]:
    with Openfire(request.param) as server:
        server.world.register("alice", "bob")
        yield Asker(server)


def _dialect(asker: Asker) -> str:
    return asker.server.dialect


def _error(asker: Asker, exception: str, message: str, resource: str | None) -> str:
    """As the dialect writes it."""
    if _dialect(asker) == "1.2":
        given = {"exception": exception, "message": message, "ressource": resource}
    else:
        given = {"resource": resource, "message": message, "exception": exception}
    shown = {name: value for name, value in given.items() if value is not None}
    return json.dumps(shown, separators=(",", ":"))


def test_a_room_is_as_long_as_the_measured_one(asker: Asker) -> None:
    assert asker.rest("POST", "/chatrooms", LOBBY).status == 201
    got = asker.rest("GET", "/chatrooms/lobby")
    # 576 and one for each letter less than `lobbyx`, which was measured.
    assert len(got.body) == {"1.2": 649, "1.5": 575, "1.12": 575}[_dialect(asker)]
    assert got.json["persistent"] == ("true" if _dialect(asker) == "1.2" else True)
    assert isinstance(got.json["creationDate"], str if _dialect(asker) == "1.2" else int)


def test_rooms_are_listed_as_each_dialect_does(asker: Asker) -> None:
    empty = asker.rest("GET", "/chatrooms").text
    assert empty == ("{}" if _dialect(asker) == "1.2" else '{"chatRooms":[]}')
    asker.rest("POST", "/chatrooms", LOBBY)
    asker.rest("POST", "/chatrooms", {"roomName": "r3", "naturalName": "R3", "description": "x"})
    public, every = asker.rest("GET", "/chatrooms").json, asker.rest("GET", "/chatrooms?type=all").json
    if _dialect(asker) == "1.2":
        assert (public["chatRoom"]["roomName"], len(every["chatRoom"])) == ("lobby", 2)
    else:
        assert ([one["roomName"] for one in public["chatRooms"]], len(every["chatRooms"])) == (["lobby"], 2)
    shown = asker.rest("GET", "/chatrooms", Accept=XML).text
    assert shown.startswith(
        '<?xml version="1.0" encoding="UTF-8" standalone="yes"?><chatRooms><chatRoom><roomName>lobby<'
    )


def test_a_room_that_is_there_is_made_again_until_the_newest_generation(asker: Asker) -> None:
    again = [asker.rest("POST", "/chatrooms", LOBBY).status for _ in "12"]
    assert again == [201, 409 if _dialect(asker) == "1.12" else 201]


def test_lists_of_people_have_the_dialects_shape(asker: Asker) -> None:
    old, new = {"owners": {"owner": [BOB]}}, {"owners": [BOB]}
    statuses = [
        asker.rest("POST", "/chatrooms", {**LOBBY, "roomName": name, **owners}).status
        for name, owners in (("r2", old), ("r3", new))
    ]
    assert statuses == ([201, 201] if _dialect(asker) == "1.2" else [500, 201])
    rooms = asker.server.world.services["conference"]
    # The oldest takes a plain list, and drops it without a word.
    assert rooms["r3"].affiliated["owners"] == (["admin@example.org"] if _dialect(asker) == "1.2" else [BOB])
    if _dialect(asker) == "1.2":
        assert rooms["r2"].affiliated["owners"] == [BOB]


def test_a_room_in_xml_is_taken_alike(asker: Asker) -> None:
    body = f"<chatRoom><roomName>r4</roomName><owners><owner>{BOB}</owner></owners><maxUsers>5</maxUsers></chatRoom>"
    assert asker.rest("POST", "/chatrooms", body, Content_Type=XML).status == 201
    room = asker.server.world.services["conference"]["r4"]
    assert (room.affiliated["owners"], room.settings["maxUsers"]) == ([BOB], 5)


def test_an_unknown_service_is_made_until_the_newest_generation(asker: Asker) -> None:
    status = asker.rest("POST", "/chatrooms?servicename=nope", LOBBY).status
    is_newest = _dialect(asker) == "1.12"
    assert (status, "nope" in asker.server.world.services) == ((404, False) if is_newest else (201, True))


def test_a_room_that_is_not_there(asker: Asker) -> None:
    got = asker.rest("GET", "/chatrooms/zz")
    assert (got.status, got.text) == (404, _error(asker, "RoomNotFoundException", "Could not find the chat room", "zz"))
    deleted = asker.rest("DELETE", "/chatrooms/zz")
    assert deleted.text == _error(asker, "RoomNotFoundException", "Could not remove the channel", "zz")
    broken = 404 if _dialect(asker) == "1.12" else 500
    assert asker.rest("GET", "/chatrooms/zz/occupants").status == broken
    assert asker.rest("POST", f"/chatrooms/zz/members/{BOB}").status == broken
    assert asker.rest("PUT", "/chatrooms/nn", {**LOBBY, "roomName": "nn"}).status == 200
    assert "nn" in asker.server.world.services["conference"]


def test_a_room_keeps_its_name_and_its_last_owner(asker: Asker) -> None:
    asker.rest("POST", "/chatrooms", LOBBY)
    message = "Could not update the channel. The room name is different to the entity room name."
    got = asker.rest("PUT", "/chatrooms/lobby", {**LOBBY, "roomName": "other"})
    assert (got.status, got.text) == (400, _error(asker, "IllegalArgumentException", message, "lobby"))
    lone = asker.rest("DELETE", "/chatrooms/lobby/owners/admin@example.org")
    message = "Could not delete affiliation"
    assert (lone.status, lone.text) == (409, _error(asker, "NotAllowedException", message, "admin@example.org"))


@pytest.mark.parametrize("kind", ["owners", "admins", "members", "outcasts"])
def test_people_get_and_lose_an_affiliation(asker: Asker, kind: str) -> None:
    asker.rest("POST", "/chatrooms", LOBBY)
    assert asker.rest("POST", f"/chatrooms/lobby/{kind}/{BOB}").status == 201
    assert BOB in asker.server.world.services["conference"]["lobby"].affiliated[kind]
    assert [asker.rest("DELETE", f"/chatrooms/lobby/{kind}/{BOB}").status for _ in "12"] == [200, 200]
    assert asker.rest("POST", f"/chatrooms/lobby/{kind}/bob").status == 201
    assert BOB in asker.server.world.services["conference"]["lobby"].affiliated[kind]


def test_paths_that_a_generation_does_not_have_are_404(asker: Asker) -> None:
    asker.rest("POST", "/chatrooms", LOBBY)
    is_oldest, is_newest = _dialect(asker) == "1.2", _dialect(asker) == "1.12"
    assert asker.rest("POST", f"/chatrooms/lobby/kings/{BOB}").status == 404
    assert asker.rest("GET", "/chatrooms/lobby/chathistory").status == (404 if is_oldest else 200)
    assert asker.rest("GET", "/system/liveness").status == (200 if is_newest else 404)
    assert asker.rest("GET", "/chatrooms/lobby/owners").status == (200 if is_newest else 404)


def test_several_rooms_at_once_tell_of_each(asker: Asker) -> None:
    if _dialect(asker) != "1.12":
        return
    asker.rest("POST", "/chatrooms", LOBBY)
    body = {"chatRooms": [LOBBY, {**LOBBY, "roomName": "new"}, {"description": "no name"}]}
    got = asker.rest("POST", "/chatrooms/bulk", body)
    assert got.status == 200
    # One that was there counts as made.
    assert [one["roomName"] for one in got.json["success"]] == ["lobby", "new"]
    assert (len(got.json["failure"]), got.json["other"]) == (1, [])


def test_people_in_a_room_are_listed(asker: Asker) -> None:
    asker.rest("POST", "/chatrooms", LOBBY)
    none = {"participants": "{}", "occupants": "{}"}
    for name in ("participants", "occupants"):
        expected = none[name] if _dialect(asker) == "1.2" else f'{{"{name}":[]}}'
        assert asker.rest("GET", f"/chatrooms/lobby/{name}").text == expected
    [stream] = asker.login("alice")
    asker.chat("PUT", f"/chat/{stream}/rooms/lobby")
    got = asker.rest("GET", "/chatrooms/lobby/participants").json
    people = [got["participant"]] if _dialect(asker) == "1.2" else got["participants"]
    assert [one["jid"] for one in people] == ["lobby@conference.example.org/alice"]


def test_sessions_are_listed_and_kicked(asker: Asker) -> None:
    none = "{}" if _dialect(asker) == "1.2" else '{"sessions":[]}'
    assert [asker.rest("GET", f"/sessions{end}").text for end in ("", "/alice", "/zz")] == [none] * 3
    asker.login("alice")
    got = asker.rest("GET", "/sessions/alice").json
    session = got["session"] if _dialect(asker) == "1.2" else got["sessions"][0]
    assert session["username"] == "alice"
    assert ("ressource" in session) == (_dialect(asker) == "1.2")
    assert [asker.rest("DELETE", f"/sessions/{name}").status for name in ("alice", "alice", "zz")] == [200] * 3
    assert asker.rest("GET", "/sessions/alice").text == none


def test_the_count_of_sessions_tells_the_generation(asker: Asker) -> None:
    got = asker.rest("GET", "/system/statistics/sessions").text
    oldest, newer = '{"clusterSessions":"0","localSessions":"0"}', '{"localSessions":0,"clusterSessions":0}'
    assert got == (oldest if _dialect(asker) == "1.2" else newer)
    shown = asker.rest("GET", "/system/statistics/sessions", Accept=XML).text
    assert shown.endswith("<sessions><clusterSessions>0</clusterSessions><localSessions>0</localSessions></sessions>")


def test_a_broadcast_needs_a_text(asker: Asker) -> None:
    message = "Message content/body is null or empty"
    for body in ({"body": ""}, {}):
        got = asker.rest("POST", "/messages/users", body)
        assert (got.status, got.text) == (400, _error(asker, "IllegalArgumentException", message, ""))
    assert asker.rest("POST", "/messages/users", {"body": "x" * 3_000_000}).status == 201


def test_unread_messages_are_counted(asker: Asker) -> None:
    [stream] = asker.login("alice")
    asker.chat("POST", f"/chat/{stream}/messages/{BOB}", "hello")
    count = asker.rest("GET", f"/archive/messages/unread/{BOB}").text
    assert count == (
        '{"jid":"bob@example.org","count":"1"}' if _dialect(asker) == "1.2" else f'{{"jid":"{BOB}","count":1}}'
    )


def test_properties_are_written_as_each_dialect_does(asker: Asker) -> None:
    old, new = {"@key": "x.z", "@value": "1"}, {"key": "x.z", "value": "1"}
    right, wrong = (old, new) if _dialect(asker) == "1.2" else (new, old)
    assert asker.rest("POST", "/system/properties", wrong).status == 500
    assert asker.rest("POST", "/system/properties", right).status == 201
    assert asker.rest("GET", "/system/properties/x.z").json == right
    assert right in asker.rest("GET", "/system/properties").json["property"]
    other = {name: "other" if value == "x.z" else value for name, value in right.items()}
    assert asker.rest("PUT", "/system/properties/x.z", other).status == (404 if _dialect(asker) == "1.2" else 400)
    assert asker.rest("PUT", "/system/properties/x.z", right).status == 200
    assert [asker.rest("DELETE", "/system/properties/x.z").status for _ in "12"] == [200, 404]
    missing = asker.rest("GET", "/system/properties/nope").text
    assert missing == _error(asker, "PropertyNotFoundException", "Could not find property", "nope")
    unknown = asker.rest("PUT", "/system/properties/nope", right).text
    assert unknown == _error(asker, "PropertyNotFoundException", "Could not find property for update", None)


def test_paths_and_methods_are_as_strict_as_there(asker: Asker) -> None:
    allow = {"PATCH": "HEAD,POST,GET,OPTIONS", "DELETE": "HEAD,POST,GET,OPTIONS"}
    for method, allowed in allow.items():
        got = asker.rest(method, "/users")
        assert (got.status, got.headers["allow"], got.body) == (405, allowed, b"")
    options = asker.rest("OPTIONS", "/users", Authorization="")
    assert (options.status, options.headers["allow"]) == (204, "OPTIONS,HEAD,POST,GET")
    assert asker.rest("GET", "/users/").status == 200
    assert [asker.rest("GET", path).status for path in ("/nope", "//users", "/users/a%2Fb")] == [404, 404, 500]
    assert asker.rest("GET", "/users/b%C3%B6b").status == 404
    got = asker.rest("POST", "/users", b"\x1f\x8b", Content_Type=JSON, Content_Encoding="gzip")
    assert got.status == (400 if _dialect(asker) == "1.2" else 500)


def test_only_the_newest_has_vcards(asker: Asker) -> None:
    vcard = '<vCard xmlns="vcard-temp"><FN>Alice</FN></vCard>'
    status = asker.rest("PUT", "/users/alice/vcard", vcard, Content_Type=XML, Accept=XML).status
    if _dialect(asker) != "1.12":
        assert status == 404
        return
    assert status == 200
    assert asker.rest("GET", "/users/alice/vcard", Accept=XML).text == vcard
    assert asker.rest("DELETE", "/users/alice/vcard").status == 200
    assert asker.rest("GET", "/users/alice/vcard", Accept=XML).status == 204
