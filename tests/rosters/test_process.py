"""Rosters served by real processes: by a broker, by the supervisor of a group, and alone."""

import json
import re
import signal
import socket
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from restbroker.rosters.rules import Contact
from tests.rosters.conftest import put
from tests.support.answering import AnsweringServer
from tests.support.process import run, started
from tests.support.redis_server import RedisServer
from tests.support.wait import NEVER_S, until

LISTENING = r"listening what=rosters addresses=(\S+)"
PAGES = r"listening what=/stats addresses=(\S+)"
ANN = {"ann@example.org": Contact("Ann")}
Configured = Callable[..., Path]


@pytest.fixture
def configured(tmp_path: Path, redis_server: RedisServer) -> Configured:
    """The configuration of a broker whose server is not there, with these members of Roster and keys besides."""

    def write(roster: dict[str, object] | None, **keys: object) -> Path:
        path = tmp_path / "env.json"
        basic = {"RestURL": "http://127.0.0.1:1/api", "RestQueue": "rest", "Token": "t0ken-4711", "StatsPort": 0}
        whole = None if roster is None else {"Listen": "127.0.0.1:0", **roster}
        path.write_text(json.dumps({"RedisURL": redis_server.url, "Roster": whole, **basic, **keys}))
        return path

    put(redis_server, john=ANN)
    return write


def ask(url: str, **headers: str) -> httpx.Response:
    return httpx.get(f"{url}/roster/john", trust_env=False, headers=headers)


def test_rosters_are_served_without_a_broker_and_with_metrics(
    configured: Configured, tmp_path: Path, redis_server: RedisServer
) -> None:
    """A reload that needs a restart says so, and an end waits for no connection that is open."""
    auth = {"Auth": {"Key": {"Value": "k-4711"}}}
    arguments = ["roster", "serve", "--stats", "--config", str(configured(auth))]
    with started(arguments, directory=tmp_path / "run") as alone:
        url, pages = alone.wait_for(LISTENING)[1], alone.wait_for(PAGES)[1]
        with httpx.Client(trust_env=False) as prosody:
            assert prosody.get(f"{url}/roster/john").status_code == 401
            john = f"{url}/roster/john?key=k-4711"
            assert prosody.get(john).json() == {"ann@example.org": {"name": "Ann"}}
            metrics = httpx.get(f"{pages}/metrics", trust_env=False).text
            alone.signal(signal.SIGHUP)
            alone.wait_for("config.unchanged")
            configured({"Path": "/other", **auth})
            alone.signal(signal.SIGHUP)
            alone.wait_for('code=NeedsRestart message="Roster: the change takes effect')
            assert prosody.get(john).status_code == 200
            alone.signal(signal.SIGINT)
            assert alone.wait() == 0
    assert 'restbroker_roster_requests_total{status="200"} 1.0' in metrics
    assert 'restbroker_roster_request_seconds_bucket{le="+Inf"} 2.0' in metrics
    assert redis_server.command("EXISTS processes restbroker:beats") == ":0\r\n"
    assert "4711" not in metrics + alone.output()
    assert "Traceback" not in alone.output()


@pytest.mark.slow  # processes that start and end
@pytest.mark.parametrize("processes", [1, 2])
def test_a_broker_and_a_group_serve_rosters_once_and_deliver(
    processes: int, configured: Configured, tmp_path: Path, redis_server: RedisServer
) -> None:
    """Prosody may start once systemd is told that the broker is ready."""
    address, words = str(tmp_path / "notify"), ""
    with AnsweringServer() as server, closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as systemd:
        systemd.bind(address)
        systemd.settimeout(NEVER_S)
        api = f"http://127.0.0.1:{server.port}/api"
        arguments = ["run", "--config", str(configured({}, RestURL=api, Processes=processes, Stats=True))]
        with started(arguments, directory=tmp_path / "run", environ={"NOTIFY_SOCKET": address}) as broker:
            while "READY=1" not in words.split("\n"):
                words = systemd.recv(4096).decode()
            found = re.search(LISTENING, broker.output())
            assert found
            assert ask(found[1]).json() == {"ann@example.org": {"name": "Ann"}}
            pages = broker.wait_for(PAGES)[1]
            broker.wait_for("broker.started", times=processes)
            redis_server.command("""LPUSH queue:rest '{"class":"Add","args":["check_account",{},"t0ken-4711"]}'""")
            until(lambda: len(server.arrivals) == 1, "the job is delivered")
            metrics = httpx.get(f"{pages}/metrics", trust_env=False).text
            assert broker.stop() == 0
    assert broker.output().count("listening what=rosters") == 1
    assert 'restbroker_roster_requests_total{status="200"} 1.0' in metrics
    assert "restbroker_ready" in metrics


def test_without_the_section_there_is_nothing_to_serve(configured: Configured) -> None:
    done = run(["roster", "serve", "--config", str(configured(None))])
    assert (done.returncode, done.stdout) == (2, "")
    assert 'Add "Roster": {}' in done.stderr
