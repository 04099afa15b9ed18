"""Taking jobs out of the middle of a queue, while producers push and brokers take."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from restbroker.errors import StoreRefused
from restbroker.job.settlement import Reply
from restbroker.store import queues, waiting
from restbroker.store.client import Client
from restbroker.store.codes import Applied, Clash, Gone, Refused
from restbroker.store.sets import Placement
from restbroker.store.tickets import MAX_BYTES
from restbroker.store.waiting import QueueSnapshot, TakeRequest
from tests.store.pools import Server, on_both

QUEUE = "ns:queue:a"


def read(client: Client, line: QueueSnapshot) -> dict[int, bytes]:
    """All jobs of a line by their ranks."""
    found: dict[int, bytes] = {}
    rank = line.size - 1
    while rank >= 0 and (piece := waiting.piece(client, line, rank, 3)) is not None:
        found |= dict(piece.with_ranks)
        rank = piece.rank - len(piece.jobs)
    return found


@on_both
def test_jobs_leave_the_middle_of_a_queue_and_order_stays(client: Client, server: Server) -> None:
    queues.push(client, "a", [b"%d" % n for n in range(10)])
    line = waiting.take_snapshot(client, "a")
    assert read(client, line) == {9 - n: b"%d" % n for n in range(10)}
    takings = [
        TakeRequest(7, Placement(b"2")),
        TakeRequest(4, Placement(b"5")),
        TakeRequest(1, Placement(b"8", zset="dead", new=b'{"n":8}', score=5.0)),
    ]
    assert waiting.take(client, line, takings) == [Applied()] * 3
    assert server.raw.lrange(QUEUE, 0, -1) == [b"9", b"7", b"6", b"4", b"3", b"1", b"0"]
    assert server.raw.zrange("ns:dead", 0, -1, withscores=True) == [(b'{"n":8}', 5.0)]
    assert [fields[b"payload"] for _, fields in server.raw.xrange("ns:restbroker:parked")] == [b'{"n":8}']
    assert waiting.take(client, line, takings) == [Gone()] * 3
    assert server.raw.llen(QUEUE) == 7


@on_both
def test_equal_jobs_are_taken_one_by_one(client: Client, server: Server) -> None:
    queues.push(client, "a", [b"same", b"other", b"same", b"same", b"last"])
    line = waiting.take_snapshot(client, "a")
    assert server.raw.rpop(QUEUE) == b"same"
    queues.push(client, "a", [b"later"])
    takings = [TakeRequest(4, Placement(b"changed meanwhile")), TakeRequest(2, Placement(b"same"))]
    assert waiting.take(client, line, takings) == [Gone(), Applied()]
    assert server.raw.lrange(QUEUE, 0, -1) == [b"later", b"last", b"same", b"other"]


def test_a_job_is_found_where_others_deleted_newer_ones(client: Client, server: Server) -> None:
    queues.push(client, "a", [b"%d" % n for n in range(300)])
    line = waiting.take_snapshot(client, "a")
    found = read(client, line)
    for n in range(200, 290):
        server.raw.lrem(QUEUE, 1, b"%d" % n)
    assert (
        waiting.take(client, line, [TakeRequest(rank, Placement(found[rank])) for rank in (299, 150)])
        == [Applied()] * 2
    )
    left = [int(job) for job in server.raw.lrange(QUEUE, 0, -1)]
    assert left == sorted({*range(300)} - {0, 149} - {*range(200, 290)}, reverse=True)
    assert len(read(client, line)) == 208, "the newest mark the line's place, and stand"


@pytest.mark.parametrize("taken", [b"9", b"8"])
def test_line_is_found_though_one_of_its_newest_jobs_is_deleted(client: Client, server: Server, taken: bytes) -> None:
    queues.push(client, "a", [b"%d" % n for n in range(10)])
    line = waiting.take_snapshot(client, "a")
    server.raw.lrem(QUEUE, 1, taken)
    assert (read(client, line) == {}) is (taken == b"9"), "without the newest nobody knows what came later"
    assert server.raw.llen(QUEUE) == 9


def test_a_line_is_found_again_behind_very_many_new_jobs(client: Client, server: Server) -> None:
    queues.push(client, "a", [b"old 1", b"old 2"])
    line = waiting.take_snapshot(client, "a")
    queues.push(client, "a", [b"%d" % n for n in range(5000)])
    assert read(client, line) == {1: b"old 1", 0: b"old 2"}
    assert waiting.take(client, line, [TakeRequest(1, Placement(b"old 1"))]) == [Applied()]
    assert server.raw.lrange(QUEUE, -2, -1) == [b"0", b"old 2"]


def test_nothing_is_read_of_an_empty_or_emptied_queue(client: Client, server: Server) -> None:
    assert read(client, waiting.take_snapshot(client, "a")) == {}
    queues.push(client, "a", [b"1"])
    line = waiting.take_snapshot(client, "a")
    server.raw.delete(QUEUE)
    assert read(client, line) == {}
    assert waiting.take(client, line, [TakeRequest(0, Placement(b"1"))]) == [Gone()]


def test_a_job_whose_effect_redis_refuses_stays_in_its_place(client: Client, server: Server) -> None:
    server.raw.set("ns:restbroker:reply:x", "precious")
    server.raw.zadd("ns:dead", {b'{"n":3}': 1.0})
    queues.push(client, "a", [b"1", b"2", b"3", b"4"])
    line = waiting.take_snapshot(client, "a")
    answers = (Reply(b"answer", queue="replies"), Reply(b"details", key="restbroker:reply:x", ttl_s=60))
    takings = [
        TakeRequest(2, Placement(b"2", zset="dead", new=b'{"n":2}', score=2.0), answers),
        TakeRequest(1, Placement(b"3", zset="dead", new=b'{"n":3}', score=3.0)),
        TakeRequest(0, Placement(b"4")),
    ]
    second, third, fourth = waiting.take(client, line, takings)
    assert isinstance(second, Refused)
    assert (third, fourth) == (Clash(), Applied())
    assert server.raw.lrange(QUEUE, 0, -1) == [b"3", b"2", b"1"]
    assert server.raw.zrange("ns:dead", 0, -1, withscores=True) == [(b'{"n":3}', 1.0)]
    assert server.raw.llen("ns:queue:replies") == 0
    assert server.raw.get("ns:restbroker:reply:x") == b"precious"


def test_answers_are_pushed_in_the_same_step(client: Client, server: Server) -> None:
    queues.push(client, "a", [b"1"])
    line = waiting.take_snapshot(client, "a")
    answers = (Reply(b"answer", queue="replies"), Reply(b"details", key="restbroker:reply:x", ttl_s=60))
    assert waiting.take(
        client, line, [TakeRequest(0, Placement(b"1", zset="dead", new=b"{}", score=1.0), answers)]
    ) == [Applied()]
    assert server.raw.lrange("ns:queue:replies", 0, -1) == [b"answer"]
    assert server.raw.lrange("ns:restbroker:reply:x", 0, -1) == [b"details"]
    assert 0 < server.raw.ttl("ns:restbroker:reply:x") <= 60
    assert b"replies" in server.raw.smembers("ns:queues")


def test_nothing_is_pushed_into_the_list_being_taken_from(client: Client, server: Server) -> None:
    queues.push(client, "a", [b"1", b"2"])
    line = waiting.take_snapshot(client, "a")
    with pytest.raises(StoreRefused):
        waiting.take(client, line, [TakeRequest(1, Placement(b"1"), (Reply(b"answer", queue="a"),))])
    assert server.raw.lrange(QUEUE, 0, -1) == [b"2", b"1"]


def test_large_jobs_are_read_a_few_at_a_time(client: Client, server: Server) -> None:
    """A too large one is known only by its place."""
    large = b"x" * (MAX_BYTES // 2 + 1)
    for job in (b"first", large, large, b"y" * (MAX_BYTES + 1), b"last"):
        queues.push(client, "a", [job])
    line = waiting.take_snapshot(client, "a")
    piece = waiting.piece(client, line, 4, 100)
    assert piece is not None
    assert piece.jobs == (b"first", large)
    assert read(client, line) == {4: b"first", 3: large, 2: large, 1: b"", 0: b"last"}
    assert server.raw.llen(QUEUE) == 5


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_each_job_is_in_one_place_and_only_meant_ones_leave(
    client: Client, server: Server, data: st.DataObject
) -> None:
    """This holds whatever others do meanwhile."""
    server.raw.flushdb()
    count = data.draw(st.integers(1, 40))
    queues.push(client, "a", [b"%d" % n for n in range(count)])
    line = waiting.take_snapshot(client, "a")
    chosen = data.draw(st.sets(st.integers(0, count - 1)))
    taken: list[bytes] = []
    deleted: list[bytes] = []
    pushed = count

    def others() -> None:
        nonlocal pushed
        for act in data.draw(st.lists(st.sampled_from(["push", "take", "delete"]), max_size=4)):
            if act == "push":
                queues.push(client, "a", [b"%d" % pushed])
                pushed += 1
            elif act == "take":
                taken.extend(server.raw.rpop(QUEUE, 1) or [])
            else:
                found = server.raw.lrange(QUEUE, 0, -1)
                # All but the newest job of the line, which says where it begins.
                if others := [job for job in found if job != b"%d" % (count - 1)]:
                    job = data.draw(st.sampled_from(others))
                    deleted.extend([job] * server.raw.lrem(QUEUE, 1, job))

    rank, done, scanned = count - 1, set[bytes](), set[bytes]()
    while rank >= 0:
        others()
        piece = waiting.piece(client, line, rank, 7)
        if piece is None:
            break
        scanned |= set(piece.jobs)
        others()
        # Where newer ones were deleted it is read a second time.
        takings = [TakeRequest(n, Placement(job)) for n, job in piece.with_ranks if int(job) in chosen]
        codes = waiting.take(client, line, takings) if takings else []
        done |= {taking.placement.old for taking, code in zip(takings, codes, strict=True) if code == Applied()}
        rank = piece.rank - len(piece.jobs)
    left = server.raw.lrange(QUEUE, 0, -1)
    assert sorted(map(int, [*left, *done, *taken, *deleted])) == list(range(pushed))
    assert sorted(map(int, left), reverse=True) == list(map(int, left))
    assert {int(job) for job in done} <= chosen
    assert not {int(job) for job in left} & chosen, "what was meant, and nobody else took, has left"
    assert {job for job in left if int(job) < count} <= scanned
