"""The figures of a target beside its beat, and the ended jobs that `History` keeps, without arguments."""

import time
from typing import Any

from restbroker.app.metrics import snapshot
from restbroker.broker.worker_pool import WorkerPool
from restbroker.store import history
from restbroker.store.history import JobEnd, JobTimes
from restbroker.telemetry.counters import Counters
from tests.broker.conftest import Harness, Held


async def test_snapshot_counts_sent_and_waiting_jobs_apart(harness: Harness) -> None:
    pools: list[WorkerPool] = []
    harness.target.answer = held = Held()
    harness.snapshot = lambda pool: pools.append(pool) or {}  # type: ignore[func-returns-value]
    harness.push(count=30)
    async with harness.broker():
        await harness.until(lambda: pools, "it beats")
        jobs = pools[0].reservations.jobs
        await harness.until(lambda: len(jobs) > 3 == len(harness.target.calls), "three are sent")
        figures = snapshot(pools[0], Counters())
        assert (figures["at_work"], figures["workers"]) == (3, 3)
        assert figures["limits"] == {"concurrency": 3, "now": 3, "rate_per_s": None, "burst": None, "in_flight": None}
        assert figures["gate_code"] is None
        assert figures["ahead"] == len(jobs) - 3
        held.let.set()
        await harness.until(lambda: not jobs, "all are settled")
        figures = snapshot(pools[0], Counters())
        assert (figures["at_work"], figures["ahead"]) == (0, 0)


def kept(harness: Harness) -> dict[str, JobEnd]:
    found = [history.read(entry.record) for entry in history.newest(harness.client, 1000)]
    assert None not in found
    return {ending.jid: ending for ending in found if ending is not None}


async def test_history_keeps_delivered_and_dropped_jobs_not_dead_ones(harness: Harness) -> None:
    harness.history_s = 3600.0
    harness.push(count=2)
    harness.push("once", args=["once", {"secret": "hush"}, "t", "an id"])
    harness.push("dropped", args=["safe", {}, "wrong"], dead=False)
    harness.push("refused", args=["safe", {}, "wrong"])
    await harness.serve(5)
    found = kept(harness)
    assert {jid: (end.target, end.command, end.outcome, end.status) for jid, end in found.items()} == {
        "jid-safe-0": ("t", "safe", "delivered", 200),
        "jid-safe-1": ("t", "safe", "delivered", 200),
        "jid-once-0": ("t", "once", "delivered", 200),
        "jid-dropped-0": ("t", "safe", "rejected", None),
    }
    assert found["jid-dropped-0"].code == "BadToken"
    raw = b"".join(entry.record for entry in history.newest(harness.client, 1000))
    assert b"hush" not in raw
    assert b"wrong" not in raw


async def test_a_token_in_the_wrong_place_is_masked_there_too(harness: Harness) -> None:
    harness.history_s = 3600.0
    harness.token = "t0ken-in-a-jid"
    harness.push(args=["safe", {}, harness.token], jid=f"x{harness.token}")
    await harness.serve()
    assert list(kept(harness)) == ["***"]


async def test_without_history_nothing_is_kept(harness: Harness) -> None:
    harness.push()
    await harness.serve()
    assert harness.client.command("EXISTS", "restbroker:history") == 0


async def test_history_says_when_a_job_was_pushed_fetched_and_answered(harness: Harness) -> None:
    harness.history_s = 3600.0
    pushed_s = time.time() - 5
    earlier = {"at": pushed_s + 2, "outcome": "deferred", "code": "ServerError", "ms": 12.5}
    again: dict[str, Any] = {
        "enqueued_at": pushed_s + 4,
        "retry_count": 0,
        "failed_at": pushed_s + 2,
        "restbroker_attempts": [earlier, "no try"],
    }
    harness.push(created_at=int(pushed_s * 1000))
    harness.push("once", args=["once", {}, "t"], created_at=pushed_s, **again)
    harness.push("refused", args=["safe", {}, "wrong"], dead=False, created_at=-7)
    await harness.serve(3)
    first, second, refused = [
        kept(harness)[f"jid-{name}-0"].times or JobTimes() for name in ("safe", "once", "refused")
    ]
    for times in (first, second):
        assert 5000 <= (times.pushed_ms or 0) < 9000
        assert 0 <= (times.answered_ms or 0) <= (times.fetched_ms or 0) < 4000
    assert (first.tries, first.failed_ms) == (1, ())
    assert second.tries == 2
    assert [3000 <= ms < 7000 for ms in second.failed_ms] == [True]
    assert (refused.pushed_ms, refused.answered_ms) == (None, None)
