"""Whatever happens to whole processes, no job takes a step that is not in the table, and each is in exactly one place.

Jobs are fetched and finished while people cancel, a reaper fences, processes freeze, stop and die, Redis is gone and
answers get lost, and the target is down.
"""

import random
from collections.abc import Callable

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.model.target import SimulatedTarget
from tests.model.world import Process, World, simulate
from tests.support.transitions import Transitions, watched

STEPS = ("push", "push once", "cancel", "fence", "freeze", "redis gone", "answers lost", "target down", "stop", "kill")


class Story:
    """One world, in which things happen until everything is well again."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.pushed = 0
        self.start()

    def start(self) -> None:
        self.world.start(at_most_once=("once",), concurrency=2)

    async def happen(self, what: str, chance: random.Random) -> None:
        acts: dict[str, Callable[[Process], None]] = {
            "cancel": self.cancel,
            "fence": self.fence,
            "freeze": self.cut,
            "redis gone": lambda _: self.cut_all(),
            "answers lost": self.lose(chance),
            "stop": Process.stop,
            "kill": Process.kill,
        }
        match what:
            case "push" | "push once":
                self.pushed += 3
                command = "once" if what == "push once" else "safe"
                self.world.push(*(f"j{number}" for number in range(self.pushed - 3, self.pushed)), command=command)
            case "target down":
                self.world.target.up = not self.world.target.up
            case _ if self.world.alive:
                acts[what](chance.choice(self.world.alive))
                if what in {"stop", "kill"}:
                    self.start()
            case _:
                pass
        await trio.sleep(chance.choice((0.0, 0.001, 0.02, 0.06, 1.0, 30.0)))

    def cancel(self, process: Process) -> None:
        for running in process.status.running_jobs()[:1]:
            process.status.cancel(running.thread)

    def fence(self, process: Process) -> None:
        for identity in process.identities:
            reference = self.world.reference
            if identity in reference.data.alive:
                reference.fence(identity, reference.data.alive[identity])

    def cut(self, process: Process) -> None:
        process.way.cut = not process.way.cut

    def cut_all(self) -> None:
        for process in self.world.alive:
            self.cut(process)

    def lose(self, chance: random.Random) -> Callable[[Process], None]:
        def begin(process: Process) -> None:
            process.way.loses = lambda: chance.random() < 0.2

        return begin

    async def end_well(self) -> None:
        """Nothing fails any more, and everything is done or lies where a person finds it."""
        self.world.target.up = True
        for process in self.world.alive:
            process.way.cut, process.way.loses = False, lambda: False
        with trio.move_on_after(3 * 3600):
            while self.world.in_hand() or self.world.lying("queue:rest") or self.world.lying("retry"):  # noqa: ASYNC110
                await trio.sleep(10)
        for process in self.world.alive:
            process.stop()
        for process in self.world.processes:
            await process.done.wait()


async def _live(steps: list[str], seed: int) -> World:
    async with trio.open_nursery() as nursery:
        world = World(SimulatedTarget(duration_s=lambda: 0.05), nursery)
        story, chance = Story(world), random.Random(seed)
        await trio.sleep(1)
        for step in steps:
            await story.happen(step, chance)
            assert max([*world.places().values(), 0]) <= 1, step
        await story.end_well()
    return world


@settings(max_examples=40)
@given(st.lists(st.sampled_from(STEPS), min_size=1, max_size=25), st.integers(0, 1000))
def test_no_history_leaves_the_table_and_every_job_is_in_one_place(steps: list[str], seed: int) -> None:
    with pytest.MonkeyPatch.context() as patch, watched(patch) as transitions:
        simulate(patch)
        world = trio.run(_live, ["push", "push once", *steps], seed, clock=MockClock(autojump_threshold=0))
    places, ran = world.places(), set(world.target.jids)
    pushed = {f"j{number}" for number in range(3 * (2 + sum(step.startswith("push") for step in steps)))}
    assert max([*places.values(), 0]) <= 1
    assert pushed - ran <= places.keys(), "a job that never ran is gone"
    assert world.in_hand() == {}
    assert met_plainly(transitions)


def met_plainly(transitions: Transitions) -> bool:
    return {("FETCHED", "ADMITTED"), ("NONE", "DECIDED")} <= transitions.met
