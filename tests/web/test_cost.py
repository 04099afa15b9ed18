# ruff: noqa: SLF001 - every command of a client goes through here, and nothing else counts the round trips
"""What pages, looks and scrapes ask of Redis: it does not grow with what lies there.

Nothing here is timed: counted are the round trips of the client, and the commands that Redis itself has run, those of
scripts among them.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal

import pytest

from restbroker.config.core import Config
from restbroker.config.target import Target
from restbroker.job.order import Order
from restbroker.operate import find, where
from restbroker.operate.context import ConfigContext
from restbroker.operate.find import ResultPage, SearchLimits
from restbroker.operate.history import Recorder
from restbroker.store.client import Argument, Client, StoreSettings, open_client, text
from restbroker.store.paging import Cursor
from restbroker.web.metrics import read_redis
from restbroker.web.metrics_view import live_figures
from tests.operate.pools import record, serve
from tests.support.wait import NEVER_S

Set = Literal["retry", "schedule", "dead"]
Trips = Callable[[Callable[[], object]], int]
FEW, MANY = 1000, 30_000
FILL = """
for n = 1, ARGV[1] do
  redis.call('ZADD', KEYS[1], n / 4, '{"class":"Add","queue":"rest","jid":"j' .. n .. '","args":["safe",{"n":1},"t"]}')
end
"""
NOBODY = where.read(["jid = nobody"], 0.0)


@pytest.fixture
def client(redis_url: str) -> Iterator[Client]:
    opened = open_client(StoreSettings(redis_url), NEVER_S)  # Redis is given much to do at once
    yield opened
    opened.close()


@pytest.fixture
def trips(monkeypatch: pytest.MonkeyPatch) -> Trips:
    """Counts the round trips of some work."""
    made, exchange = Counter[str](), Client._exchange

    def counting(client: Client, commands: Sequence[Sequence[Argument]]) -> object:
        made["trips"] += 1
        return exchange(client, commands)

    def count(work: Callable[[], object]) -> int:
        made.clear()
        work()
        return made["trips"]

    monkeypatch.setattr(Client, "_exchange", counting)
    return count


def commands(client: Client, work: Callable[[], object]) -> Mapping[str, int]:
    """How often Redis ran each command meanwhile."""
    client.command("CONFIG", "RESETSTAT")
    work()
    lines = text(client.command("INFO", "commandstats")).split()
    found = (line.removeprefix("cmdstat_").partition(":calls=") for line in lines if line.startswith("cmdstat_"))
    ran = {name: int(rest.partition(",")[0]) for name, _, rest in found}
    return {name: count for name, count in ran.items() if not name.startswith(("config", "info"))}


def fill(client: Client, zset: Set, count: int) -> None:
    client.command("DEL", zset)
    client.command("EVAL", FILL, 1, zset, count)


def pages(client: Client, zset: Set, count: int) -> Mapping[str, tuple[ResultPage, Mapping[str, int]]]:
    """The first page, one in the middle, and a filtered one, of so many jobs, and what each made Redis do."""
    fill(client, zset, count)
    middle = str(Cursor(count / 8, 2))
    reads: Mapping[str, Callable[[], ResultPage]] = {
        "first": lambda: find.page(client, zset, (), ConfigContext({}), limit=50),
        "deep": lambda: find.page(client, zset, (), ConfigContext({}), after=middle, limit=50),
        "filtered": lambda: find.page(client, zset, NOBODY, ConfigContext({}), limit=50, limits=SearchLimits(jobs=600)),
    }
    found: dict[str, tuple[ResultPage, Mapping[str, int]]] = {}
    for name, read in reads.items():
        page = read()  # the script is loaded from now on
        found[name] = (page, commands(client, read))
    return found


def test_a_page_costs_redis_the_same_for_thirty_times_the_jobs(client: Client) -> None:
    few, many = (pages(client, "dead", count) for count in (FEW, MANY))
    for name, (page, ran) in many.items():
        before, ran_before = few[name]
        assert ran == ran_before, name
        assert (page.total, before.total) == (MANY, FEW)
        assert (len(page.entries), page.looked_at) == (len(before.entries), before.looked_at)
    assert [len(page.entries) for page, _ in many.values()] == [50, 50, 0]
    # What bounds a search is how many jobs it may look at; the next page goes on behind them.
    assert many["filtered"][0].looked_at == 600
    assert many["filtered"][0].after is not None


def in_order(number: int) -> Target:
    return Target(f"t{number}", queues=(f"q{number}",), order_by=Order(("user",)))


def test_a_look_takes_as_many_trips_for_a_hundred_as_for_one(client: Client, trips: Trips) -> None:
    ordered = [Target("own", queues=("q0",))]

    def look() -> None:
        found = live_figures(client, Config(targets=tuple(ordered)))
        Recorder().add(client, found.system, found.targets, found.processes, 1_700_000_000.0)

    look()  # the script is loaded from now on
    unordered = trips(look)
    ordered = [in_order(0)]
    assert trips(look) == unordered
    for number in range(100):
        if number == 1:
            one = trips(look)
        serve(client, f"t{number}", number + 1, [f"q{number}"])
        record(client, f"node:{number + 1}:abc")
        ordered[number:] = [in_order(number)]
        held = (part for key in range(2 * number) for part in (1e12 + 5, f"\x1e{key}"))
        client.command("ZADD", f"restbroker:held:t{number}", 1e12 + 5, "\x1ek", *held)
    hundred = trips(look)
    assert one == hundred
    found = live_figures(client, Config(targets=tuple(ordered)))
    assert (len(found.targets), len(found.stopped)) == (100, 100)


def test_a_scrape_takes_as_many_trips_for_a_hundred_as_for_one(client: Client, trips: Trips) -> None:
    names = [f"t{number}" for number in range(100)]
    for name in names:
        client.command("HSET", f"restbroker:pause:{name}", "operator", 0)
    ordered = {name: (name.replace("t", "q"),) for name in names}
    for name, (queue,) in ordered.items():
        client.command("ZADD", f"restbroker:held:{name}", 1e12 + 5, "\x1ea")
        client.command("SET", f"restbroker:line:{queue}", 1)
        client.command("RPUSH", f"restbroker:line:{queue}\x1e\x1ea", '{"enqueued_at":5}')
    read_redis(client, ["q0"], {"t0": ("q0",)})  # the scripts are loaded from now on
    one = trips(lambda: read_redis(client, ["q0"], {"t0": ("q0",)}))
    hundred = trips(lambda: read_redis(client, [f"q{number}" for number in range(100)], ordered))
    assert one == hundred
    found = read_redis(client, [], ordered)["restbroker_order_oldest_wait_seconds"]
    assert len(found) == 100
    assert all(isinstance(waits_s, float) and waits_s > 1e9 for waits_s in found.values())
    paused = read_redis(client, ["q0"], {"t0": (), "t1": ()})["restbroker_target_paused"]
    assert set(paused) == {("t0", "operator"), ("t1", "operator")}


def test_a_look_asks_about_a_thousand_queues_and_those_served(client: Client) -> None:
    names = [f"q{number:04}" for number in range(3000)]
    client.command("SADD", "queues", *names)
    ran = commands(client, lambda: live_figures(client, Config(targets=(Target(queues=("served",)),))))
    found = live_figures(client, Config(targets=(Target(queues=("served",)),)))
    assert ran["llen"] == 1000
    assert found.system.unread == 2001
    assert "served" in {queue.name for queue in found.system.queues}
