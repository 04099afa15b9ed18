"""A job that crashes processes is found and dies; the jobs beside it are delivered."""

import pytest
import trio
from trio.testing import MockClock

from restbroker.broker import poison
from restbroker.broker.same_host import this_process
from restbroker.errors import StoreRefused
from restbroker.job.command import Call
from restbroker.job.job import digest
from restbroker.store import heartbeats, identities, jobs
from restbroker.store.connection import Connection
from restbroker.store.in_progress import read_jobs
from restbroker.telemetry.events import JobDied, JobFinished, JobsRecovered, OperatorWarning
from restbroker.transport.message import Request, Response
from tests.broker.conftest import Harness, Held, ok
from tests.support.store_calls import fetch


def crash(harness: Harness) -> None:
    """What a reaper sees and does after a crash: it fences the identity and gives its jobs back."""
    for identity, counter in identities.live_identities(harness.client).items():
        assert heartbeats.fence(harness.client, identity, counter)
        harness.recover(identity)


async def test_job_alone_in_a_crash_runs_alone_afterwards(harness: Harness) -> None:
    harness.concurrency = 5
    beside: list[tuple[int, int]] = []

    def before(call: Call) -> None:
        if call.command.arguments["n"] == 7:
            held = sum(len(held_by(harness, identity)) for identity in identities.live_identities(harness.client))
            beside.append((len(beside), held - 1))
            crash(harness)

    harness.target.before = before
    harness.push("safe", count=100)
    async with harness.broker():
        await harness.until(lambda: harness.size("dead"), "it is dead")
        await harness.until(lambda: not harness.size("queue:rest"), "the others run")
    assert len(beside) == 5
    assert [others for _, others in beside[2:]] == [0, 0, 0]


def held_by(harness: Harness, identity: str) -> dict[str, bytes]:
    return dict(read_jobs(harness.client, identity).jobs)


async def test_a_job_alone_in_one_crash_is_not_reported_as_dead(harness: Harness) -> None:
    """It goes back to its queue, or waits: Redis makes it dead only after the third such crash."""
    harness.push("safe")
    harness.crashed()
    assert jobs.isolate(harness.client, "dead-one", "1:1")
    async with harness.broker():
        await harness.until(lambda: harness.of(JobFinished), "it runs again")
    assert (harness.of(JobsRecovered)[0].dead, harness.of(JobDied)) == (0, [])


async def test_innocent_suspect_is_delivered_and_its_count_ends(harness: Harness) -> None:
    for identity in ("one", "two"):
        dead_with_job(harness, identity)
    harness.concurrency = 5
    harness.push("safe", count=50, first=1)
    async with harness.broker():
        await harness.until(lambda: len(harness.of(JobFinished)) == 51, "all run")
        await harness.until(lambda: not heartbeats.maybe_run(harness.client), "its count is gone")
    assert [warned.code for warned in harness.of(OperatorWarning)] == ["SuspectJob"]
    assert all(event.outcome == "delivered" for event in harness.of(JobFinished))


async def test_stop_returns_a_waiting_suspect_to_its_queue(harness: Harness) -> None:
    raw = dead_with_job(harness, "one")
    dead_with_job(harness, "two", push=False)

    def before(_call: Call) -> None:
        harness.control.stop.set()

    harness.target.before = before
    harness.concurrency = 1
    # The suspect is in the middle: the first runs, and stops the broker.
    harness.client.command("DEL", "queue:rest")
    harness.push("safe", first=1)
    harness.raw(raw)
    harness.push("safe", first=2)
    async with harness.broker():
        await harness.until(lambda: harness.ended is not None, "it stops")
    assert [event.jid for event in harness.of(JobFinished)] == ["jid-safe-1"]
    assert [entry["jid"] for entry in harness.entries("queue:rest")] == ["jid-safe-2", "jid-safe-0"]


def dead_with_job(harness: Harness, identity: str, *, push: bool = True) -> bytes:
    """Counts one crash of a process that had the job number 0 in progress; the job is in its queue."""
    if push and not harness.size("queue:rest"):
        harness.push("safe")
    raw = harness.client.command("LINDEX", "queue:rest", -1)
    assert isinstance(raw, bytes)
    jobs.register(harness.client, identity, this_process("t"), ["rest"])
    fetch(harness.client, jobs.FetchRequest(identity, "t", ("rest",), 0, 1, 1))
    assert heartbeats.fence(harness.client, identity, 0)
    harness.recover(identity)
    assert digest(raw) in heartbeats.maybe_run(harness.client)
    return raw


async def test_between_two_slow_suspects_the_others_have_their_turn(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, hurry: MockClock
) -> None:
    monkeypatch.setattr(poison, "_PATIENCE_S", 0.3)
    harness.push("once", count=6)
    for life in ("one", "two"):
        identity = f"h:1:{life}:t"
        jobs.register(harness.client, identity, this_process("t"), ["rest"])
        fetch(harness.client, jobs.FetchRequest(identity, "t", ("rest",), 0, 6, 6))
        heartbeats.fence(harness.client, identity, 0)
        harness.recover(identity)
    released = trio.Event()

    async def answer(request: Request) -> Response:
        if request.path == "/once":
            await released.wait()
        return await ok(request)

    harness.target.answer, harness.concurrency = answer, 10
    harness.push("safe", count=100)
    async with harness.broker():
        await harness.until(lambda: len(harness.of(JobFinished)) == 100, "all others run")
        released.set()
        await harness.until(lambda: len(harness.of(JobFinished)) == 106, "the slow ones too")
    assert {event.outcome for event in harness.of(JobFinished)} == {"delivered"}
    assert len(harness.target.calls) == 106


async def test_suspect_starts_only_once_redis_knows_of_it(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for this also when it waited for the other jobs in vain."""
    monkeypatch.setattr(poison, "_PATIENCE_S", 0.3)
    unknown: list[str] = []

    def before(_call: Call) -> None:
        (identity,) = identities.live_identities(harness.client)
        known, (pool,) = read_jobs(harness.client, identity).hwm, harness.status.pools
        under_way = [job for job in pool.reservations.jobs.values() if job.started_at_s and not job.settling]
        unknown.extend(job.ticket for job in under_way if job.number > known)

    held = Held()
    harness.target.before, harness.concurrency = before, 1
    harness.target.answers.append(held)
    suspected_behind_two(harness)
    async with harness.broker():
        await harness.until(lambda: harness.target.calls, "the first hangs")
        (pool,) = harness.status.pools
        await harness.until(lambda: len(pool.ready) == 2, "the suspect may run beside others")
        held.let.set()
        await harness.until(lambda: len(harness.of(JobFinished)) == 3, "all are done")
    assert unknown == []


async def test_suspect_runs_though_redis_refuses_a_call_meanwhile(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch, refused = Connection.fetch, list[jobs.FetchRequest]()

    async def refuse_once(connection: Connection, request: jobs.FetchRequest) -> jobs.FetchAnswer:
        if request.count == 0 and not request.queues and not refused:
            refused.append(request)
            raise StoreRefused("The right is taken away for a moment.", "")
        return await fetch(connection, request)

    monkeypatch.setattr(Connection, "fetch", refuse_once)
    held = harness.target.answer = Held()
    harness.concurrency = 1
    suspected_behind_two(harness)
    async with harness.broker():
        await harness.until(lambda: refused, "Redis refuses")
        held.let.set()
        await harness.until(lambda: len(harness.of(JobFinished)) == 3, "all are done")
    assert {event.outcome for event in harness.of(JobFinished)} == {"delivered"}


def suspected_behind_two(harness: Harness) -> None:
    """Push two jobs, and behind them one that was in progress in two crashes."""
    for identity in ("one", "two"):
        raw = dead_with_job(harness, identity)
    harness.client.command("DEL", "queue:rest")
    harness.push("safe", count=2, first=1)
    harness.raw(raw)
