"""The kind openfire-rest against the stand-in, which plays what was measured on two generations of the plugin."""

from itertools import product
from pathlib import Path
from typing import Any, Final

import pytest

from restbroker.job.outcome import Deferred, Delivered, Denied, Rejected
from restbroker.servers import registry
from restbroker.transport.errors import MaybeSent
from tests.servers.openfire_rest import ROOM, made, opened
from tests.support.openfire.faults import Kind
from tests.support.openfire.server import Openfire
from tests.support.rows import rows

WAYS: Final[dict[str, dict[str, str]]] = {"basic": {}, "secret": {"Secret": "rest-secret"}}


@rows(("dialect", "write"), product(("1.2", "1.5", "1.12"), ("xml", "json")))
async def test_what_is_written_is_read_back_alike_in_every_dialect(tmp_path: Path, dialect: Any, write: str) -> None:
    with Openfire(dialect=dialect) as server:
        server.world.register("bob")
        async with opened(tmp_path, server, Write=write) as side:
            assert await side.read("create_user", username="alice", password="p", properties={"a": "b"}) is None
            assert await side.read("create_group", name="My Group", description="d") is None
            await side.read("add_user_to_groups", username="alice", groupnames=["My Group"])
            await side.read(
                "add_roster_item", username="alice", jid="bob@example.org", nickname="B", groups=["Friends"]
            )
            await side.read("create_room", **ROOM, persistent=True, maxUsers=5, owners=["alice@example.org"])
            await side.read("create_system_property", key="x.y", value="1")
            user = await side.read("get_user", username="alice")
            groups = await side.read("list_user_groups", username="alice")
            roster = await side.read("get_roster", username="alice")
            rooms = await side.read("list_rooms", type="all")
            value = await side.read("get_system_property", propertyKey="x.y")
            sessions = await side.read("user_sessions", username="alice")
            users = await side.read("list_users", search="alice")
        assert {line.headers["accept"] for line in server.asked} == {"application/json"}
    assert (user["username"], user["properties"]) == ("alice", [{"key": "a", "value": "b"}])
    assert "password" not in user
    assert [one["username"] for one in users["users"]] == ["alice"]
    assert groups == {"groupnames": ["My Group"]}
    (item,) = roster["rosterItem"]
    assert (item["jid"], item["nickname"], item["groups"]) == ("bob@example.org", "B", ["Friends"])
    assert isinstance(item["subscriptionType"], int)
    (room,) = rooms["chatRooms"]
    assert (room["roomName"], room["persistent"], room["maxUsers"]) == ("lobby", True, 5)
    assert room["owners"] == ["alice@example.org"]
    assert isinstance(room["creationDate"], int)
    assert value == {"key": "x.y", "value": "1"}
    assert sessions == {"sessions": []}


@rows("write", ["xml", "json"])
async def test_people_and_sharing_of_a_group_survive_a_change_of_its_description(tmp_path: Path, write: str) -> None:
    people = ["alice@example.org", "bob@example.org", "carol@elsewhere.example"]
    with Openfire(dialect="1.12") as server:
        async with opened(tmp_path, server, Write=write) as side:
            await side.read("create_group", name="G", description="d", members=people, admins=["dan"], shared=True)
            await side.read("update_group", groupName="G", description="e")
            kept = await side.read("get_group", groupName="G")
            await side.read("update_group", groupName="G", description="f", members=[])
            emptied = await side.read("get_group", groupName="G")
    whole = {"name": "G", "description": "e", "admins": ["dan@example.org"], "members": people, "shared": True}
    assert kept == whole
    assert emptied == {**whole, "description": "f", "members": []}


async def test_a_group_that_cannot_be_read_is_not_written(tmp_path: Path) -> None:
    with Openfire(dialect="1.12") as server:
        async with opened(tmp_path, server) as side:
            outcome = await side.do("update_group", groupName="G", description="e")
    assert isinstance(outcome, Rejected)
    assert outcome.reason.code == "NotFound"
    assert {one.method for one in server.asked} == {"GET"}


async def test_the_session_is_kept_and_one_is_enough(tmp_path: Path) -> None:
    with Openfire() as server:
        async with opened(tmp_path, server) as side:
            for _ in range(5):
                await side.read("list_users")
        assert server.http_sessions == 1


@rows("mode", ["basic", "secret"])
async def test_each_way_to_log_in_works_in_its_own_mode_alone(tmp_path: Path, mode: Any) -> None:
    with Openfire(auth=mode) as server:
        async with opened(tmp_path, server) as basic, opened(tmp_path, server, Secret="rest-secret") as secret:
            outcomes = {"basic": await basic.do("list_users"), "secret": await secret.do("list_users")}
        assert {way: type(outcome) for way, outcome in outcomes.items()} == {
            mode: Delivered,
            "secret" if mode == "basic" else "basic": Denied,
        }
        codes = {
            way: {one.code for one in await registry.check(made(tmp_path, server, **given))}
            for way, given in WAYS.items()
        }
        assert codes["secret" if mode == "basic" else "basic"] == {"LoginRefused"}
        assert "Reachable" in codes[mode]


async def test_a_500_after_it_was_done_ends_as_done_at_the_next_try(tmp_path: Path) -> None:
    with Openfire() as server:
        server.faults.add(Kind.BROKEN, "POST */users")
        server.faults.add(Kind.LOST, "DELETE */users/*")
        async with opened(tmp_path, server) as side:
            first = await side.do("create_user", username="alice", password="p")
            second = await side.do("create_user", 2, username="alice", password="p")
            with pytest.raises(MaybeSent):
                await side.do("delete_user", username="alice")
            gone = await side.do("delete_user", 2, username="alice")
    assert isinstance(first, Deferred)
    assert first.maybe_run
    assert isinstance(second, Delivered)
    assert isinstance(gone, Delivered)
    assert (second.note, gone.note) == ("already exists after a retry", "already done")


async def test_while_the_server_starts_it_redirects_and_then_it_works(tmp_path: Path) -> None:
    with Openfire(starting_s=0.3) as server:
        async with opened(tmp_path, server) as side:
            starting = await side.do("create_user", username="alice", password="p")
            probe = await side.connector.probe(side.link)
            while not (await side.connector.probe(side.link)).ok:
                pass
            assert await side.read("create_user", username="alice", password="p") is None
        server.redirects = True
        (finding,) = await registry.check(made(tmp_path, server))
    assert isinstance(starting, Deferred)
    assert not starting.maybe_run
    assert (starting.reason.code, probe.ok, probe.denied) == ("Redirected", False, False)
    assert finding.code == "Redirected"


async def test_a_plugin_that_is_off_and_a_server_that_is_full_are_told_apart(tmp_path: Path) -> None:
    with Openfire() as server:
        async with opened(tmp_path, server) as side:
            server.is_enabled = False
            disabled = await side.do("list_users")
            server.is_enabled = True
            server.is_allowed = False
            barred = await side.do("list_users")
            server.is_allowed = True
            server.faults.add(Kind.UNAVAILABLE)
            busy = await side.do("list_users")
    found = [outcome.reason.code for outcome in (disabled, barred, busy) if isinstance(outcome, Denied | Deferred)]
    assert found == ["PluginDisabled", "LoginRefused", "ServerBusy"]


async def test_what_an_old_plugin_lacks_is_denied_with_the_version_that_has_it(tmp_path: Path) -> None:
    with Openfire(dialect="1.2") as server:
        async with opened(tmp_path, server) as side:
            outcome = await side.do("list_chat_services")
            missing = await side.do("get_user", username="nobody")
    assert isinstance(outcome, Denied)
    assert outcome.reason.code == "UnknownCommand"
    assert isinstance(missing, Rejected)
    assert missing.reason.code == "NotFound"


async def test_of_a_bulk_each_room_is_made_for_itself(tmp_path: Path) -> None:
    with Openfire(dialect="1.12") as server:
        async with opened(tmp_path, server) as side:
            again = [{**ROOM, "roomName": name} for name in ("one", "two")]
            first = await side.do("create_rooms_bulk", chatRooms=again)
            second = await side.do("create_rooms_bulk", 2, chatRooms=again)
    assert isinstance(first, Delivered)
    assert isinstance(second, Delivered)
    assert (first.note, second.note) == (None, None)


@rows(("dialect", "version"), [("1.2", "does not tell"), ("1.12", "1.12.0")])
async def test_the_check_tells_dialect_and_version_and_the_base_path(
    tmp_path: Path, dialect: Any, version: str
) -> None:
    with Openfire(dialect=dialect) as server:
        reachable, told = await registry.check(made(tmp_path, server))
        (elsewhere,) = await registry.check(made(tmp_path, server, f"http://127.0.0.1:{server.rest_port}/rest/api"))
    assert ("up to 1.2" in reachable.message) == (dialect == "1.2")
    assert version in told.message
    assert elsewhere.code == "OtherPath"
