"""A secret in the path of a target's URL, in the file of a `Path`, is only in requests: it is hunted everywhere."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import httpx
import pytest

from restbroker.store.client import StoreSettings, open_client
from tests.events.test_to_url import BACKOFF, SIGNED, dead, listening, post
from tests.faults.test_secrets import everything_in
from tests.operate.test_no_secret_is_shown import HTML, Stage, crawl
from tests.support.ports import free_port
from tests.support.process import started
from tests.support.receiver import Answer, Received, Receiver
from tests.support.redis_server import RedisServer
from tests.support.spellings import found_in
from tests.support.wait import until

SECRET: Final = "T4711/B4711/s3cret+of-a-room"
SECRETS: Final = {"path": SECRET, "its last part": SECRET.rpartition("/")[2]}
LOGIN: Final = ("ops", "p4ges-of-many-letters")
AFTER: Final = [
    *(["stats"], ["targets", "list"], ["queues", "list"], ["dead", "list"], ["dead", "summary"], ["retries", "list"]),
    *(["audit"], ["commands", "--target", "refusing"], ["config", "show"], ["check"]),
]


def repeating(received: Received) -> Answer:
    """Refuses each command, and says at which address, in several forms; a probe goes well."""
    if received.method != "POST":
        return Answer()
    if "/busy/" in received.target:
        return Answer(503, received.target.encode(), {"Retry-After": "1"})
    if "/failing/" in received.target:
        return Answer(500, json.dumps({"message": f"no such hook {received.target}"}).encode())
    if "/short/" in received.target:
        return Answer(404, b"no hook " + received.target.encode().rpartition(b"/")[2])
    if "/moved/" in received.target:
        return Answer(302, b"", {"Location": f"http://127.0.0.1{received.target}"})
    return Answer(404, f"no hook at {received.target}, {quote(received.target, safe='')}".encode())


def target(url: str, name: str, file: Path) -> dict[str, Any]:
    command = {"Path": {"File": str(file)}, "Body": {"text": "{body?}"}, "Idempotent": True}
    return {
        "Kind": "http",
        "URL": url,
        "Queues": [name],
        "Options": {"AllowPrivate": True, "Commands": {"event": command}},
    }


@pytest.fixture
def stage(redis_server: RedisServer, tmp_path: Path) -> Iterator[Stage]:
    """A broker whose targets refuse, redirect, are busy, fail, and are away; each got an event."""
    port, file = free_port(), tmp_path / "path"
    file.write_text(f"{SECRET}\n")
    with Receiver(repeating) as app, closing(open_client(StoreSettings(redis_server.url))) as client:
        names = ["refusing", "short", "moved", "busy", "failing", "away"]
        urls = {name: f"{app.url}/{name}" for name in names} | {"away": f"http://127.0.0.1:{free_port()}"}
        sources = {name: {"Kind": "webhook", "Path": f"/{name}", "Target": name, "Command": "event",
                          "Options": {"Map": {"body": "/text"}}} for name in names}  # fmt: skip
        document = {
            "RedisURL": redis_server.url,
            "Tokens": {"events": {**SIGNED, "Targets": names}},
            "Targets": {name: target(url, name, file) for name, url in urls.items()},
            "Events": {"Listen": f"127.0.0.1:{port}", "Sources": sources},
            "Stats": True,
            "StatsPort": 0,
            "StatsUser": LOGIN[0],
            "StatsPass": LOGIN[1],
            "History": "1h",
            "LogLevel": "debug",
            "Backoff": BACKOFF,
            "ResponseQueue": "replies",
            "ResponseDetails": True,
        }
        config = tmp_path / "env.json"
        config.write_text(json.dumps(document))
        config.chmod(0o600)
        with started(["run", "--config", str(config)], directory=tmp_path / "run") as broker:
            listening(broker)
            site = broker.wait_for(r"listening what=/stats addresses=(\S+)")[1]
            for name in names:
                assert post(port, {"text": "hello"}, f"/{name}") == 202
            paths = {f"/{name}/{SECRET}" for name in names if name != "away"}
            until(
                lambda: {post.target for post in app.received if post.method == "POST"} >= paths, "each was posted to"
            )
            until(lambda: len(dead(client)) >= 3, "what is refused is dead")
            broker.wait_for(r"target\.down target=away")
            with httpx.Client(trust_env=False, follow_redirects=True, headers=HTML, timeout=30, auth=LOGIN) as visitor:
                visitor.headers["Sec-Fetch-Site"] = "same-origin"
                yield Stage(config, client, broker, site, visitor)
            assert broker.stop() == 0


def test_a_secret_path_is_only_in_requests(stage: Stage) -> None:
    for path in ("/stats", "/metrics"):
        stage.visit(path)
    crawl(stage)
    jids = [json.loads(job)["jid"] for job in dead(stage.client)]
    for words in [*AFTER, *(["explain", jid] for jid in jids), *(["dead", "show", jid] for jid in jids)]:
        for said in (stage.run(*words), stage.run(*words, "--json")):
            assert not said.startswith("2\n"), (words, said)
    stage.outputs.update({f"Redis: {key} {n}": text for n, (key, text) in enumerate(everything_in(stage.client))})
    stage.outputs["the log"] = stage.broker.output()
    assert len(stage.outputs) > 50
    assert [(where, leak) for where, text in stage.outputs.items() for leak in found_in(text, SECRETS)] == []
