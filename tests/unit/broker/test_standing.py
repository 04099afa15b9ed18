"""What several standing fetches of one pool took is dealt with in the order of its tickets, or compared with Redis."""

from collections.abc import Callable
from typing import cast

import attrs
import pytest
import trio
from trio.testing import MockClock

from restbroker.broker.job_in_progress import JobInProgress, Reservations
from restbroker.broker.standing import Standing
from restbroker.store.connection import LOOK_EVERY_S, Watch
from restbroker.store.in_progress import FetchedJob
from restbroker.store.jobs import FetchAnswer, FetchRequest, FetchResult, TargetPaused
from restbroker.store.waiter import Answered, Waiter


@attrs.define(eq=False)
class Fake:
    """A waiter whose fetch is answered by hand."""

    fetch: FetchRequest | None = None
    is_look: bool = False
    answered: Answered | None = None

    @property
    def state(self) -> str:
        """What was sent and is not answered."""
        return "nothing" if self.fetch is None else "look" if self.is_look else "stands"

    async def begin(self, _watch: Watch, answered: Answered) -> bool:
        self.answered = answered
        await trio.lowlevel.checkpoint()
        return True

    def stand(self, fetch: FetchRequest, queue: str | None) -> bool:
        self.fetch, self.is_look = fetch, queue is None
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
    return FetchResult(tuple(jobs), frozenset(), frozenset(), base=base)


@attrs.define
class Later:
    """Makes calls a moment later, by hand."""

    calls: list[Callable[[], None]] = attrs.field(factory=list)
    is_kept: bool = True

    def call_later(self, call: Callable[[], None]) -> None:
        self.calls.append(call)

    def pass_moment(self) -> None:
        calls, self.calls = self.calls, []
        for call in calls:
            call()


class Pool:
    """Two queues, and the numbers of the jobs that were taken."""

    def __init__(self) -> None:
        self.a, self.b, self.reservations, self.later = Fake(), Fake(), Reservations(), Later()
        self.numbers: list[int] = []
        self.is_lost = False
        self.waiters = {"a": cast("Waiter", self.a), "b": cast("Waiter", self.b)}
        self.standing = Standing(self.waiters, cast("Watch", self.later), self.reservations)
        self.standing.serve(self.ask, self.take)

    def ask(self) -> FetchRequest:
        return FetchRequest("me", "t", ("a", "b"), self.reservations.last_number, 5, 5, follows=True)

    def take(self, fetch: FetchRequest, answer: FetchAnswer | None, _at_s: float) -> bool:
        self.is_lost = self.is_lost or answer is None
        if not isinstance(answer, FetchResult):
            return False
        self.reservations.add([JobInProgress(job.ticket, job.number, job.queue, job.raw) for job in answer.jobs])
        self.numbers += [job.number for job in answer.jobs]
        return len(answer.jobs) < fetch.count

    @property
    def states(self) -> tuple[str, str]:
        return self.a.state, self.b.state

    async def begin(self) -> Standing:
        assert await self.standing.begin(tuple(self.waiters))
        return self.standing


async def test_early_answer_waits_for_jobs_taken_before() -> None:
    pool = Pool()
    standing = await pool.begin()
    pool.b.answer(taken(2, 3))
    assert (pool.numbers, standing.is_well, standing.is_awaited) == ([], True, True)
    pool.a.answer(taken(0, 2))
    assert pool.numbers == [1, 2, 3, 4, 5]
    assert not standing.over.is_set()


async def test_waiter_for_a_usual_fetch_goes_on_once_that_was_handled() -> None:
    pool = Pool()
    standing = await pool.begin()
    pool.b.answer(taken(1))
    pool.reservations.add([JobInProgress("1:1", 1, "a", b"{}")])
    standing.take_early()
    assert pool.numbers == [2]


async def test_vain_wait_is_followed_by_a_comparison_with_redis(autojump_clock: MockClock) -> None:
    pool = Pool()
    standing = await pool.begin()
    pool.b.answer(taken(3))
    await trio.sleep(LOOK_EVERY_S + 0.01)
    assert not standing.is_well
    assert standing.close()
    assert (pool.numbers, standing.is_well, standing.is_awaited) == ([], True, False)
    assert not standing.close()


@pytest.mark.parametrize("answer", [None, TargetPaused(10)])
async def test_standing_fetches_are_taken_after_its_end_not_resent(answer: FetchAnswer | None) -> None:
    pool = Pool()
    standing = await pool.begin()
    pool.a.answer(answer)
    assert standing.over.is_set()
    pool.b.answer(taken(0))
    assert (pool.numbers, pool.a.fetch, pool.b.fetch) == ([1], None, None)
    assert pool.is_lost == (answer is None)


async def test_fetch_ended_early_may_have_taken_jobs() -> None:
    pool = Pool()
    standing = await pool.begin()
    assert standing.close()
    assert (pool.a.fetch, pool.b.fetch) == (None, None)


async def look_of(pool: Pool) -> Standing:
    """Return the fetches once jobs came to both queues in a moment."""
    standing = await pool.begin()
    pool.a.answer(taken(0))
    pool.b.answer(taken(1))
    assert pool.states == ("nothing", "nothing")
    pool.later.pass_moment()
    assert pool.states == ("look", "nothing")
    return standing


async def test_fast_jobs_of_several_queues_are_taken_by_one_look(autojump_clock: MockClock) -> None:
    pool = Pool()
    await look_of(pool)
    for base in (2, 4):
        pool.a.answer(taken(base, 2))
        assert pool.states == ("nothing", "nothing")
        pool.later.pass_moment()
        assert pool.states == ("look", "nothing")
    pool.a.answer(taken(6))
    assert pool.states == ("stands", "stands")
    assert pool.numbers == [1, 2, 3, 4, 5, 6, 7]


async def test_fast_jobs_of_one_queue_have_its_fetch_stand_again(autojump_clock: MockClock) -> None:
    pool = Pool()
    await pool.begin()
    pool.a.answer(taken(0))
    assert pool.states == ("nothing", "stands")
    pool.later.pass_moment()
    assert pool.states == ("stands", "stands")
    await trio.sleep(0.001)
    pool.a.answer(taken(1))
    assert pool.states == ("stands", "stands")


async def test_standing_fetch_is_taken_beside_a_look_and_sent_after_it(autojump_clock: MockClock) -> None:
    pool = Pool()
    standing = await pool.begin()
    third = Fake()
    pool.waiters["c"] = cast("Waiter", third)
    standing.over.set()
    await pool.begin()
    pool.a.answer(taken(0))
    pool.b.answer(taken(1))
    pool.later.pass_moment()
    third.answer(taken(2))
    assert (*pool.states, third.state) == ("look", "nothing", "nothing")
    pool.a.answer(taken(3, 0))
    assert (*pool.states, third.state) == ("stands", "stands", "stands")
    assert pool.numbers == [1, 2, 3]


@pytest.mark.parametrize("answer", [None, TargetPaused(10)])
async def test_a_look_that_brings_nothing_plain_is_the_last(
    answer: FetchAnswer | None, autojump_clock: MockClock
) -> None:
    pool = Pool()
    standing = await look_of(pool)
    pool.a.answer(answer)
    assert standing.over.is_set()
    assert pool.states == ("nothing", "nothing")
    assert pool.is_lost == (answer is None)


async def test_a_look_that_is_ended_may_have_taken_jobs(autojump_clock: MockClock) -> None:
    pool = Pool()
    standing = await look_of(pool)
    assert standing.close()
    await pool.begin()
    assert pool.states == ("stands", "stands")
    pool.a.answer(taken(2, 2))
    pool.later.pass_moment()
    assert pool.states == ("stands", "stands")
