"""Connections are opened a few at a time, more where the server keeps up, and nobody who waits is forgotten."""

import random
import ssl
from pathlib import Path

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from restbroker.config.target import Target, Url
from restbroker.transport.client import open_transport
from restbroker.transport.dial import dial
from restbroker.transport.message import Request
from restbroker.transport.pace import GAP_S, MOST_PATIENCE_S, PATIENCE_S, REST_S, START
from restbroker.transport.ramp import Ramp
from restbroker.transport.wire import Wire
from tests.support.ejabberd import Ejabberd

ANSWER_S = 0.05


async def test_only_so_many_connect_at_once(autojump_clock: MockClock) -> None:
    ramp = Ramp()
    began: list[int] = []

    async def connect(who: int) -> None:
        await ramp.begin(who)
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
    ramp = Ramp()
    began_s = trio.current_time()
    for who in range(3 * START):
        await ramp.begin(who)
    assert abs(trio.current_time() - began_s - 2 * PATIENCE_S) < 0.001


async def test_a_cancelled_wait_takes_no_turn(autojump_clock: MockClock) -> None:
    ramp = Ramp()
    for who in range(START):
        await ramp.begin(who)
    with trio.move_on_after(PATIENCE_S / 2) as scope:
        await ramp.begin("late")
    assert scope.cancelled_caught
    ramp.end(0)
    began_s = trio.current_time()
    await ramp.begin("next")
    assert trio.current_time() == began_s


async def test_an_end_without_a_beginning_does_nothing() -> None:
    ramp = Ramp()
    ramp.end("nobody")
    ramp.answered("nobody")
    with trio.fail_after(1):
        await ramp.begin("somebody")


async def come_up(ramp: Ramp, connections: int, answer_s: float) -> float:
    """How long it takes until all connections have brought an answer; each does so after the same time."""
    began_s = trio.current_time()

    async def connect(who: int) -> None:
        await ramp.begin(who)
        await trio.sleep(answer_s)
        ramp.answered(who)

    async with trio.open_nursery() as nursery:
        for who in range(connections):
            nursery.start_soon(connect, who)
    return trio.current_time() - began_s


async def test_a_thousand_connections_to_a_server_that_keeps_up_come_up_in_a_good_second(
    autojump_clock: MockClock,
) -> None:
    assert await come_up(Ramp(), 200, ANSWER_S) < 0.5
    assert await come_up(Ramp(), 1000, ANSWER_S) < 1.5


async def test_each_answer_lets_two_more_connect_and_the_first_four_come_back_at_rest(
    autojump_clock: MockClock,
) -> None:
    ramp = Ramp()
    await come_up(ramp, START, ANSWER_S)
    assert ramp.pace.limit == 2 * START
    await come_up(ramp, 2 * START, ANSWER_S)
    assert ramp.pace.limit == 4 * START
    await trio.sleep(REST_S + 0.1)
    await ramp.begin("next")
    assert ramp.pace.limit == START


async def test_beyond_the_first_four_each_connects_a_moment_after_the_other(autojump_clock: MockClock) -> None:
    ramp = Ramp()
    await come_up(ramp, 100, ANSWER_S)
    began_s: list[float] = []
    for who in range(20):
        await ramp.begin(who)
        began_s.append(trio.current_time())
    assert began_s[19] - began_s[0] >= 15.9 * GAP_S


async def test_a_server_that_answers_at_once_needs_no_more_than_four_at_a_time(autojump_clock: MockClock) -> None:
    ramp = Ramp()
    assert await come_up(ramp, 200, 0.002) < 0.2
    assert ramp.pace.limit == START


@pytest.mark.parametrize("trouble", ["late", "broken"])
async def test_trouble_halves_how_many_may_connect(autojump_clock: MockClock, trouble: str) -> None:
    ramp = Ramp()
    await come_up(ramp, 100, ANSWER_S)
    limit = ramp.pace.limit
    assert limit > 4 * START
    await ramp.begin("troubled")
    await trio.sleep(3 * ANSWER_S)
    if trouble == "late":
        ramp.answered("troubled")
    else:
        ramp.end("troubled")
    assert ramp.pace.limit == limit // 2


async def test_a_server_that_is_behind_is_given_more_time(autojump_clock: MockClock) -> None:
    ramp = Ramp()
    for who in range(START):
        await ramp.begin(who)
    await trio.sleep(0.2)
    ramp.answered(0)
    assert ramp.pace.patience_s == pytest.approx(0.4)
    await trio.sleep(60)
    ramp.answered(1)
    assert ramp.pace.patience_s == MOST_PATIENCE_S


@attrs.define
class Waiters:
    """So many stand in line for what is `given`, or for room; `woken` are those who found some, in that order."""

    ramp: Ramp
    given: int = 0
    woken: list[int] = attrs.Factory(list)

    async def wait(self, who: int, scope: trio.CancelScope | None = None) -> None:
        with scope or trio.CancelScope():
            async with self.ramp.line() as place:
                while not self.given and not self.ramp.has_room:
                    await self.ramp.news(place)
                self.given = max(0, self.given - 1)
                self.woken.append(who)


async def test_what_is_given_goes_to_the_first_in_line(autojump_clock: MockClock) -> None:
    ramp = Ramp()
    waiters = Waiters(ramp)
    # So long as they are asked to wait, nobody but `tell` has anything for them.
    for who in range(START):
        await ramp.begin(who)
    async with trio.open_nursery() as nursery:
        for who in range(10):
            nursery.start_soon(waiters.wait, who)
            await wait_all_tasks_blocked()
        assert ramp.waiting == 10
        for count in (1, 2, 3):
            waiters.given += 1
            ramp.tell()
            await wait_all_tasks_blocked()
            assert waiters.woken == list(range(count))
        nursery.cancel_scope.cancel()
    assert ramp.waiting == 0


async def test_a_waiter_that_is_cancelled_when_its_patience_ends_leaves_the_turn_to_the_next(
    autojump_clock: MockClock,
) -> None:
    ramp = Ramp()
    waiters = Waiters(ramp)
    for who in range(START):
        await ramp.begin(who)
    async with trio.open_nursery() as nursery:
        until_s = trio.current_time() + PATIENCE_S
        nursery.start_soon(waiters.wait, 0, trio.CancelScope(deadline=until_s))
        await wait_all_tasks_blocked()
        nursery.start_soon(waiters.wait, 1)
    assert waiters.woken == [1]
    assert trio.current_time() == pytest.approx(until_s)


async def test_one_that_is_woken_and_takes_nothing_leaves_the_turn_to_the_next(autojump_clock: MockClock) -> None:
    ramp = Ramp()
    waiters = Waiters(ramp)
    for who in range(START):
        await ramp.begin(who)
    async with trio.open_nursery() as nursery:
        for who in range(3):
            nursery.start_soon(waiters.wait, who)
            await wait_all_tasks_blocked()
        began_s = trio.current_time()
        ramp.answered(0)
    assert waiters.woken == [0, 1, 2]
    assert trio.current_time() == began_s


@attrs.define
class Crowd:
    """Some that share connections as a client's callers do. `done` are those that got one in time."""

    ramp: Ramp = attrs.Factory(Ramp)
    idle: int = 0
    done: set[int] = attrs.Factory(set)

    async def work(self, who: int, patience_s: float, answer_s: float, fate: str) -> None:
        with trio.move_on_after(patience_s):
            async with self.ramp.line() as place:
                while not (is_idle := self.idle > 0) and not self.ramp.has_room:
                    await self.ramp.news(place)
                if is_idle:
                    self.idle -= 1
                else:
                    self.ramp.begin_now(who)
            if is_idle:
                await trio.sleep(answer_s)
                self.give_back()
            else:
                await self.connect(who, answer_s, fate)
            self.done.add(who)

    async def connect(self, who: int, answer_s: float, fate: str) -> None:
        try:
            await trio.sleep(answer_s if fate != "hangs" else MOST_PATIENCE_S)
            if fate == "answers":
                self.ramp.answered(who)
                self.give_back()
        finally:
            self.ramp.end(who)

    def give_back(self) -> None:
        self.idle += 1
        self.ramp.tell()


@pytest.mark.parametrize("seed", range(30))
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
    assert crowd.ramp.waiting == 0


async def test_ejabberds_short_backlog_makes_none_of_two_hundred_at_once_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    took_s: list[float] = []

    async def timed(target: Target, tls: ssl.SSLContext, timeout_s: float) -> Wire:
        began_s = trio.current_time()
        try:
            return await dial(target, tls, timeout_s)
        finally:
            took_s.append(trio.current_time() - began_s)

    monkeypatch.setattr("restbroker.transport.lean.dial", timed)
    server = Ejabberd(tmp_path).start()
    try:
        url = Url("http", "127.0.0.1", server.port, "/api")
        transport = open_transport(Target("t", "ejabberd", url, ("rest",), concurrency=200))
        request = Request("POST", "/api/status", 30.0, headers=(("Authorization", server.authorization()),), body=b"{}")
        statuses: list[int] = []

        async def work() -> None:
            statuses.extend([(await transport.send(request)).status for _ in range(5)])

        # As a lane does: its probe comes first, and makes the server load its code.
        await transport.send(request)
        async with trio.open_nursery() as nursery:
            for _ in range(200):
                nursery.start_soon(work)
        await transport.aclose()
    finally:
        server.kill()
    assert statuses == [200] * 1000
    # TCP tries again after 1 s.
    assert len(took_s) > START
    assert max(took_s) < 0.9
