"""The kind openfire-rest against recorded answers of several generations of the plugin."""

from pathlib import Path
from typing import Any, Final

import attrs
import pytest

from restbroker.job.outcome import Deferred, Denied
from restbroker.servers import registry
from restbroker.transport.message import MaybeSent
from tests.servers.openfire_rest import REST, made, named, no_room, opened
from tests.servers.sides import in_short
from tests.support.player import Exchange, Player, recorded
from tests.support.receiver import Kind
from tests.support.rows import rows

LOBBY: Final[dict[str, Any]] = {"roomName": "lobby", "naturalName": "Lobby", "description": "d"}
READ: Final = ("get carol", "by prop", "roster get", "user groups get", "sessions user")


@rows("version", ["1.2.5", "1.3.10", "1.10.2"])
async def test_each_generation_takes_what_is_written(tmp_path: Path, version: str) -> None:
    carol: dict[str, Any] = {"username": "carol"}
    with Player([*recorded(f"openfire-rest/{version}/written"), no_room(version, "lobby")]) as server:
        async with opened(tmp_path, server.url) as side:
            await side.done("create_user", {**carol, "password": "p", "name": "Carol", "properties": {"a": "b"}})
            await side.done("create_group", {"name": "G1", "description": "d"})
            await side.done("add_user_to_groups", {**carol, "groupnames": ["G1"]})
            bob: dict[str, Any] = {
                "jid": "bob@example.org",
                "nickname": "Bob",
                "subscriptionType": "both",
                "groups": ["Friends"],
            }
            await side.done("add_roster_item", {**carol, **bob})
            room: dict[str, Any] = {"roomName": "lobby", "naturalName": "Lobby", "description": "d", "persistent": True}
            await side.done("create_room", {**room, "owners": ["alice@example.org"]})
            await side.done("create_system_property", {"key": "x.z", "value": "1"})
        assert {request.headers["accept"] for request in server.requests} == {"application/json"}


@rows(
    ("version", "alice", "carol", "rooms"),
    [
        ("1.2.5", "alice", "carol", "rooms one"),
        ("1.3.10", "al2", "carol2", "rooms empty"),
        ("1.12", "alice", "carol", "rooms one"),
    ],
)
async def test_answers_of_each_generation_are_read_alike(
    tmp_path: Path, version: str, alice: str, carol: str, rooms: str
) -> None:
    with Player(named(version, *READ, rooms)) as server:
        async with opened(tmp_path, server.url) as side:

            async def read(command: str, **given: Any) -> Any:
                return (await side.done(command, given)).body

            user, users = await read("get_user", username=carol), await read("list_users", propertyKey="a")
            roster, (room,) = await read("get_roster", username=alice), (await read("list_rooms"))["chatRooms"]
            assert await read("list_user_groups", username=alice) == {"groupnames": ["G1", "Gnew"]}
            assert await read("user_sessions", username=alice) == {"sessions": []}
    assert user == {"username": carol, "name": "Carol", "properties": [{"key": "a", "value": "b"}]}
    assert user in users["users"]
    (friend,) = [item for item in roster["rosterItem"] if item["groups"]]
    assert (friend["subscriptionType"], friend["groups"]) == (3, ["Friends"])
    assert (room["naturalName"], room["persistent"], room["maxUsers"], room["moderated"]) == ("Lobby", True, 0, False)
    assert (room["owners"], room["members"]) == (["admin@example.org"], [])
    assert isinstance(room["creationDate"], int)


@rows("version", ["1.2.5", "1.3.10"])
async def test_newer_feature_is_named_with_the_version_that_brought_it(tmp_path: Path, version: str) -> None:
    with Player([*recorded("openfire-rest/1.2.5/without_login"), *recorded(f"openfire-rest/{version}/quoted")]) as old:
        async with opened(tmp_path, old.url) as side:
            lacking = [
                (await side.call("list_room_affiliations", {"roomName": "lobby", "affiliation": "members"}), "1.8.1"),
                (await side.call("openapi_yaml", {}), "1.7.0"),
                (await side.call("openapi_json", {}), "1.7.0"),
                (await side.call("readiness_server", {}), "1.8.0"),
            ]
    for outcome, since in lacking:
        assert isinstance(outcome, Denied)
        assert outcome.reason.code == "UnknownCommand"
        assert f"which came with {since}." in outcome.reason.message


@rows(
    ("version", "about", "command", "given", "body"),
    [
        (
            "1.3.10",
            "invitation",
            "invite_to_room",
            {"roomName": "lobby", "jid": "bob@example.org", "reason": "Come"},
            "",
        ),
        ("1.3.10", "prop get", "get_system_property", {"propertyKey": "x.z"}, {"key": "x.z", "value": "1"}),
        ("1.3.10", "shared group", "create_group", {"name": "G1", "description": "d", "shared": True}, ""),
        ("1.10.2", "chat services", "list_chat_services", {}, "chatService"),
        ("1.10.2", "properties", "list_system_properties", {}, "property"),
        ("1.10.2", "history", "get_room_history", {"roomName": "lobby"}, "message"),
    ],
)
async def test_an_answer_is_read_with_the_names_that_it_has(
    tmp_path: Path, version: str, about: str, command: str, given: dict[str, Any], body: Any
) -> None:
    with Player(named(version, about)) as server:
        async with opened(tmp_path, server.url) as side:
            found = (await side.done(command, given)).body
    if isinstance(body, dict) or not body:
        assert found == (body or None)
    else:
        assert isinstance(found, dict)
        assert [*found] == [body]


async def test_a_changed_group_keeps_its_people_and_sharing(tmp_path: Path) -> None:
    whole, changed, _ = recorded("openfire-rest/1.12/group")
    people = "".join(f"<member>{name}</member>" for name in ("alice@example.org", "bob@example.org"))
    xml = (
        "<group><name>G</name><description>{}</description><admins><admin>dan@example.org</admin></admins>"
        "<members>{}</members><shared>true</shared></group>"
    )
    described, emptied = xml.format("e", f"{people}<member>carol@elsewhere.example</member>"), xml.format("f", "")
    puts = [attrs.evolve(changed, body=body) for body in (described, emptied)]
    with Player([whole, *puts]) as server:
        async with opened(tmp_path, server.url) as side:
            await side.done("update_group", {"groupName": "G", "description": "e"})
            await side.done("update_group", {"groupName": "G", "description": "f", "members": []})


async def test_adding_to_a_missing_group_succeeds_or_fails_by_version(
    tmp_path: Path,
) -> None:
    found = []
    for version in ("1.2.5", "1.3.10", "1.10.2"):
        with Player(named(version, "unknown group")) as server:
            async with opened(tmp_path, server.url) as side:
                found.append(await side.do("add_user_to_group", username="alice", groupName="nope"))
    *made_it, refused = found
    assert [in_short(outcome) for outcome in made_it] == ["Delivered", "Delivered"]
    assert isinstance(refused, Deferred)
    # Jetty wraps it in a page of its own, in JSON.
    assert (refused.reason.message, refused.max_attempts) == ("Status 500: Request failed.", 3)
    assert "create it first, with create_group" in refused.reason.text


async def test_one_impossible_room_fails_all_created_with_it(tmp_path: Path) -> None:
    with Player([no_room("1.10.2", "lobby"), *named("1.10.2", "rooms", "rooms with a bad owner")]) as server:
        async with opened(tmp_path, server.url) as side:
            done = await side.done("create_rooms_bulk", {"chatRooms": [LOBBY]})
            failed = await side.call("create_rooms_bulk", {"chatRooms": [{**LOBBY, "owners": ["nobody"]}]})
    assert done.note is None
    assert isinstance(failed, Deferred)
    assert "A room that cannot be created" in failed.reason.text


def room_there(version: str) -> Exchange:
    """What this version answers once there is the room that the jobs here create."""
    (there,) = named(version, "room get")
    return attrs.evolve(there, path=f"{REST}/chatrooms/lobby", answer=there.answer.replace("lobbyx", "lobby"))


@rows("version", ["1.2.5", "1.3.10"])
async def test_a_room_that_is_there_is_created_by_no_job(tmp_path: Path, version: str) -> None:
    with Player([room_there(version)]) as server:
        async with opened(tmp_path, server.url) as side:
            refused = await side.call("create_room", {**LOBBY, "roomName": "Lobby"})
            done = await side.done("create_room", LOBBY, ok_if_exists=True)
            # So does a broker mark a job that it took from a dead process and that may never have been sent.
            again = await side.done("create_room", LOBBY, maybe_run=True)
    assert in_short(refused) == "Rejected AlreadyExists"
    assert (done.note, done.text) == ("already done", "")
    assert (again.note, again.text) == ("already exists after a retry", "")
    assert server.sent("POST") == []


@rows("version", ["1.2.5", "1.3.10"])
async def test_unanswered_room_is_created_again_only_where_missing(tmp_path: Path, version: str) -> None:
    with Player([no_room(version, "lobby"), *named(version, "room add", "room add again")]) as server:
        server.faults.add(Kind.LOST, "POST */chatrooms")
        async with opened(tmp_path, server.url) as side:
            with pytest.raises(MaybeSent):
                await side.call("create_room", LOBBY)
            await side.done("create_room", LOBBY, maybe_run=True)
    assert [request.method for request in server.requests] == ["GET", "POST", "GET", "POST"]


async def test_room_creation_makes_a_service_unknown_to_an_old_plugin(tmp_path: Path) -> None:
    exchanges = named("1.3.10", "room of no service", "room add badservice")
    for elsewhere in (no_room("1.3.10", "lobby"), room_there("1.3.10")):
        with Player([*exchanges, elsewhere]) as server:
            async with opened(tmp_path, server.url) as side:
                await side.done("create_room", {**LOBBY, "servicename": "nope"})
        assert [request.method for request in server.requests] == ["GET", "GET", "POST"]


async def test_a_500_after_it_was_done_ends_as_done_at_the_next_try(tmp_path: Path) -> None:
    alice = {"username": "alice", "password": "p"}
    # It fails over the properties, and the user is there.
    with Player(named("1.2.5", "create props obj", "create again", "del", "del again")) as server:
        server.faults.add(Kind.LOST, "DELETE */users/*")
        async with opened(tmp_path, server.url) as side:
            first = await side.call("create_user", alice)
            second = await side.call("create_user", alice, maybe_run=True)
            with pytest.raises(MaybeSent):
                await side.do("delete_user", username="alice")
            gone = await side.call("delete_user", {"username": "alice"}, maybe_run=True)
    assert isinstance(first, Deferred)
    assert first.ran == "maybe"
    assert [in_short(outcome) for outcome in (second, gone)] == [
        "Delivered already exists after a retry",
        "Delivered already done",
    ]


async def test_while_the_server_starts_it_redirects_and_then_it_works(tmp_path: Path) -> None:
    alice = {"username": "alice", "password": "p"}
    starting = recorded("openfire-rest/1.2.5/starting")
    ready = [*named("1.2.5", "create json", "stats"), *recorded("openfire-rest/1.2.5/without_login")]
    with Player([*starting, *ready]) as server:
        async with opened(tmp_path, server.url) as side:
            refused, probe = await side.call("create_user", alice), await side.probe()
            while not (await side.probe()).ok:
                pass
            await side.done("create_user", alice)
    with Player(starting) as server:
        (finding,) = await registry.check(made(tmp_path, server.url))
    assert isinstance(refused, Deferred)
    assert refused.ran != "maybe"
    assert (refused.reason.code, probe.ok, probe.denied) == ("Redirected", False, False)
    assert finding.code == "Redirected"
