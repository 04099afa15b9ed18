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

LONG_MS = 60_000
LEASE, RESULT = "ns:restbroker:lease:n", "ns:restbroker:told:n"


def test_one_process_gets_the_turn_and_all_read_its_result(client: Client, server: Server) -> None:
    assert probing.claim(client, "n", "a", LONG_MS) == ProbeGranted()
    assert probing.claim(client, "n", "b", LONG_MS) == ProbeBusy()
    assert probing.publish(client, "n", "a", b"open", LONG_MS)
    for owner in ("a", "b"):
        result = probing.claim(client, "n", owner, LONG_MS)
        assert isinstance(result, ProbeResult)
        assert result.text == b"open"
        assert 0 <= result.age_ms < 5000
    assert 0 < server.raw.pttl(RESULT) <= LONG_MS
    client.command("PEXPIRE", RESULT, 0)
    assert probing.claim(client, "n", "b", LONG_MS) == ProbeGranted()
    assert probing.claim(client, "n", "a", LONG_MS) == ProbeBusy()


def test_slow_turn_passes_on_and_its_result_is_dropped(client: Client) -> None:
    assert probing.claim(client, "n", "a", 50) == ProbeGranted()
    until(lambda: probing.claim(client, "n", "b", LONG_MS) == ProbeGranted(), "the turn runs out")
    assert not probing.publish(client, "n", "a", b"stale", LONG_MS)
    assert probing.publish(client, "n", "b", b"fresh", LONG_MS)
    assert not probing.publish(client, "n", "a", b"stale", LONG_MS)
    result = probing.claim(client, "n", "a", LONG_MS)
    assert isinstance(result, ProbeResult)
    assert result.text == b"fresh"


CALLS: list[tuple[Callable[[Client], object], object]] = [
    (lambda client: probing.claim(client, "n", "a", LONG_MS), ProbeGranted()),
    (lambda client: probing.publish(client, "n", "a", b"x", LONG_MS), True),
]


@on_both
def test_repeated_call_after_a_lost_answer_answers_the_same(server: Server) -> None:
    assert_each_may_be_sent_twice(server, CALLS)
    assert server.raw.keys("ns:restbroker:lease:*") == []


def test_result_has_an_end_a_limit_and_no_repr(client: Client, server: Server) -> None:
    assert probing.claim(client, "n", "a", LONG_MS) == ProbeGranted()
    with pytest.raises(ValueError, match="too long"):
        probing.publish(client, "n", "a", b"x" * (probing.LONGEST_TEXT_BYTES + 1), LONG_MS)
    assert probing.publish(client, "n", "a", b"hunter2", LONG_MS)
    assert server.raw.pttl(RESULT) > 0
    assert "hunter2" not in repr(probing.claim(client, "n", "b", LONG_MS))


def test_a_key_that_is_used_for_other_things_is_named(client: Client, server: Server) -> None:
    server.raw.rpush("ns:restbroker:lease:n", "x")
    with pytest.raises(StoreRefused, match="WRONGTYPE"):
        probing.claim(client, "n", "a", LONG_MS)


def test_age_of_a_result_is_by_redis_clock(client: Client, server: Server) -> None:
    assert probing.claim(client, "n", "a", LONG_MS) == ProbeGranted()
    assert probing.publish(client, "n", "a", b"open", LONG_MS)
    at_us = int(server.raw.hget(RESULT, "at_us")) - 86_400_000_000
    server.raw.hset(RESULT, "at_us", at_us)
    before_us = server.now_us()
    result = probing.claim(client, "n", "b", LONG_MS)
    assert isinstance(result, ProbeResult)
    assert (before_us - at_us) // 1000 <= result.age_ms <= (server.now_us() - at_us) // 1000


def test_a_result_from_a_clock_that_was_ahead_is_new(client: Client, server: Server) -> None:
    server.raw.hset(RESULT, mapping={"text": "open", "at_us": server.now_us() + 60_000_000})
    assert probing.claim(client, "n", "a", LONG_MS) == ProbeResult(b"open", 0)


def test_result_without_text_or_time_does_not_count(client: Client, server: Server) -> None:
    for fields in ({"text": "open"}, {"text": "open", "at_us": "noon"}, {"at_us": "1"}):
        server.raw.flushdb()
        server.raw.hset(RESULT, mapping=fields)
        assert probing.claim(client, "n", "a", LONG_MS) == ProbeGranted()
        assert probing.publish(client, "n", "a", b"closed", LONG_MS)
        result = probing.claim(client, "n", "b", LONG_MS)
        assert isinstance(result, ProbeResult)
        assert result.text == b"closed"


def test_times_are_whole_milliseconds_and_never_none() -> None:
    assert [probing.milliseconds(time_s) for time_s in (0.0, 0.0004, 1.5, 60.0)] == [1, 1, 1500, 60_000]
