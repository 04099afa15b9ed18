"""What Openfire gets for a job, and what is refused before anything is sent."""

import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import attrs
from hypothesis import given
from hypothesis import strategies as st

from restbroker.config.target import Target, Url
from restbroker.job.command import Call, Command
from restbroker.job.outcome import Delivered
from restbroker.servers import registry
from restbroker.servers.api.table import InvalidArguments
from restbroker.servers.openfire.rest.catalogue import TABLE
from restbroker.servers.openfire.rest.connector import Dialect, version_of
from restbroker.servers.openfire.rest.request import build
from restbroker.transport.message import Response
from tests.support.receiver import Answer, Received
from tests.support.rows import rows
from tests.unit.servers.conftest import Opened, answering, fate, refused_unsent
from tests.unit.servers.openfire_rest.conftest import BASE

USER = {"username": "alice", "password": "p4ssw0rd"}
DESCRIPTION = b"openapi: 3.0.1\ninfo:\n  title: REST API\n  version: 1.12.0\npaths: {}\n"
NEW = b'{"localSessions":1,"clusterSessions":1}'
OLD = b'{"clusterSessions":"1","localSessions":"1"}'
TARGET = Target("fire", "openfire-rest", Url("http", "127.0.0.1", 9090, BASE), ("q",))


def speaking(sessions: bytes, status: int = 201) -> Callable[[Received], Answer]:
    """A server of the dialect in which it gives the number of sessions."""

    def act(received: Received) -> Answer:
        if received.target.endswith("/statistics/sessions"):
            return Answer(200, sessions, {"Content-Type": "application/json"})
        return Answer(404 if "readiness" in received.target else status, b"")

    return act


async def test_the_session_of_an_answer_is_kept_and_the_newest_counts(opened: Opened) -> None:
    numbers = iter(("node01abc.node0", "two"))

    def act(received: Received) -> Answer:
        cookie = next(numbers, None) if received.headers.get("cookie") != "JSESSIONID=two" else None
        return Answer(200, b"", {"Set-Cookie": f"JSESSIONID={cookie};Path=/plugins;HttpOnly"} if cookie else {})

    async with opened(act) as bench:
        cookies = [(await bench.sent("unlock_user", username="alice")).headers.get("cookie") for _ in range(4)]
    assert cookies == [None, "JSESSIONID=node01abc.node0", "JSESSIONID=two", "JSESSIONID=two"]


async def test_unsuccessful_look_neither_replaces_nor_creates(opened: Opened) -> None:
    group = ("update_group", {"groupName": "G", "description": "e", "members": ["alice"]})
    room = ("create_room", {"roomName": "lobby", "naturalName": "Lobby", "description": ""})
    rows: list[tuple[tuple[str, dict[str, Any]], int, bytes, str]] = [
        (group, 200, b'{"name":"another","members":[],"admins":[],"shared":false}', "NotTheApi"),
        (group, 404, b'{"message":"Could not find group","exception":"GroupNotFoundException"}', "NotFound"),
        (group, 500, b"", "ServerError"),
        (group, 504, b"", "GatewayTimeout"),
        (room, 200, b'{"roomName":"another"}', "NotTheApi"),
        (room, 302, b"", "Redirected"),
        (room, 404, b"", "WrongUrl"),
        (room, 503, b"", "ServerBusy"),
        (room, 504, b"", "GatewayTimeout"),
        # Of another service than the usual one a 500 says that there is none.
        (("create_room", {**room[1], "servicename": "Conference"}), 500, b"", "ServerError"),
    ]
    for (command, arguments), status, body, code in rows:
        async with opened(answering(status, body, Content_Type="application/json")) as bench:
            outcome = await bench.deliver(command, **arguments)
            assert [request.method for request in bench.server.received] == ["GET"], (command, status)
        assert outcome.reason.code == code, (command, status)
        assert not getattr(outcome, "maybe_run", False), (command, status)


NO_ROOM = Answer(404, b'{"message":"-","exception":"RoomNotFoundException"}', {"Content-Type": "application/json"})
A_ROOM = Answer(200, b'{"roomName":"lobby"}', {"Content-Type": "application/json"})


@rows(
    ("behind", "known", "expected"),
    [
        (A_ROOM, {}, "Rejected ServerError"),
        (A_ROOM, {"maybe_run": True}, "Rejected ServerError"),
        (A_ROOM, {"ok_if_exists": True}, "Rejected ServerError"),
        (NO_ROOM, {}, "Deferred ServerError max 3"),
        (NO_ROOM, {"maybe_run": True, "ok_if_exists": True}, "Deferred ServerError max 3"),
        (Answer(500, b""), {}, "Deferred ServerError max 3"),
        (Answer(500, b""), {"maybe_run": True}, "Rejected ServerError"),
        (Answer(401, b""), {"ok_if_exists": True}, "Rejected ServerError"),
    ],
)
async def test_room_a_500_left_half_made_never_counts_as_created(
    opened: Opened, behind: Answer, known: dict[str, Any], expected: str
) -> None:
    answers = iter((NO_ROOM, Answer(500, b""), behind))
    async with opened(lambda _: next(answers)) as bench:
        call = Call(Command("create_room", {"roomName": "lobby", "naturalName": "L", "description": ""}), **known)
        outcome = await bench.connector.deliver(call, bench.link)
        assert [request.method for request in bench.server.received] == ["GET", "POST", "GET"]
    assert fate(outcome) == expected


ROOMS: list[dict[str, Any]] = [{"roomName": room, "naturalName": "", "description": ""} for room in ("a", "b", "c")]


def with_room_b(received: Received) -> Answer:
    """Only b of these rooms is there."""
    if received.method == "POST":
        return Answer(200, b'{"success":[{"roomName":"a"},{"roomName":"c"}]}', {"Content-Type": "application/json"})
    is_there = received.target.endswith("/b")
    return Answer(200, b'{"roomName":"b"}', {"Content-Type": "application/json"}) if is_there else NO_ROOM


async def test_existing_rooms_of_a_common_creation_are_left_alone(opened: Opened) -> None:
    async with opened(with_room_b) as bench:
        refused = await bench.deliver("create_rooms_bulk", chatRooms=ROOMS)
        assert [request.method for request in bench.server.received] == ["GET", "GET"]
        call = Call(Command("create_rooms_bulk", {"chatRooms": ROOMS}), ok_if_exists=True)
        done = await bench.connector.deliver(call, bench.link)
        sent = bench.server.received[-1].body.decode()
        only_b = attrs.evolve(call, command=Command("create_rooms_bulk", {"chatRooms": ROOMS[1:2]}))
        none_sent = await bench.connector.deliver(only_b, bench.link)
    assert (fate(refused), refused.reason.message) == ("Rejected AlreadyExists", "The room 'b' exists already.")
    assert (fate(done), re.findall("<roomName>(.)<", sent)) == ("Delivered already done: 1 of 3", ["a", "c"])
    assert (fate(none_sent), bench.server.received[-1].method) == ("Delivered already done", "GET")


async def test_rooms_a_500_left_half_made_never_count_as_created(opened: Opened) -> None:
    def act(received: Received) -> Answer:
        made = any(request.method == "POST" for request in bench.server.received)
        if received.method == "POST":
            return Answer(500, b"")
        return A_ROOM if made and received.target.endswith("/lobby") else NO_ROOM

    lobby = {**ROOMS[0], "roomName": "lobby"}
    async with opened(act) as bench:
        outcome = await bench.deliver("create_rooms_bulk", chatRooms=[ROOMS[0], lobby])
    assert (fate(outcome), "'lobby' exists" in outcome.reason.message) == ("Rejected ServerError", True)


async def test_answer_about_a_group_shows_no_secret_of_the_job(opened: Opened) -> None:
    body = b'{"message":"token=hunter22zz","exception":"GroupNotFoundException"}'
    async with opened(answering(404, body, Content_Type="application/json")) as bench:
        outcome = await bench.deliver("update_group", groupName="G", description="token=hunter22zz")
    assert outcome.reason.code == "NotFound"
    assert "hunter22" not in f"{outcome.reason.message} {outcome.text}"


async def test_group_update_takes_the_jobs_values_else_the_servers(
    opened: Opened,
) -> None:
    """The rest has no users whom the server does not list."""
    people = {"admins": ["dan@example.org"], "members": ["bob@example.org"], "shared": True}
    dan, bob = "<admins><admin>dan@example.org</admin></admins>", "<members><member>bob@example.org</member></members>"
    no_people: dict[str, Any] = {"admins": [], "members": []}
    empty = "<admins></admins><members></members>"
    rows: list[tuple[dict[str, Any], dict[str, Any], str]] = [
        (people, {}, f"{dan}{bob}<shared>true</shared>"),
        (people, {"members": [], "shared": None}, f"{dan}<members></members><shared>true</shared>"),
        (people, {**no_people, "shared": False}, f"{empty}<shared>false</shared>"),
        ({**people, **no_people}, {}, f"{empty}<shared>true</shared>"),
        # As plugins up to 1.2 write it.
        ({"admins": None, "members": {"member": "bob@example.org"}}, {}, bob),
        ({}, {}, ""),
    ]
    for old, new, written in rows:
        group = json.dumps({"name": "G", "description": "d", **old}).encode()
        async with opened(answering(200, group, Content_Type="application/json")) as bench:
            sent = await bench.sent("update_group", groupName="G", description="e", **new)
            methods = [request.method for request in bench.server.received]
        assert sent.body.decode() == f"<group><name>G</name><description>e</description>{written}</group>", (old, new)
        assert methods == ["GET"] * (len(new) < 3) + ["PUT"], (old, new)


async def test_unstorable_text_is_refused_only_for_a_persistent_room(
    opened: Opened,
) -> None:
    rows = {"roomName": 50, "naturalName": 255, "description": 255, "password": 50}
    async with opened() as bench:
        for name, most in rows.items():
            room = {"roomName": "r", "naturalName": "", "description": "", "persistent": True}
            long = {**room, name: "a" * (most + 1)}
            for command in ("create_room", "update_room"):
                assert f"longer than the {most}" in await refused_unsent(bench, command, **long), (command, name)
            bulk = await refused_unsent(bench, "create_rooms_bulk", chatRooms=[room, long])
            assert f'in chatRooms[1], the argument "{name}" is longer than the {most}' in bulk
            for given in ({**room, name: "a" * most}, {**long, "persistent": False}):
                assert isinstance(await bench.deliver("update_room", **given), Delivered), (name, given)


async def test_request_openfire_answers_with_500_is_refused_unsent(opened: Opened) -> None:
    room = {"roomName": "r", "naturalName": "", "description": ""}
    rows: list[tuple[str, dict[str, Any], str]] = [
        (
            "create_user",
            {"username": "big user", "password": "x"},
            "has a blank, which names may not contain: write \\20",
        ),
        ("create_user", {"username": "a@example.org", "password": "x"}, "write \\40 for it"),
        ("create_user", {**USER, "emial": "x"}, "did you mean email"),
        ("create_user", {**USER, "name": "a" * 101}, "longer than the 100"),
        ("create_user", {**USER, "properties": [{"value": "x"}]}, '{"key": "value"}'),
        ("add_user_to_groups", {"username": "u", "groupnames": ["a" * 51]}, "longer than the 50"),
        ("add_user_to_groups", {"username": "u", "groupnames": ["a", "a/b"]}, '"groupnames[1]" has a slash'),
        ("update_group", {"groupName": "a", "description": "a" * 256}, "longer than the 255"),
        ("update_group", {"groupName": "a", "name": "b", "description": ""}, '"name" and "groupName" differ'),
        ("create_room", {**room, "owners": ["ok@example.org", "a b@c"]}, '"owners[1]" is a string, but not a JID'),
        ("create_rooms_bulk", {"chatRooms": [{**room, "outcasts": ["a b@c"]}]}, "outcasts[0]"),
        ("create_rooms_bulk", {"chatRooms": [{**room, "odd": 1}]}, "which a room does not have"),
        ("create_rooms_bulk", {"chatRooms": [room, {**room, "roomName": "R"}]}, "have the same roomName"),
    ]
    async with opened() as bench:
        for command, arguments, reason in rows:
            assert reason in await refused_unsent(bench, command, **arguments), (command, reason)
        looked = await bench.sent("lock_user", username="böb\\40", host="Example.ORG")
    assert looked.target == f"{BASE}/lockouts/b%C3%B6b%5C40"


async def test_probe_asks_for_readiness_sessions_and_version(opened: Opened) -> None:
    paths = ["/system/readiness/server", "/system/statistics/sessions", "/openapi.yaml"]
    for sessions, wanted, version in ((NEW, paths, "1.3 to 1.6"), (OLD, paths[:2], "up to 1.2")):
        async with opened(speaking(sessions, 404)) as bench:
            probe = await bench.connector.probe(bench.link)
            assert [request.target.removeprefix(BASE) for request in bench.server.received] == wanted, version
        assert (probe.ok, probe.denied, probe.version) == (True, False, version)


def test_version_is_what_the_plugin_reports_or_lacks() -> None:
    good, missing, ready = Response(200, {}, DESCRIPTION, 0.0), Response(404, {}, b"", 0.0), Response(200, {}, b"", 0.0)
    rows: list[tuple[Dialect | None, Response, Response | None, str | None]] = [
        ("1.2", missing, None, "up to 1.2"),
        ("1.3", missing, missing, "1.3 to 1.6"),
        ("1.3", missing, good, "1.12.0"),
        # As of a 1.10.2 that was built without its description.
        ("1.3", ready, missing, None),
        ("1.3", missing, Response(503, {}, b"", 0.0), None),
        (None, missing, missing, None),
    ]
    assert [version_of(*row[:3]) for row in rows] == [version for *_, version in rows]


def test_commands_are_listed_for_the_known_version() -> None:
    def has(version: str | None) -> list[str]:
        names = ("list_users", "invite_to_room", "openapi_json", "list_room_affiliations", "set_vcard")
        return [name for name in names if name in registry.catalogue("openfire-rest", version).commands]

    assert has("up to 1.2") == ["list_users"]
    assert has("1.3 to 1.6") == ["list_users", "invite_to_room"]
    assert has("1.8.0") == ["list_users", "invite_to_room", "openapi_json"]
    assert len(has("1.10.2")) == 4
    assert len(has("1.12.0")) == len(has("1.12")) == len(has(None)) == 5
    assert (
        "came with plugin 1.8.1" in registry.catalogue("openfire-rest", "1.8.0").unavailable["list_room_affiliations"]
    )


async def test_unknown_command_dies_with_where_to_look(opened: Opened) -> None:
    async with opened() as bench:
        outcome = await bench.deliver("post_message")
        of_lists = await bench.deliver("add_room_affiliations", roomName="r", affiliation="owners", owners=["a@b"])
    assert "`restbroker commands --target fire` lists them." in outcome.reason.text
    assert not isinstance(outcome, Delivered)
    assert "push add_room_affiliation for each" in of_lists.reason.text
    assert bench.server.received == []


NAMING_A_GROUP = sorted(name for name, entry in TABLE.items() if "{groupName}" in entry.request)


@given(st.sampled_from(NAMING_A_GROUP), st.text(min_size=1, max_size=40))
def test_name_in_the_path_is_refused_or_stands_there_as_given(command: str, name: str) -> None:
    entry = TABLE[command]
    known = {"username": "a", "groupName": name, "description": ""}
    arguments = {key: value for key, value in known.items() if key in entry.takes.by_name}
    try:
        request = build(Call(Command(command, arguments)), entry, TARGET, tuple, None)
    except InvalidArguments:
        return
    parts = request.path.removeprefix(BASE).split("/")
    wanted = [
        name if part == "{groupName}" else "a" if part == "{username}" else part for part in entry.parts[1].split("/")
    ]
    assert [unquote(part) for part in parts] == wanted
    assert request.path.isascii()
    assert set("/?#\r\n ") & set(request.path.replace("/", "")) == set()
