"""Rosters, the marks and jobs that changes of them make, and turns at refreshing."""

from collections.abc import Iterator, Mapping, Sequence

import attrs
import pytest

from restbroker.errors import StoreRefused
from restbroker.rosters import store as rosters
from restbroker.rosters.store import RefreshDelay, RefreshJobs, RosterChange, RosterUnchanged, RosterVersions, UserState
from restbroker.store.client import Client
from tests.store.pools import Server
from tests.support.roster_claims import claim, end_refreshes
from tests.support.wait import until

AT_ONCE = RefreshDelay(0, 0)
LATE = RefreshDelay(60_000, 90_000)
LEASE_MS = 60_000
ANN, BOB = "ann@a.b", "bob@a.b"
DIRTY, CLAIMS, JOBS = "ns:restbroker:roster:dirty", "ns:restbroker:roster:flights", "ns:queue:rosters"


@attrs.frozen
class Jobs(Mapping[str, bytes]):
    """A job for each requested user."""

    def __getitem__(self, user: str) -> bytes:
        return b"job of " + user.encode()

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


WANTED = RefreshJobs("rosters", Jobs())


def put(user: str, jid: str = ANN, contact: bytes = b"{}") -> RosterChange:
    return RosterChange(user, {jid: contact})


def change(client: Client, *changes: RosterChange) -> Mapping[str, int]:
    done = rosters.change(client, changes, WANTED)
    assert isinstance(done, RosterVersions)
    return done.versions


def jobs(server: Server) -> Sequence[bytes]:
    """Those pushed, the oldest first."""
    found: Sequence[bytes] = server.raw.lrange(JOBS, 0, -1)
    return found[::-1]


def test_change_is_written_with_its_version_mark_and_job(client: Client, server: Server) -> None:
    assert change(client, RosterChange("john", {ANN: b'{"name":"Ann"}', BOB: b"{}"})) == {"john": 1}
    assert rosters.read(client, ["john", "nobody"]) == [{b"ann@a.b": b'{"name":"Ann"}', b"bob@a.b": b"{}"}, {}]
    assert jobs(server) == [b"job of john"]
    assert server.raw.smembers("ns:queues") == {b"rosters"}
    john, nobody = rosters.user_states(client, ["john", "nobody"])
    assert nobody == UserState("nobody", 0, 0, 0)
    assert john.dirty_s is not None
    assert attrs.evolve(john, dirty_s=None) == UserState("john", 1, 2, 7 + 14 + 7 + 2)
    assert rosters.counts(client) == (1, 1)
    assert rosters.users(client) == {"john"}
    with pytest.raises(ValueError, match="two changes of one user"):
        rosters.change(client, [put("ann"), put("ann", BOB)], WANTED)


def test_each_kind_of_change_does_what_it_says(client: Client) -> None:
    change(client, RosterChange("john", {ANN: b"{}", BOB: b"{}"}))
    assert change(client, RosterChange("john", {BOB: b"{}"}, whole=True)) == {"john": 2}
    assert rosters.read(client, ["john"]) == [{b"bob@a.b": b"{}"}]
    assert change(client, RosterChange("john", forget=True)) == {"john": 0}
    assert rosters.users(client) == set()


def test_all_rosters_change_or_none(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    assert change(client, put("ann", BOB), put("bob", ANN)) == {"ann": 1, "bob": 1}
    monkeypatch.setattr(rosters, "MOST_CONTACTS", 1)
    both = [RosterChange("ann", {ANN: b"{}"}, whole=True), put("bob", "c@a.b")]
    assert rosters.change(client, both, WANTED) == RosterUnchanged("bob")
    assert rosters.read(client, ["ann", "bob"]) == [{b"bob@a.b": b"{}"}, {b"ann@a.b": b"{}"}]
    assert rosters.change(client, [], WANTED) == RosterVersions({})


def test_a_roster_that_would_be_too_large_is_not_written(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rosters, "MOST_CONTACTS", 10)
    change(client, RosterChange("john", {f"u{n}@a.b": b"{}" for n in range(10)}))
    assert rosters.change(client, [put("john")], WANTED) == RosterUnchanged("john")
    assert change(client, RosterChange("john", {ANN: b"{}"}, drop=("u7@a.b",))) == {"john": 2}
    monkeypatch.setattr(rosters, "MOST_BYTES", 100)
    assert rosters.change(client, [put("joe", ANN, b"x" * 94)], WANTED) == RosterUnchanged("joe")
    assert change(client, put("joe", ANN, b"x" * 93)) == {"joe": 1}
    assert rosters.change(client, [put("joe", BOB)], WANTED) == RosterUnchanged("joe")
    assert change(client, put("joe", ANN, b"x")) == {"joe": 2}
    assert change(client, put("joe", BOB)) == {"joe": 3}
    assert change(client, RosterChange("john", drop=(ANN,))) == {"john": 3}, "who is too large may shrink"


def test_unserved_roster_change_has_neither_mark_nor_job(client: Client, server: Server) -> None:
    assert rosters.change(client, [put("john")], None) == RosterVersions({"john": 1})
    assert set(server.raw.keys()) == {b"ns:restbroker:rosters", b"ns:restbroker:roster:of:john"}


def test_a_user_is_due_after_the_last_change_but_not_long(client: Client, server: Server) -> None:
    change(client, put("ann"))
    waits_ms = claim(client, ["ann", "bob"], "h", LEASE_MS, LATE)
    assert waits_ms["bob"] == 0, "who is not marked need not wait"
    assert 50_000 < waits_ms["ann"] <= 60_000
    now_ms = server.now_us() // 1000
    server.raw.hset(DIRTY, "ann", f"{now_ms - 80_000} {now_ms} {now_ms} 1")
    assert rosters.user_states(client, ["ann"])[0].dirty_s == pytest.approx(80, abs=50)
    assert 0 < claim(client, ["ann"], "h", LEASE_MS, LATE)["ann"] <= 10_000
    server.raw.hset(DIRTY, "ann", f"{now_ms - 80_000} {now_ms - 60_001} {now_ms} 1")
    assert claim(client, ["ann"], "h", LEASE_MS, LATE) == {"ann": 0}
    server.raw.hset(DIRTY, "ann", f"{now_ms + 80_000} {now_ms + 80_000} {now_ms} 1")
    assert claim(client, ["ann"], "h2", LEASE_MS, LATE)["ann"] < 0
    end_refreshes(client, "h", ["ann"])
    assert claim(client, ["ann"], "h2", LEASE_MS, LATE) == {"ann": 0}, "no change is in the future"


def test_changes_push_the_mark_on_and_leave_its_beginning(client: Client, server: Server) -> None:
    change(client, put("ann"))
    first = server.raw.hget(DIRTY, "ann").split()
    until(lambda: server.now_us() // 1000 > int(first[1]), "a millisecond passes")
    change(client, put("ann", BOB))
    last = server.raw.hget(DIRTY, "ann").split()
    assert (first[0], first[2:]) == (last[0], last[2:])
    assert first[1] < last[1]


def test_mark_whose_job_was_removed_pushes_it_ever_more_rarely(client: Client, server: Server) -> None:
    change(client, put("ann"))
    now_ms = server.now_us() // 1000
    pushed = 1
    for age_s, pushes in ((59, 1), (61, 1), (119, 2), (121, 2), (3599, 9), (3601, 9)):
        server.raw.hset(DIRTY, "ann", f"{now_ms} {now_ms} {now_ms - age_s * 1000} {pushes}")
        change(client, put("ann", f"u{age_s}@a.b"))
        pushed += age_s in (61, 121, 3601)
        assert len(jobs(server)) == pushed
    server.raw.hset(DIRTY, "ann", "what somebody else wrote")
    change(client, put("ann", BOB))
    assert len(jobs(server)) == pushed + 1


def test_any_number_of_users_is_refreshed_without_rosters(client: Client, server: Server) -> None:
    change(client, put("u7"))
    names = [f"u{n}" for n in range(3000)]
    rosters.mark(client, names, WANTED)
    rosters.mark(client, names, WANTED)
    rosters.mark(client, [], WANTED)
    assert len(jobs(server)) == len(set(jobs(server))) == 3000
    assert rosters.counts(client) == (1, 3000)
    assert claim(client, names, "h", LEASE_MS, AT_ONCE) == dict.fromkeys(names, 0)
    assert end_refreshes(client, "h", names) == 3000
    assert server.raw.exists(DIRTY, CLAIMS) == 0


def test_all_users_are_met_however_many_they_are(client: Client) -> None:
    names = {f"u{n}" for n in range(1200)}
    for start in range(0, 1200, 400):
        change(client, *(put(f"u{n}") for n in range(start, start + 400)))
    assert rosters.users(client) == names
    assert len(rosters.read(client, sorted(names))) == 1200


def test_key_of_another_type_ends_a_change_before_any_write(client: Client, server: Server) -> None:
    roster = "restbroker:roster"
    for key in (f"{roster}s", f"{roster}:of:bob", f"{roster}:dirty", "queues", "queue:rosters"):
        server.raw.flushdb()
        server.raw.set(f"ns:{key}", "x")
        with pytest.raises(StoreRefused):
            rosters.change(client, [put("ann"), put("bob")], WANTED)
        assert server.raw.keys() == [f"ns:{key}".encode()]
