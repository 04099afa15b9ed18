"""Events become requests: each comes to the application once, with one id; a loop ends at its first turn."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import httpx
import pytest
import trio

from restbroker.config.events import Handover
from restbroker.errors import UsageError
from restbroker.events.deliver import Deliverer
from restbroker.job.json_types import Json
from restbroker.servers.findings import Texts
from restbroker.servers.in_redis import StatesInRedis
from restbroker.servers.reading import Offers, SourceReports
from restbroker.store import queues
from restbroker.store.client import Client
from restbroker.store.connection import Connection
from restbroker.telemetry.events import Event, EventHandled, OperatorWarning
from tests.events.conftest import EVENT, SOURCE
from tests.support.ports import free_port
from tests.support.process import Running, run_here, started
from tests.support.receiver import Answer, Received, Receiver
from tests.support.redis_server import RedisServer
from tests.support.rows import rows
from tests.support.tcp_proxy import TcpProxy
from tests.support.wait import until

SECRET: Final = "a-secret-of-many-letters"
BACKOFF: Final = {"Base": "100ms", "Factor": 1, "Cap": "100ms"}
SIGNED: Final = {"Secret": f"{SECRET}-of-jobs", "Allow": ["event"], "Targets": ["hook", "back"], "Signed": True}


def target(url: str, queue: str = "hook", **command: Any) -> dict[str, Any]:
    commands = {"event": {"Idempotent": True, **command}}
    options = {"AllowPrivate": True, "Headers": {"X-Api-Key": SECRET}, "Commands": commands}
    return {"Kind": "http", "URL": url, "Queues": [queue], "Options": options}


def source(**more: Any) -> dict[str, Any]:
    options = {"Map": {"type": "/event", "from": "/who", "n": "/n"}}
    return {"Kind": "webhook", "Path": "/in", "Target": "hook", "Command": "event", "Options": options, **more}


def configure(place: Path, redis: RedisServer, port: int, sources: Mapping[str, Any], **targets: Any) -> None:
    events = {"Listen": f"127.0.0.1:{port}", "Sources": sources}
    document = {"RedisURL": redis.url, "Tokens": {"events": SIGNED}, "Targets": targets, "Events": events}
    (place / "env.json").write_text(json.dumps({**document, "Backoff": BACKOFF}))


def post(port: int, body: object, path: str = "/in", timeout_s: float = 60) -> int:
    with httpx.Client(trust_env=False) as client:
        return client.post(f"http://127.0.0.1:{port}{path}", json=body, timeout=timeout_s).status_code


def listening(broker: Running) -> None:
    broker.wait_for(r"listening what=events", timeout_s=180.0)


def posts(app: Receiver) -> list[Received]:
    return [request for request in app.received if request.method == "POST"]


def dead(store: Client) -> list[bytes]:
    found = store.command("ZRANGE", "dead", 0, -1)
    assert isinstance(found, list)
    return [job for job in found if isinstance(job, bytes)]


@pytest.mark.promise("Events", "an event is a job before its 202")
def test_an_event_comes_to_the_application_once(redis_server: RedisServer, store: Client, tmp_path: Path) -> None:
    """It fails for a while: each try has the job's id, and what was posted twice is one."""
    port, failing = free_port(), [True] * 3

    def act(received: Received) -> Answer:
        return Answer(500, b"{}") if received.method == "POST" and failing and failing.pop() else Answer()

    with Receiver(act) as app:
        configure(tmp_path, redis_server, port, {"in": source(DropDuplicates="1m")}, hook=target(app.url, Path="xmpp"))
        with started(["run"], directory=tmp_path) as broker:
            listening(broker)
            for number in (1, 2, 1):
                assert post(port, {"event": "joined", "who": "ann@example.org", "n": number, "host": "x"}) == 202
            bodies = until(lambda: _done(app, 5), "all came")
            assert broker.stop() == 0
        said = broker.output()
    assert sorted(body["n"] for body in bodies.values()) == [1, 2]
    (body, _) = sorted(bodies.values(), key=lambda one: one["n"])
    assert (body["type"], body["from"], body["source"]) == ("joined", "ann@example.org", "in")
    assert body["raw"]["host"] == "x"
    assert {post.path for post in posts(app)} == {"/xmpp"}
    assert {post.headers["via"] for post in posts(app)} == {"1.1 restbroker-http-target"}
    assert dead(store) == []
    assert SECRET not in said


def _done(app: Receiver, tries: int) -> dict[str, Any]:
    """The bodies by their id, once there were so many tries."""
    came = posts(app)
    return {post.headers["idempotency-key"]: json.loads(post.body) for post in came} if len(came) >= tries else {}


def test_no_job_of_an_event_holds_a_secret(redis_server: RedisServer, store: Client, tmp_path: Path) -> None:
    port = free_port()
    with Receiver(lambda _: Answer(404)) as app:
        configure(tmp_path, redis_server, port, {"in": source(Secret=SECRET)}, hook=target(app.url))
        with started(["run"], directory=tmp_path) as broker:
            listening(broker)
            assert post(port, {"event": "e"}, f"/in/{SECRET}/more?key={SECRET}") == 202
            (job,) = until(lambda: dead(store), "it is dead")
            assert broker.stop() == 0
    assert SECRET not in job.decode() + broker.output()
    command, arguments, token = json.loads(job)["args"]
    assert (command, arguments["type"]) == ("event", "e")
    assert [*json.loads(job)][-1] == "restbroker_unadmitted", "it is counted by itself"
    assert token.startswith("v1q:")


def test_a_dead_event_that_is_retried_keeps_its_id(redis_server: RedisServer, store: Client, tmp_path: Path) -> None:
    """The application refuses its form (422), until it is mended."""
    port, status = free_port(), [422]
    with Receiver(lambda received: Answer(status[0] if received.method == "POST" else 200)) as app:
        hook = target(app.url)
        hook["Options"]["SigningSecrets"] = [f"whsec_{base64.b64encode(SECRET.encode()).decode()}"]
        configure(tmp_path, redis_server, port, {"in": source()}, hook=hook)
        with started(["run"], directory=tmp_path) as broker:
            listening(broker)
            assert post(port, {"event": "e", "n": 1}) == 202
            (job,) = until(lambda: dead(store), "it is dead")
            status[0] = 200
            jid = json.loads(job)["jid"]
            done = run_here(["dead", "retry", jid, "--yes"], directory=tmp_path)
            assert done.returncode == 0, done.stderr
            until(lambda: len(posts(app)) == 2, "it came again")
            assert broker.stop() == 0
    assert [(post.headers["webhook-id"], post.headers["idempotency-key"]) for post in posts(app)] == [(jid, jid)] * 2
    assert len({post.body for post in posts(app)}) == 1
    assert dead(store) == []


def test_a_kill_during_a_request_sends_it_again_with_its_id(redis_server: RedisServer, tmp_path: Path) -> None:
    port, came = free_port(), list[str]()

    def act(received: Received) -> Answer:
        if received.method == "POST":
            came.append(received.headers["idempotency-key"])
            if len(came) == 1:
                broker.process.kill()
        return Answer()

    with Receiver(act) as app:
        configure(tmp_path, redis_server, port, {"in": source()}, hook=target(app.url))
        with started(["run"], directory=tmp_path) as broker:
            listening(broker)
            assert post(port, {"event": "e"}) == 202
            until(lambda: came, "it came")
        with started(["run"], directory=tmp_path) as broker:
            until(lambda: len(came) == 2, "it came again", 180)
            assert broker.stop() == 0
    assert came[0] == came[1]


@pytest.mark.promise("Events", "a loop of events ends at its first turn")
@rows("host", ["127.1", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "127.0.0.1 behind a proxy", "0.0.0.0, no secret"])
def test_a_loop_is_one_dead_job_that_says_why(
    redis_server: RedisServer, store: Client, tmp_path: Path, host: str
) -> None:
    """Two sources, two targets, each of which posts to the other's source, under a spelling that no file gives away."""
    redis_server.flush()
    port = free_port()
    with TcpProxy(port) as proxy:
        at, spelling = (proxy.port, "127.0.0.1") if "proxy" in host else (port, host.partition(",")[0])
        url = f"http://{spelling}:{at}"
        secret, below = ({}, "") if "no secret" in host else ({"Secret": SECRET}, f"/{SECRET}")
        sources = {"one": source(Path="/one", **secret), "two": source(Path="/two", Target="back", **secret)}
        targets = {"hook": target(f"{url}/two{below}"), "back": target(f"{url}/one{below}", "back")}
        configure(tmp_path, redis_server, port, sources, **targets)
        with started(["run"], directory=tmp_path) as broker:
            listening(broker)
            assert post(port, {"event": "e"}, f"/one{below}") == 202
            (job,) = until(lambda: dead(store), "it is dead")
            broker.wait_for("EventLoop")
            assert broker.stop() == 0
    assert "EventLoop" in job.decode()
    assert json.loads(job)["queue"] == "hook"
    assert [*queues.peek(store, "hook", 0, 9), *queues.peek(store, "back", 0, 9)] == []


def test_two_restbrokers_in_a_row_need_a_chain(redis_server: RedisServer, store: Client, tmp_path: Path) -> None:
    port = free_port()
    chained = {"Kind": "webhook", "Path": "/in", "Queue": "q", "Class": "C", "Options": {"Chain": True}}
    configure(tmp_path, redis_server, port, {"in": chained, "other": chained | {"Path": "/other", "Options": {}}},
              hook=target("http://127.0.0.1:1"))  # fmt: skip
    statuses = []
    with started(["run"], directory=tmp_path) as broker:
        listening(broker)
        with httpx.Client(trust_env=False) as client:
            for path, via in (
                ("in", ["1.1 restbroker-http-target"]),
                ("other", ["1.1 restbroker", "1.0 a-restbroker-http-target (x)"]),
                ("other", ["1.1 proxy, 1.1 Restbroker-HTTP-Target (comment)", "1.1 other"]),
            ):
                headers = [("Via", value) for value in via]
                statuses.append(client.post(f"http://127.0.0.1:{port}/{path}", json={}, headers=headers).status_code)
        assert broker.stop() == 0
    assert statuses == [202, 202, 508]
    assert store.command("LLEN", "queue:q") == 2


async def test_an_event_too_large_for_a_job_ends_no_reader(deliverer: Deliverer, store: Client) -> None:
    """Beside it the others are offered, and its verdict is counted; a server that posts it is answered at once."""

    def too_large(_handover: Handover, members: Mapping[str, Json], jid: str, _now_s: float) -> bytes:
        if members["body"] == "large":
            raise UsageError("The job would be too large.")
        return json.dumps({"jid": jid}).encode()

    deliverer.command_job = too_large
    handed = attrs.evolve(SOURCE, queue="hook", handover=Handover("hook", "event"))
    reported: list[Event] = []
    async with trio.open_nursery() as nursery:
        await nursery.start(deliverer.run)
        left = {number: attrs.evolve(EVENT, body=body) for number, body in enumerate(("a", "large", "b"))}
        states = StatesInRedis(lambda: Connection(store)).for_source(handed)
        reports = SourceReports(handed.name, reported.append, Texts({}), "", states)
        await Offers(handed, deliverer, reports).push(left)
        assert left == {}
        with pytest.raises(UsageError):
            await deliverer.deliver(handed, attrs.evolve(EVENT, body="large"))
        nursery.cancel_scope.cancel()
    assert len(queues.peek(store, "hook", 0, 9)) == 2
    assert [said.outcome for said in reported if isinstance(said, EventHandled)] == [
        "accepted",
        "too_large",
        "accepted",
    ]
    assert [said.code for said in reported if isinstance(said, OperatorWarning)] == ["EventTooLarge"]


def test_events_of_one_sender_keep_their_order(redis_server: RedisServer, store: Client, tmp_path: Path) -> None:
    """Through an outage, with `OrderBy`; an event that has no such member has no order, and is sent all the same."""
    port, done, away = free_port(), list[int](), [True]

    def act(received: Received) -> Answer:
        if received.method == "POST" and away[0]:
            return Answer(500, b"{}")
        if received.method == "POST":
            done.append(json.loads(received.body)["n"])
        return Answer()

    with Receiver(act) as app:
        configure(tmp_path, redis_server, port, {"in": source()}, hook=target(app.url) | {"OrderBy": ["from"]})
        with started(["run"], directory=tmp_path) as broker:
            listening(broker)
            for number in range(6):
                assert post(port, {"event": "e", "who": "ann@example.org", "n": number}) == 202
            assert post(port, {"event": "e", "n": 9}) == 202
            until(lambda: len(posts(app)) >= 3, "some were refused")
            away[0] = False
            until(lambda: len(done) == 7, "all came")
            assert broker.stop() == 0
    assert [number for number in done if number != 9] == [*range(6)]
    assert dead(store) == []
