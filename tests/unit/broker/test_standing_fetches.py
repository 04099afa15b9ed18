"""What several standing fetches of one pool took is dealt with in the order of its tickets, or compared with Redis."""

from typing import cast

import attrs
import pytest
import trio
from trio.testing import MockClock

from restbroker.broker.job_in_progress import JobInProgress, Reservations
from restbroker.broker.poller import StandingFetches
from restbroker.store.connection import LOOK_EVERY_S, Watch
from restbroker.store.jobs import FetchAnswer, FetchedJob, FetchRequest, FetchResult, TargetPaused
from restbroker.store.waiter import Answered, Waiter
from restbroker.transport.upkeep import Readiness


@attrs.define(eq=False)
class Fake:
    """A waiter whose fetch is answered by hand."""

    fetch: FetchRequest | None = None
    answered: Answered | None = None

    async def begin(self, _watch: Watch, answered: Answered) -> bool:
        self.answered = answered
        await trio.lowlevel.checkpoint()
        return True

    def stand(self, _queue: str, fetch: FetchRequest) -> bool:
        self.fetch = fetch
        return True

    @property
    def can_answer(self) -> bool:
        return True

    def answer(self, answer: FetchAnswer | None) -> None:
        fetch, self.fetch = self.fetch, None
        assert fetch is not None
        assert self.answered is not None
        self.answered(fetch, answer, 0.0)

    def close(self) -> None:
        self.fetch = None


def taken(base: int, count: int = 1) -> FetchResult:
    jobs = [FetchedJob(f"{number}:1", number, "a", b"{}") for number in range(base + 1, base + count + 1)]
    return FetchResult(tuple(jobs), frozenset(), frozenset(), 0, base=base)


class Pool:
    """Two queues, and the numbers of the jobs that were taken."""

    def __init__(self) -> None:
        self.a, self.b, self.reservations = Fake(), Fake(), Reservations()
        self.numbers: list[int] = []
        waiters = {"a": cast("Waiter", self.a), "b": cast("Waiter", self.b)}
        self.standing = StandingFetches(waiters, Readiness(), self.reservations)

    def ask(self) -> FetchRequest:
        return FetchRequest("me", "t", ("a", "b"), self.reservations.last_number, 5, 5, follows=True)

    def take(self, _fetch: FetchRequest, answer: FetchAnswer, _at_s: float) -> bool:
        if not isinstance(answer, FetchResult):
            return False
        self.reservations.add([JobInProgress(job.ticket, job.number, job.queue, job.raw) for job in answer.jobs])
        self.numbers += [job.number for job in answer.jobs]
        return True

    async def begin(self) -> StandingFetches:
        assert await self.standing.begin(self.ask, self.take)
        return self.standing


async def test_what_comes_too_early_waits_for_what_was_taken_before_it() -> None:
    pool = Pool()
    standing = await pool.begin()
    pool.b.answer(taken(2, 3))
    assert (pool.numbers, standing.is_lost, standing.is_awaited) == ([], False, True)
    pool.a.answer(taken(0, 2))
    assert pool.numbers == [1, 2, 3, 4, 5]
    assert not standing.is_lost


async def test_what_waits_for_a_fetch_of_the_usual_kind_goes_on_once_that_was_dealt_with() -> None:
    pool = Pool()
    standing = await pool.begin()
    pool.b.answer(taken(1))
    pool.reservations.add([JobInProgress("1:1", 1, "a", b"{}")])
    standing.go_on()
    assert pool.numbers == [2]


async def test_what_waits_in_vain_is_compared_with_redis(autojump_clock: MockClock) -> None:
    pool = Pool()
    standing = await pool.begin()
    pool.b.answer(taken(3))
    await trio.sleep(LOOK_EVERY_S + 0.01)
    assert standing.is_lost
    assert not standing.is_well
    standing.close()
    standing.note_compared()
    assert (pool.numbers, standing.is_lost, standing.is_awaited) == ([], False, False)


@pytest.mark.parametrize("answer", [None, TargetPaused(10)])
async def test_after_its_end_what_still_stands_is_taken_and_none_is_sent_again(answer: FetchAnswer | None) -> None:
    pool = Pool()
    standing = await pool.begin()
    pool.a.answer(answer)
    assert standing.over.is_set()
    standing.end()
    pool.b.answer(taken(0))
    assert (pool.numbers, pool.a.fetch, pool.b.fetch) == ([1], None, None)
    assert standing.is_lost == (answer is None)


async def test_if_it_is_ended_before_it_is_over_what_stands_may_have_taken_jobs() -> None:
    pool = Pool()
    standing = await pool.begin()
    standing.end()
    assert standing.is_lost
    assert (pool.a.fetch, pool.b.fetch) == (None, None)
