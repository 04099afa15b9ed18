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
from restbroker.store import queues
from restbroker.store.client import StoreSettings, open_client
from tests.rosters.conftest import put
from tests.support.answering import AnsweringServer
from tests.support.process import run, started
from tests.support.redis_server import RedisServer
from tests.support.rows import rows
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


def test_rosters_are_served_without_a_broker_and_end_though_a_connection_is_open(
    configured: Configured, tmp_path: Path, redis_server: RedisServer
) -> None:
    with started(["roster", "serve", "--config", str(configured({}))], directory=tmp_path / "run") as alone:
        url = alone.wait_for(LISTENING)[1]
        with httpx.Client(trust_env=False) as prosody:
            assert prosody.get(f"{url}/roster/john").json() == {"ann@example.org": {"name": "Ann"}}
            alone.signal(signal.SIGHUP)
            alone.wait_for("config.unchanged")
            configured({"Path": "/other"})
            alone.signal(signal.SIGHUP)
            alone.wait_for('code=NeedsRestart message="Roster: the change takes effect')
            assert prosody.get(f"{url}/roster/john").status_code == 200
            # Its connection is still open here.
            alone.signal(signal.SIGINT)
            assert alone.wait() == 0
    assert redis_server.command("EXISTS processes restbroker:beats") == ":0\r\n"
    assert "Traceback" not in alone.output()


@pytest.mark.parametrize("processes", [1, 2])
def test_rosters_are_served_once_systemd_is_told_that_it_is_ready(
    configured: Configured, tmp_path: Path, processes: int
) -> None:
    address, words = str(tmp_path / "notify"), ""
    arguments = ["run", "--config", str(configured({}, Processes=processes))]
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as systemd:
        systemd.bind(address)
        systemd.settimeout(NEVER_S)
        with started(arguments, directory=tmp_path / "run", environ={"NOTIFY_SOCKET": address}) as broker:
            while "READY=1" not in words.split("\n"):
                words = systemd.recv(4096).decode()
            told = re.search(LISTENING, broker.output())
            assert told, "Prosody may start from now on"
            assert ask(told[1]).status_code == 200


def test_without_the_section_there_is_nothing_to_serve_and_that_is_said(configured: Configured) -> None:
    done = run(["roster", "serve", "--config", str(configured(None))])
    assert (done.returncode, done.stdout) == (2, "")
    assert 'Add "Roster": {}' in done.stderr


def test_metrics_are_served_beside_rosters_where_asked_for(configured: Configured, tmp_path: Path) -> None:
    arguments = ["roster", "serve", "--stats", "--config", str(configured({"Auth": {"Key": {"Value": "k-4711"}}}))]
    with started(arguments, directory=tmp_path / "run") as alone:
        url, pages = alone.wait_for(LISTENING)[1], alone.wait_for(PAGES)[1]
        assert ask(url).status_code == 401
        assert httpx.get(f"{url}/roster/john?key=k-4711", trust_env=False).status_code == 200
        metrics = httpx.get(f"{pages}/metrics", trust_env=False).text
        assert alone.stop() == 0
    assert 'restbroker_roster_requests_total{status="200"} 1.0' in metrics
    assert 'restbroker_roster_request_seconds_bucket{le="+Inf"} 2.0' in metrics
    assert "4711" not in metrics + alone.output()


@pytest.mark.parametrize("processes", [1, 2])
def test_a_broker_and_a_group_serve_rosters_once_and_deliver_meanwhile(
    processes: int, configured: Configured, tmp_path: Path, redis_server: RedisServer
) -> None:
    with AnsweringServer() as server:
        api = f"http://127.0.0.1:{server.port}/api"
        config = configured({}, RestURL=api, Processes=processes, Stats=True)
        with started(["run", "--config", str(config)], directory=tmp_path / "run") as broker:
            url, pages = broker.wait_for(LISTENING)[1], broker.wait_for(PAGES)[1]
            broker.wait_for("broker.started", times=processes)
            assert ask(url).json() == {"ann@example.org": {"name": "Ann"}}
            redis_server.command("""LPUSH queue:rest '{"class":"Add","args":["check_account",{},"t0ken-4711"]}'""")
            until(lambda: len(server.arrivals) == 1, "the job is delivered")
            metrics = httpx.get(f"{pages}/metrics", trust_env=False).text
            assert broker.stop() == 0
    assert broker.output().count("listening what=rosters") == 1
    assert 'restbroker_roster_requests_total{status="200"} 1.0' in metrics
    assert "restbroker_ready" in metrics


def test_a_taken_port_stops_no_delivery_and_is_told_by_its_key(
    configured: Configured, tmp_path: Path, redis_server: RedisServer
) -> None:
    config = configured({"Listen": f"127.0.0.1:{redis_server.port}"})
    with started(["run", "--config", str(config)], directory=tmp_path / "run") as broker:
        broker.wait_for("code=PortTaken")
        broker.wait_for("broker.started")
        assert broker.stop() == 0
    assert "change Listen of Roster" in broker.output()


def test_copies_in_a_file_let_users_in_after_a_restart_while_redis_is_away(
    configured: Configured, tmp_path: Path, redis_server: RedisServer
) -> None:
    kept = tmp_path / "copies"
    serve = ["roster", "serve", "--config", str(configured({"CopiesFile": str(kept)}))]
    with started(serve, directory=tmp_path / "first") as first:
        assert "age" not in ask(first.wait_for(LISTENING)[1]).headers
        first.signal(signal.SIGTERM)
        assert first.wait() == 0
    assert kept.stat().st_mode & 0o777 == 0o600
    redis_server.kill()
    try:
        with started(serve, directory=tmp_path / "second") as second:
            url = second.wait_for(LISTENING)[1]
            answer = ask(url)
            assert answer.json() == {"ann@example.org": {"name": "Ann"}}
            assert int(answer.headers["age"]) >= 0
            assert httpx.get(f"{url}/roster/mary", trust_env=False).status_code == 503
    finally:
        redis_server.start()


def given_in(kept: Path) -> list[str]:
    """The users who got a copy, as the file has them."""
    rows = [json.loads(line) for line in kept.read_text().splitlines()[1:]]
    return [row[0] for row in rows if len(row) == 2]


@rows("end", [signal.SIGTERM, signal.SIGKILL])
def test_whoever_got_a_copy_is_refreshed_when_redis_is_back_also_if_the_process_ended_in_between(
    tmp_path: Path, make_redis: Callable[..., RedisServer], end: signal.Signals
) -> None:
    redis_server = make_redis(appendonly="yes", appendfsync="always")
    put(redis_server, john=ANN)
    kept, config = tmp_path / "copies", tmp_path / "env.json"
    target = {"Kind": "prosody-roster", "URL": "http://127.0.0.1:1", "Domain": "example.org", "Queues": ["rosters"]}
    roster = {"Listen": "127.0.0.1:0", "Domain": "example.org", "Target": "rosters", "CopiesFile": str(kept)}
    whole = {"RedisURL": redis_server.url, "Token": "t", "Targets": {"rosters": target}, "Roster": roster}
    config.write_text(json.dumps(whole))
    serve = ["roster", "serve", "--config", str(config)]
    with started(serve, directory=tmp_path / "first") as first:
        assert "age" not in ask(first.wait_for(LISTENING)[1]).headers
        assert first.stop() == 0
    redis_server.kill()
    with started(serve, directory=tmp_path / "second") as second:
        assert "age" in ask(second.wait_for(LISTENING)[1]).headers
        until(lambda: given_in(kept) == ["john"], "it is noted who got a copy")
        second.signal(end)
        second.wait()
    with kept.open("a") as file:
        file.write('["mary", 17')  # as a crash may leave it
    redis_server.start()
    with started(serve, directory=tmp_path / "third") as third:
        third.wait_for("OlderRosters")
        assert "RosterCopies" not in third.output()
        assert third.stop() == 0
    assert given_in(kept) == []
    with closing(open_client(StoreSettings(redis_server.url))) as client:
        jobs = [json.loads(job)["args"][:2] for job in queues.peek(client, "rosters", 0, 10)]
    assert jobs == [["refresh", {"users": ["john"]}]]


def test_a_damaged_file_of_copies_is_reported_and_hinders_nothing(configured: Configured, tmp_path: Path) -> None:
    kept = tmp_path / "copies"
    kept.write_bytes(b"something else")
    serve = ["roster", "serve", "--config", str(configured({"CopiesFile": str(kept)}))]
    with started(serve, directory=tmp_path / "run") as alone:
        alone.wait_for("code=RosterCopies")
        assert ask(alone.wait_for(LISTENING)[1]).status_code == 200
        alone.signal(signal.SIGTERM)
        assert alone.wait() == 0
    assert b"ann@example.org" in kept.read_bytes()
