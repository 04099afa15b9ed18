"""One does it for all: nobody else takes a lease, everybody reads the result, and lost answers change nothing."""

from collections.abc import Callable

import pytest

from restbroker.errors import StoreRefused, StoreUnavailable
from restbroker.store import leases
from restbroker.store.client import Client, StoreSettings, open_client
from restbroker.store.leases import Busy, Told, Yours
from tests.store.lanes import Server
from tests.store.proxy import LossyProxy
from tests.support.wait import until

LONG_MS = 60_000


def test_a_lease_is_one_owners_until_it_is_given_back(client: Client) -> None:
    assert leases.take(client, "n", "a", 60)
    assert not leases.take(client, "n", "b", 60)
    leases.release(client, "n", "b")
    assert not leases.take(client, "n", "b", 60)
    leases.release(client, "n", "a")
    assert leases.take(client, "n", "b", 60)


def test_taking_again_is_renewing(client: Client, server: Server) -> None:
    assert leases.take(client, "n", "a", 1)
    assert leases.take(client, "n", "a", 60)
    assert server.raw.pttl("ns:restbroker:lease:n") > 30_000


def test_a_lease_that_ran_out_is_somebody_elses_and_cannot_be_renewed_or_given_back(client: Client) -> None:
    assert leases.take(client, "n", "a", 0.05)
    until(lambda: leases.take(client, "n", "b", 60), "the lease runs out")
    assert not leases.renew(client, "n", "a", 60)
    leases.release(client, "n", "a")
    assert not leases.take(client, "n", "a", 60)


def test_renewing_lets_a_lease_last_and_never_takes_one(client: Client, server: Server) -> None:
    assert not leases.renew(client, "n", "a", 60)
    assert leases.take(client, "n", "a", 1)
    assert leases.renew(client, "n", "a", 60)
    assert server.raw.pttl("ns:restbroker:lease:n") > 30_000


def test_one_gets_the_turn_and_all_read_what_came_of_it(client: Client) -> None:
    assert leases.turn(client, "n", "a", LONG_MS) == Yours()
    assert leases.turn(client, "n", "b", LONG_MS) == Busy()
    assert leases.tell(client, "n", "a", b"open", LONG_MS)
    for owner in ("a", "b"):
        told = leases.turn(client, "n", owner, LONG_MS)
        assert isinstance(told, Told)
        assert told.text == b"open"
        assert 0 <= told.age_ms < 5000


def test_the_turn_is_free_again_when_the_result_is_too_old(client: Client) -> None:
    assert leases.turn(client, "n", "a", LONG_MS) == Yours()
    assert leases.tell(client, "n", "a", b"open", 50)
    until(lambda: leases.turn(client, "n", "b", LONG_MS) == Yours(), "the result is too old")
    assert leases.turn(client, "n", "a", LONG_MS) == Busy()


def test_a_turn_that_took_too_long_is_another_ones_and_its_result_is_dropped(client: Client) -> None:
    assert leases.turn(client, "n", "a", 50) == Yours()
    until(lambda: leases.turn(client, "n", "b", LONG_MS) == Yours(), "the turn runs out")
    assert not leases.tell(client, "n", "a", b"stale", LONG_MS)
    assert leases.tell(client, "n", "b", b"fresh", LONG_MS)
    assert not leases.tell(client, "n", "a", b"stale", LONG_MS)
    told = leases.turn(client, "n", "a", LONG_MS)
    assert isinstance(told, Told)
    assert told.text == b"fresh"


def test_a_turn_can_be_given_back_untold(client: Client) -> None:
    assert leases.turn(client, "n", "a", LONG_MS) == Yours()
    leases.release(client, "n", "a")
    assert leases.turn(client, "n", "b", LONG_MS) == Yours()


CALLS: list[tuple[Callable[[Client], object], object]] = [
    (lambda client: leases.take(client, "n", "a", 60), True),
    (lambda client: leases.renew(client, "n", "a", 60), True),
    (lambda client: leases.turn(client, "n", "a", LONG_MS), Yours()),
    (lambda client: leases.tell(client, "n", "a", b"x", LONG_MS), True),
    (lambda client: leases.release(client, "n", "a"), None),
]


def test_each_call_whose_answer_is_lost_answers_the_same_the_second_time(client: Client, server: Server) -> None:
    with LossyProxy(server.process.port) as proxy:
        lossy = open_client(StoreSettings(f"redis://127.0.0.1:{proxy.port}", namespace="ns"))
        for call, _ in CALLS:
            call(client)
        server.raw.flushdb()
        for call, answer in CALLS:
            proxy.lose_next = True
            with pytest.raises(StoreUnavailable):
                call(lossy)
            assert call(lossy) == answer
        lossy.close()
    assert server.raw.keys("ns:restbroker:lease:*") == []


def test_a_full_redis_still_grants_leases_and_turns(client: Client, server: Server) -> None:
    server.raw.config_set("maxmemory", 1)
    assert leases.take(client, "n", "a", 60)
    assert leases.renew(client, "n", "a", 60)
    leases.release(client, "n", "a")
    assert leases.turn(client, "n", "a", LONG_MS) == Yours()
    assert leases.tell(client, "n", "a", b"x", LONG_MS)


def test_what_is_told_has_an_end_a_limit_and_no_repr(client: Client, server: Server) -> None:
    assert leases.turn(client, "n", "a", LONG_MS) == Yours()
    with pytest.raises(ValueError, match="too long"):
        leases.tell(client, "n", "a", b"x" * (leases.LONGEST_TEXT_BYTES + 1), LONG_MS)
    assert leases.tell(client, "n", "a", b"hunter2", LONG_MS)
    assert server.raw.pttl("ns:restbroker:told:n") > 0
    assert "hunter2" not in repr(leases.turn(client, "n", "b", LONG_MS))


def test_a_key_that_is_used_for_other_things_is_named(client: Client, server: Server) -> None:
    server.raw.rpush("ns:restbroker:lease:n", "x")
    with pytest.raises(StoreRefused, match="WRONGTYPE"):
        leases.take(client, "n", "a", 60)
