"""Connections are opened four at a time, and no waiting caller is forgotten."""

import random

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from restbroker.transport.connect import AT_ONCE, PATIENCE_S, ConnectRamp, RampClosed
from tests.support.rows import rows


def new() -> ConnectRamp[str]:
    """One whose spare connections nobody uses."""
    return ConnectRamp(lambda _connection: None)


async def test_only_so_many_connect_at_once(autojump_clock: MockClock) -> None:
    ramp = new()
    began: list[int] = []

    async def connect(who: int) -> None:
        await ramp.acquire(who)
        began.append(who)

    async with trio.open_nursery() as nursery:
        for who in range(AT_ONCE + 2):
            nursery.start_soon(connect, who)
        await wait_all_tasks_blocked()
        assert len(began) == AT_ONCE
        ramp.leave(began[0])
        await wait_all_tasks_blocked()
        assert len(began) == AT_ONCE + 1
        began_s = trio.current_time()
    assert len(began) == AT_ONCE + 2
    assert trio.current_time() - began_s <= PATIENCE_S


async def test_a_server_that_does_not_answer_is_connected_to_slowly(autojump_clock: MockClock) -> None:
    ramp = new()
    began_s = trio.current_time()
    for who in range(3 * AT_ONCE):
        await ramp.acquire(who)
    assert trio.current_time() - began_s == pytest.approx(2 * PATIENCE_S, rel=0.5)


@attrs.define
class Waiters:
    """Callers in line; `served` are those who got something, and what, in that order."""

    ramp: ConnectRamp[str]
    spare: list[str] = attrs.Factory(list)
    served: list[tuple[int, str | None]] = attrs.Factory(list)

    async def wait(self, who: int, scope: trio.CancelScope | None = None) -> None:
        with scope or trio.CancelScope():
            self.served.append((who, await self.ramp.acquire(who)))


async def full() -> Waiters:
    """As many connect as may."""
    spare: list[str] = []
    ramp = ConnectRamp(spare.append)
    for who in range(100, 100 + AT_ONCE):
        await ramp.acquire(who)
    return Waiters(ramp, spare)


async def test_caller_with_an_unfit_connection_is_first_again(autojump_clock: MockClock) -> None:
    waiters = await full()
    ramp = waiters.ramp
    got: list[str | None] = []

    async def choosy() -> None:
        got.append(await ramp.acquire("choosy"))
        got.append(await ramp.acquire("choosy", again=True))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(choosy)
        await wait_all_tasks_blocked()
        nursery.start_soon(waiters.wait, 1)
        await wait_all_tasks_blocked()
        for given in ("bad", "good", "next"):
            ramp.give(given)
            await wait_all_tasks_blocked()
    assert (got, waiters.served) == (["bad", "good"], [(1, "next")])


@rows("gone", [(0, 5), (5, 0), (0, 4, 5), (5, 4, 3, 0), (0, 1, 2)])
@rows("luck", range(8))
async def test_cancelled_waiters_leave_one_who_keeps_time_for_the_rest(
    autojump_clock: MockClock, gone: tuple[int, ...], luck: int
) -> None:
    waiters = await full()
    scopes = [trio.CancelScope() for _ in range(6)]
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for who, scope in enumerate(scopes):
                nursery.start_soon(waiters.wait, who, scope)
                await wait_all_tasks_blocked()
            began_s = trio.current_time()
            for who in gone:
                scopes[who].cancel()
    # Trio runs tasks in any order: `luck` is so many tries.
    assert {who for who, _ in waiters.served} == set(range(6)) - set(gone)
    assert trio.current_time() - began_s <= 2 * PATIENCE_S


async def test_unused_leave_to_connect_goes_to_the_next_as_no_failure(
    autojump_clock: MockClock,
) -> None:
    waiters = await full()
    ramp = waiters.ramp
    async with trio.open_nursery() as nursery:
        for who in range(3):
            nursery.start_soon(waiters.wait, who)
            await wait_all_tasks_blocked()
        began_s = trio.current_time()
        ramp.leave(100)
        await wait_all_tasks_blocked()
        ramp.leave(0)
        await wait_all_tasks_blocked()
        ramp.leave(1)
    assert waiters.served == [(0, None), (1, None), (2, None)]
    assert trio.current_time() == began_s


async def test_closing_it_ends_every_wait(autojump_clock: MockClock) -> None:
    waiters = await full()
    ended: list[str] = []

    async def wait() -> None:
        try:
            await waiters.wait(0)
        except RampClosed:
            ended.append("closed")

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        waiters.ramp.close()
    await wait()
    assert (ended, waiters.served) == (["closed"] * 4, [])


@attrs.define
class Crowd:
    """Some that share connections as a client's callers do. `done` are those that got one in time."""

    ramp: ConnectRamp[str] = attrs.field(init=False)
    idle: list[str] = attrs.Factory(list)
    done: set[int] = attrs.Factory(set)

    def __attrs_post_init__(self) -> None:
        self.ramp = ConnectRamp(self.idle.append)

    async def work(self, who: int, patience_s: float, answer_s: float, fate: str) -> None:
        with trio.move_on_after(patience_s):
            given = self.idle.pop() if self.idle else await self.ramp.acquire(who)
            if given:
                await self.use(answer_s)
            else:
                await self.connect(who, answer_s, fate)
            self.done.add(who)

    async def use(self, answer_s: float) -> None:
        try:
            await trio.sleep(answer_s)
        finally:
            self.ramp.give("used")

    async def connect(self, who: int, answer_s: float, fate: str) -> None:
        try:
            await trio.sleep(answer_s if fate != "hangs" else 10.0)
            if fate == "answers":
                self.ramp.leave(who)
                self.ramp.give("new")
        finally:
            self.ramp.leave(who)


@rows("seed", range(10))
async def test_no_waiter_is_forgotten_whatever_becomes_of_the_others(autojump_clock: MockClock, seed: int) -> None:
    chance = random.Random(seed)
    crowd = Crowd()
    lasting = {who for who in range(60) if chance.random() < 0.6}
    with trio.fail_after(300):
        async with trio.open_nursery() as nursery:
            for who in range(60):
                patience_s = 1000.0 if who in lasting else chance.choice([0.0, 0.001, 0.05, PATIENCE_S, 2 * PATIENCE_S])
                answer_s = chance.choice([0.0, 0.05, PATIENCE_S, 1.0])
                fate = chance.choice(["answers", "answers", "hangs", "fails"])
                nursery.start_soon(crowd.work, who, patience_s, answer_s, fate)
                await trio.sleep(chance.choice([0.0, 0.0, 0.001, 0.05]))
    assert lasting <= crowd.done
    assert crowd.ramp.line == {}
