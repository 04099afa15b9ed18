"""Of a source whose events become commands, its row says what died, and `check` whether anybody does them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from restbroker.store.client import Client
from tests.events.test_to_chat import configure, post
from tests.support.pages import page
from tests.support.ports import free_port
from tests.support.process import run_here, started
from tests.support.receiver import Answer, Received, Receiver
from tests.support.redis_server import RedisServer
from tests.support.wait import until


def findings(place: Path, area: str = "Events") -> Mapping[str, list[str]]:
    """What `check` says in this area, by the code."""
    found: dict[str, list[str]] = {}
    for one in json.loads(run_here(["check", "--json"], directory=place).stdout)["findings"]:
        if one["area"] == area:
            found.setdefault(one["code"], []).append(f"{one['level']}: {one['message']}")
    return found


def outcomes(place: Path) -> dict[str, Any]:
    found = json.loads(run_here(["events", "sources", "--json"], directory=place).stdout)
    return {row["source"]: row["outcomes"] for row in found}


@pytest.mark.slow  # processes say what they do every few seconds
def test_what_was_taken_and_then_died_is_in_the_row(redis_server: RedisServer, store: Client, tmp_path: Path) -> None:
    """Of all sources whose events become this command; a job that died of another one counts nowhere."""
    port, stats = free_port(), free_port()

    def act(asked: Received) -> Answer:
        return Answer(400, b'"no"') if asked.path.endswith("send_message") else Answer(200, b"[]")

    with Receiver(act) as server:
        configure(tmp_path, redis_server, port, f"{server.url}/api", Stats=True, StatsPort=stats)
        with started(["run"], directory=tmp_path) as broker:
            broker.wait_for(r"broker\.started", timeout_s=180.0)
            assert [post(port, {"title": title}).status_code for title in ("a", "b", "c")] == [202] * 3
            until(lambda: store.command("ZCARD", "dead") == 3, "they are dead")
            assert {name: counts["dead send_message"] for name, counts in outcomes(tmp_path).items()} == {
                "in": 3,
                "s": 3,
            }
            until(lambda: "dead send_message 3" in page(stats, "/events").text, "the page says it", 180)
            seen = findings(tmp_path)
            (name,) = {text.split()[2] for text in seen["Commands"]}
            assert run_here(["processes", "quiet", name, "--yes"], directory=tmp_path).returncode == 0
            until(lambda: "Commands" not in findings(tmp_path), "a quiet process takes none", 180)
            assert broker.stop() == 0
    ready = "takes send_message, which its token allows; chat is up."
    assert [text.partition(" takes")[0].rpartition(" ")[0] for text in seen["Commands"]] == [
        "ok: Events.Sources.in:",
        "ok: Events.Sources.s:",
    ]
    assert all(text.endswith(ready) for text in seen["Commands"])
    assert findings(tmp_path)["QueueUnserved"] == [
        f"warning: Events.Sources.{name}: no process takes the queue alerts, where its events become commands."
        for name in ("in", "s")
    ]


def test_check_says_no_source_is_ready_whose_target_is_down(redis_server: RedisServer, tmp_path: Path) -> None:
    """The target's own finding says why."""
    configure(tmp_path, redis_server, free_port(), f"http://127.0.0.1:{free_port()}/api")
    with started(["run"], directory=tmp_path) as broker:
        broker.wait_for(r"target\.down", timeout_s=180.0)
        until(lambda: "TargetDown" in findings(tmp_path, "chat"), "the process says so", 180)
        down, ready = findings(tmp_path, "chat")["TargetDown"], findings(tmp_path).get("Commands")
        assert broker.stop() == 0
    assert len(down) == 1
    assert "chat is down" in down[0]
    assert ready is None
