"""What a real process tells systemd, over a socket as systemd's."""

import json
import signal
import socket
import time
from pathlib import Path

from tests.support.process import started
from tests.support.wait import NEVER_S


def test_a_process_is_ready_feeds_the_watchdog_and_says_that_it_reloads_and_stops(
    tmp_path: Path, redis_url: str
) -> None:
    address = tmp_path / "notify"
    document = {"RedisURL": redis_url, "RestURL": "http://127.0.0.1:1/api", "RestQueue": "rest", "Token": "t0ken-4711"}
    (tmp_path / "env.json").write_text(json.dumps(document))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(address))
        receiver.settimeout(NEVER_S)
        lines: list[str] = []

        def hear(beginning: str, times: int = 1) -> None:
            deadline_s = time.monotonic() + NEVER_S
            while sum(line.startswith(beginning) for line in lines) < times:
                assert time.monotonic() < deadline_s, (beginning, lines)
                lines.extend(receiver.recv(4096).decode().split("\n"))

        environ = {"NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": "400000"}
        command = ["run", "--config", str(tmp_path / "env.json")]
        with started(command, directory=tmp_path / "run", environ=environ) as broker:
            hear("READY=1")
            hear("WATCHDOG=1", times=3)
            hear("STATUS=Serving. Targets that get no jobs now: ejabberd (")
            assert "STOPPING=1" not in lines
            broker.signal(signal.SIGHUP)
            hear("RELOADING=1")
            hear("MONOTONIC_USEC=")
            hear("READY=1", times=2)
            broker.signal(signal.SIGTERM)
            hear("STOPPING=1")
            assert broker.wait() == 0
