"""`restbroker run` takes events in as a process, alone and as a group, in bursts, over TLS and plainly, and may die."""

import http.client
import json
import os
import re
import signal
import ssl
import statistics
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import trio

from restbroker.store import queues
from restbroker.store.client import Client
from tests.events.conftest import PATH, QUEUE, events_in, jobs_in, sent, written
from tests.support.answering import AnsweringServer, Arrival
from tests.support.pages import page
from tests.support.ports import free_port
from tests.support.process import Running, run, started
from tests.support.redis_server import RedisServer
from tests.support.wait import until
from tests.transport.authority import authority

TEXT: Final = "a text that nobody else may see"
MESSAGE: Final = {"kind": "message", "from": "ann@example.org/phone", "to": "bot@bots.example.org", "body": TEXT}
EVENTS: Final = int(os.environ.get("BURST_EVENTS", "500"))
CONNECTIONS: Final = 100


def configure(place: Path, redis: RedisServer, **more: Any) -> None:
    events = {"Listen": "127.0.0.1:0", "Sources": {"prosody": {"Kind": "prosody-rest", "Path": PATH}}}
    written(place, redis.url, events, **more)


def url_of(broker: Running) -> str:
    # A starved machine takes its time to start a process.
    return broker.wait_for(r"listening what=events addresses=(http://\S+)", timeout_s=180.0)[1]


def posted(url: str, number: int, timeout_s: float = 30.0) -> int:
    """The status; raises OSError or HTTPException where there is none."""
    body = json.dumps({**MESSAGE, "id": str(number)})
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=timeout_s)
    with closing(connection):
        connection.request("POST", PATH, body, {"Content-Type": "application/json"})
        return connection.getresponse().status


def confirmed(url: str, number: int) -> bool:
    """Tells of an event until it is taken: a busy machine may not have Redis take it in time."""
    return bool(until(lambda: posted(url, number) == 202, "it is taken"))


def ids(store: Client) -> list[str]:
    return [event["id"] for event in events_in(store)]


@pytest.mark.parametrize("processes", [pytest.param(1, marks=pytest.mark.nightly), 2])
def test_a_broker_takes_events_in_and_a_group_does_so_once(
    redis_server: RedisServer, store: Client, tmp_path: Path, processes: int
) -> None:
    port = free_port()
    configure(tmp_path, redis_server, Processes=processes, Stats=True, StatsPort=port, LogLevel="debug")
    with started(["run"], directory=tmp_path) as broker:
        url = url_of(broker)
        assert all(confirmed(url, number) for number in range(5))
        assert list(dict.fromkeys(ids(store))) == [str(number) for number in range(5)]
        # A group's parent asks its workers, one of which may not have reported yet.
        counted = re.compile(r'events_total\{.*outcome="accepted".*\} (\d+)')
        until(lambda: counted.findall(page(port, "/metrics").text) == ["5"], "all are counted")
        assert broker.stop() == 0
        output = broker.output()
    assert output.count("listening what=events") == 1
    assert output.count("event source=prosody outcome=accepted") == 5
    assert TEXT not in output


@pytest.mark.promise("Events", "the process is killed")
def test_confirmed_event_outlives_each_kill(redis_server: RedisServer, store: Client, tmp_path: Path) -> None:
    accepted: list[str] = []
    number = 0
    for _ in range(2):
        configure(tmp_path, redis_server)
        with started(["run"], directory=tmp_path) as broker:
            url = url_of(broker)
            until_s = time.monotonic() + 1.0
            with suppress(OSError, http.client.HTTPException):
                while True:
                    number += 1
                    if posted(url, number) == 202:
                        accepted.append(str(number))
                    if time.monotonic() > until_s:
                        broker.signal(signal.SIGKILL)
    assert accepted
    assert set(accepted) <= set(ids(store))


@pytest.mark.promise("Events", "the process is told to stop")
def test_events_are_taken_until_the_last_answers(redis_server: RedisServer, store: Client, tmp_path: Path) -> None:
    released = threading.Event()

    def hang(_arrival: Arrival) -> int:
        released.wait(60)
        return 200

    with ExitStack() as stack:
        server = stack.enter_context(AnsweringServer(hang))
        configure(tmp_path, redis_server, RestURL=f"http://127.0.0.1:{server.port}/api", RequestTimeout="60s")
        broker = stack.enter_context(started(["run"], directory=tmp_path))
        url = url_of(broker)
        queues.push(store, "rest", [b'{"class":"Add","args":["set_presence",{},"t"],"jid":"j","retry":true}'])
        until(lambda: server.arrivals, "the job is sent")
        broker.signal(signal.SIGTERM)
        broker.wait_for(r"broker\.stopping")
        assert confirmed(url, 1)
        released.set()
        assert broker.wait() == 0
    assert ids(store) == ["1"]


def test_the_terminal_shows_events_without_their_text(redis_server: RedisServer, store: Client, tmp_path: Path) -> None:
    configure(tmp_path, redis_server)
    with started(["run"], directory=tmp_path) as broker:
        url = url_of(broker)
        for number in range(3):
            assert confirmed(url, number)
        shown = run(["events", "tail", "--once", "--last", "2"], directory=tmp_path)
        assert shown.returncode == 0, shown.stderr
        lines = [line.split("\t") for line in shown.stdout.splitlines()]
        jids = [job["jid"] for job in jobs_in(store)]
        expected = ["prosody", "message", MESSAGE["from"], MESSAGE["to"], "-", QUEUE]
        assert [line[1:] for line in lines] == [[*expected, jid] for jid in jids[1:]]
        as_json = run(["events", "tail", "--once", "--json", "--source", "prosody"], directory=tmp_path)
        found = [json.loads(line) for line in as_json.stdout.splitlines()]
        assert [(event["id"], event["from"], event["room"]) for event in found] == [
            (str(number), MESSAGE["from"], None) for number in range(3)
        ]
        misspelt = run(["events", "tail", "--once", "--source", "prosodi"], directory=tmp_path)
        assert (misspelt.returncode, misspelt.stdout) == (2, "")
        assert "There is no source of events 'prosodi'.\nDid you mean prosody?" in misspelt.stderr
        with started(["events", "tail", "--last", "0"], directory=tmp_path) as tail:
            until(lambda: confirmed(url, 7) and "prosody" in tail.output(), "it is shown")
            tail.signal(signal.SIGINT)
            assert tail.wait() == 0
    assert TEXT not in shown.stdout + as_json.stdout
    assert broker.process.poll() is not None


@pytest.mark.promise("Events", "an event is a job before its 202")
async def test_each_event_of_a_burst_becomes_a_job(
    redis_server: RedisServer, store: Client, tmp_path: Path, report: Callable[[str], None]
) -> None:
    configure(tmp_path, redis_server)
    took_s: list[float] = []
    with started(["run"], directory=tmp_path) as broker:
        url = await trio.to_thread.run_sync(url_of, broker)
        port = int(url.rpartition(":")[2])
        alone_s = [await post(port, -number) for number in range(1, 21)]
        began_s = trio.current_time()

        async def several(first: int) -> None:
            took_s.extend([await post(port, number) for number in range(first, EVENTS, CONNECTIONS)])

        async with trio.open_nursery() as nursery:
            for first in range(CONNECTIONS):
                nursery.start_soon(several, first)
        whole_s = trio.current_time() - began_s
        assert await trio.to_thread.run_sync(broker.stop) == 0
    assert {event["id"] for event in events_in(store)} >= {str(number) for number in range(EVENTS)}
    cuts = statistics.quantiles(took_s, n=100)
    median_ms, most_ms, last_ms = cuts[49] * 1000, cuts[98] * 1000, max(took_s) * 1000
    report(
        f"events: {EVENTS} over {CONNECTIONS} connections at once in {whole_s:.1f} s ({EVENTS / whole_s:.0f}/s), 202"
        f" after {median_ms:.0f} ms (median), {most_ms:.0f} ms (99 %), {last_ms:.0f} ms (last); one alone after"
        f" {statistics.median(alone_s) * 1000:.1f} ms"
    )


async def post(port: int, number: int) -> float:
    """How long its 202 took, the connection included, in seconds; a 503 is tried again, as a busy machine may cause."""
    while True:
        began_s = trio.current_time()
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(sent(json.dumps({**MESSAGE, "id": str(number)}).encode()))
            answer = await stream.receive_some()
        took_s = trio.current_time() - began_s
        if answer.split()[1] == b"202":
            return took_s
        assert answer.split()[1] == b"503", answer


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.nightly)])
def test_one_source_has_tls_and_another_none(
    redis_server: RedisServer, store: Client, tmp_path: Path, processes: int
) -> None:
    (tmp_path / "authority").mkdir()
    ours = authority(tmp_path / "authority")
    cert, key = ours.pair("server")
    secured, plain = free_port(), free_port()
    source = {"Kind": "prosody-rest", "Path": PATH}
    sources = {"far": source, "near": {**source, "Path": "/events/near", "Listen": f"127.0.0.1:{plain}"}}
    events = {"Listen": f"127.0.0.1:{secured}", "Sources": sources, "CertFile": str(cert), "KeyFile": str(key)}
    written(tmp_path, redis_server.url, events)
    with started(["run", "--processes", str(processes)], directory=tmp_path) as broker:
        broker.wait_for(f"listening what=events addresses=https://127.0.0.1:{secured}", timeout_s=180.0)
        broker.wait_for(f"addresses=http://127.0.0.1:{plain}", timeout_s=180.0)
        trusting = ssl.create_default_context(cafile=str(ours.ca))
        with httpx.Client(verify=trusting) as far, httpx.Client() as near:
            assert far.post(f"https://localhost:{secured}{PATH}", json=dict(MESSAGE)).status_code == 202
            assert near.post(f"http://localhost:{plain}/events/near", json=dict(MESSAGE)).status_code == 202
            # Each address has its own sources alone.
            assert near.post(f"http://localhost:{plain}{PATH}", json=dict(MESSAGE)).status_code == 404
        done = run(["check", "--json"], directory=tmp_path)
        found = [finding["message"] for finding in json.loads(done.stdout)["findings"] if finding["code"] == "Serving"]
        assert [message.rpartition(" at ")[2] for message in found] == [
            f"127.0.0.1:{secured}.",
            f"127.0.0.1:{plain}.",
        ]
    assert {event["source"] for event in events_in(store)} == {"far", "near"}
