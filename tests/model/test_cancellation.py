"""A life that is cut short after each of its steps in turn: every job is in one place, and none is settled twice.

The simulated world runs a few jobs through fetch, mark, send and finish; after the Nth step of any task the process is
stopped at once, as by two signals, or killed. N rises until the jobs are done before.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial

import pytest
import trio
from trio.testing import MockClock

from restbroker.telemetry.events import JobFinished
from tests.model.target import SimulatedTarget
from tests.model.world import Process, World, jid_of, simulate

JIDS = ("safe-1", "once-1", "safe-2", "safe-3", "once-2", "safe-4")
ONCE = {"once-1", "once-2"}
FIRST_LIMIT = 5000
"""More steps than a run may ever need; it ends long before."""
EVERY = int(os.environ.get("MODEL_EVERY", "4"))
"""Signed jobs are cut short after each of so many steps: each life takes a second one to its end. `.ci/soak`: 1."""


class Steps(trio.abc.Instrument):
    """Counts the steps of all tasks from `begin` on, and calls `act` after the last one allowed."""

    def __init__(self, allowed: int, act: Callable[[], None]) -> None:
        self.left = allowed
        self.act = act
        self.counting = False

    def begin(self) -> None:
        self.counting = True

    def after_task_step(self, _task: trio.lowlevel.Task) -> None:
        if self.counting:
            self.left -= 1
            if self.left == 0:
                self.act()


def stop_at_once(process: Process) -> None:
    """Two SIGTERMs."""
    process.stop()
    process.control.at_once.set()


def cancel_the_work(process: Process) -> None:
    """What ends a life when something fails: everything is cancelled, and Redis is there."""
    process.scope.cancel()


def kill(process: Process) -> None:
    """SIGKILL."""
    process.kill()


async def cut_short(steps: int, end: Callable[[Process], None], *, signs: bool = False) -> tuple[World, bool]:
    """Runs the jobs and ends the process after so many steps; whether that came before they were done.

    Signed ones are then done by a second process, and pushed once more.
    """
    async with trio.open_nursery() as nursery:
        world = World(SimulatedTarget(), nursery, signs=signs)
        process = world.start(at_most_once=("once",), concurrency=2)
        await trio.sleep(0.8)
        counter = Steps(steps, lambda: end(process))
        trio.lowlevel.add_instrument(counter)
        for jid in JIDS:
            world.push(jid, command=jid.partition("-")[0])
        counter.begin()
        await trio.sleep(1)
        counter.counting = False
        trio.lowlevel.remove_instrument(counter)
        if counter.left > 0:
            end(process)
        await process.done.wait()
        if signs:
            await done_and_replayed(world)
    return world, counter.left <= 0


async def done_and_replayed(world: World) -> None:
    """Another process does the rest, a person retries what died, and all of them are pushed again."""
    process = world.start(at_most_once=("once",), concurrency=2)
    while places := world.places():
        for raw in [raw for key in ("retry", "dead") for raw in world.reference.data.sets[key]]:
            world.reference.data.sets["retry"].pop(raw, None)
            world.reference.data.sets["dead"].pop(raw, None)
            world.push_raw(raw)
        await trio.sleep(0.2)
        assert trio.current_time() < 600, places
    ran = Counter(world.target.jids)
    assert ran.keys() == set(JIDS), "a job that was cut short was taken for a copy of itself"
    for raw in world.pushed[: len(JIDS)]:
        world.push_raw(raw)
    while len([event for event in world.of(JobFinished) if event.outcome == "duplicate"]) < len(JIDS):
        await trio.sleep(0.1)
        assert trio.current_time() < 600, world.places()
    assert world.places() == Counter()
    assert Counter(world.target.jids) == ran, "a copy of a job that was done was sent"
    process.stop()
    await process.done.wait()


def lives(end: Callable[[Process], None], every: int = 1, *, signs: bool = False) -> Iterator[World]:
    """Each life that is cut short, at steps so far apart, and at last one that is not."""
    early, steps = True, 0
    while early:
        steps += every
        assert steps < FIRST_LIMIT
        run = partial(cut_short, steps, end, signs=signs)
        world, early = trio.run(run, clock=MockClock(autojump_threshold=0))
        yield world
    assert steps > 50


@pytest.mark.promise("Security: who can write to Redis beyond the queues", "to have a signed job done again")
@pytest.mark.parametrize("end", [stop_at_once, cancel_the_work, kill])
def test_each_step_leaves_every_signed_job_done_without_a_copy(
    monkeypatch: pytest.MonkeyPatch, end: Callable[[Process], None]
) -> None:
    simulate(monkeypatch)
    for _ in lives(end, EVERY, signs=True):
        """What was cut short is done by a second process there, and pushed once more."""


@pytest.mark.promise("No command is lost", "cut short after any step from push to settlement")
@pytest.mark.parametrize("end", [stop_at_once, cancel_the_work, kill])
def test_each_step_leaves_every_job_in_one_place_settled_once(
    monkeypatch: pytest.MonkeyPatch, end: Callable[[Process], None]
) -> None:
    simulate(monkeypatch)
    for world in lives(end):
        check(world, killed=end is kill)
    assert world.reference.data.processed == len(JIDS)


def check(world: World, *, killed: bool) -> None:
    """One place or one settlement for each job; what was sent and not answered is in no queue but as that."""
    data, places, ran = world.reference.data, world.places(), Counter(world.target.jids)
    assert max([*places.values(), *ran.values(), 0]) <= 1
    assert places.keys() <= set(JIDS)
    acknowledged = set(JIDS) - places.keys()
    assert acknowledged <= ran.keys()
    waiting, tried, dead = world.lying("queue:rest"), world.lying("retry"), world.lying("dead")
    assert data.processed == len(acknowledged) + len(tried | dead)
    begun = set(world.target.begun)
    may_have_run = {jid_of(raw) for raw in data.lists["queue:rest"] if b'"restbroker_uncertain":1' in raw}
    assert waiting & begun == may_have_run, "what was sent goes back as what may have run, and nothing else does"
    assert ONCE.isdisjoint(may_have_run), "what must not run twice must not go back"
    assert tried | dead <= begun
    assert ONCE.isdisjoint(tried), "what must not run twice must not be tried again"
    if killed:
        sent = {jid_of(own.jobs[ticket]) for own in data.held.values() for ticket in own.sent & own.jobs.keys()}
        assert ONCE & ran.keys() - acknowledged <= sent, "it was sent without a mark"
    else:
        assert (world.in_progress(), [*filter(None, data.hands.values())]) == ({}, [])
        assert world.known == set()
