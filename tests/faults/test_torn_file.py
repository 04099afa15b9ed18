"""A power loss cuts Redis' append-only file anywhere in what a script wrote there, and Redis starts twice after it.

Redis alone loses jobs then: its first start leaves an open MULTI in the file, and its second applies half of a script.
"""

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import attrs
import pytest
import trio
import trio.testing

from restbroker.broker.health import StoreHealth
from restbroker.broker.upkeep import Rewrite
from restbroker.job.settlement import Ack, Requeue, Settlement
from restbroker.store import jobs, rewrite
from restbroker.store.client import Client, StoreSettings, items, open_client, raw
from restbroker.store.connection import Connection
from restbroker.store.identities import ProcessInfo
from restbroker.store.settling import FinishRequest
from restbroker.telemetry.events import Event, OperatorWarning, StoreRewrite
from tests.store.groups import BOTH, job
from tests.support.redis_server import RedisServer
from tests.support.store_calls import fetch, finish
from tests.support.wait import until

MakeRedis = Callable[..., RedisServer]
QUEUE: Final = "q"
IDENTITY: Final = "h:1:abc:t"
FACTS: Final = ProcessInfo(1, "h", "b", "n", 5, "t")
SAVED: Final = {"appendonly": "yes", "appendfsync": "always", "hz": "500"}
FOUND: Final = ("queue:q", f"restbroker:ip:{IDENTITY}", "stat:processed")
OF_GROUPS: Final = ("restbroker:line:q", "restbroker:turn:q", "restbroker:fair:q", "restbroker:held:t")


@pytest.fixture
def redis(make_redis: MakeRedis) -> RedisServer:
    return make_redis(**SAVED)


@contextlib.contextmanager
def client_of(redis: RedisServer) -> Iterator[Client]:
    client = open_client(StoreSettings(redis.url))
    try:
        yield client
    finally:
        client.close()


def cut(redis: RedisServer, size: int, aside: Path) -> None:
    """Puts the files `aside` back, with so many bytes of what was written since the last rewriting."""
    redis.wipe()
    shutil.copytree(aside, redis.directory / "appendonlydir")
    os.truncate(redis.append_only_file, size)


def start_again(redis: RedisServer) -> None:
    redis.kill()
    redis.start()


def state(client: Client) -> Sequence[object]:
    """Everything that says where the jobs are."""
    (listed, taken, counted), (count, turns, fair, held) = FOUND, OF_GROUPS
    lists = sorted(raw(key) for key in items(client.command("KEYS", f"{count}\x1e*")))
    of_groups = [("GET", count), *(("ZRANGE", key, 0, -1, "WITHSCORES") for key in (turns, held))]
    calls = [("LRANGE", listed, 0, -1), ("GET", counted), *of_groups]
    # A hash has no order: each start of Redis has another one.
    hashes = [items(found) for found in client.commands([("HGETALL", taken), ("HGETALL", fair)])]
    pairs = [
        sorted((raw(name), raw(value)) for name, value in zip(flat[::2], flat[1::2], strict=True)) for flat in hashes
    ]
    return [*pairs, *client.commands([*calls, *(("LRANGE", key, 0, -1) for key in lists)])]


def look(redis: RedisServer, name: str = "a", url: str | None = None) -> list[Event]:
    """What a process says that meets this Redis."""
    events: list[Event] = []

    async def once() -> None:
        connection = Connection(open_client(StoreSettings(url or redis.url)))
        try:
            await Rewrite(connection, StoreHealth(events.append), events.append, name).check()
        finally:
            await connection.aclose()

    trio.run(once)
    return events


def wait_until_written(redis: RedisServer, client: Client) -> None:
    until(lambda: rewrite.append_only_file(client).is_whole, "the file is written again")


@attrs.frozen
class Written:
    """How long the file was before a fetch, before a settlement and after it, and where the jobs were each time."""

    sizes: list[int] = attrs.field(factory=list)
    before: list[Sequence[object]] = attrs.field(factory=list)

    def note(self, redis: RedisServer, client: Client) -> None:
        self.sizes.append(redis.append_only_file.stat().st_size)
        self.before.append(state(client))


def written(redis: RedisServer, fairness: str = "") -> Written:
    """Has it written, and ends Redis."""
    whole = Written()
    with client_of(redis) as client:
        assert jobs.register(client, IDENTITY, FACTS, (QUEUE,), key_rules=fairness)
        client.command("LPUSH", f"queue:{QUEUE}", *(job(f"{n}", f"u{n % 2}", "h") for n in range(4 if fairness else 2)))
        whole.note(redis, client)
        fetch(client, jobs.FetchRequest(IDENTITY, "t", (QUEUE,), 0, 2 if fairness else 5, 5, key_rules=fairness))
        whole.note(redis, client)
        items: list[tuple[str, Settlement]] = [("1:1", Ack()), *([("2:1", Requeue())] if fairness else [])]
        request = FinishRequest(IDENTITY, "t", (QUEUE,), 5, items, key_rules=fairness)
        finish(client, request, time.time())
        whole.note(redis, client)
    redis.kill()
    return whole


@pytest.mark.promise("A power loss of Redis", "its file is cut at any byte of a script")
@pytest.mark.parametrize(
    ("step", "fairness", "each"),
    [
        pytest.param(0, "", 31, id="fetch, some"),
        pytest.param(1, BOTH, 83, id="settlement with lines, some"),
        # Where lines are written, more is: each seventh byte of it.
        *(
            pytest.param(step, fairness, each, id=f"{step}-{each}", marks=pytest.mark.nightly)
            for step in (0, 1)
            for fairness, each in (("", 1), (BOTH, 7))
        ),
    ],
)
def test_file_cut_anywhere_loses_nothing_in_two_starts(redis: RedisServer, step: int, fairness: str, each: int) -> None:
    whole = written(redis, fairness)
    aside = redis.directory / "whole"
    shutil.copytree(redis.directory / "appendonlydir", aside)
    for size in range(whole.sizes[step] + 1, whole.sizes[step + 1], each):
        cut(redis, size, aside)
        redis.start()
        with client_of(redis) as client:
            assert state(client) == whole.before[step], f"cut at byte {size}, first start"
            assert look(redis) == [StoreRewrite()]
            wait_until_written(redis, client)
            client.command("SET", "later", "1")
        start_again(redis)
        with client_of(redis) as client:
            assert state(client) == whole.before[step], f"cut at byte {size}, second start"
            assert client.command("GET", "later") == b"1"
        redis.kill()


def test_each_run_of_redis_is_asked_once_by_one_process(redis: RedisServer) -> None:
    with client_of(redis) as client:
        assert look(redis, "a") == [StoreRewrite()]
        wait_until_written(redis, client)
        assert look(redis, "b") == look(redis, "a") == []
    start_again(redis)
    with client_of(redis) as client:
        assert rewrite.acquire_lock(client, "a", rewrite.append_only_file(client).run_id)
        assert look(redis, "b") == [], "a is about to"
        assert look(redis, "a") == [StoreRewrite()]


@pytest.mark.nightly
def test_only_append_only_or_full_redis_is_asked_to_rewrite(make_redis: MakeRedis) -> None:
    assert look(make_redis()) == []
    assert look(make_redis(**SAVED, maxmemory="1")) == [StoreRewrite()]


@pytest.mark.nightly
def test_forbidden_request_is_reported_once_per_run_of_redis(redis: RedisServer) -> None:
    url = f"redis://u:p@127.0.0.1:{redis.port}/0"
    events: list[Event] = []

    async def look_at_two_runs() -> None:
        connection = Connection(open_client(StoreSettings(url)))
        asking = Rewrite(connection, StoreHealth(events.append), events.append, "a")
        for _ in range(2):
            redis.command("ACL SETUSER u on >p ~* +@all -bgrewriteaof")
            await asking.check()
            await asking.check()
            start_again(redis)
        await connection.aclose()

    trio.run(look_at_two_runs)
    warned = [event for event in events if isinstance(event, OperatorWarning)]
    assert [event.code for event in warned] == ["RewriteRefused", "RewriteRefused"]
    assert "bgrewriteaof" in warned[0].message
    assert "docs/sidekiq.md" in str(warned[0].hint)


@pytest.mark.nightly
def test_failed_rewriting_is_reported_once_and_requested_again(redis: RedisServer) -> None:
    events: list[Event] = []
    assert redis.process is not None
    writes = Path(f"/proc/{redis.process.pid}/task/{redis.process.pid}/children")

    async def fail_and_mend() -> None:
        connection = Connection(open_client(StoreSettings(redis.url)))
        asking = Rewrite(connection, StoreHealth(events.append), events.append, "a")
        with client_of(redis) as client:
            client.command("SET", "some", "key")
            redis.command("CONFIG SET rdb-key-save-delay 60000000")
            await asking.check()
            os.kill(int(until(writes.read_text, "a child of Redis writes")), signal.SIGKILL)
            until(lambda: rewrite.append_only_file(client).has_failed, "it has failed")
            await asking.check()
            await asking.check()
            redis.command("CONFIG SET rdb-key-save-delay 0")
            clock.jump(61)
            await asking.check()
            until(lambda: rewrite.append_only_file(client).is_whole, "it is written again")
        await connection.aclose()

    clock = trio.testing.MockClock(rate=1.0)
    trio.run(fail_and_mend, clock=clock)
    assert [event.code for event in events if isinstance(event, OperatorWarning)] == ["RewriteRefused"]
    assert [event for event in events if isinstance(event, StoreRewrite)] == [StoreRewrite()]
