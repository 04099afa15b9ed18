"""The dead jobs that no token admitted are counted by themselves, and only their own queue is paused."""

import json

import pytest

from restbroker.job.settlement import Dead
from restbroker.store import pauses, unadmitted
from restbroker.store.codes import APPLIED, Gone
from restbroker.store.jobs import FetchResult, LimitReached, Limits
from restbroker.store.keys import RedisKeys
from tests.store.pools import NAMESPACE, Pool, Server, on_both

DEAD, COUNTS = f"{NAMESPACE}:dead", f"{NAMESPACE}:restbroker:unadmitted"
ENTRY = b'{"args":["%d"],"restbroker_unadmitted":%s}'


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three are many."""
    monkeypatch.setattr(unadmitted, "MOST", 3)
    monkeypatch.setattr(unadmitted, "_EVERY_MS", 1)


def add(server: Server, count: int, queue: str = "a", noted: int = 0) -> None:
    members = {ENTRY % (number, json.dumps(queue).encode()): number for number in range(count)}
    server.raw.zadd(DEAD, members)
    server.raw.hset(COUNTS, queue, noted or count)


def look(pool: Pool, dead_limit: int = 0) -> set[str]:
    return set(unadmitted.pause_flooded(pool.client, dead_limit))


@on_both
def test_a_flooded_queue_is_paused_until_its_dead_are_fewer(
    pool: Pool, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A pause lasts three times as long: on a machine with much to do it would be over before the next look.
    monkeypatch.setattr(unadmitted, "_EVERY_MS", 60_000)
    add(server, 3)
    add(server, 2, "b")
    assert look(pool) == {"a"}
    (paused,) = pauses.paused_queues(pool.client).items()
    assert (paused[0], paused[1].who, paused[1].why) == ("a", unadmitted.WHO, unadmitted.WHY)
    server.raw.delete(RedisKeys(NAMESPACE).lease("unadmitted jobs"))
    assert look(pool) == set(), "it stays so without a word"
    assert pauses.end_due(pool.client) == []
    server.raw.zrem(DEAD, ENTRY % (0, b'"a"'))
    server.raw.delete(RedisKeys(NAMESPACE).lease("unadmitted jobs"))
    assert look(pool) == set()
    assert [end.name for end in pauses.end_due(pool.client)] == ["a"]
    assert {name: int(count) for name, count in server.raw.hgetall(COUNTS).items()} == {b"a": 2, b"b": 2}


def test_silent_deletion_is_noticed_before_a_pause(pool: Pool, server: Server) -> None:
    add(server, 2, noted=7)
    assert look(pool) == set()
    assert server.raw.hget(COUNTS, "a") == b"2"


def test_a_persons_pause_stays_as_it_is(pool: Pool, server: Server) -> None:
    pauses.pause_queue(pool.client, "a", "ann", "an upgrade", None)
    add(server, 3)
    assert look(pool) == set()
    server.raw.delete(DEAD, RedisKeys(NAMESPACE).lease("unadmitted jobs"))
    assert look(pool) == set()
    assert pauses.paused_queues(pool.client)["a"].who == "ann"


@pytest.mark.promise("Security: who can push to the queues", "a command without a token, or with a guessed one")
@pytest.mark.parametrize(
    "forged",
    [
        b'{"args":[{"restbroker_unadmitted":"a"}]}',
        b'{"args":{"restbroker_unadmitted":"a"}}',
        b'{"x":{"restbroker_unadmitted":"a"},"y":"z"}',
        b'{"restbroker_unadmitted":"a","error_class":"NotNow"}',
        b'{"args":["\\"restbroker_unadmitted\\":\\"a"]}',
        b'{"args":["' + b'"restbroker_unadmitted":' * 100 + b'"}',
        b'{"restbroker_unadmitted":["a"]}',
        b"",
    ],
)
def test_only_restbrokers_own_last_member_counts(pool: Pool, server: Server, forged: bytes) -> None:
    """Else a producer of one queue could have another one paused."""
    server.raw.zadd(DEAD, {forged + b" " * n * bool(n): n for n in range(3)} | {forged: 5})
    server.raw.hset(COUNTS, "a", 9)
    assert look(pool) == set()
    assert server.raw.hget(COUNTS, "a") == b"0"


@pytest.mark.parametrize("queue", ["a", 'quote " and \\', "Umlaut ü", '"restbroker_unadmitted":"b'])
def test_a_queue_of_any_name_is_counted(pool: Pool, server: Server, queue: str) -> None:
    add(server, 3, queue)
    assert look(pool) == {queue}


def test_they_count_with_their_settlement_not_for_deadlimit(pool: Pool, server: Server) -> None:
    server.raw.lpush(f"{NAMESPACE}:queue:a", *(b"%d" % number for number in range(6)))
    limits = Limits(dead=2)
    jobs = pool.take(3, limits=limits).jobs
    items = [(job.ticket, Dead(n, ENTRY % (n, b'"a"'), unadmitted_in="a")) for n, job in enumerate(jobs)]
    assert pool.settle(*items) == [APPLIED] * 3
    assert pool.settle(*items) == [Gone()] * 3
    assert unadmitted.total(pool.client) == 3
    assert isinstance(pool.ask(3, base=3, limits=limits), FetchResult)
    server.raw.zadd(DEAD, {"x": 1, "y": 2})
    assert pool.ask(3, base=6, limits=limits) == LimitReached("dead", 1000)


def test_at_deadlimit_they_are_counted_again(pool: Pool, server: Server) -> None:
    add(server, 1, noted=2)
    server.raw.zadd(DEAD, {"x": 1})
    assert look(pool, dead_limit=3) == set()
    assert unadmitted.total(pool.client) == 2
    assert look(pool, dead_limit=2) == set()
    assert unadmitted.total(pool.client) == 1
