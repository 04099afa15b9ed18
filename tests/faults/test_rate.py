"""The rate limit, counted where it matters: at the server, over two processes, one of which is frozen for a second."""

import json
import signal
import time
from pathlib import Path

import pytest

from restbroker.store import queues
from restbroker.store.client import StoreSettings, open_client
from tests.support import process
from tests.support.answering import AnsweringServer
from tests.support.process import Stopwatch
from tests.support.redis_server import RedisServer
from tests.support.wait import until

RATE_PER_S, BURST, JOBS = 50, 10, 250
# What left a process in time may reach the server late: threads of two brokers and a server share the machine. At this
# rate it may be a quarter of a second, and as much more as they waited for a core; what a frozen process has in hand
# would be more (`Concurrency` is 20).
SLACK_JOBS = 12


def job(number: int) -> bytes:
    args = ["set_last", {"user": f"u{number}", "host": "example.org", "timestamp": 1, "status": ""}, "t"]
    return json.dumps({"class": "Add", "jid": f"jid-{number}", "queue": "rest", "args": args}).encode()


def most_within(moments: list[float], span_s: float) -> int:
    """The most arrivals in any window of this length."""
    ordered, first, most = sorted(moments), 0, 0
    for last, moment in enumerate(ordered):
        while moment - ordered[first] > span_s:
            first += 1
        most = max(most, last - first + 1)
    return most


@pytest.mark.promise("A good citizen", "RateLimit holds for all processes together")
def test_two_processes_share_one_rate_and_a_frozen_one_starts_no_burst_afterwards(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    client = open_client(StoreSettings(redis_server.url))
    with AnsweringServer() as server:
        settings = {"RedisURL": redis_server.url, "RestURL": f"http://127.0.0.1:{server.port}/api"}
        settings |= {"RestQueue": "rest", "Token": "t", "JabberDomain": "example.org"}
        limited = {**settings, "Concurrency": 20, "RateLimit": {"Rate": f"{RATE_PER_S}/s", "Burst": BURST}}
        (tmp_path / "env.json").write_text(json.dumps(limited))
        command = ["run", "--config", "env.json"]
        with (
            process.started(command, directory=tmp_path) as one,
            process.started(command, directory=tmp_path) as two,
        ):
            for broker in (one, two):
                broker.wait_for(r"broker\.started")
            watch = Stopwatch.start(one, two)
            queues.push(client, "rest", [job(number) for number in range(JOBS)])
            for round_number in range(3):
                until(lambda wanted=JOBS // 5 * (round_number + 1): len(server.arrivals) >= wanted, "it goes on")  # type: ignore[misc]
                one.signal(signal.SIGSTOP)
                stopped_at_s = time.monotonic()
                until(lambda since=stopped_at_s: time.monotonic() - since >= 1.0, "a second passes")  # type: ignore[misc]
                one.signal(signal.SIGCONT)
            until(lambda: len(server.arrivals) >= JOBS, "all are delivered")
            waited_s = watch.waited_s()
    client.close()
    moments = [arrival.at_s for arrival in server.arrivals]
    assert len({arrival.arguments["user"] for arrival in server.arrivals}) == len(moments) == JOBS
    for span_s in (0.5, 1.0, 2.0):
        most = BURST + RATE_PER_S * (span_s + waited_s) + SLACK_JOBS
        assert most_within(moments, span_s) <= most, f"in {span_s} s"
    took_s = max(moments) - min(moments) - waited_s
    assert took_s <= JOBS / (0.8 * RATE_PER_S)
