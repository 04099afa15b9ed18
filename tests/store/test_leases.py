"""One holder for each name; a lease ends by itself, or at once; a disturbed holder learns of it."""

from collections.abc import Callable

from restbroker.store import leases
from restbroker.store.client import Client
from restbroker.store.leases import LeaseHeld, LeaseTaken
from tests.store.pools import Server, on_both
from tests.store.proxy import assert_each_may_be_sent_twice
from tests.support.wait import until

LONG_MS = 60_000


def test_lease_of_a_source_has_one_holder_to_renew_and_end_it(client: Client) -> None:
    assert leases.acquire(client, "of", "a", LONG_MS, ["ann", "bob"]) == {"ann": LeaseHeld(), "bob": LeaseHeld()}
    assert leases.acquire(client, "of another", "b", LONG_MS, ["ann"]) == {"ann": LeaseHeld()}
    other = leases.acquire(client, "of", "b", LONG_MS, ["ann", "eve"])
    assert isinstance(left := other["ann"], LeaseTaken)
    assert 0 < left.remaining_ms <= LONG_MS
    assert other["eve"] == LeaseHeld()
    assert leases.acquire(client, "of", "a", LONG_MS, ["ann"]) == {"ann": LeaseHeld()}
    assert leases.end(client, "of", "a", ["ann", "bob", "nobody"]) == 2
    assert leases.acquire(client, "of", "b", LONG_MS, ["ann"]) == {"ann": LeaseHeld()}


def test_lease_left_open_says_when_its_holder_was_last_known(client: Client, server: Server) -> None:
    """A process that was killed: whatever came since then may be lost."""
    seconds, micros = server.raw.time()
    leases.acquire(client, "of", "a", 50, ["ann"])
    until(lambda: leases.acquire(client, "of", "b", 50, ["ann"])["ann"] == LeaseHeld(), "the lease runs out")
    known = []
    for _ in range(2):
        held = leases.acquire(client, "of", "b", LONG_MS, ["ann"])["ann"]
        assert isinstance(held, LeaseHeld)
        assert 0 <= held.lost_ms - (seconds * 1000 + micros // 1000) < LONG_MS
        known.append(held.lost_ms)
    assert known[0] == known[1], "also when asked again"
    assert leases.end(client, "of", "late", ["ann"]) == 0
    assert isinstance(leases.acquire(client, "of", "c", LONG_MS, ["ann"])["ann"], LeaseTaken)
    again = leases.acquire(client, "of", "b", LONG_MS, ["ann"])["ann"]
    assert isinstance(again, LeaseHeld)
    assert (again.late, again.lost_ms) == (1, known[0])
    assert leases.end(client, "of", "b", ["ann"]) == 1
    free = leases.acquire(client, "of", "c", LONG_MS, ["ann"])["ann"]
    assert isinstance(free, LeaseHeld)
    assert free.lost_ms == 0, "who ends it has read what came"


def test_a_clock_that_was_set_back_lets_no_lease_last_longer(client: Client, server: Server) -> None:
    server.raw.hset("ns:restbroker:sse:of", "ann", "99999999999999 0 a")
    left = leases.acquire(client, "of", "b", LONG_MS, ["ann"])["ann"]
    assert isinstance(left, LeaseTaken)
    assert left.remaining_ms <= LONG_MS


def test_foreign_text_counts_as_no_lease(client: Client, server: Server) -> None:
    server.raw.hset("ns:restbroker:sse:of", "ann", "odd")
    assert leases.acquire(client, "of", "b", LONG_MS, ["ann"]) == {"ann": LeaseHeld()}


CALLS: list[tuple[Callable[[Client], object], object]] = [
    (lambda client: leases.acquire(client, "of", "a", LONG_MS, ["ann"]), {"ann": LeaseHeld()}),
    (lambda client: leases.end(client, "of", "late", ["ann"]), 0),
    (lambda client: leases.acquire(client, "of", "a", LONG_MS, ["ann"]), {"ann": LeaseHeld(late=2)}),
    (lambda client: leases.end(client, "of", "a", ["ann"]), 0),
]


@on_both
def test_each_call_whose_answer_is_lost_may_be_made_again(server: Server) -> None:
    assert_each_may_be_sent_twice(server, CALLS)
    assert not server.raw.exists("ns:restbroker:sse:of")
