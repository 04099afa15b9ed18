"""What a stranger offers instead of a plain request, on the pages' port and on that of the health answers."""

import json
import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.ports import free_port
from tests.support.process import started

_FORGED = "2026-11-22T09:00:00.000Z%20INFO%20broker.stopped%20FORGED%1b[31m%1b]0;owned%07"
_LINE = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z (DEBUG|INFO|WARNING|ERROR) +[a-z_.]+( \S.*)?")


def upgraded(port: int, path: str) -> bytes:
    """What comes back, to its end."""
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: evil.example",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Origin: http://evil.example",
    ]
    with socket.create_connection(("127.0.0.1", port)) as one, one.makefile("rb") as answer:
        one.settimeout(30)
        one.sendall("\r\n".join([*lines, "", ""]).encode())
        return answer.read()


@pytest.mark.parametrize("form", [(), ("--json-logs",)], ids=["text", "json"])
def test_a_websocket_is_refused_and_nothing_of_its_address_reaches_the_log(
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
    for line in (one for one in log.splitlines() if not one.startswith("note: ")):
        assert json.loads(line)["event"] if form else _LINE.fullmatch(line), line
    # One line for each port: they were asked in less than a minute.
    assert log.count("WebSocketRefused") == 2, log
