"""`restbroker health`, asked of a real broker: well, not ready, not there, and nothing to ask."""

import json
from pathlib import Path

from tests.support.ports import free_port
from tests.support.process import run_here as run
from tests.support.process import started
from tests.support.redis_server import RedisServer
from tests.support.wait import until


def written(place: Path, **more: object) -> Path:
    settings = {"RestURL": "http://127.0.0.1:9", "RestQueue": "rest", "Token": "a-token", **more}
    (place / "env.json").write_text(json.dumps(settings))
    return place


def test_a_broker_is_asked_where_it_listens_as_long_as_it_runs(tmp_path: Path, redis_server: RedisServer) -> None:
    place = written(tmp_path, RedisURL=redis_server.url, HealthBind=f"[::]:{free_port()}")
    with started(["run"], directory=place) as broker:
        until(lambda: run(["health", "--ready"], directory=place).returncode == 0, "it is ready")
        lives, ready = run(["health"], directory=place), run(["health", "--ready"], directory=place)
        assert (lives.returncode, json.loads(lives.stdout)) == (0, {"alive": True})
        # A target that is down does not make it unready.
        assert (ready.returncode, json.loads(ready.stdout)["ready"]) == (0, True)
        assert broker.stop() == 0
    gone = run(["health"], directory=place)
    assert gone.returncode == 1
    assert gone.stdout.startswith("No answer from ")


def test_without_an_address_to_ask_the_configuration_is_at_fault(tmp_path: Path) -> None:
    done = run(["health"], directory=written(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert '"HealthBind": "127.0.0.1:8090"' in done.stderr
