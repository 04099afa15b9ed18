"""`restbroker web`: the pages of a process that delivers nothing, from its start to its end."""

import json
import signal
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from restbroker.store.client import StoreSettings, open_client
from tests.support.process import started

LISTENING = r"listening what=/stats addresses=(\S+)"


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.nightly)])
def test_the_pages_are_served_without_a_broker_and_end_at_once(
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


def test_jobs_in_hand_of_every_process_are_shown_without_what_a_ruby_process_tells(
    configured: Callable[..., Path], tmp_path: Path, redis_url: str
) -> None:
    client = open_client(StoreSettings(redis_url))
    job = {
        "class": "Add",
        "jid": "j1",
        "args": ["check_account", {"user": "bob", "password": "sesame-1"}, "t0ken-4711"],
    }
    work = {"queue": "rest", "payload": json.dumps({**job, "note": "by t0ken-4711"}), "run_at": 1_700_000_000}
    client.command("SADD", "processes", "host:1:abc")
    client.command("HSET", "host:1:abc", "info", json.dumps({"hostname": "host", "pid": 1}), "busy", 1)
    client.command("HSET", "host:1:abc:work", "tid", json.dumps(work))
    with started(["web", "--config", str(configured(StatsPort=0))], directory=tmp_path / "run") as alone:
        url = alone.wait_for(LISTENING)[1]
        answer = httpx.get(f"{url}/stats", trust_env=False)
        assert alone.stop() == 0
    (one,) = answer.json()["jobs"]["rest"]
    assert one["message"]["args"] == ["check_account", {"user": "bob", "password": "***"}, "***"]
    assert "4711" not in answer.text
    assert "sesame" not in answer.text


def test_a_hangup_has_the_configuration_count_anew_and_ends_nothing(
    configured: Callable[..., Path], tmp_path: Path
) -> None:
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
