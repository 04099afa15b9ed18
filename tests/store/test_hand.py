"""A queue's hand: of many that wait one wakes, and what a dead process left there is next, in its order."""

from collections.abc import Callable

import pytest

from restbroker.operate.context import ConfigContext
from restbroker.operate.find import SearchLimits
from restbroker.operate.queues import clear_in_steps
from restbroker.operate.walk import SearchQuery, Walk
from restbroker.store import heartbeats, holders, identities, order, pauses, queues
from restbroker.store.client import Client, StoreSettings
from restbroker.store.jobs import FetchRequest, FetchResult
from tests.store.groups import BOTH, GroupPool, job, name_of
from tests.store.pools import Server, on_both
from tests.store.test_standing import registered, standing_on
from tests.support.redis_server import RedisServer
from tests.support.store_calls import classify_lines, fetch
from tests.support.wait import until_async

NOTHING_KNOWN = ConfigContext({})


def left_in_the_hand(server: Server, *payloads: str | bytes) -> None:
    """These woke fetches that did not run, in this order."""
    for payload in payloads:
        server.raw.lpush("ns:queue:a", payload)
        assert server.raw.blmove("ns:queue:a", "ns:restbroker:hand:a", 1, "RIGHT", "LEFT")


@on_both
async def test_a_job_wakes_one_of_all_that_wait(server: Server) -> None:
    registered(server.settings)
    async with standing_on(server.settings) as one, standing_on(server.settings) as other:
        await one.stand("me")
        await other.stand("me")
        await until_async(lambda: server.raw.info("clients")["blocked_clients"] == 2, "both stand")
        server.raw.lpush("ns:queue:a", "job")
        await until_async(lambda: one.brought or other.brought, "one is woken")
        assert server.raw.info("clients")["blocked_clients"] == 1
    assert not server.raw.exists("ns:restbroker:hand:a")


@on_both
def test_what_was_left_in_the_hand_is_fetched_next_in_its_order(server: Server) -> None:
    client = registered(server.settings).client
    left_in_the_hand(server, "first", "second")
    server.raw.lpush("ns:queue:a", "third")
    answer = fetch(client, FetchRequest("me", "t", ("a",), 0, 2, 0))
    assert isinstance(answer, FetchResult)
    assert [job.raw for job in answer.jobs] == [b"first", b"second"]
    assert server.raw.lrange("ns:queue:a", 0, -1) == [b"third"]


@pytest.mark.parametrize("why", ["it is fenced", "the queue is paused", "the target is paused", "nothing is wanted"])
def test_fetch_that_takes_nothing_puts_it_back_all_the_same(server: Server, why: str) -> None:
    client = registered(server.settings).client
    match why:
        case "it is fenced":
            assert heartbeats.fence(client, "me", identities.live_identities(client)["me"])
        case "the queue is paused":
            pauses.pause_queue(client, "a", "ann", "", None)
        case "the target is paused":
            pauses.pause_target(client, "t", "ann", "", None)
    left_in_the_hand(server, "first", "second")
    fetch(client, FetchRequest("me", "t", ("a",), 0, 0 if why == "nothing is wanted" else 5, 0))
    assert server.raw.lrange("ns:queue:a", 0, -1) == [b"second", b"first"]
    assert not server.raw.exists("ns:restbroker:hand:a")


@pytest.fixture
def client(server: Server) -> Client:
    return registered(server.settings).client


def found_by_walk(client: Client) -> list[bytes]:
    query = SearchQuery(lambda _: True, lambda _: True, lambda _: True)
    client.command("SADD", client.keys.queues, "a")
    return [match.view.raw for match in Walk(client, NOTHING_KNOWN, SearchLimits(), query).likely_places()]


LOOKS: dict[str, Callable[[Client], object]] = {
    "its size": lambda client: queues.sizes(client, ["a"])["a"],
    "a search for a job": lambda client: len(found_by_walk(client)),
    "a search for a lock's holder": lambda client: {"found": 2}.get(holders.search(client, "b", "a")),
    "a person clears it": lambda client: [*clear_in_steps(client, "a", NOTHING_KNOWN, "ann")][-1].done,
}


@pytest.mark.parametrize("look", LOOKS)
def test_job_in_the_hand_counts_as_in_its_queue(server: Server, client: Client, look: str) -> None:
    left_in_the_hand(server, '{"jid":"a"}', '{"jid":"b"}')
    assert LOOKS[look](client) == 2


@on_both
def test_a_hand_is_emptied_among_those_of_any_number_of_queues(server: Server) -> None:
    left_in_the_hand(server, "job")
    many = [f"q{number}" for number in range(9000)]
    assert queues.sizes(registered(server.settings).client, [*many, "a"])["a"] == 1


def test_full_redis_has_its_hands_emptied(make_redis: Callable[..., RedisServer]) -> None:
    own = make_redis()
    client = registered(StoreSettings(own.url)).client
    own.command("LPUSH restbroker:hand:a job")
    own.command("CONFIG SET maxmemory 1")
    queues.empty_hands(client, ["a"])
    assert own.command("LLEN queue:a").startswith(":1")


def test_job_in_the_hand_of_an_ordered_queue_keeps_its_turn(server: Server) -> None:
    client = registered(server.settings).client
    pool = GroupPool(client, BOTH, queues=("a",)).start()
    assert pool.take() == []
    left_in_the_hand(server, job("first", "u", "h"))
    server.raw.lpush("ns:queue:a", job("second", "u", "h"))
    classify_lines(client, "t", "a", BOTH)
    left_in_the_hand(server, job("third", "u", "h"))
    assert [name_of(job.raw) for job in pool.take()] == ["first"]
    left_in_the_hand(server, job("fourth", "u", "h"))
    pauses.pause_queue(client, "a", "ann", "", None)
    assert order.give_back(client, "a", "t", [b"h\x1eu"]) == (2, 1)
    found = [name_of(raw) for raw in server.raw.lrange("ns:queue:a", 0, -1)]
    assert found == ["fourth", "third", "second"]
