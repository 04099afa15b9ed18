# ruff: noqa: SLF001 - an interval that is over without waiting for it, or an address that is otherwise
"""What Prosody gets for what it asks: users of any name, logins, and an answer in any case."""

import base64
import contextlib
import json
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn

import pytest
import trio

from restbroker.config.load import load
from restbroker.config.roster import QueryKey
from restbroker.config.secret import Secret
from restbroker.config.target import Basic
from restbroker.rosters.reader import (
    BOUND_S,
    MOST,
    PreparedRoster,
    RosterHash,
    RosterReader,
    choose_users,
    prepare_rosters,
)
from restbroker.rosters.refresh_target import RefreshTarget
from restbroker.rosters.rules import Contact
from restbroker.rosters.service import Login
from restbroker.servers import registry
from restbroker.serving.plain import HttpRequest
from restbroker.store import queues
from restbroker.store.client import Client, StoreSettings, open_client
from restbroker.store.keys import RedisKeys
from restbroker.telemetry.events import Event, OperatorWarning
from tests.rosters.conftest import Serve, Site, put, put_by, reading
from tests.support.process import Stopwatch
from tests.support.redis_server import RedisServer
from tests.support.wait import until_async

ANN = {"ann@example.org": Contact("Ann", ("Work", "Zoo"))}
ANN_AS_JSON = b'{"ann@example.org":{"name":"Ann","groups":{"Work":true,"Zoo":true}}}'
HOURS_S = 3600


async def test_roster_is_answered_as_prosody_takes_it(serve: Serve, redis_server: RedisServer) -> None:
    put(redis_server, john=ANN)
    async with serve(redis_server) as site:
        assert await site.ask(b"/roster/john") == (200, ANN_AS_JSON)
        assert await site.ask(b"/roster/nobody") == (200, b"{}")
        answer = await site.get("/roster/john@example.org")
        assert (answer.content, answer.headers["content-type"]) == (ANN_AS_JSON, "application/json; charset=utf-8")
        assert (await site.get("/roster/john@example.com")).content == b"{}"
        assert (await site.client.head(f"{site.url}/roster/john")).headers["content-length"] == str(len(ANN_AS_JSON))
        assert site.warnings() == []


@pytest.mark.promise("Security: who can reach the ports", "as a user of Prosody, to get another's roster")
async def test_raw_name_from_prosody_is_that_user_and_no_other(serve: Serve, redis_server: RedisServer) -> None:
    users = ("50%off", "a%41", "adm%69n", "a+b", "jörg", "a?b", "a=b", "a\\20b", "ж%d0%b6", "a~!$*(),")
    others = {name: {"other@example.org": Contact()} for name in ("aa", "admin", "a b", "a", "b", "жж")}
    with open_client_of(redis_server) as client:
        put_by(client, {**dict.fromkeys(users, ANN), **others})
    key = QueryKey(Secret("k-4711"))
    async with serve(redis_server) as site, serve(redis_server, auth=key) as keyed:
        for user in users:
            assert await site.ask(b"/roster/" + user.encode()) == (200, ANN_AS_JSON), user
            assert await keyed.ask(b"/roster/%s?key=k-4711" % user.encode()) == (200, ANN_AS_JSON), user
            encoded = await site.get("/roster/" + "".join(f"%{byte:02x}" for byte in user.encode()))
            assert encoded.content == ANN_AS_JSON, f"who is not Prosody encodes {user}"


def open_client_of(server: RedisServer) -> contextlib.closing[Client]:
    return contextlib.closing(open_client(StoreSettings(server.url)))


async def test_unknown_name_has_an_empty_roster(serve: Serve, redis_server: RedisServer) -> None:
    names = (b"\xff", b"%FF", b"John", b"j%00n", b"a%20b", b"%2e%2e%2fadmin", b"x" * 5000, b"a@b@c", b"a&b")
    async with serve(redis_server) as site:
        for name in names:
            for agent in (b"Prosody XMPP Server", b""):
                assert await site.ask(b"/roster/" + name, agent=agent) == (200, b"{}"), name


async def test_another_path_or_method_is_refused_unnamed(serve: Serve, redis_server: RedisServer) -> None:
    put(redis_server, john=ANN)
    paths = (b"/", b"/roster/", b"/roster", b"/roster/a/b", b"/other/john", b"//roster/john", b"/Roster/john")
    async with serve(redis_server) as site:
        for path in paths:
            status, body = await site.ask(path)
            assert (status, json.loads(body)["error"]["code"]) == (404, "NotFound"), path
        for method in ("POST", "PUT", "DELETE", "OPTIONS"):
            answer = await site.client.request(method, f"{site.url}/roster/john", content="ö".encode())
            assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
    assert set(site.warnings()) == {"RosterDenied"}
    assert "john" not in str(site.events)
    async with serve(redis_server, path="/{user}/roster.json") as site:
        assert await site.ask(b"/john/roster.json") == (200, ANN_AS_JSON)
        assert (await site.ask(b"/john"))[0] == 404


def basic(text: str) -> bytes:
    return b"Authorization: Basic " + base64.b64encode(text.encode())


async def test_user_and_password_may_be_percent_encoded(serve: Serve, redis_server: RedisServer) -> None:
    statuses = {
        "prosody:s3c ret%": 200,
        "prosody:s3c%20ret%25": 200,
        "prosody:s3c+ret%": 401,
        "prosody:": 401,
        "prosody": 401,
        ":s3c ret%": 401,
        "other:s3c ret%": 401,
    }
    async with serve(redis_server, auth=Basic("prosody", Secret("s3c ret%"))) as site:
        assert {given: (await site.ask(b"/roster/john", basic(given)))[0] for given in statuses} == statuses
        refused = await site.get("/roster/john")
    assert (refused.status_code, refused.headers["www-authenticate"][:5]) == (401, "Basic")


@pytest.mark.promise("Security: who can reach the ports", "to read rosters, or to learn the key to them")
async def test_key_is_required_and_never_shown(
    serve: Serve, redis_server: RedisServer, capfd: pytest.CaptureFixture[str]
) -> None:
    statuses = {
        b"/roster/john?key=4+7/1==": 200,
        b"/roster/john?key=4%2B7%2F1%3D%3D": 200,
        b"/roster/john?key=wrong?key=4+7/1==": 200,
        b"/roster/john?x=1&key=4+7/1==": 200,
        b"/roster/john?key=4+7/1==&x=1": 200,
        b"/roster/john?key=4%207/1==": 401,
        b"/roster/john?key=4+7/1=": 401,
        b"/roster/john?key=": 401,
        b"/roster/john": 401,
        b"/roster/john?4+7/1==": 401,
        b"/other?key=4+7/1==": 404,
        b"/other": 401,
    }
    async with serve(redis_server, auth=QueryKey(Secret("4+7/1=="))) as site:
        answers = {target: await site.ask(target) for target in statuses}
        assert (await site.ask(b"/roster/john", basic("prosody:4+7/1==")))[0] == 401
    assert {target: status for target, (status, _) in answers.items()} == statuses
    shown = f"{[body for _, body in answers.values()]} {site.events}"
    assert "4+7" not in f"{shown} {capfd.readouterr()}"
    assert "4%2B7" not in shown


async def test_unexpected_query_empties_no_roster(serve: Serve, redis_server: RedisServer) -> None:
    """Prosody sends what is no query to it as a part of the user's name; an unknown user has an empty roster."""
    put(redis_server, john=ANN)
    async with serve(redis_server) as site:
        for query in ("?key=k", "?", "?x", "?x=1&y=2"):
            assert (await site.get(f"/roster/john{query}")).content == ANN_AS_JSON, query
        assert site.warnings() == []
        assert (await site.ask(b"/roster/john?key=k"))[0] == 404
        assert (await site.ask(b"/roster/john?x=1"))[0] == 404
        assert "with a query" in str(site.events)
        assert await site.ask(b"/roster/john?x") == (200, b"{}")
    async with serve(redis_server, auth=Basic("prosody", Secret("p"))) as site:
        assert (await site.ask(b"/roster/john?key=k", basic("prosody:p")))[0] == 404


async def test_a_changed_key_counts_at_once_and_outlives_its_file(
    tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    path, events = tmp_path / "key", list[Event]()
    path.write_text("first\n")
    login = Login.make(QueryKey(Secret(path=path)), events.append)
    request = HttpRequest("GET", b"/", [])
    assert await login.fits(request, b"first")
    path.write_text("second\n")
    mock_clock.jump(1)
    assert await login.fits(request, b"second"), "what does not fit is compared with the file as it is now"
    path.unlink()
    mock_clock.jump(HOURS_S)
    assert await login.fits(request, b"second")
    assert not await login.fits(request, b"first")
    assert {event.code for event in events if isinstance(event, OperatorWarning)} == {"SecretFileUnusable"}
    assert "second" not in repr(login)


async def test_while_a_file_hangs_the_key_that_was_read_before_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, goes_on, request = tmp_path / "key", threading.Event(), HttpRequest("GET", b"/", [])
    path.write_text("first\n")
    login = Login.make(QueryKey(Secret(path=path)), lambda _: None)
    assert await login.fits(request, b"first")
    monkeypatch.setattr(Secret, "reveal", lambda _: str(goes_on.wait(60)))
    assert login.secret is not None
    login.secret._read_at_s = float("-inf")
    with trio.fail_after(20):
        assert await login.fits(request, b"first")
        assert not await login.fits(request, b"wrong")
    goes_on.set()


async def test_unreadable_login_admits_no_caller(serve: Serve, redis_server: RedisServer, tmp_path: Path) -> None:
    async with serve(redis_server, auth=QueryKey(Secret(path=tmp_path / "gone"))) as site:
        statuses = [(await site.ask(b"/roster/john?key=" + key))[0] for key in (b"k", b"")]
    assert (statuses, site.warnings()) == ([503] * 2, ["SecretFileUnusable"])


async def test_simultaneous_requests_are_one_read(
    redis_server: RedisServer,
) -> None:
    events = list[Event]()
    put(redis_server, **{f"user{number}": {f"friend{number}@example.org": Contact()} for number in range(MOST)})
    answers: list[tuple[int, bytes]] = []

    async def ask(number: int) -> None:
        answers.append((number, (await reader.roster(f"user{number}")).body))

    async with reading(redis_server, events) as (reader, nursery):
        for number in [*range(MOST)] * 2:
            nursery.start_soon(ask, number)
        await trio.testing.wait_all_tasks_blocked()
        await nursery.start(reader.run)
        await until_async(lambda: len(answers) == 2 * MOST, "all are answered")
        assert reader.calls == 1
        put(redis_server, john=ANN)
        assert (await reader.roster("john")).body == ANN_AS_JSON
    assert {answer == b'{"friend%d@example.org":{}}' % number for number, answer in answers} == {True}
    assert events == []


def held(monkeypatch: pytest.MonkeyPatch, calls: int = 1000, is_held: threading.Event | None = None) -> threading.Event:
    """Holds the first rosters up that are written, until this is set; `is_held` is once the first one is."""
    goes_on, left = threading.Event(), iter(range(calls))
    is_held = is_held or threading.Event()

    def slowly(stored: Mapping[str, RosterHash], domain: str | None) -> list[PreparedRoster]:
        is_free = next(left, None) is None
        is_held.set()
        assert is_free or goes_on.wait(60)
        return prepare_rosters(stored, domain)

    monkeypatch.setattr("restbroker.rosters.reader.prepare_rosters", slowly)
    return goes_on


async def test_request_waiting_for_the_processor_is_served(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(redis_server, john=ANN, mary=ANN)
    goes_on = held(monkeypatch)
    answers: list[bytes] = []

    async def ask(user: str) -> None:
        answers.append((await reader.roster(user)).body)

    async with reading(redis_server) as (reader, outer):
        reader.bound_s = 0.1
        await outer.start(reader.run)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, "john")
            await until_async(lambda: reader.calls == 1, "one is read")
            nursery.start_soon(ask, "mary")
            await until_async(lambda: reader.calls == 2, "the next one is read though the first is not written yet")
            await trio.sleep(0.3)
            goes_on.set()
    assert answers == [ANN_AS_JSON] * 2


async def test_older_roster_never_follows_a_newer_one(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(redis_server, john=ANN)
    goes_on = held(monkeypatch, calls=1, is_held=(is_held := threading.Event()))
    bodies: list[bytes] = []

    async def ask() -> None:
        bodies.append((await reader.roster("john")).body)

    async with reading(redis_server) as (reader, outer):
        await outer.start(reader.run)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await until_async(is_held.is_set, "the older roster is read, and is being written")
            put(redis_server, john={"bob@example.org": Contact("Bob")})
            nursery.start_soon(ask)
            await until_async(lambda: reader.calls == 2, "the newer one is read")
            assert bodies == []
            goes_on.set()
    older, newer = bodies
    assert older == ANN_AS_JSON
    assert json.loads(newer).keys() == {"ann@example.org", "bob@example.org"}


def test_small_rosters_are_read_before_large_ones(redis_server: RedisServer) -> None:
    large = {f"friend{number}@example.org": Contact() for number in range(30)}
    put(redis_server, big=large, small=ANN, bigger={**large, **ANN}, little=ANN)
    client = open_client(StoreSettings(redis_server.url))
    assert choose_users(client, ["bigger", "big", "small", "nobody", "little"], 20) == ["nobody", "little", "small"]
    assert choose_users(client, ["bigger", "big"], 20) == ["big"]
    client.command("SET", RedisKeys().roster("bigger"), "no roster")
    assert choose_users(client, ["big", "bigger"], 20) == ["big", "bigger"]
    client.close()


async def test_no_request_waits_longer_than_a_refresh_would(
    serve: Serve, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(redis_server, john=ANN)
    goes_on = held(monkeypatch)
    async with serve(redis_server, longest_s=0.2) as site:
        assert (await site.get("/roster/john")).status_code == 503
        goes_on.set()
        await until_async(lambda: not site.made.services[0]._open, "it is written")  # type: ignore[attr-defined]


async def test_a_fault_of_ours_costs_one_answer_and_serving_goes_on(
    serve: Serve, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_stored: object) -> NoReturn:
        raise ZeroDivisionError("a secret text")

    put(redis_server, john=ANN)
    async with serve(redis_server) as site:
        with monkeypatch.context() as patch:
            patch.setattr("restbroker.rosters.reader.prepare_rosters", broken)
            status, body = await site.ask(b"/roster/john")
        assert (status, b"secret" in body) == (503, False)
        assert await site.ask(b"/roster/john") == (200, ANN_AS_JSON)
    assert site.warnings() == ["RosterUnreadable"]


async def test_foreign_text_spoils_one_roster_only(serve: Serve, redis_server: RedisServer) -> None:
    put(redis_server, john=ANN, mary=ANN, odd=ANN)
    with open_client_of(redis_server) as client:
        client.command("SET", RedisKeys().roster("text"), "x")
        client.command(
            "HSET", RedisKeys().roster("odd"), "Bad@JID", "{}", "b@example.org", '{"name": 1}', "c", "rubbish"
        )
    users = ("john", "text", "mary", "odd")
    got: dict[str, tuple[int, bytes]] = {}

    async def ask(site: Site, user: str) -> None:
        got[user] = await site.ask(b"/roster/" + user.encode())

    async with serve(redis_server) as site, trio.open_nursery() as nursery:
        for user in users:
            nursery.start_soon(ask, site, user)
    assert {user: status for user, (status, _) in got.items()} == {"john": 200, "text": 503, "mary": 200, "odd": 200}
    assert got["odd"][1] == got["john"][1] == ANN_AS_JSON
    messages = [event.message for event in site.events if isinstance(event, OperatorWarning)]
    assert site.warnings() == ["RosterUnreadable"] * 2
    assert any("The roster of text cannot be read." in message for message in messages)
    assert any("In the roster of odd a contact and 2 more are left out:" in message for message in messages)


async def test_without_redis_or_a_copy_the_answer_is_503(serve: Serve, make_redis: Callable[..., RedisServer]) -> None:
    redis_server = make_redis()
    put(redis_server, john=ANN)
    async with serve(redis_server, copy_age_s=0) as site:
        assert (await site.ask(b"/roster/john"))[0] == 200
        for harm in (redis_server.suspend, redis_server.kill):
            harm()
            for _ in range(3):
                watch = Stopwatch.start()
                status, body = await site.ask(b"/roster/john")
                assert (status, json.loads(body)["error"]["code"]) == (503, "Unavailable")
                assert watch.took_s() < BOUND_S + 1
        redis_server.start()
        assert await site.ask(b"/roster/john") == (200, b"{}"), "it came back empty"
    assert site.warnings() == ["RostersUnread"]


async def test_copy_is_served_with_its_age_without_redis(
    serve: Serve, make_redis: Callable[..., RedisServer], tmp_path: Path
) -> None:
    redis_server = make_redis(appendonly="yes", appendfsync="always")
    put(redis_server, john=ANN, mary=ANN, zoe=ANN)
    async with serve(redis_server, refreshing=refreshing(tmp_path)) as site:
        for user in ("john", "mary", "nobody"):
            assert (await site.get(f"/roster/{user}")).headers.get("age") is None, "it is no copy"
        for harm in (redis_server.suspend, redis_server.kill):
            harm()
            for _ in range(2):
                watch = Stopwatch.start()
                found = await site.get("/roster/john")
                assert (found.status_code, found.content) == (200, ANN_AS_JSON)
                assert found.headers["age"].isdecimal()
                assert watch.took_s() < BOUND_S + 1
            assert (await site.ask(b"/roster/zoe"))[0] == 503, "nobody asked for that one before"
        redis_server.start()
        await until_async(lambda: site.warnings() == ["RostersUnread", "OlderRosters"], "john is refreshed")
        jobs = [json.loads(job) for job in listed(redis_server)]
        assert [job["args"][:2] for job in jobs] == [["refresh", {"users": ["john"]}]]
        assert (await site.get("/roster/john")).headers.get("age") is None
        samples = site.made.samples()
        assert samples["restbroker_roster_stale_total"] == {(): 4}
        assert samples["restbroker_roster_copies"] == {(): 3}


def refreshing(directory: Path) -> RefreshTarget:
    target = {"Kind": "prosody-roster", "URL": "http://127.0.0.1:1", "Domain": "example.org", "Queues": ["rosters"]}
    file = directory / "env.json"
    file.write_text(json.dumps({"Token": "t", "Targets": {"rosters": target}}))
    found = RefreshTarget.from_config(load(file, {}, {}, registry.kinds()).config)
    assert found is not None
    return found


def listed(server: RedisServer) -> list[bytes]:
    with contextlib.closing(open_client(StoreSettings(server.url))) as client:
        return queues.peek(client, "rosters", 0, 10)


async def test_stop_waits_for_no_request(serve: Serve, make_redis: Callable[..., RedisServer]) -> None:
    redis_server = make_redis()
    statuses: list[int] = []

    async def ask(site: Site) -> None:
        statuses.append((await site.ask(b"/roster/john"))[0])

    async with trio.open_nursery() as outer:
        async with serve(redis_server) as site:
            assert (await site.get("/roster/john")).status_code == 200
            watch = Stopwatch.start()
        assert watch.took_s() < 1, "a connection is kept open"
        async with serve(redis_server) as site:
            assert (await site.ask(b"/roster/john"))[0] == 200
            redis_server.suspend()
            outer.start_soon(ask, site)
            reader = next(service for service in site.made.services if isinstance(service, RosterReader))
            await until_async(lambda: reader.calls == 2, "it is asked for")
            watch = Stopwatch.start()
        took_s = watch.took_s()
        redis_server.resume()
    assert statuses == [503]
    assert took_s < 2
