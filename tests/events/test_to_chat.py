"""What is posted becomes a message of a server of XMPP: each once, in order, to whom the file says."""

import json
import os
import signal
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import attrs
import httpx
import pytest

from restbroker.config.events import EventSource, Handover
from restbroker.servers.webhook.options import Options
from restbroker.store.client import Client
from tests.events.conftest import Open
from tests.support import unfinished_jobs
from tests.support.pages import page
from tests.support.ports import free_port
from tests.support.process import run_here, started
from tests.support.receiver import Answer, Received, Receiver
from tests.support.redis_server import RedisServer
from tests.support.rows import rows
from tests.support.tcp_proxy import Hold, TcpProxy
from tests.support.wait import until, until_async

SECRET: Final = "a-secret-of-many-letters"
ARGUMENTS: Final = {
    "type": "chat",
    "from": "alerts@example.org",
    "to": "{who}@example.org",
    "subject": "",
    "body": "{title}\n{text}",
}
OPTIONS: Final = Options(map={"id": ("/id",), "title": ("/title",), "type": ("/title",)})
TOLD: Final = EventSource(
    "alerts",
    "webhook",
    "/in",
    "alerts",
    handover=Handover("chat", "send_message", {"body": "{title}"}),
    has_ids=False,
    options=OPTIONS,
)
DOWN: Final = {"title": "down"}
UP: Final = {"title": "up"}


@rows(
    ("posts", "new"),
    [
        ([("", DOWN), ("", UP), ("", DOWN)], [True, True, True]),
        ([("", DOWN), ("", DOWN), ("", UP), ("", UP)], [True, False, True, False]),
        ([("/ops", DOWN), ("/dev", DOWN), ("/ops", DOWN), ("/dev", DOWN)], [True, True, False, False]),
        ([("/ops", DOWN), ("/dev", UP), ("/ops", DOWN), ("/ops?to=a", DOWN)], [True, True, False, True]),
        ([("", {"id": 1, **DOWN}), ("", UP), ("", {"id": 1, **DOWN}), ("", UP)], [True, True, False, False]),
        ([("/ops", {"id": 1}), ("/dev", {"id": 1}), ("/dev?to=a", {"id": 1})], [True, True, True]),
        ([("", {"title": "presence"})] * 2, [True, False]),
    ],
)
async def test_a_repetition_is_known_by_its_id_or_as_the_last(
    hall: Open, posts: list[tuple[str, Mapping[str, Any]]], new: list[bool]
) -> None:
    """A sender without ids that goes down, up and down again within a minute says three things."""
    async with hall(TOLD) as one:
        answers = [await one.post(body, f"/in{path}") for path, body in posts]
        jids = [job["jid"] for job in one.jobs("alerts")]
    assert [answer.status_code for answer in answers] == [202] * len(posts)
    assert ["restbroker-job" in answer.headers for answer in answers] == new
    assert [answer.headers["Restbroker-Job"] for answer, is_new in zip(answers, new, strict=True) if is_new] == jids


async def test_what_becomes_no_message_has_the_time_of_its_source(hall: Open) -> None:
    """And without one, each post is new, as it is for every source."""
    plain = attrs.evolve(TOLD, name="plain", path="/plain", queue="plain", handover=Handover())
    known = attrs.evolve(plain, name="known", path="/known", queue="known", window_s=60.0)
    async with hall(plain, known) as one:
        for body in (DOWN, UP, DOWN):
            for path in ("/plain", "/known"):
                await one.post(body, path)
        assert [len(one.jobs(queue)) for queue in ("plain", "known")] == [3, 2]


async def test_a_post_to_a_frozen_redis_is_said_once(hall: Open) -> None:
    """The sender heard that it was not taken, and posts it again, whatever Redis took by then."""
    async with hall(TOLD, hurried=True) as one:
        assert (await one.post(UP, "/in")).status_code == 202
        one.redis.suspend()
        try:
            answer = await one.post(DOWN, "/in")
        finally:
            one.redis.resume()
        await until_async(lambda: one.redis.command("PING"), "Redis answers")
        again = await one.post(DOWN, "/in")
        assert (answer.status_code, again.status_code) == (503, 202)
        assert len(one.jobs("alerts")) == 2


async def test_another_process_knows_what_came_last(hall: Open) -> None:
    async with hall(TOLD) as one, hall(TOLD) as other:
        posts = ((one, DOWN), (other, DOWN), (other, UP), (one, UP), (one, DOWN))
        answers = [await at.post(body, "/in") for at, body in posts]
    assert ["restbroker-job" in answer.headers for answer in answers] == [True, False, True, False, True]


def configure(place: Path, redis: RedisServer, port: int, url: str, **more: Any) -> None:
    options = {"Map": {"id": "/id", "who": "path:0", "title": "/title", "text": "/text"}}
    source = {"Kind": "webhook", "Path": "/in", "Target": "chat", "Command": "send_message", "Arguments": ARGUMENTS}
    slack = source | {"Path": "/slack", "Arguments": ARGUMENTS | {"to": "ops@example.org", "body": "{body}"}}
    token = {"Secret": f"{SECRET}-of-jobs", "Allow": ["send_message"], "Targets": ["chat"], "Signed": True}
    sources = {"in": source | {"Options": options}, "s": slack | {"Secret": SECRET, "Options": {"Shape": "slack"}}}
    document = {
        "RedisURL": redis.url,
        "Tokens": {"alerts": token},
        "Targets": {"chat": {"Kind": "ejabberd", "URL": url, "Queues": ["alerts"], "OrderBy": ["to"]}},
        "Events": {"Listen": f"127.0.0.1:{port}", "Sources": sources},
        "Backoff": {"Base": "100ms", "Factor": 1, "Cap": "100ms"},
    }
    (place / "env.json").write_text(json.dumps(document | more))


def post(port: int, body: object, path: str = "/in/ops") -> httpx.Response:
    with httpx.Client(trust_env=False) as client:
        return client.post(f"http://127.0.0.1:{port}{path}", json=body, timeout=60)


def messages(server: Receiver) -> list[Any]:
    return [json.loads(one.body) for one in server.received if one.path.endswith("send_message")]


@pytest.mark.promise("Events", "what is posted is said once, in order")
def test_what_is_posted_is_said_once(redis_server: RedisServer, store: Client, tmp_path: Path) -> None:
    """The server is away at first, two processes take posts, one is killed, and each post comes twice."""
    port, is_away = free_port(), [True]

    def act(_: Received) -> Answer:
        return Answer(503) if is_away else Answer(200, b"0")

    with Receiver(act) as server:
        configure(tmp_path, redis_server, port, f"{server.url}/api", Processes=2)
        with started(["run"], directory=tmp_path) as broker:
            broker.wait_for(r"broker\.started", timeout_s=60, times=2)
            for number in [*range(20), *range(20)]:
                assert post(port, {"id": number, "title": f"t{number}", "to": "ann@evil.example"}).status_code == 202
            os.killpg(broker.process.pid, signal.SIGKILL)
        server.received.clear()
        is_away.clear()
        with started(["run"], directory=tmp_path) as broker:
            until(lambda: len(messages(server)) >= 20, "all are said", 180)
            for title in ("down", "down", "up", "down", "down"):
                assert post(port, {"title": title}).status_code == 202
            until(lambda: len(messages(server)) >= 23, "the last ones are said", 180)
            assert broker.stop() == 0
    said = messages(server)
    assert [one["body"] for one in said] == [*(f"t{number}" for number in range(20)), "down", "up", "down"]
    assert {(one["from"], one["to"]) for one in said} == {("alerts@example.org", "ops@example.org")}
    assert store.command("ZCARD", "dead") == 0


@pytest.mark.promise("Events", "what is posted is said once, in order")
def test_a_kill_before_the_answer_leaves_one_job(redis_server: RedisServer, store: Client, tmp_path: Path) -> None:
    """Redis has it, and the sender, who heard nothing, posts it again."""
    port, answer = free_port(), Hold(b"said once", executed=True)
    with TcpProxy(redis_server.port) as between, ThreadPoolExecutor() as pool:
        configure(
            tmp_path,
            redis_server,
            port,
            f"http://127.0.0.1:{free_port()}/api",
            RedisURL=f"redis://127.0.0.1:{between.port}",
        )
        with started(["run"], directory=tmp_path) as broker:
            broker.wait_for(r"listening what=events")
            # By now Redis has the script.
            assert post(port, {"title": "before"}).status_code == 202
            between.holds.append(answer)
            unheard = pool.submit(post, port, {"title": "said once"})
            assert answer.reached.wait(60)
            broker.process.kill()
            assert isinstance(unheard.exception(60), httpx.TransportError)
            answer.release.set()
        with started(["run"], directory=tmp_path) as broker:
            broker.wait_for(r"listening what=events")
            again = post(port, {"title": "said once"})
            assert (again.status_code, "restbroker-job" in again.headers) == (202, False)
            assert broker.stop() == 0
    assert unfinished_jobs.count(store).total() == 2


def test_a_sender_hears_what_became_of_a_post(redis_server: RedisServer, store: Client, tmp_path: Path) -> None:
    """And by the id of its job, `explain` knows more. What cannot be said is counted, and nothing of it is repeated."""
    port = free_port()
    with Receiver(lambda _: Answer(200, b"0")) as server:
        shown = {"Stats": True, "StatsPort": (stats := free_port()), "History": "1h"}
        configure(tmp_path, redis_server, port, f"{server.url}/api", **shown)
        with started(["run"], directory=tmp_path) as broker:
            broker.wait_for(r"listening what=events", timeout_s=180.0)
            wrong = ({"title": "t"}, "/in/a@b"), ({"id": "very-own"}, "/in/ops"), ({"x": 1}, f"/slack/{SECRET}")
            refused = [post(port, body, path) for body, path in wrong]
            answer = post(port, {"text": "hello"}, f"/slack/{SECRET}")
            again = post(port, {"text": "hello"}, f"/slack/{SECRET}")
            until(lambda: messages(server), "it is said")
            counted = page(stats, "/metrics").text
            explained = run_here(["explain", answer.headers["Restbroker-Job"]], directory=tmp_path)
            assert broker.stop() == 0
        said = broker.output()
    assert [one.status_code for one in refused] == [422, 422, 422]
    assert "it is not in Slack's shape" in refused[2].text
    assert "It has no title or text, of which the argument body is made." in refused[1].text
    assert [(one.status_code, one.text) for one in (answer, again)] == [(200, "ok"), (200, "ok")]
    assert "restbroker-job" not in again.headers
    assert "EventMalformed" in said
    for source, outcome, count in (("in", "malformed", 2), ("s", "malformed", 1), ("s", "duplicate", 1)):
        assert f'restbroker_events_total{{outcome="{outcome}",source="{source}"}} {count}.0' in counted
    assert {SECRET, "very-own"} & {*said.split(), *explained.stdout.split()} == set()
    assert "send_message" in explained.stdout
    assert len(messages(server)) == 1
    assert store.command("ZCARD", "dead") == 0
