"""Answers of a busy server that come one by one are read a few together, after a nap in which nothing else runs."""

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from types import SimpleNamespace

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from restbroker.transport.readiness import Upkeep
from tests.support.rows import rows

NAP_S = 0.00015


@attrs.define(eq=False)
class Loop(trio.abc.Instrument):
    """Trio's loop: the numbers of the turns in which answers were read, and of those with naps.

    Nothing takes time but naps, and the wait for what is readable: `wait_s`. `in_nap` is what happens meanwhile.
    """

    wait_s: float = 0.0
    in_nap: Callable[[], None] = lambda: None
    now_s: float = 0.0
    turn: int = 0
    reads: list[int] = attrs.field(factory=list)
    naps: list[int] = attrs.field(factory=list)

    def before_io_wait(self, _timeout: float) -> None:
        self.turn += 1
        self.now_s += self.wait_s

    def sleep(self, lasts_s: float) -> None:
        assert lasts_s == NAP_S
        self.now_s += lasts_s
        self.naps.append(self.turn)
        self.in_nap()


@attrs.define(eq=False)
class Requests:
    """Requests under way to one server; each answer is followed by another request."""

    loop: Loop
    connections: list[tuple[socket.socket, "Reader"]]
    answered: int = 0

    def answer(self, count: int = 1) -> None:
        """Have so many answers come, each over another connection."""
        for _ in range(count):
            self.connections[self.answered % len(self.connections)][0].send(b"x")
            self.answered += 1

    async def answer_one_by_one(self, count: int) -> None:
        for _ in range(count):
            before = len(self.loop.reads)
            self.answer()
            while len(self.loop.reads) == before:
                await trio.lowlevel.checkpoint()


@attrs.define(eq=False)
class Reader:
    here: socket.socket
    loop: Loop

    def on_readable(self) -> bool:
        self.here.recv(1)
        self.loop.reads.append(self.loop.turn)
        return True

    def lose_watch(self) -> None:
        """Nobody waits for it."""

    def expire(self) -> None:
        """Does not come."""


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Loop:
    made = Loop()
    clock = SimpleNamespace(perf_counter=lambda: made.now_s, sleep=made.sleep)
    monkeypatch.setattr("restbroker.transport.readiness.time", clock)
    return made


@asynccontextmanager
async def under_way(loop: Loop, count: int) -> AsyncIterator[Requests]:
    """This number of requests, one of which was answered before."""
    upkeep = Upkeep()
    with ExitStack() as stack:
        connections = []
        for _ in range(count):
            here, there = socket.socketpair()
            stack.callback(here.close)
            stack.callback(there.close)
            connections.append((there, Reader(here, loop)))
        async with trio.open_nursery() as nursery:
            await nursery.start(upkeep.run)
            await wait_all_tasks_blocked()
            for _, reader in connections:
                upkeep.readiness.watch(reader.here.fileno(), reader)
                upkeep.deadlines.watch(reader, trio.current_time() + 60)
            if not loop.turn:
                trio.lowlevel.add_instrument(loop)
            requests = Requests(loop, connections)
            try:
                await requests.answer_one_by_one(1)
                yield requests
            finally:
                for _, reader in connections:
                    upkeep.readiness.forget(reader.here.fileno())
                    upkeep.deadlines.due.pop(reader, None)
                nursery.cancel_scope.cancel()


async def test_answers_that_come_in_a_nap_are_read_together(loop: Loop) -> None:
    async with under_way(loop, 12) as requests:
        loop.in_nap = lambda: requests.answer(2)
        await requests.answer_one_by_one(1)
        assert len(loop.naps) == 1
        assert loop.reads[-3:] == loop.naps * 3


@rows(("count", "at_once", "wait_s"), [(7, 1, 0.0), (12, 2, 0.0), (12, 1, 0.0002)])
async def test_few_requests_a_wait_or_another_answer_mean_no_nap(
    loop: Loop, count: int, at_once: int, wait_s: float
) -> None:
    async with under_way(loop, count) as requests:
        before, loop.wait_s = len(loop.reads), wait_s
        for _ in range(20):
            requests.answer(at_once)
            await wait_all_tasks_blocked()
        assert len(loop.reads) == before + 20 * at_once
        assert loop.naps == []


async def test_many_answers_at_once_mean_no_nap_for_the_next(loop: Loop) -> None:
    async with under_way(loop, 12) as requests:
        requests.answer(4)
        await wait_all_tasks_blocked()
        await requests.answer_one_by_one(1)
        assert loop.naps == []
        await requests.answer_one_by_one(1)
        assert len(loop.naps) == 1


async def test_naps_do_not_hold_a_fast_server_up_beside_slow_ones(loop: Loop) -> None:
    """A nap that brings no second answer is in vain: the next ones are ever rarer, until one is not."""
    async with under_way(loop, 12) as requests:
        await requests.answer_one_by_one(1000)
        assert 3 <= len(loop.naps) <= 6
        await requests.answer_one_by_one(500)
        before = len(loop.naps)
        loop.in_nap = lambda: requests.answer(1)
        await requests.answer_one_by_one(1024)
        assert len(loop.naps) > before + 100


async def test_listeners_of_a_process_never_nap_in_the_same_turn(loop: Loop) -> None:
    async with under_way(loop, 12) as one, under_way(loop, 12) as two, under_way(loop, 12) as three:
        for _ in range(20):
            before = len(loop.reads)
            for requests in (one, two, three):
                requests.answer()
            while len(loop.reads) < before + 3:
                await trio.lowlevel.checkpoint()
        assert loop.naps
        assert len(set(loop.naps)) == len(loop.naps)
