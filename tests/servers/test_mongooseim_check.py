# ruff: noqa: SLF001 - one step of many, which others need a server for
"""What the check finds out about a MongooseIM, beside what one was measured to answer."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from restbroker.config.load import load
from restbroker.config.target import Target, Url
from restbroker.servers import registry
from restbroker.servers.findings import Finding
from restbroker.servers.mongooseim import check
from tests.servers.mongooseim import entry, exchanges
from tests.servers.sides import target_of
from tests.support.player import Player
from tests.support.ports import free_port
from tests.support.receiver import Answer, Kind, Receiver
from tests.support.rows import rows

Look = Callable[..., Any]


@pytest.fixture
def mim() -> Iterator[Player]:
    with Player(exchanges("check") + exchanges("health", password="secret")) as server:
        yield server


@pytest.fixture
def look(tmp_path: Path) -> Look:
    """What is found about a server, by code, with a target of these members."""

    async def run(server: Player, **members: Any) -> dict[str, Finding]:
        target = target_of(tmp_path, entry(server, **members))
        return {found.code: found for found in await registry.check(target)}

    return run


async def test_a_server_that_is_well_is_told_with_who_we_are(look: Look, mim: Player) -> None:
    found = await look(mim)
    assert {code: finding.level for code, finding in found.items()} == {
        "Reachable": "ok",
        "Version": "ok",
        "Domain": "ok",
    }
    assert found["Reachable"].message.endswith("answers and accepts the login. (admin is ADMIN)")
    assert "operations as of 6.8.0" in found["Version"].message
    assert all(json.loads(one.body)["query"].startswith("query") for one in mim.requests)


@rows(
    ("members", "code", "level", "hint"),
    [
        ({"Auth": {"Basic": {"User": "admin", "Pass": "wr0ng-secret"}}}, "LoginRefused", "problem", "login"),
        ({"Domain": None}, "NoDomain", "note", '"Domain": "example.org" in Targets.'),
        ({"Domain": "other.example"}, "UnknownHost", "warning", "Correct Domain"),
        ({"Options": {"ServerVersion": "6.0.0"}}, "OtherVersion", "warning", '"ServerVersion": "auto"'),
        (
            {"Options": {"Schema": "user"}, "Auth": {"Basic": {"User": "a@b", "Pass": "p"}}},
            "LoginRefused",
            "problem",
            "",
        ),
    ],
)
async def test_what_is_wrong_with_a_target_is_told_with_its_cure(
    look: Look, mim: Player, members: dict[str, Any], code: str, level: str, hint: str
) -> None:
    found = (await look(mim, **members))[code]
    assert found.level == level
    assert hint in (found.hint or "")
    assert "wr0ng" not in repr(found)


async def test_what_is_not_the_api_or_does_not_answer_is_told_and_nothing_else(look: Look, mim: Player) -> None:
    async def only(server: Player = mim, **members: Any) -> tuple[str, str | None]:
        (found,) = (await look(server, **members)).values()
        return found.code, found.cause

    with Player(exchanges("other_host")) as server:
        loopback = entry(server)["URL"].replace("localhost", "127.0.0.1")
        (other,) = (await look(server, URL=loopback)).values()
        assert other.code == "NotTheApi"
        assert "HostHeader: a listener may answer only to one Host" in str(other.hint)
        assert "Reachable" in await look(server, URL=loopback, HostHeader="localhost")
    assert (await only(URL=entry(mim)["URL"].replace("/api/", "/rest/")))[0] == "NotTheApi"
    assert await only(URL=f"http://localhost:{free_port()}/api/graphql") == ("Unreachable", "target")
    with Receiver(lambda _: Answer(200, b"<html>Welcome</html>")) as another:
        assert (await only(URL=another.url + "/api/graphql"))[0] == "NotTheApi"
    with Player(exchanges("other_schema")) as server:
        assert (await only(server, Auth={"Basic": {"User": "admin@localhost", "Pass": "secret"}}))[0] == "OtherSchema"
    mim.faults.add(Kind.HANG)
    assert (await only(RequestTimeout="300ms"))[0] == "Silent"
    with Player(exchanges("database_away")) as server:
        assert await only(server) == ("DatabaseAway", "target")


async def test_a_password_that_cannot_be_read_is_told(look: Look, mim: Player, tmp_path: Path) -> None:
    secret = tmp_path / "pass"
    secret.write_bytes(b"secret")
    await look(mim, Auth={"Basic": {"User": "admin", "PassFile": str(secret)}})
    target = load(tmp_path / "target.json", {}, {}, registry.kinds()).config.targets[0]
    secret.unlink()
    (found,) = await check.check(target)
    assert (found.code, found.cause) == ("BadLogin", "config")


async def test_an_admins_endpoint_for_everybody_is_told_where_others_reach_it(look: Look) -> None:
    with Player(exchanges("health")) as server:
        assert "OpenAdmin" not in await look(server, Auth=None)
        assert "authorization" not in server.requests[0].headers
    target = Target("mim", "mongooseim", Url("http", "chat.example.org", 5551, "/api/graphql"), ("q",))
    (found,) = check._open_to_all(target)
    assert (found.code, found.level) == ("OpenAdmin", "warning")
