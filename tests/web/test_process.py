"""The web apps of a real process: of a broker, where the configuration switches them on, and of `restbroker web`."""

import re
import resource
import signal
import socket
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from dev.tools.pages import ROOT
from restbroker.store.client import StoreSettings, open_client
from tests.support.answering import AnsweringServer
from tests.support.ports import free_port
from tests.support.process import run_here, started
from tests.support.redis_server import RedisServer
from tests.support.shared import FAST_RETRIES
from tests.support.wait import until

LISTENING = r"listening what=/stats addresses=(\S+)"


@pytest.mark.promise("Security: who can reach the ports", "to stop deliveries with requests")
def test_more_connections_than_descriptors_cost_waiting_only(
    configured: Callable[..., Path], tmp_path: Path, redis_server: RedisServer
) -> None:
    port = free_port()
    with AnsweringServer() as server, ExitStack() as flood:
        url = f"http://127.0.0.1:{server.port}/api"
        config = configured(HealthBind=f"127.0.0.1:{port}", RestURL=url, Backoff=FAST_RETRIES)
        with started(["run", "--config", str(config)], directory=tmp_path / "run") as broker:
            broker.wait_for("broker.started")
            # Lowered only now: of what the limit was at the start it keeps an eighth free, if it is fast enough.
            in_use = max(int(path.name) for path in Path(f"/proc/{broker.process.pid}/fd").iterdir()) + 1
            _, hard = resource.prlimit(broker.process.pid, resource.RLIMIT_NOFILE)
            resource.prlimit(broker.process.pid, resource.RLIMIT_NOFILE, (in_use + 8, hard))
            for _ in range(50):
                flood.enter_context(socket.create_connection(("127.0.0.1", port)))
            broker.wait_for("code=TooManyConnections")
            for _ in range(20):
                redis_server.command("""LPUSH queue:rest '{"class":"Add","args":["check_account",{},"t0ken-4711"]}'""")
            flood.close()
            until(lambda: len(server.arrivals) >= 20, "the jobs are done", 60.0)
            assert redis_server.command("EXISTS dead") == ":0\r\n"
            assert broker.stop() == 0
    assert broker.output().count("TooManyConnections") == 1
    assert "Traceback" not in broker.output()


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.nightly)])
def test_web_serves_without_a_broker_and_ends_at_once(
    number: signal.Signals, configured: Callable[..., Path], tmp_path: Path, redis_url: str
) -> None:
    client = open_client(StoreSettings(redis_url))
    client.command("LPUSH", "queue:rest", '{"class":"Add","jid":"j1","args":["check_account",{},"t0ken-4711"]}')
    with started(["web", "--config", str(configured(StatsPort=0))], directory=tmp_path / "run") as alone:
        url = alone.wait_for(LISTENING)[1]
        with httpx.Client(trust_env=False, headers={"Accept": "text/html"}) as visitor:
            pages = {path: visitor.get(f"{url}{path}") for path in ("/", "/dead", "/queue?name=rest")}
            stats, metrics = visitor.get(f"{url}/stats").json(), visitor.get(f"{url}/metrics").text
            # Their connections are still open here; nothing waits for them to end.
            alone.signal(number)
            assert alone.wait() == 0
    assert {path: page.status_code for path, page in pages.items()} == dict.fromkeys(pages, 200)
    assert "and no process takes them" in pages["/"].text
    assert "check_account" in pages["/queue?name=rest"].text
    assert (stats["enqueued"], stats["unready"], stats["processes"]) == ({"rest": "1"}, None, [])
    assert 'restbroker_queue_jobs{queue="rest"} 1.0' in metrics
    assert "restbroker_jobs_total" not in metrics
    assert client.command("LLEN", "queue:rest") == 1
    assert client.command("EXISTS", "processes", "restbroker:beats") == 0
    assert "Traceback" not in alone.output()


def test_what_starts_is_nothing_that_is_wrong(configured: Callable[..., Path], tmp_path: Path) -> None:
    def first_metrics(*command: str) -> str:
        with started([*command, "--config", config], directory=tmp_path / command[0]) as seen:
            return httpx.get(f"{seen.wait_for(LISTENING)[1]}/metrics", trust_env=False).text

    with AnsweringServer() as server:
        config = str(configured(StatsPort=0, Stats=True, RestURL=f"http://127.0.0.1:{server.port}/api"))
        assert 'restbroker_problems{code="NotRunning"}' in first_metrics("web")
        of_broker = first_metrics("run")
    assert "restbroker_ready" in of_broker
    assert "restbroker_problems{" not in of_broker


def test_a_job_that_was_waited_for_is_in_the_metrics_at_once(configured: Callable[..., Path], tmp_path: Path) -> None:
    with AnsweringServer() as server:
        config = str(configured(StatsPort=0, Stats=True, RestURL=f"http://127.0.0.1:{server.port}/api"))
        with started(["run", "--config", config], directory=tmp_path / "run") as broker:
            metrics = f"{broker.wait_for(LISTENING)[1]}/metrics"
            broker.wait_for("broker.started")
            words = ["enqueue", "check_account", "user=anna", "host=example.org", "--wait", "--config", config]
            assert run_here(words).returncode == 0
            counted = httpx.get(metrics, trust_env=False).text
            assert broker.stop() == 0
    assert re.search(
        r'^restbroker_jobs_total{.*command="check_account",outcome="delivered".*} 1.0$', counted, re.MULTILINE
    )


def test_a_second_process_lets_people_look_as_the_page_says(configured: Callable[..., Path], tmp_path: Path) -> None:
    """The variables are those of docs/web.md, with another port and file: they win over what operators log in with."""
    variables = dict(re.findall(r"(RESTBROKER_\w+)=(\S+)", (ROOT / "docs" / "web.md").read_text("utf-8")))
    assert len(variables) == 4
    (tmp_path / "password").write_text("to-look-is-enough")
    own = {"RESTBROKER_STATSPORT": "0", "RESTBROKER_STATSPASSFILE": str(tmp_path / "password")}
    config = configured(StatsUser="ops", StatsPass="to-act-is-more", StatsPort=1)
    with started(["web", "--config", str(config)], directory=tmp_path / "run", environ={**variables, **own}) as to_look:
        url = to_look.wait_for(LISTENING)[1]
        login = (variables["RESTBROKER_STATSUSER"], "to-look-is-enough")
        with httpx.Client(trust_env=False, headers={"Sec-Fetch-Site": "same-origin"}) as visitor:
            pause = {"do": "pause-queue", "name": "rest"}
            seen = visitor.get(f"{url}/jobs", auth=login, headers={"Accept": "text/html"})
            refused = visitor.post(f"{url}/steer", data=pause, auth=login)
            operator = visitor.get(f"{url}/jobs", auth=("ops", "to-act-is-more"))
        assert to_look.stop() == 0
    assert (seen.status_code, "read only" in seen.text) == (200, True)
    assert (refused.status_code, operator.status_code) == (403, 401)


def test_a_hangup_reloads_the_configuration_and_ends_nothing(configured: Callable[..., Path], tmp_path: Path) -> None:
    config = configured(StatsPort=0)
    with started(["web", "--config", str(config)], directory=tmp_path / "run") as alone:
        url = alone.wait_for(LISTENING)[1]
        alone.signal(signal.SIGHUP)
        alone.wait_for("config.unchanged")
        configured(StatsPort=0, RestQueue="other")
        alone.signal(signal.SIGHUP)
        alone.wait_for("config.reloaded")
        stats = httpx.get(f"{url}/stats", trust_env=False).json()
        config.write_text("{")
        alone.signal(signal.SIGHUP)
        alone.wait_for("config.refused")
        configured(StatsPort=0, RedisURL="redis://127.0.0.1:1/0")
        alone.signal(signal.SIGHUP)
        alone.wait_for("names another Redis")
        assert alone.stop() == 0
    assert stats["enqueued"] == {"other": "0"}
