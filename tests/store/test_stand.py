"""The script of a fetch that stands: it takes jobs as `fetch` does, and where it meets anything else, nothing."""

from collections.abc import Callable, Sequence
from typing import Any

import attrs
import pytest

from restbroker.errors import StoreRefused
from restbroker.store import heartbeats, identities, limits, pauses, queues
from restbroker.store.client import Client, Reply, StoreSettings, open_client
from restbroker.store.in_progress import read_jobs
from restbroker.store.jobs import FetchAnswer, FetchRequest, FetchResult, Limits, NotPlain, register
from restbroker.store.waiter import read_plain, standing_call
from tests.store.groups import BOTH, FAIR, ORDER, job
from tests.store.pools import FACTS, QUEUES, Pool, Server, on_both
from tests.support.redis_server import RedisServer
from tests.support.store_calls import fetch, stand

ODD_JOBS: Sequence[list[Reply]] = [[b"1", b"1", b"x"], [3, b"1", b"x"], [0, b"1", b"x"], [1, 1, b"x"], [1, b"1", None]]
IN_PROGRESS, HAND = "ns:restbroker:ip:me", "ns:restbroker:hand:a"


def request(base: int = 0, count: int = 10, hwm: int = 0, **more: Any) -> FetchRequest:
    wanted: dict[str, Any] = {"queues": QUEUES, **more}
    return FetchRequest(identity="me", target="t", base=base, count=count, hwm=hwm, follows=True, **wanted)


@pytest.fixture
def pool(server: Server) -> Pool:
    client = open_client(server.settings)
    assert register(client, "me", FACTS, QUEUES)
    return Pool(client, "me")


def taken(client: Client, wanted: FetchRequest) -> list[tuple[str, bytes]]:
    answer = stand(client, wanted)
    assert isinstance(answer, FetchResult), answer
    return [(job.ticket, job.raw) for job in answer.jobs]


@on_both
def test_jobs_come_in_their_order_those_of_hands_first(pool: Pool, server: Server) -> None:
    server.raw.rpush(HAND, *(f"hand {number}" for number in range(20, 0, -1)))
    server.raw.rpush("ns:queue:a", *(f"list {number}" for number in range(20, 0, -1)))
    server.raw.rpush("ns:queue:b", "b")
    jobs = [f"{place} {number}".encode() for place in ("hand", "list") for number in range(1, 21)]
    expected = [(f"{number}:1", raw) for number, raw in enumerate(jobs, 1)]
    assert taken(pool.client, request(count=41)) == [*expected, ("41:2", b"b")]
    held = dict(read_jobs(pool.client, "me").jobs)
    assert held == {**dict(expected), "41:2": b"b"}
    assert server.raw.keys("ns:queue:*") == server.raw.keys("ns:restbroker:hand:*") == []


@on_both
@pytest.mark.parametrize("bound", ["count", "bytes"])
def test_what_is_not_taken_of_hands_is_in_its_list_in_its_order(pool: Pool, server: Server, bound: str) -> None:
    server.raw.rpush(HAND, *(f"hand {number}" for number in range(9, 0, -1)))
    server.raw.rpush("ns:restbroker:hand:b", "b2", "b1")
    server.raw.rpush("ns:queue:a", "list 1")
    answer = stand(pool.client, request(count=3) if bound == "count" else request(most_bytes=18))
    assert isinstance(answer, FetchResult)
    assert [job.raw for job in answer.jobs] == [b"hand 1", b"hand 2", b"hand 3"]
    assert answer.more is (bound == "bytes")
    left = [b"list 1", *(b"hand %d" % number for number in range(9, 3, -1))]
    assert server.raw.lrange("ns:queue:a", 0, -1) == left
    assert server.raw.lrange("ns:queue:b", 0, -1) == [b"b2", b"b1"]
    assert server.raw.keys("ns:restbroker:hand:*") == []


@pytest.mark.promise("No command is lost", "Redis lost its last second, and with it the numbers of tickets")
@pytest.mark.parametrize(("base", "last", "next_one"), [(7, 3, 8), (3, 40, 41), (5, 5, 6), (10**14, 0, 10**14 + 1)])
def test_tickets_follow_the_highest_number_that_anyone_knows(
    pool: Pool, server: Server, base: int, last: int, next_one: int
) -> None:
    server.raw.hset(IN_PROGRESS, mapping={"last": last, f"{last}:1": "earlier"})
    server.raw.lpush("ns:queue:a", "job")
    assert taken(pool.client, request(base, hwm=base + 2)) == [(f"{next_one}:1", b"job")]
    assert (read_jobs(pool.client, "me").last, read_jobs(pool.client, "me").hwm) == (next_one, next_one)


def test_mark_rises_with_the_jobs_or_alone_and_never_falls(pool: Pool, server: Server) -> None:
    def marked(base: int, hwm: int) -> int:
        taken(pool.client, request(base, hwm=hwm))
        return read_jobs(pool.client, "me").hwm

    server.raw.lpush("ns:queue:a", "one", "two", "three")
    assert marked(0, 2) == 2, "of three jobs"
    assert marked(3, 3) == 3, "of none"
    assert marked(3, 9) == 3, "no ticket is higher"
    server.raw.lpush("ns:queue:a", "four")
    assert marked(3, 0) == 3


def _fence(server: Server, client: Client) -> None:
    assert heartbeats.fence(client, "me", identities.live_identities(client)["me"])


OTHERS: dict[str, Callable[[Server, Client], object]] = {
    "its process was fenced": _fence,
    "its record is gone": lambda server, _: server.raw.delete("ns:restbroker:info:me"),
    "a queue is paused": lambda _, client: pauses.pause_queue(client, "b", "ann", "", None),
    "the target is paused": lambda _, client: limits.pause(client, "t", "retry_after", 60.0),
    "the dead set is full": lambda server, _: server.raw.zadd("ns:dead", {"x": 1, "y": 2}),
    "its keys had an order": lambda server, _: server.raw.set("ns:restbroker:groups:t", "user"),
    "jobs of keys wait": lambda server, _: server.raw.zadd("ns:restbroker:turn:b", {"key": 1}),
    "the first job is too large": lambda server, _: server.raw.rpush(HAND, "x" * 101),
    "the queue is no list": lambda server, _: server.raw.set("ns:queue:a", "x") and server.raw.delete(HAND),
    "the hand is no list": lambda server, _: server.raw.delete(HAND) and server.raw.set(HAND, "x"),
}


@pytest.mark.parametrize("why", OTHERS)
def test_whatever_is_not_plain_is_left_to_a_usual_fetch(pool: Pool, server: Server, why: str) -> None:
    server.raw.rpush(HAND, "hand")
    OTHERS[why](server, pool.client)
    before = server.raw.hgetall(IN_PROGRESS)
    assert stand(pool.client, request(hwm=5, limits=Limits(dead=2), limit_bytes=100)) == NotPlain()
    assert server.raw.hgetall(IN_PROGRESS) == before == {}
    if "no list" not in why:
        assert b"hand" in server.raw.lrange("ns:queue:a", 0, -1)
        assert not server.raw.exists(HAND), "others see it"


def test_pause_of_another_queue_and_a_fuller_dead_set_make_no_difference(pool: Pool, server: Server) -> None:
    server.raw.sadd("ns:paused", "else")
    server.raw.zadd("ns:dead", {"x": 1, "y": 2})
    server.raw.lpush("ns:queue:a", "job")
    assert taken(pool.client, request(limits=Limits(dead=3))) == [("1:1", b"job")]


@pytest.mark.parametrize(
    "limited", [{"limits": Limits(emission_us=1)}, {"limits": Limits(in_flight=9)}, {"key_rules": '{"by":["a"]}'}]
)
def test_where_a_limit_or_keys_count_the_usual_script_is_asked(pool: Pool, server: Server, limited: Any) -> None:
    assert standing_call(pool.client.keys, request(**limited))[0] == "fetch"
    server.raw.lpush("ns:queue:a", "job")
    assert [raw for _, raw in taken(pool.client, request(**limited))] == [b"job"]


RULES: dict[str, dict[str, Any]] = {
    "order": {"key_rules": ORDER},
    "fairness": {"key_rules": FAIR},
    "both": {"key_rules": BOTH},
    "a rate": {"limits": Limits(emission_us=1000, burst=5)},
    "a rate and a bound of the dead set": {"limits": Limits(emission_us=1000, burst=5, dead=2)},
    "a bound": {"limits": Limits(in_flight=5)},
}
BUSY_OR_NOT: dict[str, Callable[[Server, Client], object]] = {
    "nothing waits": lambda _server, _client: None,
    "what was handed out is in progress": lambda _, client: (
        queues.push(client, "a", [job("j", "ann", "h")]),
        fetch(client, FetchRequest("me", "t", QUEUES, 0, 1, 0, key_rules=ORDER)),
    ),
    "its keys were made otherwise": lambda server, _: server.raw.set("ns:restbroker:groups:t", "else"),
    "a key is put off": lambda server, _: server.raw.zadd("ns:restbroker:held:t", {"\x1eann": 4e9}),
    "a key is stopped": lambda server, _: server.raw.hset("ns:restbroker:stopped:t", "\x1eann", "j"),
    "others have all jobs in progress that may be": lambda server, _: (
        server.raw.hset("ns:restbroker:inflight:t", "other", 5),
        server.raw.hset("ns:restbroker:dying", "other", 1),
    ),
    "what is written of its jobs in progress is wrong": lambda server, _: server.raw.hset(
        "ns:restbroker:inflight:t", "me", 3
    ),
    "people count jobs of keys": lambda server, _: server.raw.set("ns:restbroker:line:b", "3"),
    **{why: do for why, do in OTHERS.items() if why not in ("jobs of keys wait", "the first job is too large")},
}


def stored(server: Server) -> dict[bytes, object]:
    """All that Redis has. A hash is dumped in any order."""
    raw = server.raw
    return {key: raw.hgetall(key) if raw.type(key) == b"hash" else raw.dump(key) for key in raw.keys("*")}


def timeless(answer: FetchAnswer) -> object:
    """In how many milliseconds a key is due, the clock says."""
    if isinstance(answer, FetchResult) and answer.due_ms is not None:
        return attrs.evolve(answer, due_ms=1)
    return answer


@on_both
@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("what", BUSY_OR_NOT)
def test_fetch_that_finds_nothing_answers_as_one_that_looks_at_all(
    pool: Pool, server: Server, what: str, rules: str
) -> None:
    """And does the same: it confirms what was begun, and says by what its keys are made from now on."""
    BUSY_OR_NOT[what](server, pool.client)
    before = {key: server.raw.dump(key) for key in server.raw.keys("*")}
    answer, left = stand(pool.client, request(hwm=1, **RULES[rules])), stored(server)
    server.raw.flushdb()
    for key, value in before.items():
        server.raw.restore(key, 0, value)
    last = int(server.raw.hget(IN_PROGRESS, "last") or 0)
    looks = attrs.evolve(request(base=last, hwm=1 + last, **RULES[rules]), follows=False)
    assert timeless(fetch(pool.client, looks)) == timeless(answer)
    assert stored(server) == left


@pytest.mark.parametrize("rules", RULES)
def test_job_that_lies_in_a_hand_alone_is_taken(pool: Pool, server: Server, rules: str) -> None:
    server.raw.rpush("ns:restbroker:hand:b", job("j", "ann", "h"))
    assert [raw for _, raw in taken(pool.client, request(**RULES[rules]))] == [job("j", "ann", "h")]


@pytest.mark.parametrize("rules", RULES)
def test_fetch_that_finds_nothing_runs_few_commands(pool: Pool, server: Server, rules: str) -> None:
    wanted = request(**RULES[rules])
    fetch(pool.client, attrs.evolve(wanted, follows=False))
    stand(pool.client, wanted)
    server.raw.config_resetstat()
    stand(pool.client, wanted)
    calls = server.raw.info("commandstats")
    assert sum(of["calls"] for name, of in calls.items() if name != "cmdstat_config|resetstat") <= 7


@pytest.mark.parametrize(
    "reply", [b"OK", None, [], [7], [b"7", 0], [7, 0, 1, b"1"], *([7, 0, *job] for job in ODD_JOBS), [7, [0]]]
)
def test_answer_of_another_shape_is_refused_by_name(reply: Reply) -> None:
    with pytest.raises(StoreRefused, match="Redis answered"):
        read_plain(request(), reply)


@pytest.mark.promise("No command is lost", "Redis refuses a part of a script")
def test_jobs_that_redis_refuses_to_have_in_progress_go_back(make_redis: Callable[..., RedisServer]) -> None:
    own = make_redis()
    client = open_client(StoreSettings(own.url))
    assert register(client, "me", FACTS, QUEUES)
    own.command("RPUSH restbroker:hand:a 1")
    own.command("RPUSH queue:a 3 2")
    own.command("ACL SETUSER default -hset")
    assert stand(client, request()) == NotPlain()
    assert client.command("LRANGE", "queue:a", 0, -1) == [b"3", b"2", b"1"]


def test_full_redis_is_drained(make_redis: Callable[..., RedisServer]) -> None:
    own = make_redis()
    client = open_client(StoreSettings(own.url))
    assert register(client, "me", FACTS, QUEUES)
    own.command("LPUSH queue:a job")
    own.command("CONFIG SET maxmemory 1")
    assert taken(client, request(hwm=1)) == [("1:1", b"job")]
