# ruff: noqa: SLF001 - one step of many, which others need a server for
"""What the check finds out about a MongooseIM, beside the stand-in for it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from restbroker.config.load import load
from restbroker.config.target import Target, Url
from restbroker.servers import registry
from restbroker.servers.findings import Finding
from restbroker.servers.mongooseim import check
from tests.servers.sides import target_of
from tests.support.mongooseim.faults import Kind
from tests.support.mongooseim.server import MongooseIM
from tests.support.ports import free_port
from tests.support.receiver import Answer, Receiver
from tests.support.rows import rows

Look = Callable[..., Any]


@pytest.fixture
def mim() -> Iterator[MongooseIM]:
    with MongooseIM() as server:
        yield server


@pytest.fixture
def look(tmp_path: Path) -> Look:
    """What is found about a target of these members, by code."""

    async def run(**members: Any) -> dict[str, Finding]:
        login = {"Basic": {"User": "admin", "Pass": "secret"}}
        target = target_of(tmp_path, {"Kind": "mongooseim", "Domain": "localhost", "Auth": login, **members})
        return {found.code: found for found in await registry.check(target)}

    return run


async def test_a_server_that_is_well_is_told_with_who_we_are(look: Look, mim: MongooseIM) -> None:
    found = await look(URL=mim.url)
    assert {code: finding.level for code, finding in found.items()} == {
        "Reachable": "ok",
        "Version": "ok",
        "Domain": "ok",
    }
    assert found["Reachable"].message.endswith("answers, and takes the login. (admin is ADMIN)")
    assert "operations as of 6.8.0" in found["Version"].message
    assert not mim.world.accounts


@rows(
    ("members", "code", "level", "cure"),
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
    look: Look, mim: MongooseIM, members: dict[str, Any], code: str, level: str, cure: str
) -> None:
    found = (await look(URL=mim.url, **members))[code]
    assert found.level == level
    assert cure in (found.cure or "")
    assert "wr0ng" not in repr(found)


async def test_what_is_not_the_api_or_does_not_answer_is_told_and_nothing_else(look: Look, mim: MongooseIM) -> None:
    async def only(url: str = mim.url, **members: Any) -> tuple[str, str | None]:
        (found,) = (await look(URL=url, **members)).values()
        return found.code, found.cause

    loopback = mim.url.replace("localhost", "127.0.0.1")
    (other,) = (await look(URL=loopback)).values()
    assert (other.code, other.cure) == ("OtherHost", '"HostHeader": "localhost"')
    assert "Reachable" in await look(URL=loopback, HostHeader="localhost")
    assert (await only(mim.url.replace("/api/", "/rest/")))[0] == "NotTheApi"
    assert await only(f"http://localhost:{free_port()}/api/graphql") == ("Unreachable", "target")
    with Receiver(lambda _: Answer(200, b"<html>Welcome</html>")) as another:
        assert (await only(another.url + "/api/graphql"))[0] == "NotTheApi"
    with MongooseIM(endpoint="user") as server:
        server.world.register("admin@localhost")
        login = {"Basic": {"User": "admin@localhost", "Pass": "secret"}}
        assert (await only(server.url, Auth=login))[0] == "OtherSchema"
    mim.faults.add(Kind.HANG)
    assert (await only(RequestTimeout="300ms"))[0] == "Silent"
    mim.faults.database_away = True
    assert await only() == ("DatabaseAway", "target")


async def test_a_password_that_cannot_be_read_is_told(look: Look, mim: MongooseIM, tmp_path: Path) -> None:
    secret = tmp_path / "pass"
    secret.write_bytes(b"secret")
    await look(URL=mim.url, Auth={"Basic": {"User": "admin", "PassFile": str(secret)}})
    target = load(tmp_path / "target.json", {}, {}, registry.kinds()).config.targets[0]
    secret.unlink()
    (found,) = await check.check(target)
    assert (found.code, found.cause) == ("BadLogin", "config")


async def test_an_admins_endpoint_for_everybody_is_told_where_others_reach_it(look: Look) -> None:
    with MongooseIM(password="", host="_") as server:
        assert "OpenAdmin" not in await look(URL=server.url, Auth=None)
    target = Target("mim", "mongooseim", Url("http", "chat.example.org", 5551, "/api/graphql"), ("q",))
    (found,) = check._open_to_all(target)
    assert (found.code, found.level) == ("OpenAdmin", "warning")
