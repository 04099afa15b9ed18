"""Lines while processes die, half recover, answers get lost and scripts are flushed: shares, order, and every job once.

FAIR_STEPS is how many steps a history has (500), FAIR_SEED its seed.
"""

import json
import os
import random
from collections import Counter, defaultdict
from typing import Final

import attrs

from restbroker.job.fairness import Fairness
from restbroker.job.settlement import Ack, Requeue, Settlement
from restbroker.store import heartbeats, lines, queues
from restbroker.store.client import Client
from restbroker.store.jobs import (
    Duplicate,
    FetchRequest,
    FetchResult,
    FinishRequest,
    fetch,
    finish,
    read_jobs,
    register,
)
from restbroker.store.tickets import ticket_number
from tests.model.pair import Slow
from tests.store.pools import FACTS, NAMESPACE, QUEUES, Server, as_parked
from tests.support.redis_line import Tell

STEPS: Final = int(os.environ.get("FAIR_STEPS", "500"))
SEED: Final = int(os.environ.get("FAIR_SEED", "1"))
WEIGHTS: Final = {"big": 1, "other": 1, "vip": 4}
TEXT: Final = Fairness(("host",), None, {"vip": 4}).text
WAITS: Final = 40
"""So many jobs of each large key wait at least, so that it waits throughout."""


def job(host: str, number: int) -> bytes:
    return json.dumps({"class": "A", "args": ["c", {"host": host, "n": number}, "t"]}).encode()


def name_of(raw: bytes) -> tuple[str, int]:
    arguments = json.loads(raw)["args"][1]
    return arguments["host"], arguments["n"]


@attrs.define
class Lane:
    """What a process knows of itself."""

    identity: str
    base: int = 0
    jobs: dict[str, bytes] = attrs.field(factory=dict)


@attrs.define
class Chaos:
    """Three processes on one queue. `order`: whose jobs were handed out, in the order in which Redis did it."""

    client: Client
    server: Server
    chance: random.Random
    lanes: list[Lane] = attrs.field(factory=list)
    order: list[str] = attrs.field(factory=list)
    pushed: Counter[str] = attrs.field(factory=Counter)
    done: Counter[tuple[str, int]] = attrs.field(factory=Counter)
    newest: dict[str, int] = attrs.field(factory=lambda: defaultdict(lambda: -1))
    returned: set[tuple[str, int]] = attrs.field(factory=set)
    """What went back and waits again: younger ones of its key may have been handed out meanwhile."""
    counts: Counter[str] = attrs.field(factory=Counter)

    def begin(self) -> None:
        while len(self.lanes) < 3:
            lane = Lane(f"h:{self.counts['lanes']}:fair:t")
            self.counts["lanes"] += 1
            assert register(self.client, lane.identity, FACTS, QUEUES, fairness=TEXT)
            self.lanes.append(lane)

    def push(self, host: str, count: int) -> None:
        some = [job(host, self.pushed[host] + n) for n in range(count)]
        self.pushed[host] += count
        queues.push(self.client, "a", some)

    def fill(self) -> None:
        """Large keys never run out, one has a single job at a time, small ones come and go."""
        waiting = Counter(
            field.partition(b":")[2].decode() for field in self.server.raw.hkeys(f"{NAMESPACE}:restbroker:fair:wait:a")
        )
        for host in WEIGHTS:
            if waiting[host] < WAITS:
                self.push(host, 2 * WAITS)
        if not waiting["single"]:
            self.push("single", 1)
        if self.chance.random() < 0.2:
            self.push(f"small{self.chance.randrange(40)}", self.chance.randrange(1, 4))
        self.classify()

    def classify(self) -> None:
        while self.client.command("LLEN", self.client.keys.queue("a")):
            self.server.raw.delete(f"{NAMESPACE}:restbroker:fair:pace:a")
            lines.classify(self.client, "t", "a", TEXT, 0)

    def take(self, lane: Lane) -> None:
        request = FetchRequest(
            lane.identity, "t", ("a",), lane.base, self.chance.choice([1, 2, 7, 30]), 0, fairness=TEXT
        )
        answer = fetch(self.client, request)
        if isinstance(answer, Duplicate):
            found = read_jobs(self.client, lane.identity)
            lane.base, lane.jobs = found.last, dict(found.jobs)
            return
        assert isinstance(answer, FetchResult)
        for one in answer.jobs:
            host, number = name_of(one.raw)
            self.order.append(host)
            if (host, number) not in self.returned:
                assert number > self.newest[host], f"{host} {number} comes behind {self.newest[host]}"
                # What went back is first again.
                assert not any(other == host for other, _ in self.returned), f"{host} {number} comes too soon"
            self.newest[host] = max(number, self.newest[host])
            self.returned.discard((host, number))
        if self.chance.random() < 0.05:
            self.counts["lost answers"] += 1
            return
        lane.base += len(answer.jobs)
        lane.jobs |= {one.ticket: one.raw for one in answer.jobs}

    def settle(self, lane: Lane) -> None:
        tickets = self.chance.sample(sorted(lane.jobs), self.chance.randint(0, len(lane.jobs)))
        goes_back = self.chance.random() < 0.1
        settled: list[tuple[str, Settlement]] = [(one, Requeue() if goes_back else Ack()) for one in tickets]
        request = FinishRequest(lane.identity, "t", QUEUES, lane.base, settled, fairness=TEXT)
        for _ in range(1 + (self.chance.random() < 0.05)):
            finish(self.client, request, 1.0)
        names = [name_of(lane.jobs.pop(one)) for one in tickets]
        if goes_back:
            self.returned.update(names)
        else:
            self.done.update(names)

    def kill(self, lane: Lane) -> None:
        self.lanes.remove(lane)
        assert heartbeats.fence(self.client, lane.identity, 0)
        slow = Slow(
            self.client, self.chance.randrange(2), lambda: heartbeats.recover(self.client, lane.identity, as_parked)
        )
        self.returned.update(map(name_of, read_jobs(self.client, lane.identity).jobs.values()))
        heartbeats.recover(slow, lane.identity, as_parked)  # type: ignore[arg-type]
        heartbeats.recover(self.client, lane.identity, as_parked)
        self.counts["kills"] += 1
        self.begin()

    def run(self, steps: int) -> None:
        self.begin()
        for step in range(steps):
            self.fill()
            lane = self.chance.choice(self.lanes)
            self.take(lane)
            self.settle(self.chance.choice(self.lanes))
            if self.chance.random() < 0.03:
                self.kill(self.chance.choice(self.lanes))
            if self.chance.random() < 0.02:
                self.server.raw.script_flush()
            if step % 100 == 99:
                assert lines.heal(self.client, "a", TEXT) == 0, "nothing was to be mended"
                self.judge()
        self.judge_shares()
        self.drain()

    def judge(self) -> None:
        """Each job is in one place."""
        found: Counter[tuple[str, int]] = Counter(self.done)
        for place in ("queue:a", "restbroker:fair:wait:a"):
            name = f"{NAMESPACE}:{place}"
            raws = self.server.raw.lrange(name, 0, -1) if "queue" in place else self.server.raw.hvals(name)
            found.update(map(name_of, raws))
        for lane in self.lanes:
            found.update(map(name_of, read_jobs(self.client, lane.identity).jobs.values()))
        assert found == Counter((host, n) for host, count in self.pushed.items() for n in range(count))

    def judge_shares(self) -> None:
        """No key got more than its share beside one that waited throughout."""
        for host in [name for name in self.pushed if name != "big"]:
            assert self.excess(host, "big") <= 1e-9, host
        for host in ("big", "other"):
            assert self.excess(host, "vip") <= 1e-9, host

    def excess(self, one: str, other: str) -> float:
        """By how much `one` was ahead of `other`, which waited throughout, at most: over all beginnings and ends."""
        weights = Counter(WEIGHTS)
        mine, its = weights[one] or 1, weights[other] or 1
        difference = least = worst = 0.0
        for host in self.order:
            difference += (host == one) / mine - (host == other) / its
            least = min(least, difference)
            worst = max(worst, difference - least - 1 / mine - 1 / its)
        return worst

    def drain(self) -> None:
        for lane in list(self.lanes):
            self.kill(lane)
        lane = self.lanes[0]
        while self.server.raw.hlen(f"{NAMESPACE}:restbroker:fair:wait:a"):
            self.take(lane)
            lane.jobs = dict(read_jobs(self.client, lane.identity).jobs)
            lane.base = max([lane.base, *map(ticket_number, lane.jobs)])
            items: list[tuple[str, Settlement]] = [(one, Ack()) for one in lane.jobs]
            finish(self.client, FinishRequest(lane.identity, "t", QUEUES, lane.base, items, fairness=TEXT), 1.0)
            self.done.update(map(name_of, lane.jobs.values()))
            lane.jobs = {}
        self.judge()
        assert not self.server.raw.keys(f"{NAMESPACE}:restbroker:fair:[wkt]*")


def test_shares_order_and_jobs_survive_what_breaks(client: Client, server: Server, tell: Tell) -> None:
    chaos = Chaos(client, server, random.Random(SEED))
    chaos.run(STEPS)
    tell(f"{sum(chaos.pushed.values())} jobs, {len(chaos.order)} handed out, {dict(chaos.counts)}")
    assert chaos.counts["kills"] > STEPS // 50
