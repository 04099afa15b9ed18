"""The jobs of one key stay in order, and none is lost, while brokers are killed and frozen and Redis dies.

A real Ruby meddles, too.

ORDER_JOBS is the number of jobs (1,500), ORDER_KEYS of keys (60), ORDER_KILLS, ORDER_FREEZES and ORDER_DEATHS (of
Redis) how often each happens, ORDER_CUTS how often Redis loses the end of its file, ORDER_SEED the seed.
"""

import bisect
import json
import mmap
import os
import random
import signal
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

import attrs
import pytest

from restbroker.store import order, queues, rewrite, sets
from restbroker.store.client import Client, StoreSettings, items, open_client, raw
from tests.support import process, ruby, unfinished_jobs
from tests.support.answering import AnsweringServer, Arrival
from tests.support.process import Running
from tests.support.redis_line import Report
from tests.support.redis_server import RedisServer
from tests.support.shared import FAST_RETRIES, TOKEN
from tests.support.wait import CRASHED_S, NEVER_S, until

JOBS = int(os.environ.get("ORDER_JOBS", "1500"))
KEYS = int(os.environ.get("ORDER_KEYS", "60"))
KILLS = int(os.environ.get("ORDER_KILLS", "4"))
FREEZES = int(os.environ.get("ORDER_FREEZES", "4"))
DEATHS = int(os.environ.get("ORDER_DEATHS", "1"))
CUTS = int(os.environ.get("ORDER_CUTS", "3"))
SEED = int(os.environ.get("ORDER_SEED", "1"))
BROKERS: Final = 4
LEASE_S: Final = 3.0
TAKES_S: Final = 0.01
CUT_BYTES: Final = (20_000, 200_000)
QUEUE: Final = "rest"
TARGET: Final = "t"

# A broker with a short lease. What no process can help is that it is frozen between its last look at its lease and the
# first byte: the first byte of its file is 1 while it is there.
BROKER: Final = f"""
import mmap, os, sys
import trio
from restbroker.broker import health, heartbeat, reaper
from restbroker.broker.delivery import Delivery
from restbroker.__main__ import main

heartbeat.HEARTBEAT_S, reaper.SCAN_S, health.MARGIN_S = 0.4, 0.3, 1.0
health.FENCE_AFTER_S = reaper.FENCE_AFTER_S = {LEASE_S}
if os.environ.get("BLIND"):
    from restbroker.transport.readiness import Deadlines
    health.Lease.is_fresh = property(lambda self: True)
    # It wakes up after the deadline of its request, which would close the connection that the next one takes.
    Deadlines.watch = lambda self, who, due_s: None
with open(f"sends.{{os.getpid()}}", "w+b") as file:
    file.write(bytes(1))
    file.flush()
    sends = mmap.mmap(file.fileno(), 1)
    may_send, run = Delivery.may_send, trio.run

class Steps(trio.abc.Instrument):
    def after_task_step(self, task):
        sends[0] = 0

def noted(self):
    sends[0] = 1
    may_send(self)

Delivery.may_send = noted
trio.run = lambda *args, **more: run(*args, **more, instruments=[Steps()])
main()
"""


@attrs.frozen
class Job:
    """`fate`: fine, twice (fails twice first), dies, once (dies once), head (fails until all faults are over)."""

    key: str
    number: int
    fate: str

    @property
    def jid(self) -> str:
        return f"{self.key}-{self.number}"

    @property
    def payload(self) -> bytes:
        arguments = {"user": self.key, "host": f"h{int(self.key[1:]) % 5}.org", "n": self.number}
        fields = {"class": "Add", "args": ["check_account", arguments, TOKEN], "jid": self.jid, "queue": QUEUE}
        retry = 1_000_000 if self.fate == "head" else True
        return json.dumps({**fields, "retry": retry, "created_at": time.time()}).encode()


@attrs.define(eq=False)
class Witness:
    """The server's side: each request as it came, and as it was answered, in one order."""

    fates: dict[tuple[str, int], str] = attrs.field(factory=dict)
    events: list[tuple[str, int, int]] = attrs.field(factory=list)
    """Key, number, 0: it came, else the status that it was answered with."""
    skipped: list[tuple[str, int, int]] = attrs.field(factory=list)
    """Key, number, at which event a person went on without this dead job."""
    is_over: bool = False
    _came: Counter[tuple[str, int]] = attrs.field(factory=Counter)
    _lock: threading.Lock = attrs.field(factory=threading.Lock)

    def act(self, arrival: Arrival) -> int:
        one = (arrival.arguments["user"], arrival.arguments["n"])
        with self._lock:
            self.events.append((*one, 0))
            self._came[one] += 1
            status = self._status(self.fates[one], self._came[one])
        time.sleep(TAKES_S)
        with self._lock:
            self.events.append((*one, status))
        return status

    def _status(self, fate: str, times: int) -> int:
        if fate == "dies" or (fate == "once" and times == 1):
            return 400
        fails = (fate == "twice" and times <= 2) or (fate == "head" and not self.is_over)
        return 500 if fails else 200

    def is_settled_by(self, one: tuple[str, int], status: int) -> bool:
        """Whether such an answer ends a job, and lets the next one of its key start."""
        return status == 200 or (status == 400 and self.fates[one] == "dies")

    def has(self, count: int) -> bool:
        """Return whether more jobs than this came, each counted once."""
        with self._lock:
            return len(self._came) > count

    def skip(self, jid: str) -> None:
        key, _, number = jid.rpartition("-")
        with self._lock:
            self.skipped.append((key, int(number), len(self.events)))


@attrs.define
class Verdict:
    """What is wrong, each a list of ids; `repeated` requests are what faults cost, and not wrong.

    `again`: where the requests for a key went back to an earlier job, since Redis had forgotten that it was done.
    """

    early: list[str] = attrs.field(factory=list)
    late: list[str] = attrs.field(factory=list)
    overlapping: list[str] = attrs.field(factory=list)
    lost: list[str] = attrs.field(factory=list)
    repeated: int = 0
    starts: int = 0
    again: list[str] = attrs.field(factory=list)

    def judge(self, witness: Witness, jobs: Sequence[Job], gone: set[str], dead: set[str], cuts: Sequence[int]) -> None:
        """`gone`: deleted by Ruby; `dead`: jids; `cuts`: before which events Redis lost the end of its file.

        After each of these a key may go back once; from there on its jobs come in order again.
        """
        first_open: Counter[str] = Counter()
        newest: dict[str, int] = defaultdict(lambda: -1)
        settled = {(job.key, job.number) for job in jobs if job.jid in gone}
        skips, running, done = iter([*witness.skipped, ("", 0, 1 << 60)]), Counter[tuple[str, int]](), set[str]()
        skip = next(skips)
        went_back: dict[str, int] = {}
        for place, (key, number, status) in enumerate(witness.events):
            cut = bisect.bisect(cuts, place)
            while skip[2] <= place:
                settled.add(skip[:2])
                skip = next(skips)
            one, jid = (key, number), f"{key}-{number}"
            if status:
                running[one] -= 1
                if witness.is_settled_by(one, status):
                    settled.add(one)
                    done.add(jid)
                continue
            self.starts += 1
            running[one] += 1
            while (key, first_open[key]) in settled and first_open[key] < number:
                first_open[key] += 1
            goes_back = number < newest[key] and went_back.get(key, 0) < cut
            if goes_back:
                went_back[key], newest[key] = cut, -1
            is_early, is_late = first_open[key] < number, number < newest[key]
            self._note(jid, again=goes_back, late=is_late, early=is_early)
            if number > newest[key] >= 0 and running[key, newest[key]]:
                self.overlapping.append(jid)
            self.repeated += number == newest[key]
            newest[key] = max(newest[key], number)
        found = done | gone | dead
        self.lost = [job.jid for job in jobs if job.jid not in found]

    def _note(self, jid: str, **holds: bool) -> None:
        """Counts a request as the first of these that holds."""
        for name in [name for name, is_so in holds.items() if is_so][:1]:
            getattr(self, name).append(jid)


@attrs.define(eq=False)
class Chaos:
    """Brokers, a Redis that loses nothing, a server, and what breaks them."""

    directory: Path
    redis: RedisServer
    client: Client
    stack: ExitStack
    chance: random.Random
    is_blind: bool = False
    is_fair: bool = False
    """Hosts take turns, and the jobs of each user of a host are done in order."""
    witness: Witness = attrs.field(factory=Witness)
    server: AnsweringServer = attrs.field(init=False)
    jobs: list[Job] = attrs.field(factory=list)
    brokers: list[Running] = attrs.field(factory=list)
    frozen: dict[int, float] = attrs.field(factory=dict)
    counts: Counter[str] = attrs.field(factory=Counter)
    gone: set[str] = attrs.field(factory=set)
    fates: dict[str, str] = attrs.field(factory=dict)
    pushed: int = 0
    cuts: list[int] = attrs.field(factory=list)
    """Before which events Redis lost the end of its file."""
    kept: dict[str, int] = attrs.field(factory=dict)
    """The number of bytes at the beginning of a file that are never cut off."""

    def __attrs_post_init__(self) -> None:
        self.server = self.stack.enter_context(AnsweringServer(self.witness.act))
        url = f"http://127.0.0.1:{self.server.port}/api"
        # One that wakes up late has but one request to give up, so that its breaker does not trip.
        order_by: dict[str, object] = {
            **({"FairBy": ["host"], "OrderBy": ["host", "user"]} if self.is_fair else {"OrderBy": ["user"]}),
            "OnDead": "stop",
            "RequestTimeout": "2s",
            "Concurrency": 1 if self.is_blind else 5,
        }
        target = {"Kind": "ejabberd", "URL": url, "Queues": [QUEUE], **order_by}
        document = {"RedisURL": self.redis.url, "Token": TOKEN, "Targets": {TARGET: target}, "LogLevel": "error"}
        (self.directory / "env.json").write_text(json.dumps({**document, "Backoff": FAST_RETRIES}))

    def make_jobs(self, count: int, keys: int) -> None:
        """A few keys have most of the jobs; of each sort a key has a head that fails until all is over."""
        numbers: Counter[str] = Counter()
        for _ in range(count):
            key = f"k{int(keys * self.chance.random() ** 3)}"
            fate = self.chance.choices(["fine", "twice", "dies", "once"], [91, 6, 2, 1])[0]
            if key[1:] == "1" and not numbers[key]:
                fate = "head"
            self.jobs.append(Job(key, numbers[key], fate))
            numbers[key] += 1
        self.fates = {job.jid: job.fate for job in self.jobs}
        self.witness.fates = {(job.key, job.number): job.fate for job in self.jobs}

    def push(self, until_place: int) -> None:
        if until_place > self.pushed:
            for start in range(self.pushed, until_place, 500):
                some = self.jobs[start : min(start + 500, until_place)]
                queues.push(self.client, QUEUE, [job.payload for job in some])
            self.pushed = until_place

    def start(self) -> None:
        arguments = ["run", "--config", str(self.directory / "env.json")]
        environ = {"BLIND": "1"} if self.is_blind else {}
        command = [sys.executable, "-c", BROKER]
        self.brokers.append(
            self.stack.enter_context(
                process.started(arguments, directory=self.directory, command=command, environ=environ)
            )
        )

    def freeze_with_jobs(self, pid: int) -> bool:
        """Freeze a broker; let it go on, and return False, unless it has jobs to send that others stand behind."""
        last = {job.key: job.number for job in self.jobs}
        process.freeze(pid)
        names = items(self.client.command("KEYS", f"restbroker:ip:*:{pid}:*"))
        held = [raw(job) for name in names for job in items(self.client.command("HVALS", raw(name)))]
        jids = [json.loads(job)["jid"].rpartition("-") for job in held if job.startswith(b"{")]
        # The first ones may have been sent.
        is_right = sum(int(number) < last[key] for key, _, number in jids[2:]) >= 3
        if not is_right:
            os.kill(pid, signal.SIGCONT)
        return is_right

    def is_up(self, broker: Running) -> bool:
        place = self.directory / f"sends.{broker.process.pid}"
        return place.exists() and place.stat().st_size > 0

    def kill(self) -> None:
        broker = self.brokers.pop(self.chance.randrange(len(self.brokers)))
        self.frozen.pop(broker.process.pid, None)
        broker.process.kill()
        broker.wait()
        self.start()
        self.counts["kills"] += 1

    def freeze(self) -> None:
        """For half a lease up to three; not where no look at the lease can help."""
        awake = [
            broker.process.pid
            for broker in self.brokers
            if broker.process.pid not in self.frozen and self.is_up(broker)
        ]
        if len(awake) < 2:
            return
        pid = self.chance.choice(awake)
        place = self.directory / f"sends.{pid}"
        with place.open("r+b") as file, mmap.mmap(file.fileno(), 1) as sends:
            for _ in range(100):
                process.freeze(pid)
                if not sends[0]:
                    self.frozen[pid] = time.monotonic() + self.chance.uniform(0.5, 3) * LEASE_S
                    self.counts["freezes"] += 1
                    return
                os.kill(pid, signal.SIGCONT)
                time.sleep(0.002)

    def thaw(self, now_s: float) -> None:
        for pid in [pid for pid, until_s in self.frozen.items() if until_s <= now_s]:
            del self.frozen[pid]
            os.kill(pid, signal.SIGCONT)

    def die(self) -> None:
        self.redis.kill()
        time.sleep(self.chance.uniform(0.0, 1.0))
        self.client.close()
        self.redis.start()
        self.counts["deaths"] += 1

    def cut(self) -> None:
        """Redis dies and comes back without the end of its file, cut anywhere, as after a loss of power."""
        until(lambda: rewrite.append_only_file(self.client).is_whole, "the file was written again after the last cut")
        self.redis.kill()
        self.client.close()
        self.cuts.append(len(self.witness.events))
        file = self.redis.append_only_file
        size = file.stat().st_size
        left = max(self.kept.get(file.name, 0), size - self.chance.randint(*CUT_BYTES))
        os.truncate(file, left)
        self.redis.start()
        self.counts["bytes cut off"] += size - left

    def steer(self, deletes: int = 0, *, by_ruby: bool = True) -> None:
        """People open what is stopped: they retry, with Ruby or without, what may be done then; else they skip it."""
        retried: list[str] = []
        for page in order.read_keys(self.client, TARGET, [QUEUE]):
            for key in page:
                if key.state != "stopped":
                    continue
                assert key.jid in self.fates, f"{key.name!r} is stopped without a job that died"
                if self.fates[key.jid] == "once" and len(retried) < 50:
                    retried.append(key.jid)
                elif self.fates[key.jid] == "dies":
                    self.witness.skip(key.jid)
                    assert order.steer(self.client, TARGET, [QUEUE], "skip", [key]) == [True]
        if by_ruby and (retried or deletes):
            meddled = ruby.ask("meddle.rb", self.redis.url, queue=QUEUE, delete=deletes, retry=list(retried))
            self.gone |= set(meddled["deleted"])
            self.counts["retried by Ruby"] += len(meddled["retried"])
            self.counts["deleted by Ruby"] += len(meddled["deleted"])
        elif retried:
            dead = [raw(member) for member in items(self.client.command("ZRANGE", "dead", 0, -1))]
            moves = [sets.Placement(job, QUEUE) for job in dead if json.loads(job)["jid"] in retried]
            self.counts["retried"] += len(sets.place(self.client, "dead", moves))

    def run(self, kills: int, freezes: int, deaths: int, *, brokers: int) -> None:
        for _ in range(brokers):
            self.start()
        until(lambda: all(map(self.is_up, self.brokers)), "all brokers are up")
        faults = [self.kill] * kills + [self.freeze] * freezes + [self.die] * deaths
        self.chance.shuffle(faults)
        for number, fault in enumerate(faults, start=1):
            self.push(number * len(self.jobs) // len(faults))
            fault()
            until_s = time.monotonic() + self.chance.uniform(0.2, 1.2)
            self.steer(deletes=2 if number % 4 == 0 else 0)
            while time.monotonic() < until_s:
                self.thaw(time.monotonic())
                time.sleep(0.02)
        self.thaw(float("inf"))
        self.witness.is_over = True

    def wait_until_finished(self, timeout_s: float) -> None:
        """Until nothing is in progress or waits, and no key is held."""
        steered_s = 0.0

        def is_finished() -> bool:
            nonlocal steered_s
            if time.monotonic() - steered_s > 0.3:
                self.steer()
                steered_s = time.monotonic()
            held = self.client.command("EXISTS", f"restbroker:held:{TARGET}")
            return not held and not unfinished_jobs.count(self.client, [QUEUE])

        try:
            until(is_finished, "all jobs are settled, and no key is held", timeout_s)
        except AssertionError:
            held = [key for page in order.read_keys(self.client, TARGET, [QUEUE]) for key in page]
            raise AssertionError(f"{unfinished_jobs.count(self.client, [QUEUE])} {held[:20]}") from None

    def judge(self) -> Verdict:
        members = [json.loads(raw(member)) for member in items(self.client.command("ZRANGE", "dead", 0, -1))]
        verdict = Verdict()
        verdict.judge(self.witness, self.jobs, self.gone, {member["jid"] for member in members}, self.cuts)
        self.counts["dead"] = len(members)
        return verdict


@contextmanager
def chaos(directory: Path, redis: RedisServer, *, is_blind: bool = False, is_fair: bool = False) -> Iterator[Chaos]:
    with ExitStack() as stack:
        client = open_client(StoreSettings(redis.url), NEVER_S)
        stack.callback(client.close)
        yield Chaos(directory, redis, client, stack, random.Random(SEED), is_blind, is_fair)


@pytest.mark.promise("One key after the other", "kills, freezes, a dead Redis and a real Sidekiq at once")
@pytest.mark.parametrize(
    ("jobs", "keys", "faults", "is_fair"),
    [
        # Real Ruby, and a broker that is frozen until others fence it.
        pytest.param(300, 15, (1, 1, 1), False, id="a few", marks=pytest.mark.slow),
        pytest.param(JOBS, KEYS, (KILLS, FREEZES, DEATHS), False, id="many", marks=pytest.mark.nightly),
        pytest.param(JOBS, KEYS, (KILLS, FREEZES, DEATHS), True, id="many, and fair", marks=pytest.mark.nightly),
    ],
)
def test_no_job_overtakes_another_of_its_key_whatever_breaks(
    tmp_path: Path,
    durable_redis: RedisServer,
    report: Report,
    jobs: int,
    keys: int,
    faults: tuple[int, int, int],
    *,
    is_fair: bool,
) -> None:
    with chaos(tmp_path, durable_redis, is_fair=is_fair) as here:
        here.make_jobs(jobs, keys)
        here.run(*faults, brokers=2 if jobs < JOBS else BROKERS)
        here.wait_until_finished(CRASHED_S + jobs / 20)
        assert_all_is_well(here, report)


def assert_all_is_well(here: Chaos, report: Report) -> Verdict:
    verdict = here.judge()
    places = [raw(key).decode() for key in items(here.client.command("KEYS", "restbroker:*"))]
    counts = ", ".join(f"{count} {what}" for what, count in sorted(here.counts.items()))
    text = f"{len(here.jobs)} jobs, {verdict.starts} requests, {verdict.repeated} of them repeated; {counts}\n{verdict}"
    report(text[:900])
    assert not verdict.early
    assert not verdict.late
    assert not verdict.lost
    left = ("restbroker:held:", "restbroker:line:", "restbroker:turn:", "restbroker:fair:", "restbroker:stopped:")
    assert not [key for key in places if key.startswith(left)]
    assert not [broker for broker in here.brokers if "Traceback" in broker.output()]
    return verdict


@pytest.mark.nightly
def test_jobs_redis_forgot_are_redone_in_order_and_no_key_sticks(
    tmp_path: Path, durable_redis: RedisServer, report: Report
) -> None:
    """The end of the file is lost three times. Nothing is promised of what was pushed there: all is pushed before."""
    with chaos(tmp_path, durable_redis) as here:
        here.make_jobs(JOBS, KEYS)
        here.push(len(here.jobs))
        here.kept[here.redis.append_only_file.name] = here.redis.append_only_file.stat().st_size
        for _ in range(BROKERS - 1):
            here.start()
        for number in range(1, CUTS + 1):
            while not here.witness.has(number * JOBS // (CUTS + 2)):
                # Ruby takes a job out of the dead set before it pushes it: a cut between both would lose it.
                here.steer(by_ruby=False)
                time.sleep(0.1)
            here.cut()
        here.witness.is_over = True
        here.wait_until_finished(CRASHED_S + JOBS / 20)
        verdict = assert_all_is_well(here, report)
    assert verdict.again, "what was forgotten is done again"


@pytest.mark.promise("One key after the other", "kills, freezes, a dead Redis and a real Sidekiq at once")
@pytest.mark.nightly
def test_without_a_look_at_the_lease_jobs_come_late(tmp_path: Path, durable_redis: RedisServer) -> None:
    """Else the test above would see nothing."""
    # Who wakes up may hear of its end before it sends anything, though mostly it does not.
    assert any(_comes_late(tmp_path / str(number), durable_redis) for number in range(4))


def _comes_late(directory: Path, redis: RedisServer) -> bool:
    """Whether a broker sends jobs late that was frozen until others had done the ones behind these."""
    directory.mkdir()
    with chaos(directory, redis, is_blind=True) as here:
        here.client.command("FLUSHALL")
        here.make_jobs(600, 40)
        here.push(len(here.jobs))
        for _ in range(2):
            here.start()
        until(lambda: len(here.witness.events) > 100, "both work", 60)
        victim = here.brokers[0].process.pid
        until(lambda: here.freeze_with_jobs(victim), "it has jobs that it did not send")
        here.witness.is_over = True
        here.wait_until_finished(NEVER_S)
        assert not here.judge().late
        os.kill(victim, signal.SIGCONT)
        with suppress(AssertionError):
            until(lambda: here.judge().late, "requests come behind those of the next jobs", 10.0)
        return bool(here.judge().late)
