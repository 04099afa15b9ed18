"""Jobs that are too large: under a ticket like any other, but their bytes never leave Redis; and the bound on bytes."""

from collections.abc import Callable

import pytest

from restbroker.job import rubyjson
from restbroker.job.backoff import SidekiqBackoff
from restbroker.job.format import PAYLOAD_LIMIT_BYTES
from restbroker.job.job import NotAJob, oversized_job
from restbroker.job.policy import Context, Policy
from restbroker.job.settle import settle_unreadable
from restbroker.job.settlement import Dead, Requeue
from restbroker.store import large, paging, queues, sets
from restbroker.store.codes import Applied, Clash, Gone, Refused
from restbroker.store.in_progress import read_jobs, read_jobs_in_pieces
from restbroker.store.jobs import FetchResult
from tests.store.pools import Pool, Server

NOW_S = 1_700_000_000.25
CONTEXT = Context(Policy(SidekiqBackoff()), NOW_S, 0.0, 0, "")
SMALL = b'{"class":"Add"}'
MIB = 1024 * 1024
JID, OTHER = f"{1:024x}", f"{2:024x}"
RAW = b"\xff" + b"x" * PAYLOAD_LIMIT_BYTES + b'"\x00'


def take(pool: Pool, *, base: int = 0, want: int = 500, most_bytes: int = 4 * MIB, limit: int = MIB) -> FetchResult:
    return pool.take(want, 999, base, most_bytes=most_bytes, limit_bytes=limit)


def waiting(pool: Pool, queue: str = "a") -> list[bytes]:
    return queues.peek(pool.client, queue, 0, 1000)


def settle(pool: Pool, ticket: str, entry: NotAJob) -> list[object]:
    return list(pool.settle((ticket, settle_unreadable(entry, CONTEXT))))


def die(pool: Pool, server: Server, jid: str = JID) -> bytes:
    """Has a job that is too large die. Returns its entry."""
    queues.push(pool.client, "a", [RAW])
    (taken,) = take(pool, base=read_jobs(pool.client, pool.identity).last or 0).jobs
    assert settle(pool, taken.ticket, oversized_job(taken.size_bytes, "a", jid)) == [Applied()]
    return bytes(server.raw.zrange("ns:dead", -1, -1)[0])


def look(pool: Pool, server: Server) -> None:
    """An hour later."""
    server.raw.delete("ns:restbroker:lease:large payloads")
    large.delete_unnamed(pool.client)


def kept(server: Server) -> list[str]:
    keys = {key.decode().removeprefix("ns:restbroker:large:") for key in server.raw.keys("ns:restbroker:large:*")}
    assert keys == {name.decode() for name in server.raw.hkeys("ns:restbroker:large")}
    return sorted(keys)


@pytest.mark.promise("Producers: jobs", "a payload over 1 MiB is dead")
def test_bytes_of_a_too_large_job_go_to_a_key_named_once(pool: Pool, server: Server) -> None:
    member = die(pool, server)
    entry = rubyjson.object_of(member)
    assert entry is not None
    assert (entry["class"], entry["jid"], entry["error_class"]) == ("Restbroker::Unreadable", JID, "PayloadTooLarge")
    assert entry["args"] == [f"restbroker:large:{JID}", len(RAW)]
    assert f"Its {len(RAW)} bytes are in the key restbroker:large:{JID}." in str(entry["error_message"])
    assert server.raw.get(f"ns:restbroker:large:{JID}") == RAW
    assert [fields[b"payload"] for _, fields in server.raw.xrange("ns:restbroker:parked")] == [member]
    assert server.raw.get("ns:stat:failed") == b"1"
    assert settle(pool, "1:1", oversized_job(len(RAW), "a", OTHER)) == [Gone()]
    assert kept(server) == [JID]


def test_refusal_of_redis_leaves_the_job_in_progress(pool: Pool, server: Server) -> None:
    queues.push(pool.client, "a", [RAW])
    (taken,) = take(pool).jobs
    for key in ("ns:restbroker:large", "ns:dead"):
        server.raw.set(key, "x")
        (code,) = settle(pool, taken.ticket, oversized_job(taken.size_bytes, "a", JID))
        assert isinstance(code, Refused), key
        assert read_jobs(pool.client, pool.identity).large == {taken.ticket: len(RAW)}
        server.raw.delete(key)
    assert settle(pool, taken.ticket, oversized_job(taken.size_bytes, "a", JID)) == [Applied()]
    assert server.raw.get(f"ns:restbroker:large:{JID}") == RAW


@pytest.mark.parametrize("place", ["dead", "copy", "another copy", "queue", "retry", "schedule", "in progress"])
def test_bytes_stay_as_long_as_named_and_two_looks_longer(pool: Pool, server: Server, place: str) -> None:
    member, raw = die(pool, server), server.raw
    (copy,) = raw.xrange("ns:restbroker:parked")
    if place != "copy":
        raw.xdel("ns:restbroker:parked", copy[0])
    if place != "dead":
        raw.delete("ns:dead")
    match place:
        case "another copy":
            raw.xadd("ns:restbroker:parked", {"ticket": "9:1", "payload": member})
        case "queue" | "in progress":
            queues.push(pool.client, "a", [member])
            if place == "in progress":
                assert take(pool, base=1).jobs
        case "retry" | "schedule":
            raw.zadd(f"ns:{place}", {member: 1.0})
        case _:
            pass
    for _ in range(3):
        look(pool, server)
        assert kept(server) == [JID]
    raw.delete("ns:dead", "ns:queue:a", "ns:retry", "ns:schedule", "ns:restbroker:parked")
    raw.hdel(f"ns:restbroker:ip:{pool.identity}", "2:1")
    look(pool, server)
    assert kept(server) == [JID]
    large.delete_unnamed(pool.client)
    assert kept(server) == [JID], "within the hour no one looks"
    look(pool, server)
    assert kept(server) == []


def test_bytes_that_are_named_again_before_the_second_look_stay(pool: Pool, server: Server) -> None:
    member, other = die(pool, server), die(pool, server, OTHER)
    server.raw.delete("ns:dead", "ns:restbroker:parked")
    look(pool, server)
    server.raw.zadd("ns:dead", {member: 1.0})
    server.raw.xadd("ns:restbroker:parked", {"ticket": "9:1", "payload": other})
    look(pool, server)
    server.raw.delete("ns:dead", "ns:restbroker:parked")
    look(pool, server)
    assert kept(server) == [JID, OTHER]
    look(pool, server)
    assert kept(server) == []


def test_bytes_stay_while_a_queue_cannot_be_searched(pool: Pool, server: Server) -> None:
    die(pool, server)
    server.raw.delete("ns:dead", "ns:restbroker:parked")
    server.raw.sadd("ns:queues", "odd")
    server.raw.set("ns:queue:odd", "x")
    for _ in range(3):
        look(pool, server)
    assert kept(server) == [JID]


def test_stored_job_may_be_four_times_as_large(pool: Pool) -> None:
    stored = b'{"restbroker_attempts":[],"pad":"%s"}' % (b"x" * 2 * MIB)
    grown = stored + b" " * 2 * MIB
    queues.push(pool.client, "a", [stored, grown])
    found = [job for base in range(2) for job in take(pool, base=base, want=1).jobs]
    assert [(job.raw, job.size_bytes) for job in found] == [(stored, 0), (b"", len(grown))]
    assert read_jobs(pool.client, pool.identity).large == {"2:1": len(grown)}


def test_fetch_takes_what_bytes_allow_and_at_least_one_in_order(pool: Pool) -> None:
    jobs = [b"%04d" % number + b"x" * (96 + 900 * (number % 7 == 3)) for number in range(300)]
    queues.push(pool.client, "a", jobs)
    queues.push(pool.client, "b", [b"last"])
    order: list[bytes] = []
    while waiting(pool):
        found = take(pool, base=len(order), most_bytes=5000)
        taken = [job.raw for job in found.jobs]
        assert sum(map(len, taken)) <= 5000
        assert found.more or not waiting(pool)
        order += taken
        assert [*order, *waiting(pool)] == jobs + [b"last"] * (len(order) > 300)
    queues.push(pool.client, "a", [b"x" * 600, b"y" * 600])
    base = read_jobs(pool.client, pool.identity).last
    (one,) = take(pool, base=base, most_bytes=500).jobs
    assert one.raw == b"x" * 600
    assert take(pool, base=base + 1, most_bytes=-5).jobs[0].raw == b"y" * 600


def test_byte_limit_spans_all_queues_and_counts_too_large_ones(pool: Pool) -> None:
    queues.push(pool.client, "a", [SMALL, b"x" * 3000])
    queues.push(pool.client, "b", [b"y" * 3000, SMALL])
    found = take(pool, most_bytes=4000, limit=1000)
    assert [(job.ticket, job.size_bytes) for job in found.jobs] == [("1:1", 0), ("2:1", 3000)]
    assert found.more
    assert waiting(pool, "b") == [b"y" * 3000, SMALL]


def test_too_large_job_returns_unchanged_and_clashes_as_usual(pool: Pool, server: Server) -> None:
    raw = b"x" * 3000
    queues.push(pool.client, "a", [raw, raw])
    assert len(take(pool, limit=1000).jobs) == 2
    frame = Dead(NOW_S, b'{"class":"A","args":[],"jid":"j"}', large=JID)
    assert pool.settle(("1:1", frame), ("2:1", frame)) == [Applied(), Clash()]
    assert read_jobs(pool.client, pool.identity, 1000).large == {"2:1": 3000}
    pool.settle(("2:1", Requeue()))
    assert waiting(pool) == [raw]
    assert server.raw.get(f"ns:restbroker:large:{JID}") == raw


def test_jobs_in_progress_are_read_a_few_mebibytes_at_a_time(pool: Pool) -> None:
    """Of a too large job only the length is read."""
    jobs = [b"x" * MIB] * 9
    queues.push(pool.client, "a", [*jobs, b"y" * 8 * MIB, b""])
    base = 0
    while waiting(pool):
        base += len(take(pool, base=base).jobs)
    pieces = list(read_jobs_in_pieces(pool.client, pool.identity))
    assert max(sum(map(len, piece.values())) for piece in pieces) <= 4 * MIB
    assert sorted(job for piece in pieces for job in piece.values()) == [b"", *jobs]
    found = read_jobs(pool.client, pool.identity)
    assert found.large == {"10:1": 8 * MIB}
    assert found.tickets == {f"{number}:1" for number in range(1, 12)}


def test_listing_reads_a_few_mebibytes_at_a_time_to_the_end(pool: Pool, server: Server) -> None:
    jobs = [b"%03d" % number + b"x" * (10 if number % 3 else 3 * MIB) for number in range(40)]
    queues.push(pool.client, "a", jobs)
    server.raw.zadd("ns:retry", {job: 1.0 + place for place, job in enumerate(jobs)})
    client = pool.client
    pages: dict[str, Callable[[int], list[bytes]]] = {
        "queue": lambda start: queues.peek(client, "a", start, 20),
        "due": lambda start: [job for job, _ in sets.due(client, "retry", 20, sets.Position(0.0, start)).members],
    }
    for name, page in pages.items():
        listed: list[bytes] = []
        while found := page(len(listed)):
            assert len(found) == 1 or sum(map(len, found)) <= 8 * MIB, name
            listed += found
        assert listed == jobs, name
    newest = [job for job, _ in paging.piece(client, "retry", None, 4, newest_first=True).members]
    assert newest == jobs[:-2:-1], "the second one from the end is beyond the bytes"
    assert sets.due(client, "retry", 20).more
    assert not sets.due(client, "retry", 50, sets.Position(40.0)).more
