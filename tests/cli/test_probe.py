"""`restbroker targets probe`: each target is asked once, nothing is changed, and the exit code says what is wrong."""

import json
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.process import run_here as run
from tests.support.receiver import Answer, Received, Receiver

Probe = Callable[..., subprocess.CompletedProcess[str]]
SECRET = "hush-hush"
STATUSES = {"/fine/": 200, "/closed/": 401, "/ill/": 503}


def answered(received: Received) -> Answer:
    return next(Answer(status, b"{}") for path, status in STATUSES.items() if received.target.startswith(path))


@pytest.fixture
def server() -> Iterator[Receiver]:
    with Receiver(answered) as running:
        yield running


@pytest.fixture
def probe(tmp_path: Path, server: Receiver) -> Probe:
    def asked(*words: str, **urls: str) -> subprocess.CompletedProcess[str]:
        options: Mapping[str, Any] = {
            "Commands": {"x": {"Method": "POST", "Path": "x"}},
            "AllowPrivate": True,
            "Probe": {"Method": "GET", "Path": "ping"},
        }
        login = {"Basic": {"User": "a", "Pass": SECRET}}
        targets = {
            name: {"Kind": "http", "URL": url, "Auth": login, "Queues": [name], "Options": options}
            for name, url in urls.items()
        }
        document = {"RedisURL": "redis://127.0.0.1:1", "Token": "t" * 20, "Targets": targets}
        (tmp_path / "env.json").write_text(json.dumps(document))
        done = run(["targets", "probe", *words], directory=tmp_path)
        assert SECRET not in done.stdout + done.stderr
        return done

    return asked


def test_a_target_that_works_ends_with_0_and_was_asked_one_harmless_thing(probe: Probe, server: Receiver) -> None:
    done = probe(fine=f"{server.url}/fine")
    assert done.returncode == 0
    assert done.stdout.split("\t")[:2] == ["fine", "ok"]
    assert [(one.method, one.target) for one in server.received] == [("GET", "/fine/ping")]


def test_what_is_wrong_is_told_with_what_to_do_and_has_its_exit_code(probe: Probe, server: Receiver) -> None:
    rows: list[tuple[str, str, int]] = [("closed", "denied", 4), ("ill", "unhealthy", 1), ("", "", 5)]
    for name, state, code in rows:
        url = f"{server.url}/{name}" if name else "http://127.0.0.1:1"
        done = probe("--json", other=url)
        (found,) = json.loads(done.stdout)
        assert (done.returncode, found["target"], found["state"]) == (code, "other", state or "unreachable")
        assert found["detail"]
        assert found["took_ms"] >= 0
