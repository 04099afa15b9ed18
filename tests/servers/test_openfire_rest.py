"""The kind openfire-rest against the stand-in, which plays what was measured on two generations of the plugin."""

from itertools import product
from pathlib import Path
from typing import Any, Final

import pytest

from restbroker.job.outcome import Deferred
from restbroker.servers import registry
from restbroker.transport.errors import MaybeSent
from tests.servers.openfire_rest import ROOM, made, opened
from tests.servers.sides import in_short
from tests.support.openfire.faults import Kind
from tests.support.openfire.server import Openfire
from tests.support.rows import rows

WAYS: Final[dict[str, dict[str, str]]] = {"basic": {}, "secret": {"Secret": "rest-secret"}}


@rows(("dialect", "write"), product(("1.2", "1.5", "1.12"), ("xml", "json")))
async def test_what_is_written_is_read_back_alike_in_every_dialect(tmp_path: Path, dialect: Any, write: str) -> None:
    alice: dict[str, Any] = {"username": "alice"}
    with Openfire(dialect=dialect) as server:
        server.world.register("bob")
        async with opened(tmp_path, server, Write=write) as side:

            async def read(command: str, **given: Any) -> Any:
                return (await side.done(command, given)).body

            assert await read("create_user", **alice, password="p", properties={"a": "b"}) is None
            assert await read("create_group", name="My Group", description="d") is None
            await read("add_user_to_groups", **alice, groupnames=["My Group"])
            await read("add_roster_item", **alice, jid="bob@example.org", nickname="B", groups=["Friends"])
            await read("create_room", **ROOM, persistent=True, maxUsers=5, owners=["alice@example.org"])
            await read("create_system_property", key="x.y", value="1")
            user, roster = await read("get_user", **alice), await read("get_roster", **alice)
            rooms, users = await read("list_rooms", type="all"), await read("list_users", search="alice")
            assert await read("list_user_groups", **alice) == {"groupnames": ["My Group"]}
            assert await read("get_system_property", propertyKey="x.y") == {"key": "x.y", "value": "1"}
            assert await read("user_sessions", **alice) == {"sessions": []}
        assert {line.headers["accept"] for line in server.asked} == {"application/json"}
    assert (user["username"], user["properties"]) == ("alice", [{"key": "a", "value": "b"}])
    assert "password" not in user
    assert [one["username"] for one in users["users"]] == ["alice"]
    (item,), (room,) = roster["rosterItem"], rooms["chatRooms"]
    assert (item["jid"], item["nickname"], item["groups"]) == ("bob@example.org", "B", ["Friends"])
    assert isinstance(item["subscriptionType"], int)
    assert (room["roomName"], room["persistent"], room["maxUsers"]) == ("lobby", True, 5)
    assert room["owners"] == ["alice@example.org"]
    assert isinstance(room["creationDate"], int)


@rows("write", ["xml", "json"])
async def test_people_and_sharing_of_a_group_survive_a_change_of_its_description(tmp_path: Path, write: str) -> None:
    people = ["alice@example.org", "bob@example.org", "carol@elsewhere.example"]
    whole: dict[str, Any] = {
        "name": "G",
        "description": "d",
        "admins": ["dan@example.org"],
        "members": people,
        "shared": True,
    }
    with Openfire(dialect="1.12") as server:
        async with opened(tmp_path, server, Write=write) as side:
            await side.done("create_group", whole)
            await side.do("update_group", groupName="G", description="e")
            assert (await side.done("get_group", {"groupName": "G"})).body == {**whole, "description": "e"}
            await side.do("update_group", groupName="G", description="f", members=[])
            emptied = (await side.done("get_group", {"groupName": "G"})).body
    assert emptied == {**whole, "description": "f", "members": []}


@rows("mode", ["basic", "secret"])
async def test_each_way_to_log_in_works_in_its_own_mode_alone(tmp_path: Path, mode: Any) -> None:
    found = {}
    with Openfire(auth=mode) as server:
        for way, given in WAYS.items():
            async with opened(tmp_path, server, **given) as side:
                checked = {one.code for one in await registry.check(made(tmp_path, server, **given))}
                found[way] = in_short(await side.do("list_users")), "Reachable" in checked, "LoginRefused" in checked
    wrong = dict.fromkeys(WAYS, ("Denied LoginRefused", False, True))
    assert found == {**wrong, mode: ("Delivered", True, False)}


async def test_a_500_after_it_was_done_ends_as_done_at_the_next_try(tmp_path: Path) -> None:
    alice = {"username": "alice", "password": "p"}
    with Openfire() as server:
        server.faults.add(Kind.BROKEN, "POST */users")
        server.faults.add(Kind.LOST, "DELETE */users/*")
        async with opened(tmp_path, server) as side:
            first = await side.call("create_user", alice)
            second = await side.call("create_user", alice, maybe_run=True)
            with pytest.raises(MaybeSent):
                await side.do("delete_user", username="alice")
            gone = await side.call("delete_user", {"username": "alice"}, maybe_run=True)
    assert isinstance(first, Deferred)
    assert first.maybe_run
    assert [in_short(one) for one in (second, gone)] == [
        "Delivered already exists after a retry",
        "Delivered already done",
    ]


async def test_while_the_server_starts_it_redirects_and_then_it_works(tmp_path: Path) -> None:
    alice = {"username": "alice", "password": "p"}
    with Openfire(starting_s=0.3) as server:
        async with opened(tmp_path, server) as side:
            starting, probe = await side.call("create_user", alice), await side.probe()
            while not (await side.probe()).ok:
                pass
            await side.done("create_user", alice)
        server.redirects = True
        (finding,) = await registry.check(made(tmp_path, server))
    assert isinstance(starting, Deferred)
    assert not starting.maybe_run
    assert (starting.reason.code, probe.ok, probe.denied) == ("Redirected", False, False)
    assert finding.code == "Redirected"
