"""However the life of a job ends, and wherever it waits then, it ends once, and gives each place back."""

import gc
import inspect
import time
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from restbroker.broker.acker import AckBuffer
from restbroker.broker.delivery import Delivery
from restbroker.broker.health import Lease, boot_time_s
from restbroker.broker.job_in_progress import JobInProgress
from restbroker.broker.settler import Settler
from restbroker.broker.waits import Asked, InLine, InTask, Moment
from restbroker.job.command import Call
from restbroker.job.outcome import Delivered, Outcome, Reason, Rejected
from restbroker.job.settlement import Ack, Dead
from restbroker.servers.contract import Link, NotYet
from restbroker.transport.exchange import ExchangeState
from restbroker.transport.message import NotSent, Request, Response, Withdrawn
from tests.support.lives import PLACES, Lives, by_request, by_task, living

DOWN = Reason("TargetUnwell", "It is down.")
SLOW = {"slow": 1}


async def at_its_slot(lives: Lives) -> JobInProgress:
    return lives.put(2, "slow")[1]


async def at_the_breaker(lives: Lives) -> JobInProgress:
    lives.breaker.semaphore.close()
    return lives.put()[0]


async def at_the_breaker_in_its_slot(lives: Lives) -> JobInProgress:
    lives.breaker.trip(DOWN)
    return lives.put(1, "slow")[0]


async def at_the_rate_limit(lives: Lives) -> JobInProgress:
    return lives.put()[0]


async def at_a_moment(lives: Lives) -> JobInProgress:
    (job,) = lives.put()
    lives.service.sent.pop().fail(NotSent("refused"))
    return job


async def at_its_mark(lives: Lives) -> JobInProgress:
    return lives.put(1, "once")[0]


async def at_its_answer(lives: Lives) -> JobInProgress:
    return lives.put()[0]


async def in_its_task(lives: Lives) -> JobInProgress:
    (job,) = lives.put()
    await trio.testing.wait_all_tasks_blocked()
    return job


WAITS: dict[Callable[[Lives], Awaitable[JobInProgress]], tuple[type, dict[str, Any]]] = {
    at_its_slot: (InLine, {"slots": SLOW}),
    at_the_breaker: (InLine, {}),
    at_the_breaker_in_its_slot: (InLine, {"slots": SLOW}),
    at_the_rate_limit: (Asked, {"rate": True}),
    at_a_moment: (Moment, {}),
    at_its_mark: (Asked, {"once": ("once",)}),
    at_its_answer: (Delivery, {}),
    in_its_task: (InTask, {"way": by_task}),
}
wherever = pytest.mark.parametrize("wait", WAITS, ids=lambda wait: wait.__name__)
wherever_unsent = pytest.mark.parametrize(
    "wait",
    [at_its_slot, at_the_breaker, at_the_breaker_in_its_slot, at_the_rate_limit, at_a_moment],
    ids=lambda wait: wait.__name__,
)


async def finish(lives: Lives) -> None:
    """All that is sent is answered, as long as that has anything follow."""
    for _ in range(3 * PLACES):
        while lives.service.sent:
            lives.service.sent.pop(0).answer()
        await trio.testing.wait_all_tasks_blocked()


@wherever
async def test_a_cancel_ends_it_once_and_frees_its_places(wait: Callable[[Lives], Awaitable[JobInProgress]]) -> None:
    kind, ways = WAITS[wait]
    async with living(**ways) as lives:
        job = await wait(lives)
        delivery = lives.delivery(job)
        assert type(delivery.wait) is kind
        assert lives.worker.cancel(job) is True
        await trio.testing.wait_all_tasks_blocked()
        assert lives.fates() == {job.number: "Dead"}
        assert lives.worker.cancel(job) is False
        assert next(delivery.life, None) is None
        lives.service.sent = [sent for sent in lives.service.sent if sent.delivery is not delivery]
        await finish(lives)
        if not lives.breaker.admits:
            lives.breaker.admits = True
        lives.breaker.semaphore.open(alone=False)
        lives.assert_over()


@wherever_unsent
async def test_an_expiry_ends_a_wait_before_the_sending(
    autojump_clock: MockClock, wait: Callable[[Lives], Awaitable[JobInProgress]], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, ways = WAITS[wait]
    began, epoch_s = trio.current_time(), time.time()
    monkeypatch.setattr(time, "time", lambda: epoch_s + trio.current_time() - began)
    async with living(**ways) as lives:
        lives.fields["expiry"] = epoch_s + 0.1
        job = await wait(lives)
        assert not lives.settled()
        await trio.sleep(0.2)
        assert lives.settled() == [job]
        assert job.event is not None
        assert job.event.outcome == "expired"
        assert job not in lives.life.deliveries


@wherever
async def test_the_pools_stop_ends_what_was_not_sent(wait: Callable[[Lives], Awaitable[JobInProgress]]) -> None:
    """It stays reserved, for recovery; what Redis or the target is asked for goes on."""
    kind, ways = WAITS[wait]
    async with living(**ways) as lives:
        job = await wait(lives)
        lives.life.stopping.set()
        await trio.testing.wait_all_tasks_blocked()
        goes_on = kind in (Asked, Delivery, InTask)
        assert (job in lives.life.deliveries) is goes_on
        assert job.settlement is None
        assert lives.life.reservations.has(job)


@wherever
async def test_the_workers_end_closes_each_life(wait: Callable[[Lives], Awaitable[JobInProgress]]) -> None:
    """Its job stays as it is, none begins, and nothing is under way."""
    _, ways = WAITS[wait]
    async with living(**ways) as lives:
        job = await wait(lives)
        begun = list(lives.life.deliveries.values())
    assert lives.life.deliveries == {}
    assert (job.settlement, lives.settled()) == (None, [])
    assert all(inspect.getgeneratorstate(delivery.life) == inspect.GEN_CLOSED for delivery in begun)
    assert all(sent.state is ExchangeState.OVER for sent in lives.service.sent)
    assert lives.service.started == len(lives.service.sent) + (wait is at_a_moment)


async def test_loss_and_trip_end_the_waits_of_those_concerned() -> None:
    async with living(once=("once",)) as lives:
        lost, kept, marked = *lives.put(2), lives.put(1, "once")[0]
        await lives.marks.come(answer=True)
        while lives.service.sent:
            lives.service.sent.pop(0).fail(NotSent("refused"))
        lives.life.reservations.release(lost.ticket)
        lives.worker.drop_lost()
        assert (lost in lives.life.deliveries, lost.settlement) == (False, None)
        lives.breaker.trip(DOWN)
        await trio.testing.wait_all_tasks_blocked()
        assert lives.fates() == {marked.number: "Requeue"}
        assert list(lives.life.deliveries) == [kept]


async def test_who_waits_for_its_slot_comes_before_later_jobs() -> None:
    """Also where its place of the worker lets the next one begin in the same step."""
    async with living(slots=SLOW) as lives:
        jobs = lives.put(PLACES + 3, "slow")
        assert [job.number for job in jobs] == [delivery.job.number for delivery in lives.life.deliveries.values()]
        order = []
        while lives.service.sent:
            sent = lives.service.sent.pop()
            assert not lives.service.sent
            order.append(sent.delivery.job)
            sent.answer()
        assert order == jobs
        lives.assert_over()


async def test_place_of_the_worker_is_lent_while_a_job_waits_for_its_slot() -> None:
    async with living(slots=SLOW) as lives:
        _, waiting = lives.put(2, "slow")
        assert lives.worker.waiting_tickets() == {waiting.ticket}
        assert lives.free_places == PLACES
        lives.worker.cancel(waiting)
        assert lives.free_places == PLACES
        await finish(lives)
        lives.assert_over()


async def test_job_that_may_not_be_sent_is_no_endless_loop(autojump_clock: MockClock) -> None:
    """The short way past the waits is for its first round alone."""
    async with living() as lives:
        lives.life.checks.lease = Lease()
        (job,) = lives.put()
        assert lives.service.started == 1
        assert type(lives.delivery(job).wait) is Moment
        lives.life.checks.lease.confirm(boot_time_s() + 3600)
        await trio.sleep(2)
        assert lives.service.started == 2
        await finish(lives)
        lives.assert_over()


async def test_jobs_that_need_no_request_end_outside_a_turn() -> None:
    async def way(_call: Call, _link: Link) -> Outcome:
        return Delivered("0", 0, 200, by_us=True)

    async with living(way) as lives:
        jobs = lives.put(2 * PLACES)
        assert lives.fates() == {job.number: "Ack" for job in jobs}
        lives.assert_over()
        lives.life.stopping.set()
        await trio.testing.wait_all_tasks_blocked()
        assert lives.life.tasks.nursery is None


async def test_bug_in_a_settlement_costs_that_job_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    settle = Settler.settle

    def failing(settler: Settler, job: JobInProgress, *what: Any) -> None:
        if job.number == 1:
            raise ZeroDivisionError
        settle(settler, job, *what)

    monkeypatch.setattr(Settler, "settle", failing)
    async with living() as lives:
        lives.put(2)
        await finish(lives)
        assert lives.fates() == {1: "Dead", 2: "Ack"}
        lives.assert_over()


async def test_life_that_goes_on_is_not_closed_by_a_cancel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answer counts."""
    settle, cancelled = Settler.settle, list[bool]()

    async with living() as lives:
        (job,) = lives.put()

        def cancelling(settler: Settler, *what: Any) -> None:
            cancelled.append(lives.worker.cancel(job))
            settle(settler, *what)

        monkeypatch.setattr(Settler, "settle", cancelling)
        await finish(lives)
        assert (cancelled, lives.fates()) == ([True], {job.number: "Ack"})
        lives.assert_over()


async def test_connector_that_goes_on_at_its_end_costs_nothing_else() -> None:
    async def way(call: Call, link: Link) -> Outcome:
        request = Request("POST", "/", call.timeout_s)
        try:
            await link.send(request)
        finally:
            await link.send(request)
        raise AssertionError

    async with living(way) as lives:
        (job,) = lives.put()
        assert lives.worker.cancel(job) is True
        assert lives.fates() == {job.number: "Dead"}
        assert lives.warned == ["Bug"]
        lives.assert_over()


async def test_cancelled_job_dies_though_its_connector_wants_it_to_wait() -> None:
    async def way(_call: Call, link: Link) -> Outcome:
        await link.task()
        with trio.CancelScope() as scope:
            scope.shield = True
            await came.wait()
        raise NotYet(60.0)

    came = trio.Event()
    async with living(way) as lives:
        job = await in_its_task(lives)
        assert lives.worker.cancel(job) is True
        came.set()
        await trio.testing.wait_all_tasks_blocked()
        assert (lives.fates(), lives.worker.waiting_tickets()) == ({job.number: "Dead"}, frozenset())
        lives.assert_over()


@pytest.mark.parametrize("answer", [NotSent("refused"), Response(500, {}, b"", 0.0)])
async def test_what_came_leaves_nothing_to_the_collector(answer: NotSent | Response) -> None:
    async def way(call: Call, link: Link) -> Outcome:
        answered = await link.send(Request("POST", "/", call.timeout_s))
        raise ZeroDivisionError(answered.status)

    async with living(way) as lives:
        (job,) = lives.put()
        delivery = weakref.ref(lives.delivery(job))
        gc.collect()
        gc.disable()
        try:
            sent = lives.service.sent.pop()
            if isinstance(answer, Response):
                sent.answer(answer)
            else:
                sent.fail(answer)
                answer.__traceback__ = None
                lives.worker.cancel(job)
            del sent
            assert delivery() is None
        finally:
            gc.enable()
        assert len(lives.fates()) == 1


async def test_after_its_end_the_worker_begins_no_task() -> None:
    """Though the answer to a round that needs one more came just before."""
    turns: list[int] = []

    async def way(call: Call, link: Link) -> Outcome:
        await link.send(Request("POST", "/", call.timeout_s))
        await link.task()
        turns.append(1)
        raise AssertionError

    async with living(way) as lives:
        (job,) = lives.put()
        lives.service.reads_on = True
        lives.service.sent.pop().answer()
    assert (turns, job.settlement, lives.life.deliveries) == ([], None, {})


@pytest.mark.parametrize("why", ["refused", "begun", "withdrawn"])
async def test_job_that_is_put_off_with_its_mark_runs_once_later(autojump_clock: MockClock, why: str) -> None:
    """It is not sent: there is no connection, its certificate is refused as it begins, or we may not send it."""

    async def way(call: Call, link: Link) -> Outcome:
        try:
            return await by_request(call, link)
        except (NotSent, Withdrawn):
            raise NotYet(0.05) from None

    async with living(way, once=("once",)) as lives:
        lives.service.refusals = [NotSent("refused")] if why == "refused" else []
        (job,) = lives.put(1, "once")
        if why == "withdrawn":
            lives.life.checks.lease = Lease()
        await lives.marks.come(answer=True)
        if why == "begun":
            lives.service.sent.pop().fail(NotSent("its certificate is refused"))
        lives.life.checks.lease.confirm(boot_time_s() + 3600)
        assert not lives.fates()
        assert lives.worker.waiting_tickets() == {job.ticket}
        await trio.sleep(0.1)
        await finish(lives)
        assert (lives.fates(), lives.marks.asked, lives.warned) == ({job.number: "Ack"}, [job.ticket] * 2, [])
        lives.assert_over()


async def test_nothing_is_marked_of_what_expires_after_a_look_up(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def way(call: Call, link: Link) -> Outcome:
        await link.ask(Request("GET", "/", call.timeout_s))
        return await by_request(call, link)

    began, epoch_s = trio.current_time(), time.time()
    monkeypatch.setattr(time, "time", lambda: epoch_s + trio.current_time() - began)
    async with living(way, once=("once",)) as lives:
        lives.fields["expiry"] = epoch_s + 0.1
        (job,) = lives.put(1, "once")
        await trio.sleep(0.2)
        lives.service.sent.pop().answer()
        await trio.testing.wait_all_tasks_blocked()
        assert job.event is not None
        assert (job.event.outcome, lives.marks.asked) == ("expired", [])
        lives.assert_over()


async def test_request_of_which_no_byte_left_is_no_part_of_its_job() -> None:
    async def way(call: Call, link: Link) -> Outcome:
        try:
            await by_request(call, link)
        except NotSent:
            await link.ask(Request("GET", "/", call.timeout_s))
            await by_request(call, link)
        return Rejected(DOWN)

    async with living(way) as lives:
        (job,) = lives.put()
        lives.service.sent.pop().fail(NotSent("its certificate is refused"))
        assert not job.was_sent
        lives.service.sent.pop().answer()
        assert (job.was_sent, job.effected) == (True, False)
        await finish(lives)
        assert (lives.fates(), job.effected) == ({job.number: "Dead"}, False)
        lives.assert_over()


@wherever
async def test_a_settlement_over_which_the_acker_fails_costs_no_place(
    wait: Callable[[Lives], Awaitable[JobInProgress]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_what: object) -> None:
        raise MemoryError

    _, ways = WAITS[wait]
    async with living(**ways) as lives:
        job = await wait(lives)
        monkeypatch.setattr(AckBuffer, "add", fail)
        assert lives.worker.cancel(job) is True
        await trio.testing.wait_all_tasks_blocked()
        assert type(job.settlement) is Dead
        assert lives.warned == ["Bug"]
        lives.service.sent = [sent for sent in lives.service.sent if sent.delivery.job is not job]
        await finish(lives)
        lives.breaker.admits = True
        lives.breaker.semaphore.open(alone=False)
        lives.assert_over()


async def test_jobs_over_which_the_acker_fails_leave_together(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_what: object) -> None:
        raise MemoryError

    async with living() as lives:
        jobs = lives.put(PLACES)
        monkeypatch.setattr(AckBuffer, "add", fail)
        await finish(lives)
        assert [type(job.settlement) for job in jobs] == [Ack] * PLACES
        assert set(lives.warned) == {"Bug"}
        lives.assert_over()
