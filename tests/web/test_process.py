"""The web apps of a real process: switched on by the configuration, and not even imported otherwise."""

import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.support.answering import AnsweringServer
from tests.support.ports import free_port
from tests.support.process import clean_environment, started
from tests.support.redis_server import RedisServer
from tests.support.shared import FAST_RETRIES
from tests.support.wait import until


def test_stats_and_health_are_served_and_end_with_the_process(configured: Callable[..., Path], tmp_path: Path) -> None:
    port = free_port()
    config = configured(Stats=True, StatsPort=0, HealthBind=f"127.0.0.1:{port}")
    with started(["run", "--config", str(config)], directory=tmp_path / "run") as broker:
        url = broker.wait_for(r"listening what=/stats addresses=(\S+)")[1]
        broker.wait_for("broker.started")
        with httpx.Client(trust_env=False) as client:
            stats = client.get(f"{url}/stats")
            ready = client.get(f"http://127.0.0.1:{port}/readyz")
            assert client.get(f"http://127.0.0.1:{port}/stats").status_code == 404
            assert broker.stop() == 0
    assert stats.json()["enqueued"] == {"rest": "0"}
    assert ready.status_code in {200, 503}
    assert "Traceback" not in broker.output()
    assert "Running on" not in broker.output()


@pytest.mark.promise("Security: who can reach the ports", "to stop deliveries with requests")
def test_more_connections_than_there_are_descriptors_cost_waiting_only_and_are_told_once(
    configured: Callable[..., Path], tmp_path: Path, redis_server: RedisServer
) -> None:
    port = free_port()
    with AnsweringServer() as server, ExitStack() as flood:
        url = f"http://127.0.0.1:{server.port}/api"
        config = configured(HealthBind=f"127.0.0.1:{port}", RestURL=url, Backoff=FAST_RETRIES)
        limited = ("prlimit", "--nofile=100", sys.executable, "-m", "restbroker")
        with started(["run", "--config", str(config)], directory=tmp_path / "run", command=limited) as broker:
            broker.wait_for("broker.started")
            for _ in range(150):
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


@pytest.mark.parametrize(("stats", "loaded"), [(False, False), (True, True)])
def test_web_libraries_are_only_loaded_where_something_is_served(
    configured: Callable[..., Path], *, stats: bool, loaded: bool
) -> None:
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from restbroker.app.build import plan_of\n"
        "from restbroker.app.services import Parts, ProcessView, services\n"
        "from restbroker.config.load import load\n"
        "from restbroker.servers import registry\n"
        "from restbroker.telemetry.counters import Counters\n"
        "import trio\n"
        "async def main():\n"
        "    plan = plan_of(CONFIG, print, Counters())\n"
        "    parts = Parts(pages=CONFIG.stats, health=True, events=True, rosters=True)\n"
        "    services(lambda: CONFIG, parts, ProcessView(plan.status.view), print, plan.open_control)\n"
        f"CONFIG = load(Path({str(configured(Stats=stats))!r}), {{}}, {{}}, registry.kinds()).config\n"
        "trio.run(main)\n"
        "print({'quart', 'quart_trio', 'hypercorn', 'prometheus_client'} & set(sys.modules))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, env=clean_environment()
    )
    assert done.returncode == 0, done.stderr
    assert [name in done.stdout for name in ("hypercorn", "quart", "prometheus_client")] == [loaded] * 3
