"""The stand-in for MongooseIM speaks HTTP, lets people in and breaks as MongooseIM 6.8 was measured to."""

import http.client
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import pytest

from tests.support.mongooseim.asking import REGISTER, Answer, Asker, basic
from tests.support.mongooseim.faults import Kind
from tests.support.mongooseim.server import PATH, MongooseIM
from tests.support.mongooseim.world import Domain
from tests.support.ports import accepts
from tests.support.wait import until

OPERATIONS: Final = 133


@pytest.fixture
def server() -> Iterator[MongooseIM]:
    with MongooseIM(idle_s=0.5, body_timeout_s=0.3) as server:
        server.world.register("alice@localhost", "bob@localhost")
        yield server


@pytest.fixture
def asker(server: MongooseIM) -> Asker:
    return Asker(server)


@pytest.mark.parametrize(
    ("status", "method", "headers"),
    [
        (415, "POST", {"Content_Type": "application/json; charset=utf-8"}),
        (415, "POST", {"Content_Type": "application/graphql"}),
        (415, "POST", {"Content_Type": ""}),
        (406, "POST", {"Accept": "application/xml"}),
        (405, "PUT", {}),
        (405, "OPTIONS", {}),
        (404, "POST", {"path": "/api/other"}),
        (404, "POST", {"host": "127.0.0.1"}),
    ],
)
def test_http_is_as_strict_as_there(asker: Asker, status: int, method: str, headers: dict[str, str]) -> None:
    body = json.dumps({"query": "{ checkAuth { authStatus } }"}).encode()
    done = asker.send(body, method=method, **headers)
    assert (done.status, done.body) == (status, b"")


def test_any_host_is_fine_where_the_listener_says_so() -> None:
    with MongooseIM(host="_") as server:
        body = json.dumps({"query": "{ checkAuth { authStatus } }"}).encode()
        assert Asker(server).send(body, host="127.0.0.1").status == 200


def test_a_get_runs_mutations_too(asker: Asker) -> None:
    query = "mutation%7Baccount%7BremoveUser(user:%22bob@localhost%22)%7Bjid%7D%7D%7D"
    assert asker.send(None, method="GET", path=f"{PATH}?query={query}").status == 200
    assert "bob@localhost" not in asker.server.world.accounts


@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        (basic("admin", "wrong"), "wrong_credentials"),
        ("", "no_permissions"),
        ("Bearer token", "no_permissions"),
        ("Basic ###", "request_error"),
        ("Odd", "request_error"),
    ],
)
def test_who_does_not_log_in_gets_a_401_without_a_content_type(asker: Asker, authorization: str, code: str) -> None:
    body = json.dumps({"query": "{ server { status { version } } }"}).encode()
    done = asker.send(body, Authorization=authorization)
    assert (done.status, done.code, done.errors[0]["path"]) == (401, code, ["ROOT"])
    assert "content-type" not in done.headers
    assert "www-authenticate" not in done.headers


def test_who_one_is_and_the_schema_are_told_to_anybody(asker: Asker) -> None:
    who = asker.send(json.dumps({"query": "{ checkAuth { authStatus } }"}).encode(), Authorization="")
    assert who.json["data"] == {"checkAuth": {"authStatus": "UNAUTHORIZED"}}
    schema = asker.send(json.dumps({"query": "{ __schema { queryType { name } } }"}).encode(), Authorization="")
    assert schema.status == 200


def test_without_a_pair_everybody_is_an_administrator() -> None:
    with MongooseIM(password="") as server:
        body = json.dumps({"query": '{ account { countUsers(domain: "localhost") } }'}).encode()
        assert Asker(server).send(body, Authorization="").json["data"]["account"]["countUsers"] == 0


def test_an_administrator_of_a_domain_is_kept_to_it() -> None:
    with MongooseIM(endpoint="domain_admin") as server:
        server.world.domains["a.example"] = Domain(password="pw")
        asker = Asker(server)

        def ask(query: str, **variables: Any) -> Answer:
            body = json.dumps({"query": query, "variables": variables}).encode()
            return asker.send(body, Authorization=basic("admin@a.example", "pw"))

        assert ask("{ checkAuth { authType domain } }").json["data"]["checkAuth"]["domain"] == "a.example"
        assert ask(REGISTER, domain="a.example", username="u", password="x").status == 200
        foreign = ask(REGISTER, domain="localhost", username="u", password="x")
        assert (foreign.status, foreign.code) == (401, "no_permissions")
        assert foreign.errors[0]["path"] == ["ROOT", "account", "registerUser"]
        assert ask("{ server { status { version } } }").code == "no_permissions"
        body = json.dumps({"query": "{ checkAuth { domain } }"}).encode()
        assert asker.send(body, Authorization=basic("admin@a.example", "no")).code == "wrong_credentials"
        server.unloaded.add("service_domain_db")
        lost = asker.send(body, Authorization=basic("admin@a.example", "pw"))
        assert (lost.status, lost.body) == (500, b"")


def test_a_user_acts_for_himself_alone() -> None:
    with MongooseIM(endpoint="user") as server:
        server.world.register("alice@localhost", "bob@localhost", password="pw")
        asker = Asker(server)

        def ask(query: str) -> Answer:
            return asker.send(json.dumps({"query": query}).encode(), Authorization=basic("alice@localhost", "pw"))

        assert ask('mutation { stanza { sendMessage(to: "bob@localhost", body: "hi") { id } } }').code is None
        assert ask('mutation { roster { addContact(contact: "bob@localhost") } }').code is None
        assert list(server.world.rosters["alice@localhost"]) == ["bob@localhost"]
        foreign = ask(
            'mutation { stanza { sendMessage(from: "bob@localhost", to: "alice@localhost", body: "x") { id } } }'
        )
        assert (foreign.status, foreign.code) == (200, "invalid_sender")


def test_without_its_database_what_needs_it_crashes_and_once_more_when_it_is_back(asker: Asker) -> None:
    asker.server.faults.database_away = True
    crashed = asker.ask(REGISTER, domain="localhost", username="new", password="x")
    assert (crashed.status, crashed.code) == (200, "resolver_crash")
    assert asker.ask("{ server { status { version } } }").code is None
    assert asker.ask("{ checkAuth { authStatus } }").code is None
    asker.server.faults.database_away = False
    codes = [asker.ask(REGISTER, domain="localhost", username="new", password="x").code for _ in range(2)]
    assert codes == ["resolver_crash", None]


def test_without_its_database_and_with_little_to_do_it_is_silent_at_first_and_then_tells_what_is_not_so(
    asker: Asker,
) -> None:
    asker.server.faults.database_away = True
    message = 'mutation { stanza { sendMessage(from: "alice@localhost", to: "bob@localhost", body: "x") { id } } }'
    revoke = 'mutation { token { revokeToken(user: "alice@localhost") } }'
    assert [asker.ask(one).code for one in (message, revoke)] == ["unknown_user", "internal_server_error"]
    assert (
        asker.ask('{ checkAuth { authStatus } account { countUsers(domain: "localhost") } }').code == "resolver_crash"
    )


def test_who_loses_a_race_may_be_told_that_it_cannot_register(asker: Asker) -> None:
    asker.server.faults.add(Kind.RACE, "account.registerUser")
    codes = [asker.ask(REGISTER, domain="localhost", username="alice", password="x").code for _ in range(2)]
    assert codes == ["cannot_register", "exists"]


def test_a_lost_answer_was_executed_and_a_cut_was_not(asker: Asker) -> None:
    for kind, name in ((Kind.LOST, "lost"), (Kind.CUT, "cut")):
        asker.server.faults.add(kind)
        with pytest.raises(http.client.RemoteDisconnected):
            asker.ask(REGISTER, domain="localhost", username=name, password="x")
    assert "lost@localhost" in asker.server.world.accounts
    assert "cut@localhost" not in asker.server.world.accounts


def test_a_crash_is_said_or_not(asker: Asker) -> None:
    query = "{ checkAuth { authStatus } }"
    for kind in (Kind.EMPTY, Kind.INTERNAL):
        asker.server.faults.add(kind)
    empty, told = asker.ask(query), asker.ask(query)
    assert (empty.status, empty.body) == (500, b"")
    assert (told.status, told.code) == (500, "internal_server_error")


def line_to(server: MongooseIM) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=60)


def request_of(server: MongooseIM, query: str = "{ checkAuth { authStatus } }") -> bytes:
    body = json.dumps({"query": query}).encode()
    head = f"POST {PATH} HTTP/1.1\r\nHost: localhost:{server.port}\r\nAuthorization: {basic('admin', 'secret')}\r\n"
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def test_an_idle_connection_is_closed(server: MongooseIM) -> None:
    assert MongooseIM().idle_s == 5.0
    started_s = time.monotonic()
    with line_to(server) as line:
        assert line.recv(1) == b""
        assert time.monotonic() - started_s >= 0.4


def test_the_thousandth_request_of_a_connection_is_its_last(server: MongooseIM) -> None:
    with line_to(server) as line:
        line.sendall(request_of(server) * 1000)
        came = b"".join(iter(lambda: line.recv(65536), b""))
    answers = came.split(b"HTTP/1.1 ")[1:]
    assert len(answers) == 1000
    assert [at for at, one in enumerate(answers, 1) if b"\r\nconnection: close\r\n" in one] == [1000]


def test_a_body_that_does_not_come_is_a_500(server: MongooseIM) -> None:
    assert MongooseIM().body_timeout_s == 15.0
    with line_to(server) as line:
        line.sendall(request_of(server)[:-3])
        assert line.recv(65536).startswith(b"HTTP/1.1 500 ")
        assert line.recv(1) == b""


def test_a_stop_is_answered_and_the_port_refuses_soon_after(asker: Asker) -> None:
    assert asker.ask("mutation { server { stop } }").status == 200
    until(lambda: not accepts(asker.server.port), "the port refuses")
    asker.server.start()
    assert asker.ask("{ checkAuth { authStatus } }").status == 200


def test_a_kill_resets_what_is_in_flight_and_loses_what_was_just_written(asker: Asker) -> None:
    server = asker.server
    for number in range(20):
        assert asker.ask(REGISTER, domain="localhost", username=f"u{number}", password="x").status == 200
    fault = server.faults.add(Kind.HANG, "server.status")
    with line_to(server) as line:
        line.sendall(request_of(server, "{ server { status { version } } }"))
        assert fault.reached.wait(60)
        assert server.kill() == 20
        with pytest.raises(ConnectionResetError):
            line.recv(1)
    assert not accepts(server.port)
    server.start()
    assert sorted(server.world.accounts) == ["alice@localhost", "bob@localhost"]
    assert asker.ask("{ checkAuth { authStatus } }").status == 200


def test_what_is_older_outlives_a_kill(asker: Asker) -> None:
    asker.ask(REGISTER, domain="localhost", username="old", password="x")
    assert asker.server.kill(lost_s=0.0) == 0
    assert "old@localhost" in asker.server.world.accounts


def test_what_costs_time_waits_for_a_core() -> None:
    with MongooseIM(cores=1, costs_s={"account.registerUser": 0.1}) as server, ThreadPoolExecutor() as pool:
        started_s = time.monotonic()
        asked = [pool.submit(Asker(server).ask, REGISTER, domain="localhost", password="x") for _ in range(3)]
        assert [one.result().code for one in asked] == [None, None, None]
        assert time.monotonic() - started_s >= 0.3
