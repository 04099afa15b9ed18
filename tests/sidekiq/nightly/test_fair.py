"""A queue with FairBy beside a real Ruby Sidekiq, and a small sender behind a very large one, with real processes.

FAIR_JOBS is the number of jobs of the large sender (100,000), FAIR_PROCESSES of brokers (2), FAIR_S within how many
seconds the small one's must be done (30; 10 on a machine that does nothing else).
"""

import os
import threading
import time
from collections.abc import Callable
from typing import Final

import attrs

from restbroker.store.client import integer
from tests.sidekiq.test_api import quieten
from tests.support.answering import Arrival
from tests.support.scripted import CONCURRENCY, QUEUE, Citizen, jid_of, job
from tests.support.wait import until

JOBS = int(os.environ.get("FAIR_JOBS", "100000"))
PROCESSES = int(os.environ.get("FAIR_PROCESSES", "2"))
SOON_S = float(os.environ.get("FAIR_S", "30"))
"""Without fairness they take 200 s, and 42 s if only fetches look for keys."""
A_SECOND: Final = 500
MOST_OF_REDIS: Final = 0.3
LINES = f"restbroker:line:{QUEUE}"
STAGED: Final = "staged"


def in_lines(citizen: Citizen) -> int:
    return integer(citizen.client.command("GET", LINES) or 0)


def in_list(citizen: Citizen) -> int:
    return integer(citizen.client.command("LLEN", f"queue:{QUEUE}"))


def test_ruby_sees_and_deletes_listed_jobs_while_lines_stay(citizen: Citizen) -> None:
    citizen.configure(FairBy=["user"])
    broker = citizen.start()
    citizen.push(*(job(f"hangs{number}") for number in range(CONCURRENCY)))
    citizen.wait_until_sent(CONCURRENCY)
    citizen.push(*(job(f"lined{number}") for number in range(30)))
    until(lambda: in_list(citizen) == 0 and in_lines(citizen) > 0, "all that wait are in lines")
    kept = in_lines(citizen)
    quieten(citizen, broker)
    citizen.push(*(job(f"listed{number}") for number in range(5)))
    found = citizen.ask("queue.rb", name=QUEUE, call="delete", jid=jid_of("listed2"))
    assert (found["size"], found["called"]) == (5, True)
    assert citizen.ask("queue.rb", name=QUEUE, call="clear")["size"] == 4
    assert (in_list(citizen), in_lines(citizen)) == (0, kept)
    # The name that Ruby took off the list is put back while there are lines.
    until(lambda: citizen.ask("queue.rb", name=QUEUE)["all"] == [QUEUE], "it is listed")
    [columns] = [line.split("\t") for line in citizen.restbroker("queues").splitlines() if line.startswith(QUEUE)]
    assert (columns[1], columns[9]) == (str(kept), str(kept))
    citizen.start()
    citizen.script.released.set()
    citizen.wait_until_idle()
    sent = citizen.times_sent()
    assert {name for name in sent if name.startswith("lined")} == {f"lined{number}" for number in range(30)}
    assert not [name for name in sent if name.startswith("listed")]
    assert not citizen.client.command("KEYS", "restbroker:[lt][iu][nr]*")


@attrs.define
class Steady:
    """A server that does A_SECOND jobs each second in all; it notes when it did each of the small sender."""

    small_s: list[float] = attrs.field(factory=list)
    _free_s: float = 0.0
    _lock: threading.Lock = attrs.field(factory=threading.Lock)

    def __call__(self, arrival: Arrival) -> int:
        with self._lock:
            self._free_s = max(self._free_s, time.monotonic()) + 1 / A_SECOND
            free_s = self._free_s
        time.sleep(max(0.0, free_s - time.monotonic()))
        if arrival.arguments["host"] == "small.org":
            self.small_s.append(time.monotonic())
        return 200


def test_ten_jobs_pass_100_000_of_another_sender_in_seconds(citizen: Citizen, report: Callable[[str], None]) -> None:
    citizen.server.act = server = Steady()
    citizen.configure(FairBy=["host"])
    for _ in range(PROCESSES):
        citizen.start()
    large = [job(f"large{number}", arguments={"host": "large.org"}) for number in range(JOBS)]
    for start in range(0, JOBS, 5000):
        citizen.push(*large[start : start + 5000], queue=STAGED)
    citizen.push(*(job(f"small{number}", arguments={"host": "small.org"}) for number in range(10)), queue=STAGED)
    cpu_s, began_s = redis_cpu_s(citizen), time.monotonic()
    citizen.client.command("RENAME", f"queue:{STAGED}", f"queue:{QUEUE}")
    until(lambda: len(server.small_s) == 10, "the small sender's jobs are done")
    until(lambda: in_list(citizen) == 0, "all that wait are in lines")
    ended_s = time.monotonic()
    took_s, busy = max(server.small_s) - began_s, (redis_cpu_s(citizen) - cpu_s) / (ended_s - began_s)
    citizen.client.command("SADD", "paused", QUEUE)
    report(
        f"ten jobs behind {JOBS} are done after {took_s:.1f} s by {PROCESSES} processes, "
        f"all are in lines after {ended_s - began_s:.1f} s, Redis was {busy:.0%} busy"
    )
    assert took_s <= SOON_S
    assert busy <= MOST_OF_REDIS
    for broker in citizen.brokers:
        broker.process.kill()


def redis_cpu_s(citizen: Citizen) -> float:
    used = {
        name: float(value)
        for name, _, value in (line.partition(":") for line in str(citizen.redis.command("INFO cpu")).splitlines())
        if name in ("used_cpu_user", "used_cpu_sys")
    }
    return sum(used.values())
