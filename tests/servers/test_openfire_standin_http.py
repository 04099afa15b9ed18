"""The stand-in for Openfire lets people in, starts, redirects and breaks as a real Openfire was measured to."""

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.openfire.asking import Asker, basic
from tests.support.openfire.faults import Kind
from tests.support.openfire.server import REST, Openfire
from tests.support.ports import accepts
from tests.support.wait import until

FOUND = b"HTTP/1.1 404 Not Found"


@pytest.fixture
def server() -> Iterator[Openfire]:
    with Openfire(idle_s=0.5) as server:
        server.world.register("alice", "bob")
        yield server


@pytest.fixture
def asker(server: Openfire) -> Asker:
    return Asker(server)


@pytest.mark.parametrize(
    ("auth", "authorization", "status"),
    [
        ("basic", basic("admin", "secret"), 200),
        ("basic", basic("admin", "wrong"), 401),
        ("basic", basic("alice", "secret"), 401),
        ("basic", "rest-secret", 401),
        ("basic", "", 401),
        ("basic", "Basic ###", 401),
        ("secret", "rest-secret", 200),
        ("secret", "Bearer rest-secret", 401),
        ("secret", "wrong", 401),
        ("secret", basic("admin", "secret"), 401),
    ],
)
def test_the_two_ways_into_the_rest_plugin_exclude_each_other(
    server: Openfire, auth: str, authorization: str, status: int
) -> None:
    server.auth = "secret" if auth == "secret" else "basic"
    got = Asker(server).rest("GET", "/users", Authorization=authorization)
    assert got.status == status
    if status == 401:
        assert (got.body, got.kind, "www-authenticate" in got.headers) == (b"", "-", False)


@pytest.mark.parametrize("authorization", ["chat-secret", basic("alice", "secret"), basic("admin", "secret")])
def test_the_chat_api_takes_both_ways_at_once(asker: Asker, authorization: str) -> None:
    assert asker.chat("GET", "/users", Authorization=authorization).status == 200
    assert asker.chat("GET", "/users", Authorization="rest-secret").status == 401


def test_a_plugin_that_is_switched_off_says_403_and_a_strange_address_401(server: Openfire, asker: Asker) -> None:
    server.is_enabled = False
    assert asker.rest("GET", "/users").status == 403
    assert asker.chat("GET", "/users", Authorization="").status == 403
    server.is_enabled, server.is_allowed = True, False
    assert asker.rest("GET", "/users").status == 401


def test_only_the_newest_tells_its_health_to_everybody(server: Openfire, asker: Asker) -> None:
    assert asker.rest("GET", "/system/readiness", Authorization="").status == 401
    server.dialect = "1.12"
    assert asker.rest("GET", "/system/readiness", Authorization="").status == 200
    assert asker.rest("GET", "/openapi.yaml", Authorization="").kind == "application/yaml"


def test_each_client_without_a_cookie_is_given_one(server: Openfire, asker: Asker) -> None:
    given = asker.rest("GET", "/users").headers["set-cookie"].partition(";")[0]
    assert given.startswith("JSESSIONID=")
    assert "set-cookie" in asker.rest("GET", "/users/zz").headers
    assert "set-cookie" not in asker.rest("GET", "/users", Cookie=given).headers
    assert server.http_sessions == 2


def test_the_two_ports_know_nothing_of_each_other(server: Openfire, asker: Asker) -> None:
    assert asker.raw(server.chat_port, "GET", f"{REST}/users").status == 404
    assert asker.raw(server.rest_port, "GET", "/rest/api/restapi/v1/users").status == 404


def test_a_start_refuses_then_redirects_then_answers() -> None:
    server = Openfire(starting_s=0.3)
    asker = Asker(server)
    assert not accepts(server.rest_port)
    with server:
        got = asker.rest("GET", "/users")
        assert (got.status, got.headers["location"].partition("?")[0]) == (302, "/login.jsp")
        assert not accepts(server.chat_port)
        until(lambda: asker.rest("GET", "/users").status == 200, "it has started")
        assert asker.chat("GET", "/users").status == 200


def test_a_redirect_may_be_there_for_good(server: Openfire, asker: Asker) -> None:
    server.redirects = True
    assert [asker.rest("GET", "/users").status for _ in "123"] == [302] * 3
    # Who follows it would take a page for a success.
    followed = asker.raw(server.rest_port, "GET", "/login.jsp")
    assert (followed.status, followed.kind) == (200, "text/html")
    assert asker.chat("GET", "/users").status == 200


def test_a_restart_keeps_what_is_stored(server: Openfire, asker: Asker) -> None:
    asker.rest("POST", "/chatrooms", {"roomName": "kept", "persistent": True})
    asker.rest("POST", "/chatrooms", {"roomName": "gone", "persistent": False})
    [alice] = asker.login("alice")
    asker.chat("POST", f"/chat/{alice}/messages/bob@example.org", "hello")
    server.restart()
    assert set(server.world.services["conference"]) == {"kept"}
    assert asker.rest("GET", "/users/alice").status == 200
    assert asker.rest("GET", "/archive/messages/unread/bob@example.org").json["count"] == 1
    assert asker.chat("POST", f"/chat/{alice}/presence").status == 400
    [again] = asker.login("alice")
    assert again != alice
    assert server.world.logins == ["alice", "alice"]


def test_a_kill_resets_who_waits(server: Openfire, asker: Asker) -> None:
    fault = server.faults.add(Kind.DELAY, "GET */users", delay_s=5)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(asker.rest, "GET", "/users")
        assert fault.reached.wait(60)
        server.kill()
        assert isinstance(waiting.exception(5), ConnectionResetError)
    assert not accepts(server.rest_port)


@pytest.mark.parametrize(
    ("kind", "status"),
    [(Kind.EMPTY, 500), (Kind.DENIED, 401), (Kind.REDIRECT, 302), (Kind.UNAVAILABLE, 503)],
)
def test_a_burst_is_answered_without_being_carried_out(server: Openfire, asker: Asker, kind: Kind, status: int) -> None:
    server.faults.add(kind, "POST */groups", times=2)
    statuses = [asker.rest("POST", "/groups", {"name": "g"}).status for _ in "123"]
    assert statuses == [status, status, 201]


def test_a_500_may_come_after_it_was_carried_out(server: Openfire, asker: Asker) -> None:
    server.faults.add(Kind.BROKEN, "POST */groups")
    assert [asker.rest("POST", "/groups", {"name": "g"}).status for _ in "12"] == [500, 409]


@pytest.mark.parametrize(("kind", "is_done"), [(Kind.RESET, False), (Kind.LOST, True)])
def test_a_reset_comes_before_or_after(server: Openfire, asker: Asker, kind: Kind, is_done: bool) -> None:
    server.faults.add(kind, "POST */groups")
    with pytest.raises(ConnectionResetError):
        asker.rest("POST", "/groups", {"name": "g"})
    assert ("g" in server.world.groups) == is_done


def test_a_body_may_end_half_way(server: Openfire) -> None:
    server.faults.add(Kind.TRUNCATED, "GET */users")
    with socket.create_connection(("127.0.0.1", server.rest_port), timeout=5) as line:
        login = basic("admin", "secret")
        line.sendall(f"GET {REST}/users HTTP/1.1\r\nHost: x\r\nAuthorization: {login}\r\n\r\n".encode())
        came = b""
        while piece := line.recv(65536):
            came += piece
    head, _, body = came.partition(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    assert len(body) == length // 2


def test_one_that_hangs_is_let_go_by_its_fault(server: Openfire, asker: Asker) -> None:
    fault = server.faults.add(Kind.HANG, "GET */users")
    with ThreadPoolExecutor(1) as pool:
        hanging = pool.submit(asker.rest, "GET", "/users")
        assert fault.reached.wait(60)
        assert asker.rest("GET", "/groups").status == 200
        fault.release.set()
        assert isinstance(hanging.exception(5), ConnectionError)


def test_a_late_answer_is_carried_out_at_once(server: Openfire, asker: Asker) -> None:
    server.faults.add(Kind.LATE, "POST */groups", delay_s=0.2)
    started_s = time.monotonic()
    assert asker.rest("POST", "/groups", {"name": "g"}).status == 201
    assert time.monotonic() - started_s >= 0.2


def test_a_connection_is_kept_until_it_was_idle_for_long(server: Openfire) -> None:
    asked = f"GET {REST}/nope HTTP/1.1\r\nHost: x\r\nAuthorization: {basic('admin', 'secret')}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", server.rest_port), timeout=5) as line:
        for _ in "12":
            line.sendall(asked)
            assert line.recv(65536).startswith(FOUND)
        assert line.recv(1) == b""
    assert server.connections == 1


def test_chunks_and_an_expectation_are_understood(server: Openfire) -> None:
    head = (
        f"POST {REST}/groups HTTP/1.1\r\nHost: x\r\nAuthorization: {basic('admin', 'secret')}\r\n"
        "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.rest_port), timeout=5) as line:
        line.sendall(head.encode())
        assert line.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        line.sendall(b'7\r\n{"name"\r\n5\r\n:"g"}\r\n0\r\n\r\n')
        assert line.recv(65536).startswith(b"HTTP/1.1 201")
    assert "g" in server.world.groups
