"""Periodic commands under kills: many processes, clocks that are wrong, answers that are lost, and each moment once."""

import os
import random
import subprocess
import sys
import time
from collections import Counter

import pytest

from restbroker.job.schedule import job_id
from restbroker.store import periodic
from restbroker.store.client import StoreSettings, open_client
from restbroker.store.server import time_s
from tests.support.redis_line import Report
from tests.support.redis_server import RedisServer
from tests.support.wait import until

TICKS = int(os.environ.get("PERIODIC_TICKS", "150"))
"""1,000 take a hundred seconds."""
PROCESSES = 20
COMMANDS = 50
STEP_S = 5
HOUR_S = 3600
DIGEST = "ab"
KEY = "restbroker:periodic"

# A process with nothing but the agent. Its commands are due each five seconds, its own clock is wrong, one answer of
# ten is lost after Redis did what it was asked.
PROCESS = f"""
import random, sys, time
url, ahead_s, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
real = time.time
time.time = lambda: real() + ahead_s
import attrs, trio
from datetime import UTC, datetime
from restbroker.broker.health import StoreHealth
from restbroker.broker.periodic import PeriodicJob, PeriodicPusher
from restbroker.errors import StoreUnavailable
from restbroker.store.client import StoreSettings, open_client
from restbroker.store.connection import Connection

@attrs.frozen
class Often:
    offset: int
    digest: str = {DIGEST!r}

    def ticks(self, after_s):
        tick = (int(after_s) - self.offset) // {STEP_S} * {STEP_S} + self.offset
        while True:
            tick += {STEP_S}
            yield tick

    def newest(self, after_s, until_s):
        tick = (int(until_s) - self.offset) // {STEP_S} * {STEP_S} + self.offset
        return tick if tick > after_s else None

    def count(self, after_s, before_s, most):
        return sum(1 for _ in range(int(next(self.ticks(after_s))), int(before_s), {STEP_S}))

    def local(self, at_s):
        return datetime.fromtimestamp(at_s, UTC)

class Lossy(Connection):
    async def call(self, function, *args, **kwargs):
        found = await super().call(function, *args, **kwargs)
        if random.random() < 0.1:
            raise StoreUnavailable("The answer was lost.")
        return found

random.seed(seed)
jobs = [
    PeriodicJob(f"c{{n}}", Often(n % {STEP_S}), "rest", 3600.0, lambda jid, _: jid.encode()) for n in range({COMMANDS})
]
client, ignore = open_client(StoreSettings(url)), lambda event: None
client.command("INCR", "running")
trio.run(PeriodicPusher(Lossy(client), StoreHealth(ignore), ignore, jobs).run)
"""


def begin(url: str, seed: int) -> subprocess.Popen[bytes]:
    ahead_s = (HOUR_S, -HOUR_S, 0, 86_400)[seed % 4]
    return subprocess.Popen([sys.executable, "-c", PROCESS, url, str(ahead_s), str(seed)])


@pytest.mark.promise("Periodic commands", "processes are killed, and answers of Redis lost")
def test_each_moment_is_pushed_once_by_twenty_killed_processes(redis_server: RedisServer, report: Report) -> None:
    url, chance = redis_server.url, random.Random(7)
    client = open_client(StoreSettings(url))
    processes = [begin(url, seed) for seed in range(PROCESSES)]
    kills = 0
    try:
        until(lambda: client.command("GET", "running") == b"%d" % PROCESSES, "all run")
        began_s = int(time_s(client))
        marks = [word for number in range(COMMANDS) for word in (f"c{number}", f"{DIGEST} {began_s}")]
        client.transaction([("DEL", "queue:rest", KEY), ("HSET", KEY, *marks)])
        until_s = began_s + TICKS * STEP_S // COMMANDS + STEP_S
        while time_s(client) < until_s:
            time.sleep(1.0)
            place = chance.randrange(PROCESSES)
            processes[place].kill()
            processes[place].wait()
            kills += 1
            processes[place] = begin(url, PROCESSES + kills)
        time.sleep(STEP_S)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    _, states = periodic.read(client)
    due = {
        job_id(name, tick)
        for name, state in states.items()
        for tick in range(began_s + 1, (state.mark_s or 0) + 1)
        if (tick - int(name[1:])) % STEP_S == 0
    }
    pushed = Counter(bytes(raw).decode() for raw in client.command("LRANGE", "queue:rest", 0, -1))  # type: ignore[union-attr, arg-type]
    missed = sum(state.missed for state in states.values())
    client.close()
    report(f"{len(due)} moments, {len(pushed)} pushed, {missed} missed, {kills} kills")
    assert len(due) >= TICKS
    assert max(pushed.values()) == 1, "none twice"
    assert pushed.keys() <= due, "none that was not due"
    assert len(pushed) + missed == len(due), "none forgotten"
    assert missed <= len(due) // 100, "with so many processes, none is late by five seconds"
