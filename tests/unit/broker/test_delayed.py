"""Delayed jobs go back when their time has come, whoever came before them."""

import trio

from restbroker.broker.delayed import DelayedJobs
from restbroker.broker.job_in_progress import JobInProgress
from restbroker.broker.ready_buffer import BatchSize, ReadyBuffer


def job(number: int) -> JobInProgress:
    return JobInProgress(f"{number}:rest", number, "rest", b"{}")


async def test_each_goes_back_at_its_own_time(autojump_clock: object) -> None:
    ready = ReadyBuffer(1, BatchSize())
    ready.allow(9)
    delayed, back = DelayedJobs(ready), dict[int, float]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(delayed.run)
        began_s = trio.current_time()
        for number, wait_s in ((1, 3.0), (2, 1.0), (3, 2.0), (4, 2.5)):
            delayed.add(job(number), wait_s)
        delayed.drop_unless({"1:rest", "2:rest", "3:rest"})
        assert delayed.waiting_tickets() == {"1:rest", "2:rest", "3:rest"}
        while len(back) < 3:
            number = (await ready.receive()).number
            back[number] = round(trio.current_time() - began_s, 1)
        nursery.cancel_scope.cancel()
    assert back == {2: 1.0, 3: 2.0, 1: 3.0}
    assert not delayed.waiting_tickets()


async def test_those_of_one_moment_go_back_in_their_order(autojump_clock: object) -> None:
    ready = ReadyBuffer(1, BatchSize())
    ready.allow(9)
    delayed = DelayedJobs(ready)
    async with trio.open_nursery() as nursery:
        for number in (1, 2, 3):
            delayed.add(job(number), 1.0)
        nursery.start_soon(delayed.run)
        assert [(await ready.receive()).number for _ in range(3)] == [1, 2, 3]
        nursery.cancel_scope.cancel()
