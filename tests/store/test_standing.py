"""A fetch that stands in Redis: what it takes, when it takes nothing, and what is known of it when it is lost."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import redis
import trio
import trio.testing

from restbroker.config.secret import Secret
from restbroker.store import heartbeats, identities, jobs, pauses, waiter
from restbroker.store.client import StoreSettings, open_client
from restbroker.store.in_progress import read_jobs
from restbroker.store.jobs import FetchAnswer, FetchRequest, FetchResult, IdentityUnknown, NotPlain, UnknownTickets
from restbroker.store.sentinel import open_sentinels
from restbroker.store.waiter import Waiter
from restbroker.transport.readiness import Readiness
from tests.store.pools import FACTS, Pool, Server, on_both, redis_over_tls
from tests.support.redis_server import RedisServer
from tests.support.sentinel import MASTER, PASSWORD, start_group
from tests.support.store_calls import fetch
from tests.support.wait import until_async


@attrs.define(eq=False)
class Standing:
    """One waiter of the queue "a", watched, and all that its fetches brought."""

    waiter: Waiter
    watch: Readiness
    brought: list[FetchAnswer | None] = attrs.field(factory=list)

    async def begin(self) -> bool:
        return await self.waiter.begin(self.watch, lambda _fetch, answer, _at_s: self.brought.append(answer))

    async def stand(self, identity: str, base: int = 0, count: int = 10, *, follows: bool = True) -> None:
        """`follows`: it is a plain one, as most are."""
        assert await self.begin()
        assert self.waiter.stand(FetchRequest(identity, "t", ("a",), base, count, 0, follows=follows), "a")

    async def answer(self, place: int = 0) -> FetchAnswer | None:
        await until_async(lambda: len(self.brought) > place, "it is answered")
        return self.brought[place]

    async def jobs(self, place: int = 0) -> list[tuple[str, bytes]]:
        answer = await self.answer(place)
        assert isinstance(answer, FetchResult)
        return [(job.ticket, job.raw) for job in answer.jobs]


@asynccontextmanager
async def standing_on(settings: StoreSettings, **how: Any) -> AsyncIterator[Standing]:
    watch = Readiness()
    one = Standing(Waiter(lambda: open_client(settings, **how)), watch)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.run)
        while not watch.is_kept:
            await trio.lowlevel.checkpoint()
        yield one
        one.waiter.close()
        nursery.cancel_scope.cancel()


def registered(settings: StoreSettings) -> Pool:
    client = open_client(settings)
    assert jobs.register(client, "me", FACTS, ("a",))
    # From now on Redis knows the script of a usual one.
    assert isinstance(fetch(client, FetchRequest("me", "t", ("a",), 0, 0, 0)), FetchResult)
    return Pool(client, "me")


async def until_blocked(server: Server) -> None:
    await until_async(lambda: server.raw.info("clients")["blocked_clients"] == 1, "it stands")


@on_both
async def test_a_job_is_here_under_its_ticket_as_soon_as_it_is_pushed(server: Server) -> None:
    registered(server.settings)
    async with standing_on(server.settings) as one:
        await one.stand("me", base=7)
        await until_blocked(server)
        server.raw.lpush("ns:queue:a", "job")
        assert await one.jobs() == [("8:1", b"job")]
        assert one.waiter.fetch is None
        assert one.waiter.stand(FetchRequest("me", "t", ("a",), 8, 10, 0), "a")
        server.raw.lpush("ns:queue:a", "next")
        assert await one.jobs(1) == [("9:1", b"next")]
    assert server.raw.hgetall("ns:restbroker:ip:me").items() >= {b"8:1": b"job", b"9:1": b"next"}.items()
    assert not server.raw.exists("ns:queue:a")


@on_both
async def test_a_look_is_answered_at_once(server: Server) -> None:
    registered(server.settings)
    async with standing_on(server.settings) as one:
        assert await one.begin()
        assert one.waiter.stand(FetchRequest("me", "t", ("a",), 0, 10, 0), None)
        assert await one.jobs() == []
        server.raw.lpush("ns:queue:a", "job", "next")
        assert one.waiter.stand(FetchRequest("me", "t", ("a",), 0, 10, 0), None)
        assert await one.jobs(1) == [("1:1", b"job"), ("2:1", b"next")]
        assert one.waiter.fetch is None
        await one.stand("me", base=2)
        await until_blocked(server)


async def test_standing_fetch_times_out_taking_nothing(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiter, "BLOCK_S", 0.05)
    registered(server.settings)
    async with standing_on(server.settings) as one:
        await one.stand("me")
        assert await one.jobs() == []


@pytest.mark.parametrize("is_plain", [True, False])
@pytest.mark.parametrize("why", ["a person paused the queue", "it is fenced", "Redis knows no script any more"])
async def test_standing_fetch_takes_only_what_a_usual_one_would(server: Server, why: str, is_plain: bool) -> None:
    client = registered(server.settings).client
    async with standing_on(server.settings) as one:
        await one.stand("me", follows=is_plain)
        await until_blocked(server)
        match why:
            case "a person paused the queue":
                pauses.pause_queue(client, "a", "ann", "for a moment", None)
            case "it is fenced":
                assert heartbeats.fence(client, "me", identities.live_identities(client)["me"])
            case _:
                server.raw.script_flush()
        server.raw.lpush("ns:queue:a", "job")
        match await one.answer():
            case NotPlain():
                assert is_plain
                assert why != "Redis knows no script any more"
            case FetchResult() as answer:
                assert why == "a person paused the queue"
                assert (answer.jobs, answer.paused) == ((), frozenset({"a"}))
            case IdentityUnknown():
                assert why == "it is fenced"
            case lost:
                assert (why, lost) == ("Redis knows no script any more", None)
                fetch(client, FetchRequest("me", "t", ("a",), 0, 0, 0))
    assert server.raw.lrange("ns:queue:a", 0, -1) == [b"job"]


async def test_each_new_connection_has_redis_know_the_script(server: Server) -> None:
    registered(server.settings)
    async with standing_on(server.settings) as one:
        for place, base in enumerate([0, 1]):
            server.raw.script_flush()
            one.waiter.close()
            await one.stand("me", base)
            server.raw.lpush("ns:queue:a", "job")
            assert await one.jobs(place) == [(f"{base + 1}:1", b"job")]


async def test_closed_and_checked_fetch_takes_nothing_more(server: Server) -> None:
    pool = registered(server.settings)
    async with standing_on(server.settings) as one:
        # Often enough for it to be no luck: all of that may reach Redis in one turn of its loop.
        for _ in range(200):
            await one.stand("me")
            one.waiter.close()
            pool.client.command("PING")
            server.raw.lpush("ns:queue:a", "job")
            assert server.raw.rpop("ns:queue:a") == b"job"
        assert one.brought == []


async def test_standing_fetch_after_others_needs_following_tickets(server: Server) -> None:
    pool = registered(server.settings)
    async with standing_on(server.settings) as one:
        for place, follows in enumerate([False, True]):
            assert await one.begin()
            request = FetchRequest("me", "t", ("a",), 3, 10, 5, follows=follows)
            assert one.waiter.stand(request, "a")
            server.raw.hset("ns:restbroker:ip:me", "last", 40)
            server.raw.lpush("ns:queue:a", "job")
            answer = await one.answer(place)
            if follows:
                assert isinstance(answer, FetchResult)
                assert (answer.base, [job.ticket for job in answer.jobs]) == (40, ["41:1"])
            else:
                assert answer == UnknownTickets(40)
                assert server.raw.lpop("ns:queue:a") == b"job"
    assert read_jobs(pool.client, "me").hwm == 41, "two more might have been started"


@pytest.mark.parametrize("again", ["kill", "stop"])
async def test_lost_standing_fetch_has_the_next_one_reconnect(
    make_redis: Callable[..., RedisServer], again: str
) -> None:
    own = make_redis()
    settings = StoreSettings(own.url)
    registered(settings)
    async with standing_on(settings) as one:
        await one.stand("me")
        getattr(own, again)()
        assert await one.answer() is None
        assert not one.waiter.can_answer
        assert not one.waiter.stand(FetchRequest("me", "t", ("a",), 0, 10, 0), "a")
        own.start()
        registered(settings)
        own.command("LPUSH queue:a job")
        await one.stand("me")
        assert await one.jobs(1) == [("1:1", b"job")]


async def test_after_a_cut_the_next_fetch_stands_for_less(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that cut a silent connection would do so each time."""
    monkeypatch.setattr(waiter, "BLOCK_S", 0.05)
    registered(server.settings)
    async with standing_on(server.settings) as one:
        one.waiter.block_s = 3600.0
        await one.stand("me")
        await until_blocked(server)
        await trio.sleep(0.1)
        server.raw.client_kill_filter(_type="normal", skipme=True)
        assert await one.answer() is None
        await one.stand("me")
        assert await one.jobs(1) == []
    assert one.waiter.block_s == 3600.0


async def test_next_fetch_does_not_stand_after_an_idle_disconnect(server: Server) -> None:
    registered(server.settings)
    async with standing_on(server.settings) as one:
        assert await one.begin()
        server.raw.client_kill_filter(_type="normal", skipme=True)
        await until_async(lambda: not one.waiter.can_answer, "its end is noticed")
        assert not one.waiter.stand(FetchRequest("me", "t", ("a",), 0, 10, 0), "a")
        assert one.waiter.fetch is None


async def test_redis_has_a_second_more_to_answer_than_the_wait_lasts(
    server: Server, mock_clock: trio.testing.MockClock
) -> None:
    registered(server.settings)
    async with standing_on(server.settings) as one:
        await one.stand("me")
        mock_clock.jump(waiter.BLOCK_S + waiter.LATE_S - 0.01)
        assert one.waiter.can_answer
        mock_clock.jump(0.02)
        assert not one.waiter.can_answer


async def test_refused_wait_makes_a_usual_fetch_and_none_stands(
    make_redis: Callable[..., RedisServer],
) -> None:
    own = make_redis()
    settings = StoreSettings(own.url)
    registered(settings)
    own.command("ACL SETUSER default -blmove")
    own.command("LPUSH queue:a job")
    async with standing_on(settings) as one:
        await one.stand("me")
        assert await one.jobs() == [("1:1", b"job")]
        assert not one.waiter.stand(FetchRequest("me", "t", ("a",), 1, 10, 0), "a")


@pytest.mark.parametrize("is_plain", [True, False])
async def test_a_job_of_any_size_is_not_read_whole_and_counts_as_lost(server: Server, is_plain: bool) -> None:
    pool = registered(server.settings)
    async with standing_on(server.settings) as one:
        await one.stand("me", follows=is_plain)
        server.raw.lpush("ns:queue:a", b"x" * 20_000_000)
        assert await one.answer() is None
    assert dict(read_jobs(pool.client, "me").large) == ({} if is_plain else {"1:1": 20_000_000})
    assert server.raw.llen("ns:queue:a") == is_plain


async def test_over_tls_all_that_came_is_read(make_redis: Callable[..., RedisServer], tmp_path: Any) -> None:
    settings, own = redis_over_tls(make_redis, tmp_path)
    registered(settings)
    raw, base = redis.Redis(port=own.port), 0
    async with standing_on(settings) as one:
        for place, sizes in enumerate([(10,), (70_000,), (300_000, 300_000, 300_000, 1), (1_000_000, 16_384, 16_385)]):
            await one.stand("me", base)
            raw.lpush("queue:a", *(b"x" * size for size in sizes))
            assert [len(job) for _, job in await one.jobs(place)] == list(sizes)
            base += len(sizes)
    raw.close()


async def test_standing_fetch_leaves_a_replaced_master(tmp_path: Any) -> None:
    group = start_group(tmp_path)
    settings = StoreSettings(
        "redis://unused", sentinels=group.addresses, master=MASTER, sentinel_password=Secret(PASSWORD)
    )
    sentinels = open_sentinels(settings)
    registered(settings)
    assert sentinels is not None
    async with standing_on(settings, sentinels=sentinels) as one:
        await one.stand("me")
        before = one.waiter.can_answer
        sentinels.master = None
        assert (before, one.waiter.can_answer) == (True, False)
    group.close()
