"""`restbroker check` beside what others reach a broker by: rosters and events, served, away, or somebody else's."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.ports import free_port
from tests.support.process import run_here as run
from tests.support.process import started

SECRET = "hush-hush-of-16-letters"


@pytest.fixture
def config(tmp_path: Path, redis_url: str) -> dict[str, Any]:
    source = {"Kind": "prosody-rest", "Path": "/events/a", "Queue": "events", "Class": "Event", "Secret": SECRET}
    return {
        "RedisURL": redis_url,
        "RestURL": "http://127.0.0.1:1/api",
        "RestQueue": "rest",
        "Token": "t0ken",
        "Roster": {"Listen": f"127.0.0.1:{free_port()}", "Auth": {"Key": {"Value": SECRET}}},
        "Events": {"Listen": f"127.0.0.1:{free_port()}", "Sources": {"a": source}},
    }


def written(place: Path, config: dict[str, Any]) -> str:
    path = place / "env.json"
    path.write_text(json.dumps(config))
    path.chmod(0o600)
    return str(path)


def findings(path: str) -> dict[str, tuple[str, str]]:
    """Level and code of what is said of each of the two."""
    done = run(["check", "--json", "--config", path])
    assert SECRET not in done.stdout + done.stderr
    found = json.loads(done.stdout)["findings"]
    return {one["area"]: (one["level"], one["code"]) for one in found if one["area"] in {"Roster", "Events"}}


def test_what_a_broker_serves_is_found_and_its_absence_is_a_warning(tmp_path: Path, config: dict[str, Any]) -> None:
    path = written(tmp_path, config)
    assert findings(path) == {"Roster": ("warning", "NotServing"), "Events": ("warning", "NotServing")}
    with started(["run", "--config", path], directory=tmp_path / "run") as broker:
        broker.wait_for("listening what=rosters")
        broker.wait_for("listening what=events")
        assert findings(path) == {"Roster": ("ok", "Serving"), "Events": ("ok", "Serving")}
        assert "Unauthorized" not in broker.output()
        assert broker.stop() == 0


def test_a_service_with_another_secret_is_a_problem(tmp_path: Path, config: dict[str, Any]) -> None:
    with started(["run", "--config", written(tmp_path, config)], directory=tmp_path / "run") as broker:
        broker.wait_for("listening what=rosters")
        broker.wait_for("listening what=events")
        config["Roster"]["Auth"] = {"Basic": {"User": "prosody", "Pass": "another-" + SECRET}}
        config["Events"]["Sources"]["a"]["Secret"] = "another-" + SECRET
        found = findings(written(tmp_path, config))
        assert broker.stop() == 0
    assert found == {"Roster": ("problem", "NotOurs"), "Events": ("problem", "NotOurs")}
