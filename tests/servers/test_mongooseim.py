"""The kind mongooseim beside what a MongooseIM 6.8 was measured to answer."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from restbroker.config.load import load
from restbroker.config.target import Target, Url
from restbroker.job.outcome import Deferred, Delivered
from restbroker.servers import registry
from restbroker.servers.findings import Finding
from restbroker.servers.mongooseim import check
from tests.servers import sides
from tests.servers.mongooseim import entry, exchanges
from tests.servers.sides import Side, in_short, target_of
from tests.support.player import Player
from tests.support.ports import free_port
from tests.support.receiver import Answer, Kind, Receiver
from tests.support.rows import rows

ALICE, BOB = "alice@localhost", "bob@localhost"


Open = Callable[..., AbstractAsyncContextManager[Side]]


@pytest.fixture
def side(tmp_path: Path) -> Open:
    """Our side of a server."""
    return lambda server, **members: sides.opened(target_of(tmp_path, entry(server, **members)))


async def test_an_account_is_made_and_a_message_sent(side: Open) -> None:
    password, body = 'p4ss "word"\n☂', 'a "q" \\n \n é {$x}'
    with Player(exchanges("account", "message", others={"p4ssw0rd!": password, "hello": body})) as server:
        async with side(server) as ours:
            made = await ours.do("account.registerUser", username="carol", password=password)
            assert isinstance(await ours.do("stanza.sendMessage", from_=ALICE, to=BOB, body=body), Delivered)
    assert isinstance(made, Delivered)
    assert json.loads(made.text)["data"]["account"]["registerUser"]["jid"] == "carol@localhost"


async def test_message_with_id_is_sent_as_stanza_and_answered_as_usual(side: Open) -> None:
    with Player(exchanges("message")) as server:
        async with side(server) as ours:
            sent_ = await ours.call("stanza.sendMessage", {"from": ALICE, "to": BOB, "body": "hello", "id": "m1"})
    assert isinstance(sent_, Delivered)
    assert json.loads(sent_.text)["data"]["stanza"]["sendMessage"] == {"id": "m1"}


REFUSED = (
    *(
        "AlreadyExists",
        "Refused",
        "BadArgument",
        "NotFound",
        "Refused",
        "NotFound",
        "NotFound",
        "UnknownHost",
        "NotFound",
    ),
    *("BadArgument", "NotFound", "NotFound", "NotFound", "AlreadyExists", "BadArgument", "NotFound", "NotFound"),
    "UnknownHost",
)
"""What becomes of the recorded refusals, in their order."""


async def test_each_recorded_refusal_has_its_code(side: Open) -> None:
    with Player(exchanges("refusals")) as server:
        async with side(server) as ours:
            outcomes = []
            for exchange in exchanges("refusals"):
                if refused := json.loads(exchange.answer).get("errors"):
                    given = json.loads(exchange.body or "")["variables"]
                    outcomes.append(await ours.call(".".join(refused[0]["path"]), given))
    assert [in_short(outcome) for outcome in outcomes] == [f"Rejected {code}" for code in REFUSED]


async def test_a_domain_admin_rules_their_own_domain_alone(side: Open) -> None:
    login = {"Basic": {"User": "admin@localhost", "Pass": "d0main"}}
    with Player(exchanges("domain_admin")) as server:
        async with side(server, Auth=login, Domain=None, Options={"Schema": "domain_admin"}) as ours:
            assert (await ours.probe()).ok
            assert isinstance(await ours.do("account.registerUser", username="x", password="p"), Delivered)
            foreign = await ours.do("account.registerUser", username="x", domain="b.example", password="p")
            assert in_short(foreign) == "Rejected CommandForbidden"
            assert in_short(await ours.do("server.status")) == "Rejected UnknownCommand"


async def test_domain_admins_without_a_database_of_domains_wait(side: Open) -> None:
    login = {"Basic": {"User": "admin@localhost", "Pass": "d0main"}}
    with Player(exchanges("domain_admin_without_database")) as server:
        async with side(server, Auth=login, Options={"Schema": "domain_admin"}) as ours:
            outcome = await ours.do("account.registerUser", username="x", password="p")
            assert isinstance(outcome, Deferred)
            assert (outcome.pause_target, outcome.counts) == (True, False)
            assert "service_domain_db" in ((await ours.probe()).hint or "")


async def test_a_user_sends_in_their_own_name(side: Open) -> None:
    login = {"Basic": {"User": ALICE, "Pass": "secret"}}
    with Player(exchanges("user")) as server:
        async with side(server, Auth=login, Options={"Schema": "user"}) as ours:
            assert (await ours.probe()).ok
            assert isinstance(await ours.do("stanza.sendMessage", to=BOB, body="hi"), Delivered)
            foreign = await ours.do("stanza.sendMessage", from_=BOB, to=ALICE, body="hi")
            assert in_short(foreign) == "Rejected BadArgument"


async def test_missing_database_holds_jobs_back_until_it_returns(side: Open) -> None:
    answers = exchanges("database_away")
    with Player(answers) as server:
        async with side(server) as ours:
            outcome = await ours.do("account.registerUser", username="carol", password="p4ssw0rd!")
            assert isinstance(outcome, Deferred)
            assert (outcome.reason.code, outcome.counts, outcome.pause_target) == ("DatabaseAway", False, True)
            assert (await ours.probe()).ok is False
            answers += exchanges("health", "account")
            assert (await ours.probe()).ok
            assert isinstance(await ours.do("account.registerUser", username="carol", password="p4ssw0rd!"), Delivered)


async def test_connection_ended_with_an_answer_is_not_reused(side: Open) -> None:
    with Player(exchanges("last_of_a_connection")) as server:
        async with side(server) as ours:
            for _ in range(3):
                assert isinstance(await ours.do("account.checkUser", user=ALICE), Delivered)
    assert server.connections == 2


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


async def test_healthy_server_is_reported_with_our_login(look: Look, mim: Player) -> None:
    found = await look(mim)
    assert {code: finding.level for code, finding in found.items()} == {
        "Reachable": "ok",
        "Version": "ok",
        "Domain": "ok",
    }
    assert found["Reachable"].message.endswith("answers and accepts the login. (admin is ADMIN)")
    assert "operations as of 6.8.0" in found["Version"].message
    assert all(json.loads(request.body)["query"].startswith("query") for request in mim.requests)


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
async def test_problem_of_a_target_is_reported_with_its_cure(
    look: Look, mim: Player, members: dict[str, Any], code: str, level: str, hint: str
) -> None:
    found = (await look(mim, **members))[code]
    assert found.level == level
    assert hint in (found.hint or "")
    assert "wr0ng" not in repr(found)


async def test_foreign_or_silent_server_is_the_only_thing_reported(look: Look, mim: Player) -> None:
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


async def test_unreadable_password_is_reported(look: Look, mim: Player, tmp_path: Path) -> None:
    secret = tmp_path / "pass"
    secret.write_bytes(b"secret")
    await look(mim, Auth={"Basic": {"User": "admin", "PassFile": str(secret)}})
    target = load(tmp_path / "target.json", {}, {}, registry.kinds()).config.targets[0]
    secret.unlink()
    (found,) = await check.check(target)
    assert (found.code, found.cause) == ("BadLogin", "config")


async def test_admin_endpoint_open_to_all_is_reported_if_reachable(look: Look) -> None:
    with Player(exchanges("health")) as server:
        assert "OpenAdmin" not in await look(server, Auth=None)
        assert "authorization" not in server.requests[0].headers
    target = Target("mim", "mongooseim", Url("http", "chat.example.org", 5551, "/api/graphql"), ("q",))
    (found,) = check._open_to_all(target)  # noqa: SLF001 - one step of many, which others need a server for
    assert (found.code, found.level) == ("OpenAdmin", "warning")
