"""One asks for all: everybody reads the result, and lost answers change nothing."""

from collections.abc import Callable

import pytest

from restbroker.errors import StoreRefused
from restbroker.store import probing
from restbroker.store.client import Client
from restbroker.store.probing import ProbeBusy, ProbeGranted, ProbeResult
from tests.store.pools import Server, on_both
from tests.store.proxy import assert_each_may_be_sent_twice
from tests.support.wait import until

LONG_S = 60.0
LEASE, RESULT = "ns:restbroker:lease:n", "ns:restbroker:told:n"


def test_one_process_gets_the_turn_and_all_read_its_result(client: Client, server: Server) -> None:
    assert probing.claim(client, "n", "a", LONG_S) == ProbeGranted()
    assert probing.claim(client, "n", "b", LONG_S) == ProbeBusy()
    assert probing.publish(client, "n", "a", b"open", LONG_S)
    for owner in ("a", "b"):
        result = probing.claim(client, "n", owner, LONG_S)
        assert isinstance(result, ProbeResult)
        assert result.text == b"open"
        assert 0 <= result.age_ms < 5000
    assert 0 < server.raw.pttl(RESULT) <= LONG_S * 1000
    client.command("PEXPIRE", RESULT, 0)
    assert probing.claim(client, "n", "b", LONG_S) == ProbeGranted()
    assert probing.claim(client, "n", "a", LONG_S) == ProbeBusy()


def test_slow_turn_passes_on_and_its_result_is_dropped(client: Client) -> None:
    assert probing.claim(client, "n", "a", 0.05) == ProbeGranted()
    until(lambda: probing.claim(client, "n", "b", LONG_S) == ProbeGranted(), "the turn runs out")
    assert not probing.publish(client, "n", "a", b"stale", LONG_S)
    assert probing.publish(client, "n", "b", b"fresh", LONG_S)
    assert not probing.publish(client, "n", "a", b"stale", LONG_S)
    result = probing.claim(client, "n", "a", LONG_S)
    assert isinstance(result, ProbeResult)
    assert result.text == b"fresh"


CALLS: list[tuple[Callable[[Client], object], object]] = [
    (lambda client: probing.claim(client, "n", "a", LONG_S), ProbeGranted()),
    (lambda client: probing.publish(client, "n", "a", b"x", LONG_S), True),
]


@on_both
def test_repeated_call_after_a_lost_answer_answers_the_same(server: Server) -> None:
    assert_each_may_be_sent_twice(server, CALLS)
    assert server.raw.keys("ns:restbroker:lease:*") == []


def test_result_has_an_end_and_no_repr(client: Client, server: Server) -> None:
    assert probing.claim(client, "n", "a", LONG_S) == ProbeGranted()
    assert probing.publish(client, "n", "a", b"hunter2", LONG_S)
    assert server.raw.pttl(RESULT) > 0
    assert "hunter2" not in repr(probing.claim(client, "n", "b", LONG_S))


def test_a_key_that_is_used_for_other_things_is_named(client: Client, server: Server) -> None:
    server.raw.rpush("ns:restbroker:lease:n", "x")
    with pytest.raises(StoreRefused, match="WRONGTYPE"):
        probing.claim(client, "n", "a", LONG_S)


def test_age_of_a_result_is_by_redis_clock(client: Client, server: Server) -> None:
    assert probing.claim(client, "n", "a", LONG_S) == ProbeGranted()
    assert probing.publish(client, "n", "a", b"open", LONG_S)
    at_us = int(server.raw.hget(RESULT, "at_us")) - 86_400_000_000
    server.raw.hset(RESULT, "at_us", at_us)
    before_us = server.now_us()
    result = probing.claim(client, "n", "b", LONG_S)
    assert isinstance(result, ProbeResult)
    assert (before_us - at_us) // 1000 <= result.age_ms <= (server.now_us() - at_us) // 1000


def test_a_result_from_a_clock_that_was_ahead_is_new(client: Client, server: Server) -> None:
    server.raw.hset(RESULT, mapping={"text": "open", "at_us": server.now_us() + 60_000_000})
    assert probing.claim(client, "n", "a", LONG_S) == ProbeResult(b"open", 0)


def test_result_without_text_or_time_does_not_count(client: Client, server: Server) -> None:
    for fields in ({"text": "open"}, {"text": "open", "at_us": "noon"}, {"at_us": "1"}):
        server.raw.flushdb()
        server.raw.hset(RESULT, mapping=fields)
        assert probing.claim(client, "n", "a", LONG_S) == ProbeGranted()
        assert probing.publish(client, "n", "a", b"closed", LONG_S)
        result = probing.claim(client, "n", "b", LONG_S)
        assert isinstance(result, ProbeResult)
        assert result.text == b"closed"


@pytest.mark.parametrize("ttl_s", [0.0, 0.0004, 1.0005])
def test_redis_takes_any_length_of_time(client: Client, ttl_s: float) -> None:
    assert probing.claim(client, "n", "a", ttl_s) == ProbeGranted()
