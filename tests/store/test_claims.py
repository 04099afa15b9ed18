"""What an `idempotency_key` and a lock of `enqueue --unique` take of Redis' memory, and how long a claim lasts.

CLAIM_KEYS is how many are measured (50,000).
"""

import json
import os
from collections.abc import Iterator

import pytest

from restbroker.bulk import store as bulk
from restbroker.bulk.store import Chunk, JobLock
from restbroker.job import claims
from restbroker.job.claim_changes import at_settlement, before_sending
from restbroker.job.claims import JobClaims, Lock
from restbroker.job.outcome import Delivered
from restbroker.job.settlement import Ack, ClaimChange
from restbroker.store import claims as claims_store
from restbroker.store import queues
from restbroker.store.claims import ClaimRequest
from restbroker.store.codes import Applied
from restbroker.store.jobs import FetchRequest, FetchResult
from restbroker.store.settling import FinishRequest
from tests.store.pools import QUEUES, Pool, Server
from tests.support.redis_line import Report
from tests.support.store_calls import fetch, finish

KEYS = int(os.environ.get("CLAIM_KEYS", "50000"))
AT_ONCE = 500
DAY_S = 86_400.0
MOST_BYTES = 310
"""docs/jobs-format.md says 290."""


def memory(server: Server) -> int:
    return int(server.raw.info("memory")["used_memory"])


def jids() -> Iterator[list[str]]:
    for start in range(0, KEYS, AT_ONCE):
        yield [f"{number:024x}" for number in range(start, min(start + AT_ONCE, KEYS))]


def payload(jid: str) -> bytes:
    return json.dumps({"class": "A", "jid": jid, "args": ["c", {}, "t"], "idempotency_key": jid}).encode()


def after(one: JobClaims, ticket: str, identity: str) -> tuple[ClaimChange, ...]:
    delivered = Delivered("0", 0, 200)
    return at_settlement(one, Ack(), delivered, ticket=ticket, identity=identity)


@pytest.mark.nightly
def test_idempotency_key_takes_little_memory(pool: Pool, server: Server, report: Report) -> None:
    client, identity, base = pool.client, pool.identity, 0
    before = memory(server)
    for some in jids():
        queues.push(client, "a", [payload(jid) for jid in some])
        taken = fetch(client, FetchRequest(identity, "chat", QUEUES, base, len(some), 0))
        assert isinstance(taken, FetchResult)
        base += len(some)
        of = [JobClaims(jid, claims.once_name("chat", "default", f"order-{jid}"), DAY_S) for jid in some]
        jobs = [(job.ticket, each) for job, each in zip(taken.jobs, of, strict=True)]
        calls = [ClaimRequest(ticket, each.jid, before_sending(each, ticket, identity)) for ticket, each in jobs]
        assert claims_store.claim(client, identity, calls) == [True] * len(some)
        done = [(ticket, Ack(claims=after(each, ticket, identity))) for ticket, each in jobs]
        assert finish(client, FinishRequest(identity, "chat", QUEUES, base, done), 1.0) == [Applied()] * len(some)
    a_key = (memory(server) - before) / KEYS
    assert server.raw.dbsize() >= KEYS
    assert not server.raw.exists("ns:queue:a")
    report(f"{KEYS} idempotency keys: {a_key:.0f} B each")
    assert a_key <= MOST_BYTES


@pytest.mark.nightly
def test_lock_takes_little_memory(pool: Pool, server: Server, report: Report) -> None:
    client, row = pool.client, 0
    before = memory(server)
    for some in jids():
        locks = [Lock(claims.lock_name("chat", "default", f"{jid}"), jid, DAY_S) for jid in some]
        held = [JobLock("a", rank, jid, lock) for rank, (jid, lock) in enumerate(zip(some, locks, strict=True), 1)]
        chunk = Chunk(row + len(some), {"a": [payload(jid) for jid in some]}, held)
        row = bulk.push(client, "batch", chunk, row, None)
    assert row == KEYS
    server.raw.delete("ns:queue:a")
    a_lock = (memory(server) - before) / KEYS
    report(f"{KEYS} locks: {a_lock:.0f} B each")
    assert server.raw.dbsize() >= KEYS
    assert a_lock <= MOST_BYTES


def test_a_claim_outlasts_a_crash_and_a_longer_one_is_not_shortened(pool: Pool, server: Server) -> None:
    """Its key may have been claimed under a longer `IdempotencyFor`, by a process with the configuration of before."""
    (at_work,) = before_sending(JobClaims("mine", "x", 2.0), "1:1", pool.identity)
    queues.push(pool.client, "a", [b"1", b"2", b"3"])
    kept = [(DAY_S, 3600.0, DAY_S), (100.0, 3600.0, 3600.0), (at_work.keep_s, 2.0, 2.0)]
    assert at_work.keep_s == 600.0
    for (kept_s, keep_s, lasts_s), job in zip(kept, pool.take(3).jobs, strict=True):
        server.raw.set("ns:restbroker:once:x", "mine", px=round(kept_s * 1000))
        done = Ack(claims=(ClaimChange("once", "x", ("mine",), becomes="done", keep_s=keep_s),))
        assert pool.settle((job.ticket, done), hwm=3) == [Applied()]
        assert server.raw.get("ns:restbroker:once:x") == b"done"
        assert lasts_s - 60 < server.raw.pttl("ns:restbroker:once:x") / 1000 <= lasts_s
