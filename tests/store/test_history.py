"""How jobs ended: written with their settlement, once, and only where configured."""

from collections.abc import Sequence

from restbroker.job.settlement import Ack, Reply, Settlement
from restbroker.store import history, queues
from restbroker.store.codes import Applied
from restbroker.store.history import JobEnd, Records
from tests.store.pools import Pool, Server, on_both

KEY = "ns:restbroker:history"
LONG_MS = 3_600_000


def settle(pool: Pool, items: Sequence[tuple[str, Settlement]], *records: bytes) -> list[object]:
    return list(pool.settle(*items, records=Records(LONG_MS, records)))


def kept(pool: Pool) -> list[bytes]:
    """The records, oldest first."""
    return [entry.record for entry in reversed(history.newest(pool.client, 1000))]


def test_more_jobs_than_one_call_takes_are_all_written(pool: Pool) -> None:
    tickets = pool.start(500)
    queues.push(pool.client, "a", [b"more %d" % number for number in range(250)])
    tickets += [job.ticket for job in pool.take(250, hwm=750, base=500).jobs]
    replies = (Reply(b"r", queue="out"),)
    items = [(ticket, Ack(replies if number % 3 else ())) for number, ticket in enumerate(tickets)]
    assert settle(pool, items, *(ticket.encode() for ticket in tickets)) == [Applied()] * 750
    assert sorted(kept(pool)) == sorted(ticket.encode() for ticket in tickets)


@on_both
def test_old_record_goes_when_the_next_comes(pool: Pool, server: Server) -> None:
    for number in range(1, 501):
        server.raw.xadd(KEY, {"end": "old"}, id=f"{number}-0")
    (ticket,) = pool.start(1)
    settle(pool, [(ticket, Ack())], b"new")
    found = kept(pool)
    assert found[-1] == b"new"
    # Redis drops whole nodes of a hundred.
    assert len(found) <= 101
    assert 0 < server.raw.pttl(KEY) <= LONG_MS


def test_a_history_of_another_type_costs_no_settlement(pool: Pool, server: Server) -> None:
    server.raw.set(KEY, "no stream")
    (ticket,) = pool.start(1)
    assert settle(pool, [(ticket, Ack())], b"done") == [Applied()]
    assert server.raw.get(KEY) == b"no stream"


def test_record_can_be_written_of_any_job_and_read_back() -> None:
    for word in ("j1", 'ä\n\t"', "half \ud83d", "w" * 1000):
        ending = history.read(history.to_record(JobEnd(word, "t", word, "delivered", 200, 12.34)))
        assert ending is not None
        assert ending == JobEnd(ending.jid, "t", ending.jid, "delivered", 200, 12.3)
        assert ending.jid[:4] == word[:4]
        assert len(ending.jid) <= 210


def test_foreign_text_is_no_record_and_newer_ones_may_have_more() -> None:
    for record in (b"", b"{}", b"5", b"[]", b'[1,"t","c","o",200,1.5,null]', b'["j","t","c","o","x",1,null]'):
        assert history.read(record) is None
    assert history.read(b'["j","t","c","rejected",null,1,"BadToken",null,"more"]') == JobEnd(
        "j", "t", "c", "rejected", None, 1.0, "BadToken"
    )
    assert history.read(b'["j","t","c","o",200,1,null,"has a name","more"]') == JobEnd(
        "j", "t", "c", "o", 200, 1.0, unmet="has a name"
    )
