"""What a stranger sends instead of a plain request, to the pages' port and to that of the health answers."""

import json
import re
import socket
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest
import trio
import trio.testing

from restbroker.serving.runner import Server
from restbroker.telemetry.events import OperatorWarning
from tests.support.ports import free_port
from tests.support.process import started
from tests.support.wait import NEVER_S, until_async
from tests.web.conftest import Open

_FORGED = "2026-11-22T09:00:00.000Z%20INFO%20broker.stopped%20FORGED%1b[31m%1b]0;owned%07"
_LINE = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z (DEBUG|INFO|WARNING|ERROR) +[a-z_.]+( \S.*)?")


def port_of(server: Server) -> int:
    return int(server.addresses[0].rsplit(":", 1)[1])


def answered(port: int, request: bytes) -> bytes:
    """What comes back, to its end."""
    with socket.create_connection(("127.0.0.1", port)) as one, one.makefile("rb") as answer:
        one.settimeout(NEVER_S)
        one.sendall(request)
        return answer.read()


async def answer_to(port: int, request: bytes) -> bytes:
    with trio.fail_after(NEVER_S):
        return await trio.to_thread.run_sync(answered, port, request, abandon_on_cancel=True)


def upgraded(port: int, path: str) -> bytes:
    request = _HANDSHAKE.replace(b"/live", path.encode()).replace(b"localhost", b"evil.example")
    return answered(port, request.replace(b"\r\n\r\n", b"\r\nOrigin: http://evil.example\r\n\r\n"))


@pytest.mark.promise("Security: who can reach the ports", "to forge or flood the log with addresses of requests")
@pytest.mark.parametrize("form", [(), ("--json-logs",)], ids=["text", "json"])
def test_a_websocket_is_refused_and_its_address_not_logged(
    form: tuple[str, ...], configured: Callable[..., Path], tmp_path: Path
) -> None:
    pages, health = free_port(), free_port()
    config = configured(Stats=True, StatsPort=pages, HealthBind=f"127.0.0.1:{health}")
    with started(["run", "--config", str(config), *form], directory=tmp_path / "run") as broker:
        broker.wait_for("broker.started")
        answers = [upgraded(port, f"/live%0a{_FORGED}%0d{number}") for port in (pages, health) for number in range(20)]
        broker.wait_for("WebSocketRefused", times=2)
        assert broker.stop() == 0
    assert {answer.split(b"\r\n")[0] for answer in answers} == {b"HTTP/1.1 403 "}
    log = broker.stderr.read_text()
    assert not re.search(r"FORGED|owned|Traceback|[\x00-\x09\x0b-\x1f\x7f]", log), log
    # What the configuration lacks is said before there is a log.
    for line in (line for line in log.splitlines() if not line.startswith("note: ")):
        assert json.loads(line)["event"] if form else _LINE.fullmatch(line), line
    # One line for each port: they were asked in less than a minute.
    assert log.count("WebSocketRefused") == 2, log


_LISTENS = "0A"
"""The state of a socket that takes connections, as Linux writes it."""
_HANDSHAKE = (
    b"GET /live HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


_NO_HANDSHAKES = (
    _HANDSHAKE.replace(b"HTTP/1.1", b"HTTP/1.0"),
    re.sub(rb"Sec-WebSocket-Key.*\r\n", b"", _HANDSHAKE, count=1),
    re.sub(rb"Sec-WebSocket-Version.*\r\n", b"", _HANDSHAKE, count=1),
    _HANDSHAKE.replace(b"Connection: Upgrade", b"Connection: keep-alive, upgrade").replace(b": 13", b": 7"),
    _HANDSHAKE + b"what is sent before an answer",
)


async def test_a_handshake_that_is_none_ends_its_connection(site: Open) -> None:
    async with site() as running:
        for server, request_ in product((running.stats, running.health), _NO_HANDSHAKES):
            port = port_of(server)
            for _ in range(5):
                answer = await answer_to(port, request_)
                assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 403 ")), answer
            await until_async(lambda port=port: not open_at(port), "all are closed here, too")  # type: ignore[misc]
        assert (await running.get("/")).status_code == 200, "the server goes on"


def open_at(port: int) -> int:
    """How many connections of this port this process has open."""
    sockets = {str(file.readlink()) for file in Path("/proc/self/fd").iterdir() if file.is_symlink()}
    rows = [line.split() for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]]
    return sum(
        row[1].endswith(f":{port:04X}") and row[3] != _LISTENS and f"socket:[{row[9]}]" in sockets for row in rows
    )


_LENGTH = b"Content-Length: 5\r\n"
# From a page of ours: else the body would not be read.
_CHUNKED = b"Sec-Fetch-Site: same-origin\r\nTransfer-Encoding: chunked\r\n"
_HIDDEN = b"0\r\n\r\nGET /live HTTP/1.1\r\nHost: localhost\r\n\r\n"


_TWO = (
    b"POST /steer HTTP/1.1\r\n" + _LENGTH + _CHUNKED,
    b"POST /steer HTTP/1.1\r\n" + _CHUNKED + _LENGTH,
    b"GET /static/style.css HTTP/1.1\r\n" + _CHUNKED + _LENGTH,
    b"POST /steer HTTP/1.0\r\nConnection: keep-alive\r\n" + _CHUNKED,
    b"POST /steer HTTP/2.0\r\n" + _LENGTH + _CHUNKED,
    b"POST /steer HTTP/3.0\r\n" + _LENGTH + _CHUNKED,
    b"POST /steer HTTP/9.9\r\n" + _LENGTH + _CHUNKED,
    b"POST /steer HTTP/0.9\r\n" + _CHUNKED,
    b"GET /steer HTTP/2.0\r\n",
    b"GET /steer HTTP/1.2\r\n" + _CHUNKED,
)


@pytest.mark.promise("Security: who can reach the ports", "to have a request answered in another's place")
async def test_a_request_that_could_be_two_is_answered_once(site: Open) -> None:
    async with site() as running:
        for server, head in product((running.stats, running.health), _TWO):
            port = port_of(server)
            request = head + b"Host: localhost\r\n\r\n" + _HIDDEN
            answer = await answer_to(port, request)
            assert answer.startswith(b"HTTP/1.1 400 "), answer
            assert b"\r\nconnection: close\r\n" in answer.lower()
            assert answer.count(b"HTTP/1.1 ") == 1, answer


async def test_chunks_in_http_1_0_are_refused_alone(site: Open) -> None:
    """Nothing follows here that would be refused in their place, and the path needs no login."""
    async with site() as running:
        for server, path in ((running.stats, b"/static/style.css"), (running.health, b"/live")):
            port = port_of(server)
            request = b"GET " + path + b" HTTP/1.0\r\nHost: localhost\r\n" + _CHUNKED + b"\r\n0\r\n\r\n"
            answer = await answer_to(port, request)
            assert answer.startswith(b"HTTP/1.1 400 "), answer


@pytest.mark.promise("Security: who can reach the ports", "to have a request answered in another's place")
@pytest.mark.parametrize("more", [b"", b"Expect: 100-continue\r\n"], ids=["later", "asked for"])
async def test_a_doubtful_request_is_refused_before_its_body_comes(more: bytes, site: Open) -> None:
    head = b"POST /steer HTTP/1.1\r\nHost: localhost\r\n" + more + _LENGTH + _CHUNKED + b"\r\n"
    async with site() as running:
        # Of three answers one was lost, and of another only the head came.
        for server in (running.stats, running.health) * 16:
            port = port_of(server)
            async with await trio.open_tcp_stream("127.0.0.1", port) as one:
                await one.send_all(head)
                # The app waits for the body now.
                await trio.testing.wait_all_tasks_blocked(0.01)
                await one.send_all(_HIDDEN)
                answer = b"".join([part async for part in one])
            assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"100", b"400"][not more :], answer
            assert answer.endswith(b"}\n"), answer


@pytest.mark.promise("Security: who can reach the ports", "to have a request answered in another's place")
async def test_an_offer_of_http2_that_a_proxy_would_pass_is_not_taken(site: Open) -> None:
    offer = (
        b"Host: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"
    )
    async with site() as running:
        for server, path in ((running.stats, b"/steer"), (running.stats, b"/"), (running.health, b"/readyz")):
            port = port_of(server)
            request = b"GET " + path + b" HTTP/1.1\r\n" + offer
            answer = await answer_to(port, request)
            assert answer == b"HTTP/1.1 400 \r\ncontent-length: 0\r\nconnection: close\r\n\r\n", path
        for more in (b"Content-Length: 0\r\n", _LENGTH, _CHUNKED):
            request = b"POST /steer HTTP/1.1\r\n" + more + offer + (b"hello" if more == _LENGTH else b"0\r\n\r\n")
            answer = await answer_to(port, request)
            assert answer.startswith(b"HTTP/1.1 400 "), more
            assert len(re.findall(rb"HTTP/1.1 \d", answer)) == 1, more
        assert (await running.get("/")).status_code == 200, "the server goes on"
    assert not [event for event in running.harness.events if isinstance(event, OperatorWarning)]
