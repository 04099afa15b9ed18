"""A server that is asked for more than it can do: the limit settles where it does most, and few jobs pay for it.

The same is proved without a clock in tests/unit/broker/test_adaptive.py. Where the broker or this test had to wait for
a core for long, answers came in bursts: then it is enough here that the limit neither collapses nor stays where it was.
"""

import json
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import attrs
import pytest
import trio

from restbroker.store import queues
from restbroker.store.client import Client, integer
from tests.support.bench import QUEUE, payload
from tests.support.process import Stopwatch, started
from tests.support.recorder import answer, listening, read_request
from tests.support.redis_line import Tell
from tests.support.redis_server import RedisServer
from tests.support.shared import TOKEN
from tests.support.wait import until_async

BEST_PER_S = 200.0
UNITS = 30
CONCURRENCY = 100
JOBS = 6000
SETTLES_IN_S = 6.0
WATCHED_S = 10.0
BUSY = 0.3
"""A share of the time that was watched."""


_STATUS = b'"The node ejabberd@localhost is started. Status: started ejabberd 24.12 is running in that node"'
Beyond = Literal["refuses", "hangs"]


@attrs.define(eq=False)
class Degrading:
    """Does `units` jobs at once, `best_per_s` in sum. What comes beyond gets a 503 at once, or no answer at all."""

    units: int
    best_per_s: float
    beyond: Beyond
    port: int = 0
    done_at_s: list[float] = attrs.field(factory=list)
    failed_at_s: list[float] = attrs.field(factory=list)
    _busy: int = 0

    async def serve(self, stream: trio.abc.Stream) -> None:
        async with stream:
            try:
                while (request := await read_request(stream, 0)) is not None:
                    if " /api/status " in request.line:
                        await answer(200, _STATUS)(stream)
                    elif not await self._work(stream):
                        return
            except trio.BrokenResourceError:
                pass  # the client gave up waiting

    async def _work(self, stream: trio.abc.Stream) -> bool:
        now_s = trio.current_time()
        if self._busy >= self.units:
            self.failed_at_s.append(now_s)
            if self.beyond == "refuses":
                return await answer(503, b'"too much to do"')(stream)
            return bool(await stream.receive_some())
        self._busy += 1
        await trio.sleep(self.units / self.best_per_s * random.uniform(0.5, 1.5))
        self._busy -= 1
        self.done_at_s.append(trio.current_time())
        return await answer()(stream)


@asynccontextmanager
async def degrading(units: int, best_per_s: float, beyond: Beyond) -> AsyncIterator[Degrading]:
    """Such a server on a free loopback port, until the end of the block."""
    server = Degrading(units, best_per_s, beyond)
    async with listening(server.serve) as server.port:
        yield server


def configure(directory: Path, redis: RedisServer, port: int, concurrency: int) -> list[str]:
    """Writes env.json; the command that runs a broker by it."""
    document = {
        "RedisURL": redis.url,
        "RestURL": f"http://127.0.0.1:{port}/api",
        "RestQueue": QUEUE,
        "Token": TOKEN,
        "Concurrency": concurrency,
        "RequestTimeout": 1,
    }
    path = directory / f"env-{concurrency}.json"
    path.write_text(json.dumps(document))
    return ["run", "--config", str(path)]


async def watched_from(server: Degrading, settles_in_s: float) -> float:
    """Waits until the server was watched for long enough; returns since when, on Trio's clock."""
    done = len(server.done_at_s)
    await until_async(lambda: len(server.done_at_s) > done, "the first job is done")
    from_s = server.done_at_s[done] + settles_in_s
    await until_async(lambda: trio.current_time() >= from_s + WATCHED_S, "it was watched", 60.0)
    return from_s


def within(moments: Sequence[float], from_s: float) -> int:
    """How many of these moments are in the time that was watched."""
    return sum(from_s <= at_s < from_s + WATCHED_S for at_s in moments)


@pytest.mark.promise("A good citizen", "a server is asked for what it can do")
@pytest.mark.parametrize("beyond", ["refuses", "hangs"])
async def test_the_limit_settles_within_a_fifth_of_the_best_throughput(
    tmp_path: Path, redis_server: RedisServer, client: Client, tell: Tell, beyond: Beyond
) -> None:
    queues.push(client, QUEUE, [payload(n, "user_sessions_info", user="u", host="example.org") for n in range(JOBS)])
    async with degrading(UNITS, BEST_PER_S, beyond) as server:
        # What this machine can get out of this server now, by a limit that somebody found out for it.
        with started(configure(tmp_path, redis_server, server.port, UNITS), directory=tmp_path):
            best = within(server.done_at_s, await watched_from(server, 1.0)) / WATCHED_S
        server.failed_at_s.clear()
        with started(configure(tmp_path, redis_server, server.port, CONCURRENCY), directory=tmp_path) as broker:
            watch = Stopwatch.start(broker)
            from_s = await watched_from(server, SETTLES_IN_S)
            busy = watch.waited_s() / (SETTLES_IN_S + WATCHED_S)
            closings = broker.output().count("target.down")
    per_s, late = within(server.done_at_s, from_s) / WATCHED_S, within(server.failed_at_s, from_s)
    early = sum(at_s < from_s for at_s in server.failed_at_s)
    tries, dead = (integer(client.command("ZCARD", zset)) for zset in ("retry", "dead"))
    tell(
        f"a server that {beyond} beyond {UNITS} jobs at once: {per_s:.0f} jobs/s of {best:.0f} at best, {early} jobs"
        f" too many while the limit settled, {late} in {WATCHED_S:.0f} s afterwards; breaker tripped {closings} times;"
        f" {tries} tries used up"
    )
    tell(f"broker and server waited for a core {busy:.0%} of the time")
    assert per_s >= (0.8 if busy < BUSY else 0.5) * best
    assert closings <= 2
    assert late <= (3 if busy < BUSY else 8) * WATCHED_S
    assert tries <= early + late
    assert dead == 0
