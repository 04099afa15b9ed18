"""Many events at once, each over a connection of its own, as Prosody does it: all are taken, and how soon."""

import json
import os
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
import trio

from restbroker.store.client import Client
from tests.events.conftest import events_in, sent
from tests.events.test_process import MESSAGE, configure, url_of
from tests.support.process import started
from tests.support.redis_server import RedisServer

EVENTS: Final = int(os.environ.get("BURST_EVENTS", "500"))
CONNECTIONS: Final = 100


@pytest.mark.promise("Events", "an event is a job before its 202")
async def test_of_a_burst_of_events_each_becomes_a_job(
    redis_server: RedisServer, store: Client, tmp_path: Path, tell: Callable[[str], None]
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
    tell(
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
