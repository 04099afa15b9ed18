"""Reading a set piece by piece while others change it, and places that a person gives its members."""

import time
from collections.abc import Callable, Iterator, Sequence

import pytest

from restbroker.errors import UsageError
from restbroker.store import holders, paging
from restbroker.store.client import Client
from restbroker.store.codes import Applied, Gone
from restbroker.store.paging import Cursor, members_with_word, piece, pieces
from restbroker.store.sets import Placement, place
from tests.store.pools import Server, on_both


def walk(client: Client, limit: int = 7, *, newest_first: bool = False) -> list[bytes]:
    found: list[bytes] = []
    after: Cursor | None = None
    while (part := piece(client, "dead", after, limit, newest_first=newest_first)).members:
        found += [member for member, _ in part.members]
        after = part.behind()
        after = None if after is None else Cursor.parse(str(after))
    return found


@on_both
def test_pieces_follow_each_other_without_gap_or_repetition(client: Client, server: Server) -> None:
    assert walk(client) == []
    server.raw.zadd("ns:dead", {f"m{n:03}": n // 10 + 0.123456 for n in range(95)})
    for newest_first in (True, False):
        assert walk(client, newest_first=newest_first) == server.raw.zrange("ns:dead", 0, -1, desc=newest_first)
    first = piece(client, "dead", None, 9, newest_first=False)
    assert [member for member, _ in piece(client, "dead", first.behind(4), 2, newest_first=False).members] == [
        b"m004",
        b"m005",
    ]


def test_foreign_removals_and_additions_shift_nothing(client: Client, server: Server) -> None:
    server.raw.zadd("ns:dead", {f"m{n}": n for n in range(9)})
    first = piece(client, "dead", None, 3, newest_first=True)
    server.raw.zrem("ns:dead", "m8", "m6")
    server.raw.zadd("ns:dead", {"newer": 50, "newest": 51})
    then = piece(client, "dead", first.behind(), 3, newest_first=True)
    assert [member for member, _ in then.members] == [b"m5", b"m4", b"m3"]


def test_place_among_equal_scores_is_found_when_others_left(client: Client, server: Server) -> None:
    server.raw.zadd("ns:dead", dict.fromkeys((f"m{n:02}" for n in range(60)), 5))
    first = piece(client, "dead", None, 40, newest_first=False)
    server.raw.zrem("ns:dead", *(f"m{n:02}" for n in range(25)))
    then = piece(client, "dead", first.behind(), 40, newest_first=False)
    assert [member for member, _ in then.members] == [b"m%02d" % n for n in range(40, 60)]
    # Where the last one is gone too, none is left out.
    server.raw.zrem("ns:dead", "m39")
    then = piece(client, "dead", first.behind(), 60, newest_first=False)
    assert {member for member, _ in then.members} >= {b"m%02d" % n for n in range(40, 60)}


def test_removing_scan_says_so_and_goes_on_right_behind(client: Client, server: Server) -> None:
    server.raw.zadd("ns:dead", dict.fromkeys((f"m{n:02}" for n in range(10)), 5))
    first = piece(client, "dead", None, 4, newest_first=False)
    server.raw.zrem("ns:dead", "m01", "m03")
    then = piece(client, "dead", first.behind(gone={1, 3}), 20, newest_first=False)
    assert [member for member, _ in then.members] == [b"m%02d" % n for n in range(4, 10)]


def test_large_members_come_few_at_a_time_and_all_of_them_come(
    client: Client, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paging, "STEP_BYTES", 250)
    server.raw.zadd("ns:dead", {f"{n:02}" + "x" * 98: n for n in range(50)})
    told: list[tuple[int, int | None]] = []
    client.tell = lambda done, total, _words: told.append((done, total))
    found = [len(part.members) for part in pieces(client, "dead", 50)]
    assert (sum(found), max(found)) == (50, 2)
    assert told == [(done, 50) for done in range(2, 51, 2)]


def test_cursor_reveals_no_member_and_reads_back(client: Client, server: Server) -> None:
    server.raw.zadd("ns:dead", {"secret": 1700000000.123456, "other": float("inf"), "third": 1e-7})
    for count in (1, 2, 3):
        cursor = piece(client, "dead", None, count, newest_first=False).behind()
        assert cursor is not None
        assert "secret" not in str(cursor)
        assert Cursor.parse(str(cursor)) == cursor


def test_invalid_cursor_is_refused() -> None:
    for written in ("", "x", "5", "nan:1:", "5:1:zz", "5:-1:", f"1e5:1:{'a' * 41}", "..:1:"):
        with pytest.raises(UsageError, match="cannot be read"):
            Cursor.parse(written)


@on_both
def test_a_word_is_found_wherever_it_is_and_means_only_itself(client: Client, server: Server) -> None:
    server.raw.zadd("ns:dead", {f'{{"jid":"j{n}"}}': n for n in range(2000)} | {'{"jid":"a*c"}': 1, '{"jid":"abc"}': 2})
    assert {m for part in members_with_word(client, "dead", '"j77"') for m, _ in part} == {b'{"jid":"j77"}'}
    assert {m for part in members_with_word(client, "dead", "a*c") for m, _ in part} == {b'{"jid":"a*c"}'}


@pytest.mark.promise("Security: who can push to the queues", "to crash or stall it")
def test_large_members_come_few_at_a_time_but_all(
    client: Client, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paging, "STEP_BYTES", 60)
    server.raw.zadd("ns:dead", {f"{n:03}" + "x" * 97: n for n in range(200)})
    found = list(members_with_word(client, "dead", "x"))
    assert {member for part in found for member, _ in part} == set(server.raw.zrange("ns:dead", 0, -1))
    assert max(map(len, found)) < 5


def test_a_walk_rests_four_times_as_long_as_each_step_took(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of 2 ms; what the caller does meanwhile counts as rest. The last one takes 40 ms, in the network."""
    now_s, rests, steps_s, works_s = 0.0, list[float](), (0.002, 0.002, 0.002, 0.04), (0.0, 0.001, 0.02, 0.0)

    def spend(seconds: float) -> None:
        nonlocal now_s
        now_s += seconds

    def steps() -> Iterator[int]:
        for number, step_s in enumerate(steps_s):
            spend(step_s)
            yield number

    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    monkeypatch.setattr(time, "sleep", rests.append)
    for number in paging.rested(steps()):
        spend(works_s[number])
    assert rests == pytest.approx([0.008, 0.007, 0.0, 0.01])


def test_each_walk_through_a_set_rests_between_its_steps(
    client: Client, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So does who looks for a lock's holder: through a list in four pieces, there and back."""
    monkeypatch.setattr(paging, "STEP_BYTES", 10_000)
    server.raw.zadd("ns:dead", {f"m{n:04}": n for n in range(2_500)})
    server.raw.lpush("ns:queue:a", *range(200))
    rests = list[float]()
    monkeypatch.setattr(time, "sleep", rests.append)
    walks: Sequence[tuple[Callable[[], object], int]] = (
        (lambda: [*pieces(client, "dead", 500)], 5),
        (lambda: [*members_with_word(client, "dead", "m2")], 2),
        (lambda: holders.search(client, "none", "a"), 2 * 4),
    )
    for walk_through, steps in walks:
        rests.clear()
        walk_through()
        assert len(rests) >= steps


@on_both
def test_each_member_gets_the_place_that_it_is_given(client: Client, server: Server) -> None:
    server.raw.zadd("ns:dead", {"run": 1.5, "later": 2.5, "gone": 3.5, "stays": 4.5, "new": 5.5})
    done = place(
        client,
        "dead",
        [
            Placement(b"run", queue="a", new=b"run!"),
            Placement(b"later", zset="retry", score=99.25),
            Placement(b"gone"),
            Placement(b"stays", zset="dead", new=b"stays!"),
            Placement(b"new", zset="dead", score=7.0),
            Placement(b"nobody", queue="a"),
        ],
    )
    assert done == [Applied()] * 5 + [Gone()]
    assert server.raw.lrange("ns:queue:a", 0, -1) == [b"run!"]
    assert server.raw.smembers("ns:queues") == {b"a"}
    assert server.raw.zrange("ns:retry", 0, -1, withscores=True) == [(b"later", 99.25)]
    assert server.raw.zrange("ns:dead", 0, -1, withscores=True) == [(b"stays!", 4.5), (b"new", 7.0)]
    assert place(client, "retry", [Placement(b"later", zset="dead", new=b"later!")]) == [Applied()]
    copies = [fields[b"payload"] for _, fields in server.raw.xrange("ns:restbroker:parked")]
    assert copies == [b"stays!", b"later!"], "what was in the dead set as it is has its copy already"
