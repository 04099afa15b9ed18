# ruff: noqa: SLF001 - what a cancelled, cut or crowded connection leaves behind
"""Connections are opened a few at a time, more where the server keeps up, and nobody who waits is forgotten."""

import random

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from restbroker.transport.connect import GAP_S, MOST_PATIENCE_S, PATIENCE_S, REST_S, START, ConnectRamp, RampClosed
from tests.support.rows import rows

ANSWER_S = 0.05


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
        for who in range(START + 2):
            nursery.start_soon(connect, who)
        await wait_all_tasks_blocked()
        assert len(began) == START
        ramp.end(began[0])
        await wait_all_tasks_blocked()
        assert len(began) == START + 1
        began_s = trio.current_time()
    assert len(began) == START + 2
    assert trio.current_time() - began_s <= PATIENCE_S


async def test_a_server_that_does_not_answer_is_connected_to_slowly(autojump_clock: MockClock) -> None:
    ramp = new()
    began_s = trio.current_time()
    for who in range(3 * START):
        await ramp.acquire(who)
    assert abs(trio.current_time() - began_s - 2 * PATIENCE_S) < 0.001


async def test_an_end_without_a_beginning_does_nothing() -> None:
    ramp = new()
    ramp.end("nobody")
    ramp.note_answered("nobody")
    with trio.fail_after(1):
        await ramp.acquire("somebody")


async def come_up(ramp: ConnectRamp[str], connections: int, answer_s: float) -> float:
    """How long it takes until all connections have brought an answer; each does so after the same time."""
    began_s = trio.current_time()

    async def connect(who: int) -> None:
        await ramp.acquire(who)
        await trio.sleep(answer_s)
        ramp.note_answered(who)

    async with trio.open_nursery() as nursery:
        for who in range(connections):
            nursery.start_soon(connect, who)
    return trio.current_time() - began_s


async def test_a_thousand_connections_to_a_server_that_keeps_up_come_up_in_a_good_second(
    autojump_clock: MockClock,
) -> None:
    assert await come_up(new(), 200, ANSWER_S) < 0.5
    assert await come_up(new(), 1000, ANSWER_S) < 1.5


async def test_each_answer_lets_two_more_connect_and_the_first_four_come_back_at_rest(
    autojump_clock: MockClock,
) -> None:
    ramp = new()
    await come_up(ramp, START, ANSWER_S)
    assert ramp.limiter.limit == 2 * START
    await come_up(ramp, 2 * START, ANSWER_S)
    assert ramp.limiter.limit == 4 * START
    await trio.sleep(REST_S + 0.1)
    await ramp.acquire("next")
    assert ramp.limiter.limit == START


async def test_beyond_the_first_four_each_connects_a_moment_after_the_other(autojump_clock: MockClock) -> None:
    ramp = new()
    await come_up(ramp, 100, ANSWER_S)
    began_s: list[float] = []
    for who in range(20):
        await ramp.acquire(who)
        began_s.append(trio.current_time())
    assert began_s[19] - began_s[0] >= 15.9 * GAP_S


@rows("trouble", ["late", "broken"])
async def test_trouble_halves_how_many_may_connect(autojump_clock: MockClock, trouble: str) -> None:
    ramp = new()
    await come_up(ramp, 100, ANSWER_S)
    limit = ramp.limiter.limit
    assert limit > 4 * START
    await ramp.acquire("troubled")
    await trio.sleep(3 * ANSWER_S)
    if trouble == "late":
        ramp.note_answered("troubled")
    else:
        ramp.end("troubled")
    assert ramp.limiter.limit == limit // 2


async def test_a_server_that_is_behind_is_given_more_time(autojump_clock: MockClock) -> None:
    ramp = new()
    for who in range(START):
        await ramp.acquire(who)
    await trio.sleep(0.2)
    ramp.note_answered(0)
    assert ramp.limiter.patience_s == pytest.approx(0.4)
    await trio.sleep(60)
    ramp.note_answered(1)
    assert ramp.limiter.patience_s == MOST_PATIENCE_S


@attrs.define
class Waiters:
    """So many stand in line; `served` are those who got something, and what, in that order."""

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
    for who in range(100, 100 + START):
        await ramp.acquire(who)
    return Waiters(ramp, spare)


async def test_whose_connection_was_not_fit_is_the_first_again(autojump_clock: MockClock) -> None:
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
async def test_whoever_is_cancelled_together_somebody_keeps_the_time_for_the_others(
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


async def test_leave_to_connect_that_is_not_used_goes_to_the_next_and_is_no_failure(
    autojump_clock: MockClock,
) -> None:
    waiters = await full()
    ramp = waiters.ramp
    limit = ramp.limiter.limit
    async with trio.open_nursery() as nursery:
        for who in range(3):
            nursery.start_soon(waiters.wait, who)
            await wait_all_tasks_blocked()
        began_s = trio.current_time()
        ramp.release(100)
        await wait_all_tasks_blocked()
        ramp.release(0)
        await wait_all_tasks_blocked()
        ramp.release(1)
    assert waiters.served == [(0, None), (1, None), (2, None)]
    assert trio.current_time() - began_s <= START * GAP_S
    assert ramp.limiter.limit == limit


async def test_when_it_is_closed_nobody_waits_any_more(autojump_clock: MockClock) -> None:
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
            await trio.sleep(answer_s if fate != "hangs" else MOST_PATIENCE_S)
            if fate == "answers":
                self.ramp.note_answered(who)
                self.ramp.give("new")
        finally:
            self.ramp.end(who)


@rows("seed", range(10))
async def test_nobody_is_forgotten_whatever_becomes_of_the_others(autojump_clock: MockClock, seed: int) -> None:
    chance = random.Random(seed)
    crowd = Crowd()
    lasting = {who for who in range(60) if chance.random() < 0.6}
    with trio.fail_after(300):
        async with trio.open_nursery() as nursery:
            for who in range(60):
                patience_s = 1000.0 if who in lasting else chance.choice([0.0, GAP_S, 0.05, PATIENCE_S, 2 * PATIENCE_S])
                answer_s = chance.choice([0.0, 0.05, PATIENCE_S, 1.0])
                fate = chance.choice(["answers", "answers", "hangs", "fails"])
                nursery.start_soon(crowd.work, who, patience_s, answer_s, fate)
                await trio.sleep(chance.choice([0.0, 0.0, GAP_S, 0.05]))
    assert lasting <= crowd.done
    assert not crowd.ramp._begun
    assert crowd.ramp._keeper is None
    assert crowd.ramp.line == {}
