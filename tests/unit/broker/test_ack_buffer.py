"""Finished jobs are settled at once or in batches, none is forgotten; how they were is remembered for a while."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio
import trio.testing

from restbroker.broker.acker import (
    BATCH_ENOUGH,
    GATHER_S,
    AckBuffer,
    Acker,
    take_batch,
)
from restbroker.broker.health import Lease, StoreHealth
from restbroker.broker.identity import Identity
from restbroker.broker.job_in_progress import KEPT_BYTES, KEPT_S, LOSS_S, JobInProgress, RecentlySettled, Reservations
from restbroker.broker.ready_buffer import BatchSize, ReadyBuffer
from restbroker.errors import StoreUnavailable
from restbroker.job import settle
from restbroker.job.settlement import Ack, Reply, Requeue, Settlement
from restbroker.store.codes import APPLIED
from restbroker.store.settling import FinishRequest
from restbroker.store.tickets import MAX_BATCH
from restbroker.transport.readiness import Upkeep


def item(number: int) -> JobInProgress:
    return JobInProgress(f"{number}:1", number, "q", b"{}")


def acks() -> AckBuffer:
    return AckBuffer(ReadyBuffer(1, BatchSize()))


def add(finished: AckBuffer, numbers: Iterable[int], *, more: bool) -> None:
    """`more`: another job waits that a worker may start."""
    finished.ready.drop_unless(())
    if more:
        finished.ready.send_nowait([item(0)])
    for number in numbers:
        finished.add([item(number)])


def numbers(items: Iterable[JobInProgress]) -> list[int]:
    return [item.number for item in items]


def acker_of(finished: AckBuffer, store: object = None, **reports: object) -> Acker:
    """An acker of a target with `History`; `store` and `reports` are what it asks."""
    plan = SimpleNamespace(
        target=SimpleNamespace(name="t", queues=("q",)),
        order=None,
        history_s=1.0,
        key_rules="",
        limits=SimpleNamespace(in_flight=0),
    )
    return Acker(
        plan=cast("Any", plan),
        identity=Identity("me", lambda _: None),
        store=cast("Any", store or SimpleNamespace(opened=0)),
        health=StoreHealth(lambda _: None),
        reservations=Reservations(),
        ready=finished.ready,
        buffer=finished,
        settler=cast("Any", SimpleNamespace(reports=SimpleNamespace(**reports))),
        upkeep=Upkeep(),
        lease=Lease(),
    )


@asynccontextmanager
async def committing(finished: AckBuffer) -> AsyncIterator[trio.Nursery]:
    """A committer waits for a batch, and has one soon after the block."""
    with trio.fail_after(1):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(finished.wait_for_batch)
            await trio.testing.wait_all_tasks_blocked()
            yield nursery


async def test_a_single_job_is_settled_at_once(autojump_clock: trio.testing.MockClock) -> None:
    finished = acks()
    async with committing(finished):
        add(finished, [1], more=False)
    assert trio.current_time() == 0
    assert numbers(take_batch(finished.jobs)) == [1]


@pytest.mark.parametrize("first", [0, 1])
async def test_a_batch_is_gathered_for_3_ms_while_more_follow(
    first: int, autojump_clock: trio.testing.MockClock
) -> None:
    finished = acks()
    add(finished, range(first), more=True)
    async with committing(finished):
        add(finished, range(first, 10), more=True)
        await trio.testing.wait_all_tasks_blocked()
        add(finished, range(10, 20), more=True)
    assert trio.current_time() == pytest.approx(GATHER_S)
    assert numbers(take_batch(finished.jobs)) == list(range(20))


async def test_first_job_after_a_batch_does_not_wait_for_followers(
    autojump_clock: trio.testing.MockClock,
) -> None:
    finished = acks()
    add(finished, [1], more=True)
    await finished.wait_for_batch()
    take_batch(finished.jobs)
    async with committing(finished):
        add(finished, [2], more=True)
    assert numbers(take_batch(finished.jobs)) == [2]


async def test_large_or_last_batch_is_not_waited_for(
    autojump_clock: trio.testing.MockClock,
) -> None:
    for count, more in ((BATCH_ENOUGH, True), (2, False)):
        finished = acks()
        async with committing(finished):
            add(finished, [0], more=True)
            await trio.testing.wait_all_tasks_blocked()
            add(finished, range(1, count), more=more)
        assert trio.current_time() == 0
        assert len(take_batch(finished.jobs)) == count


async def test_a_batch_has_a_limit_and_the_rest_is_the_next_one() -> None:
    finished = acks()
    add(finished, range(MAX_BATCH + 1), more=True)
    assert [await finished.wait_for_batch() and len(take_batch(finished.jobs)) for _ in range(2)] == [MAX_BATCH, 1]


async def test_taken_jobs_are_not_awaited_and_returned_ones_go_first(
    autojump_clock: trio.testing.MockClock,
) -> None:
    finished = acks()
    async with committing(finished) as nursery:
        add(finished, [1, 2], more=True)
        await trio.testing.wait_all_tasks_blocked()
        taken = take_batch(finished.jobs)
        await trio.sleep(2 * GATHER_S)
        assert nursery.child_tasks, "an empty batch is none"
        add(finished, [3], more=False)
        finished.put_back(taken)
    assert numbers(take_batch(finished.jobs)) == [1, 2, 3]


@pytest.mark.parametrize("way", ["alone", "with a fetch"])
async def test_what_no_request_can_be_made_of_stays_to_be_settled(
    way: str, autojump_clock: trio.testing.MockClock
) -> None:
    finished, job = acks(), item(1)
    job.decide(Ack())
    acker = acker_of(finished, records=lambda *_: 1 / 0)
    async with trio.open_nursery() as nursery:
        if way == "alone":
            nursery.start_soon(acker.run)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(ZeroDivisionError):
                finished.add([job])
        else:
            finished.add([job])
            with pytest.raises(ZeroDivisionError):
                await acker.settle_and_fetch(lambda: cast("Any", "a fetch"))
        assert finished.jobs == [job]
        nursery.cancel_scope.cancel()


async def test_the_task_settles_what_is_decided_while_redis_is_away(
    autojump_clock: trio.testing.MockClock,
) -> None:
    asked: list[object] = []

    async def finish(request: FinishRequest, _now_s: float) -> object:
        asked.append(request.items)
        await trio.lowlevel.checkpoint()
        return [APPLIED], ()

    finished, job, told = acks(), item(1), list[JobInProgress]()
    job.decide(Ack())
    acker = acker_of(finished, SimpleNamespace(finish=finish, opened=0), records=lambda *_: None, send=told.extend)
    acker.health.record_outage(StoreUnavailable("Redis is away."))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(acker.run)
        await trio.testing.wait_all_tasks_blocked()
        finished.add([job])
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert asked == [[("1:1", Ack())]]
    assert told == [job]
    assert acker.health.is_up


async def test_committer_ends_once_closed_and_empty(autojump_clock: trio.testing.MockClock) -> None:
    finished = acks()
    async with committing(finished):
        add(finished, [1], more=True)
        await trio.testing.wait_all_tasks_blocked()
        finished.close()
    with trio.fail_after(1):
        assert await finished.wait_for_batch()
        assert numbers(take_batch(finished.jobs)) == [1]
        assert not await finished.wait_for_batch()


async def test_a_cancelled_wait_loses_no_job(autojump_clock: trio.testing.MockClock) -> None:
    finished = acks()
    add(finished, [1], more=True)
    with trio.move_on_after(GATHER_S / 2) as waiting:
        await finished.wait_for_batch()
    assert waiting.cancelled_caught
    add(finished, [2], more=True)
    with trio.fail_after(1):
        assert await finished.wait_for_batch()
    assert numbers(take_batch(finished.jobs)) == [1, 2]


async def test_it_is_busy_from_the_first_job_until_the_committer_waits(
    autojump_clock: trio.testing.MockClock,
) -> None:
    finished = acks()

    async def commit() -> None:
        while await finished.wait_for_batch():
            take_batch(finished.jobs)
            await trio.sleep(1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(commit)
        await trio.testing.wait_all_tasks_blocked()
        busy = [finished.is_busy]
        add(finished, [1], more=False)
        busy.append(finished.is_busy)
        await trio.testing.wait_all_tasks_blocked()
        busy.append(finished.is_busy)
        await trio.sleep(2)
        busy.append(finished.is_busy)
        finished.close()
    assert busy == [False, True, True, False]


async def test_putting_back_wakes_the_committer(autojump_clock: trio.testing.MockClock) -> None:
    finished = acks()
    async with committing(finished):
        finished.put_back([item(1)])


def settled(ticket: str, how: Settlement = settle.ACK, raw: bytes = b"") -> JobInProgress:
    job = JobInProgress(ticket, 1, "q", raw)
    job.decide(how)
    return job


def test_a_settlement_is_remembered_for_ten_seconds() -> None:
    recent = RecentlySettled()
    recent.add([settled("1:1")], 100.0)
    recent.add([settled("2:1")], 100.0 + KEPT_S)
    assert recent.get("1:1") == Ack()
    recent.add([settled("3:1")], 100.1 + KEPT_S)
    assert recent.get("1:1") is None
    assert recent.get("2:1") == Ack()


def test_old_entries_are_forgotten_also_without_new_ones() -> None:
    recent = RecentlySettled()
    recent.forget(100.0)
    recent.add([settled("1:1")], 100.0)
    recent.forget(100.0 + KEPT_S)
    assert recent.get("1:1") == Ack()
    recent.forget(100.1 + KEPT_S)
    assert recent.get("1:1") is None


def test_large_answers_push_out_older_ones() -> None:
    recent = RecentlySettled()
    large = Ack((Reply(b"x" * (1024 * 1024), queue="q"),))
    for number in range(100):
        recent.add([settled(f"{number}:1", large)], 100.0)
    kept = sum(recent.get(f"{number}:1") is not None for number in range(100))
    assert kept * 1024 * 1024 <= KEPT_BYTES
    assert kept > 25
    assert recent.get("99:1") == large


def test_the_last_batch_is_remembered_whole_however_large() -> None:
    recent = RecentlySettled()
    recent.add([settled("0:1")], 100.0)
    large = Ack((Reply(b"x" * (1024 * 1024), queue="q"),))
    recent.add([settled(f"{number}:1", large) for number in range(1, 101)], 100.0)
    assert [number for number in range(101) if recent.get(f"{number}:1") is not None] == list(range(1, 101))
    recent.add([settled("101:1")], 100.1)
    assert [number for number in range(102) if recent.get(f"{number}:1") is not None] == [101]


def test_settled_and_lost_jobs_count_as_run_for_a_minute() -> None:
    """After an outage each is known to have run once."""
    recent = RecentlySettled()
    put_back, begun = settled("2:1", Requeue(), b"put back"), settled("3:1", Requeue(b"more"), b"begun")
    recent.add([settled("1:1", raw=b"settled"), put_back, begun], 100.0)
    assert not recent.may_have_run(b"settled", 100.0)
    recent.record_loss([b"lost"], 101.0)
    assert [recent.may_have_run(job, 102.0) for job in (b"settled", b"settled", b"lost", b"put back", b"begun")] == [
        True, False, True, False, True,
    ]  # fmt: skip
    recent.record_loss([], 103.0)
    assert not recent.may_have_run(b"settled", 103.0 + LOSS_S)
