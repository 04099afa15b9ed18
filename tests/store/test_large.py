"""Jobs that are too large: under a ticket like any other, but their bytes never leave Redis; and the bound on bytes."""

import json
from collections.abc import Callable

from restbroker.job import rubyjson
from restbroker.job.backoff import SidekiqBackoff
from restbroker.job.format import PAYLOAD_LIMIT_BYTES
from restbroker.job.job import NotAJob, oversized_job, read
from restbroker.job.policy import Context, Policy
from restbroker.job.settle import settle_unreadable
from restbroker.job.settlement import Dead, Requeue
from restbroker.store import queues, sets
from restbroker.store.codes import Applied, Clash, Gone
from restbroker.store.jobs import (
    FetchedJob,
    FetchRequest,
    FetchResult,
    FinishRequest,
    fetch,
    finish,
    read_jobs,
    read_jobs_in_pieces,
)
from tests.store.pools import QUEUES, Pool, Server

NOW_S = 1_700_000_000.25
CONTEXT = Context(Policy(SidekiqBackoff()), NOW_S, 0.0, 0, "")
SMALL = b'{"class":"Add"}'
MIB = 1024 * 1024
ODD_BYTES = [
    b"plain",
    b'{"a":"\\\\/ \\" \x00\x1f\x7f</script>"}',
    "ä € 😀 \u2028".encode(),
    b"\xff",
    b"\xc0\x80",
    b"\xe0\x9f\xbf",
    b"\xed\xa0\x80",
    b"\xf0\x8f\xbf\xbf",
    b"\xf4\x90\x80\x80",
    b"\xe2\x82",
    b"\xc3a\xa9",
    b"a\x80",
    b"\xc3\xa9\xa9",
    b"\xf4\x8f\xbf\xbf\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf\xe0\xa0\x80\xf0\x90\x80\x80",
]


def take(pool: Pool, *, base: int = 0, want: int = 500, most_bytes: int = 4 * MIB, limit: int = MIB) -> FetchResult:
    answer = fetch(
        pool.client, FetchRequest(pool.identity, "t", QUEUES, base, want, 999, most_bytes=most_bytes, limit_bytes=limit)
    )
    assert isinstance(answer, FetchResult)
    return answer


def waiting(pool: Pool, queue: str = "a") -> list[bytes]:
    return queues.peek(pool.client, queue, 0, 1000)


def park(pool: Pool, ticket: str, entry: NotAJob) -> list[object]:
    settlement = settle_unreadable(entry, CONTEXT)
    return list(finish(pool.client, FinishRequest(pool.identity, "t", QUEUES, 0, [(ticket, settlement)]), NOW_S))


def test_redis_parks_what_is_too_large_as_restbroker_would_and_once(pool: Pool, server: Server) -> None:
    for number, odd in enumerate(ODD_BYTES, 1):
        raw = odd + b"x" * PAYLOAD_LIMIT_BYTES + odd
        queues.push(pool.client, "a", [raw])
        (taken,) = take(pool, base=number - 1).jobs
        assert taken == FetchedJob(f"{number}:1", number, "a", b"", len(raw))
        entry = oversized_job(taken.size_bytes, "a", "jid")
        here = read(raw, "a", "jid")
        assert isinstance(here, NotAJob)
        assert park(pool, taken.ticket, entry) == [Applied()]
        assert park(pool, taken.ticket, entry) == [Gone()]
        (member,) = server.raw.zrange("ns:dead", 0, -1)
        parked = settle_unreadable(here, CONTEXT)
        assert isinstance(parked, Dead)
        assert rubyjson.loads(member) == rubyjson.loads(parked.payload), odd
        assert [fields[b"payload"] for _, fields in server.raw.xrange("ns:restbroker:parked")] == [member]
        assert server.raw.get("ns:stat:failed") == b"%d" % number
        server.raw.delete("ns:dead", "ns:restbroker:parked")


def test_what_was_stored_may_be_four_times_as_large(pool: Pool) -> None:
    stored = b'{"restbroker_attempts":[],"pad":"%s"}' % (b"x" * 2 * MIB)
    wrapped = b'{"class":"Restbroker::Unreadable","args":["%s"]}' % (b"x" * 2 * MIB)
    grown = stored + b" " * 2 * MIB
    queues.push(pool.client, "a", [stored, wrapped, grown])
    found = [job for base in range(3) for job in take(pool, base=base, want=1).jobs]
    assert [(job.raw, job.size_bytes) for job in found] == [(stored, 0), (wrapped, 0), (b"", len(grown))]
    assert read_jobs(pool.client, pool.identity).large == {"3:1": len(grown)}


def test_a_call_takes_what_the_bytes_allow_and_at_least_one_and_leaves_the_rest_in_its_order(pool: Pool) -> None:
    jobs = [b"%04d" % number + b"x" * (96 + 900 * (number % 7 == 3)) for number in range(300)]
    queues.push(pool.client, "a", jobs)
    queues.push(pool.client, "b", [b"last"])
    seen: list[bytes] = []
    while waiting(pool):
        found = take(pool, base=len(seen), most_bytes=5000)
        taken = [job.raw for job in found.jobs]
        assert sum(map(len, taken)) <= 5000
        assert found.more or not waiting(pool)
        seen += taken
        assert [*seen, *waiting(pool)] == jobs + [b"last"] * (len(seen) > 300)
    queues.push(pool.client, "a", [b"x" * 600, b"y" * 600])
    base = read_jobs(pool.client, pool.identity).last
    (one,) = take(pool, base=base, most_bytes=500).jobs
    assert one.raw == b"x" * 600
    assert take(pool, base=base + 1, most_bytes=-5).jobs[0].raw == b"y" * 600


def test_the_bytes_count_over_all_queues_and_what_is_too_large_counts_too(pool: Pool) -> None:
    queues.push(pool.client, "a", [SMALL, b"x" * 3000])
    queues.push(pool.client, "b", [b"y" * 3000, SMALL])
    found = take(pool, most_bytes=4000, limit=1000)
    assert [(job.ticket, job.size_bytes) for job in found.jobs] == [("1:1", 0), ("2:1", 3000)]
    assert found.more
    assert waiting(pool, "b") == [b"y" * 3000, SMALL]


def test_what_is_too_large_goes_back_as_it_came_and_clashes_like_any_other(pool: Pool, server: Server) -> None:
    raw = b"x" * 3000
    queues.push(pool.client, "a", [raw, raw])
    assert len(take(pool, limit=1000).jobs) == 2
    frame = Dead(NOW_S, b'{"class":"A","args":[],"jid":"j"}', wraps=True)
    request = FinishRequest(pool.identity, "t", QUEUES, 0, [("1:1", frame), ("2:1", frame)])
    assert finish(pool.client, request, NOW_S) == [Applied(), Clash()]
    assert read_jobs(pool.client, pool.identity, 1000).large == {"2:1": 3000}
    finish(pool.client, FinishRequest(pool.identity, "t", QUEUES, 0, [("2:1", Requeue())]), NOW_S)
    assert waiting(pool) == [raw]
    assert json.loads(server.raw.zrange("ns:dead", 0, 0)[0])["args"] == [raw.decode()]


def test_what_is_in_hand_is_read_a_few_mebibytes_at_a_time_and_of_what_is_too_large_the_length(pool: Pool) -> None:
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


def test_what_lists_entries_reads_a_few_mebibytes_at_a_time_and_comes_to_the_end(pool: Pool, server: Server) -> None:
    jobs = [b"%03d" % number + b"x" * (10 if number % 3 else 3 * MIB) for number in range(40)]
    queues.push(pool.client, "a", jobs)
    server.raw.zadd("ns:retry", {job: 1.0 + place for place, job in enumerate(jobs)})
    client = pool.client
    pages: dict[str, Callable[[int], list[bytes]]] = {
        "queue": lambda seen: queues.peek(client, "a", seen, 20),
        "set": lambda seen: [job for job, _ in sets.list_members(client, "retry", seen, 20, newest_first=False)],
        "due": lambda seen: [job for job, _ in sets.due(client, "retry", 20, sets.Position(0.0, seen)).members],
    }
    for name, page in pages.items():
        seen: list[bytes] = []
        while found := page(len(seen)):
            assert len(found) == 1 or sum(map(len, found)) <= 8 * MIB, name
            seen += found
        assert seen == jobs, name
    newest = [job for job, _ in sets.list_members(client, "retry", 0, 4, newest_first=True)]
    assert newest == jobs[:-4:-1], "the fourth one from the end is beyond the bytes"
    assert sets.due(client, "retry", 20).more
    assert not sets.due(client, "retry", 50, sets.Position(40.0)).more
