"""The reports of a real process to systemd, over a socket as systemd's."""

import json
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from tests.support.process import started
from tests.support.wait import NEVER_S

Hear: TypeAlias = Callable[[str, int], None]


@contextmanager
def listening(address: Path) -> Iterator[tuple[dict[str, str], list[str], Hear]]:
    """What a process needs in its environment, the lines that it sent, and `hear` to wait for so many of a kind."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(address))
        receiver.settimeout(NEVER_S)
        lines: list[str] = []

        def hear(beginning: str, times: int) -> None:
            while sum(line.startswith(beginning) for line in lines) < times:
                lines.extend(receiver.recv(4096).decode().split("\n"))

        yield {"NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": "400000"}, lines, hear


def test_process_reports_ready_watchdog_reload_and_stop(tmp_path: Path, redis_url: str) -> None:
    document = {"RedisURL": redis_url, "RestURL": "http://127.0.0.1:1/api", "RestQueue": "rest", "Token": "t0ken-4711"}
    (tmp_path / "env.json").write_text(json.dumps(document))
    command = ["run", "--config", str(tmp_path / "env.json")]
    with (
        listening(tmp_path / "notify") as (environ, lines, hear),
        started(command, directory=tmp_path / "run", environ=environ) as broker,
    ):
        hear("READY=1", 1)
        hear("WATCHDOG=1", 3)
        hear("STATUS=Serving. Targets that get no jobs now: ejabberd (", 1)
        assert "STOPPING=1" not in lines
        broker.signal(signal.SIGHUP)
        hear("RELOADING=1", 1)
        hear("MONOTONIC_USEC=", 1)
        hear("READY=1", 2)
        broker.signal(signal.SIGTERM)
        hear("STOPPING=1", 1)
        assert broker.wait() == 0
