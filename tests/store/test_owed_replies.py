"""A job that dies by a crash is answered in the same step, once."""

import attrs
import pytest

from restbroker.job.format import ResponseQueue
from restbroker.job.settlement import Dead, OrphanedJob, Reply
from restbroker.store import heartbeats, queues
from restbroker.store.client import Client
from restbroker.store.heartbeats import Recovered
from restbroker.store.jobs import mark, register
from tests.store.pools import FACTS, QUEUES, Pool, Server, as_dead, dead_payload, is_retired

WAITED_FOR = "restbroker:reply:waited-for"
RESPONSES = ResponseQueue("out", "Add")


def as_owed(fallen: OrphanedJob) -> Dead:
    """Dead, with an answer for the waiting client, and one for the response queue."""
    assert fallen.responses == RESPONSES
    job = b"reply to %s of %s" % (fallen.raw, fallen.queue.encode())
    replies = (Reply(b"answer to " + fallen.raw, key=WAITED_FOR, ttl_s=3600), Reply(job, queue=fallen.responses.name))
    return attrs.evolve(as_dead(fallen), replies=replies)


@pytest.fixture
def owing(client: Client) -> Pool:
    """A dead pool that had two jobs in progress, the second of which was about to be sent."""
    pool = Pool(client, "h:1:owing:t")
    assert register(client, pool.identity, FACTS, QUEUES, RESPONSES)
    queues.push(client, "a", [b"1", b"2"])
    pool.take(2, hwm=2)
    mark(client, pool.identity, ["2:1"])
    assert heartbeats.fence(client, pool.identity, 0)
    return pool


def test_job_killed_by_a_crash_is_answered_in_the_same_step(owing: Pool, server: Server) -> None:
    """A job that goes back is not answered."""
    assert heartbeats.recover(owing.client, owing.identity, as_owed) == Recovered(2, 2, {"2:1"})
    assert is_retired(owing.client, owing.identity)
    assert server.raw.lrange(f"ns:{WAITED_FOR}", 0, -1) == [b"answer to 2"]
    assert 3500 < server.raw.ttl(f"ns:{WAITED_FOR}") <= 3600
    assert server.raw.lrange("ns:queue:out", 0, -1) == [b"reply to 2 of a"]
    assert server.raw.ttl("ns:queue:out") == -1
    assert server.raw.sismember("ns:queues", "out")
    assert server.raw.zrange("ns:dead", 0, -1) == [dead_payload("a", b"2")]
    assert queues.sizes(owing.client, ["a"]) == {"a": 1}


@pytest.mark.parametrize(
    ("spoilt", "answers"),
    [(WAITED_FOR, {"queue:out": 1}), ("queue:out", {WAITED_FOR: 1}), ("queues", {WAITED_FOR: 1, "queue:out": 0})],
)
def test_refused_reply_keeps_neither_its_job_nor_other_replies(
    owing: Pool, server: Server, spoilt: str, answers: dict[str, int]
) -> None:
    server.raw.set(f"ns:{spoilt}", "of another type")
    found = heartbeats.recover(owing.client, owing.identity, as_owed)
    assert found == Recovered(2, 2, {"2:1"}, unanswered=1)
    assert is_retired(owing.client, owing.identity)
    assert {key: server.raw.llen(f"ns:{key}") for key in answers} == answers
    assert server.raw.get(f"ns:{spoilt}") == b"of another type"
    assert (server.raw.zcard("ns:dead"), server.raw.xlen("ns:restbroker:parked")) == (1, 1)
