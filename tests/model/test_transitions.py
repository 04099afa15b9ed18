"""Whatever happens to whole processes, no job takes a step that is not in the table, and each is in exactly one place.

Jobs are fetched and finished, as planned, step by step and in tasks, while people cancel, a reaper fences, processes
freeze, stop and die, Redis is gone, loses answers or refuses, and the target is down or answers oddly. Each step of the
table is taken by a story of its own, too, as some are too rare among random ones.
"""

import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from hypothesis import event, example, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from restbroker.broker.delivery import Delivery
from restbroker.broker.worker import Worker
from restbroker.broker.worker_pool import WorkerPool
from restbroker.job.outcome import Probe, Reason
from restbroker.telemetry.events import JobsRecovered
from tests.model.fast_target import MANNERS, FastTarget, connect
from tests.model.guard import Guard, guarded
from tests.model.reference import Reference
from tests.model.world import Process, World, simulate
from tests.support.transitions import LEGAL_STEPS, Transitions, watched
from tests.support.ways import WAYS, Way

PUSHES = {"push": (3, "safe"), "push many": (12, "safe"), "push once": (3, "once")}
FINE = Probe(ok=True, denied=False, version="1.0", detail="fine")
STEPS = (
    *PUSHES,
    "push many",
    "start",
    "cancel",
    "fence",
    "freeze",
    "cut",
    "redis gone",
    "answers lost",
    "settling refused",
    "odd answers",
    "target down",
    "stop",
    "kill",
)
FREEZES_S = (2.0, 10.0, 16.0, 40.0)
"""Shorter than a lease, and longer; after the last one another process has the jobs."""
MOST_PROCESSES = 3


class Story:
    """One world, in which things happen until everything is well again."""

    def __init__(self, world: World, target: FastTarget, chance: random.Random) -> None:
        self.world, self.target, self.chance = world, target, chance
        self.pushed: Counter[str] = Counter()
        self.disturbed: set[Process] = set()

    def start(self, way: Way | None = None) -> None:
        """One more process, which delivers in this way, or as chance has it."""
        self.world.start(at_most_once=("once",), concurrency=3, delivers=way or self.chance.choice(WAYS))

    @property
    def first(self) -> Process:
        """The process that was started first."""
        return self.world.processes[0]

    def push(self, count: int, command: str) -> None:
        first = self.pushed[command]
        self.pushed[command] += count
        self.world.push(*(f"{command}{number}" for number in range(first, first + count)), command=command)

    @property
    def jids(self) -> set[str]:
        """The ids of all jobs."""
        return {f"{command}{number}" for command, count in self.pushed.items() for number in range(count)}

    async def happen(self, what: str) -> None:
        chance = self.chance
        acts: dict[str, Callable[[Process], None]] = {
            "cancel": self.cancel,
            "fence": self.fence,
            "freeze": self.freeze,
            "cut": self.cut,
            "redis gone": lambda _: self.cut_all(),
            "answers lost": self.lose,
            "settling refused": self.refuse,
            "stop": Process.stop,
            "kill": Process.kill,
        }
        awake = [process for process in self.world.alive if process.frozen is None]
        match what:
            case "push" | "push many" | "push once":
                self.push(*PUSHES[what])
            case "start" if len(self.world.alive) < MOST_PROCESSES:
                self.start()
            case "odd answers":
                self.target.manner = lambda: chance.choice(MANNERS)
            case "target down":
                self.target.up = not self.target.up
                if not self.target.up:
                    self.target.hang_up()
            case "kill":
                self.do(acts[what], self.world.alive)
            case "stop" | "cancel" if awake:
                acts[what](chance.choice(awake))
            case _ if awake and what in acts:
                self.do(acts[what], awake)
            case _:
                pass
        if all(process.control.stop.is_set() for process in self.world.alive):
            self.start()
        await trio.sleep(chance.choice((0.0, 0.001, 0.02, 0.06, 1.0, 30.0)))

    def do(self, act: Callable[[Process], None], processes: list[Process]) -> None:
        """Do what may keep a process from leaving no job behind when it stops."""
        process = self.chance.choice(processes)
        self.disturbed.add(process)
        act(process)

    def cancel(self, process: Process) -> None:
        running = process.status.running_jobs()
        if running:
            process.status.cancel(self.chance.choice(running).thread)

    def fence(self, process: Process) -> None:
        for identity in process.identities:
            reference = self.world.reference
            if identity in reference.data.alive:
                reference.fence(identity, reference.data.alive[identity])

    def freeze(self, process: Process) -> None:
        self.world.nursery.start_soon(_freeze, process, self.chance.choice(FREEZES_S))

    def cut(self, process: Process) -> None:
        process.way.cut = not process.way.cut

    def cut_all(self) -> None:
        for process in self.world.alive:
            self.disturbed.add(process)
            self.cut(process)

    def lose(self, process: Process) -> None:
        process.way.loses = lambda: self.chance.random() < 0.2

    def refuse(self, process: Process) -> None:
        process.way.refuses = not process.way.refuses

    async def end_well(self) -> None:
        """Nothing fails any more, and everything is done or lies where a person finds it."""
        self.target.up, self.target.manner = True, lambda: "plain"
        for process in self.world.alive:
            process.way.cut, process.way.loses, process.way.refuses = False, lambda: False, False
            process.thaw()
        with trio.move_on_after(3 * 3600):
            while self.world.in_progress() or self.world.lying("queue:rest") or self.world.lying("retry"):  # noqa: ASYNC110
                await trio.sleep(10)
        for process in self.world.alive:
            process.stop()
        for process in self.world.processes:
            await process.done.wait()


async def _freeze(process: Process, seconds: float) -> None:
    process.freeze()
    await trio.sleep(seconds)
    process.thaw()


Play = Callable[[Story], Awaitable[None]]


async def _live(patch: pytest.MonkeyPatch, guard: Guard, seed: int, play: Play, way: Way) -> Story:
    async with trio.open_nursery() as nursery:
        target = FastTarget(duration_s=lambda: 0.05)
        world = World(target, nursery, open_transport=target.open_transport)
        connect(patch, target, nursery)
        story = Story(world, target, random.Random(seed))
        story.start(way)
        await trio.sleep(1)
        await play(story)
        await story.end_well()
        for process in set(world.processes) - story.disturbed:
            guard.look_at_stop(process)
        guard.look_at_dead(world)
        target.hang_up()
        nursery.cancel_scope.cancel()
    return story


def lived(play: Play, seed: int = 0, way: Way = "plan") -> tuple[Story, Transitions]:
    """The story after its end, and the steps that its jobs took; it fails if a promise was broken."""
    with pytest.MonkeyPatch.context() as patch, watched(patch) as transitions, guarded(patch) as guard:
        simulate(patch)
        clock = MockClock(autojump_threshold=0)
        story = trio.run(_live, patch, guard, seed, play, way, clock=clock, instruments=[guard])
    places, ran = story.world.places(), Counter(story.target.jids)
    assert max([*places.values(), 0]) <= 1
    assert story.jids - ran.keys() <= places.keys(), "a job that never ran is gone"
    assert story.world.in_progress() == {}
    assert [jid for jid, count in ran.items() if jid.startswith("once") and count > 1] == []
    return story, transitions


_FENCED_WITH_JOBS_IN_LINE = [
    *("push many", "odd answers", "kill", "stop", "odd answers", "cancel", "push many", "settling refused"),
    *("push many", "push many", "push", "push", "kill", "push many", "start", "push many", "start", "answers lost"),
    *("push many", "answers lost", "odd answers", "fence"),
]
"""What is cut off offers its place to the next in line, which is cut off as well."""


@pytest.mark.slow  # many histories
@settings(max_examples=settings().max_examples // 4)
@given(
    steps=st.lists(st.sampled_from(STEPS), min_size=8, max_size=30),
    seed=st.integers(0, 1000),
    way=st.sampled_from(WAYS),
)
@example(steps=_FENCED_WITH_JOBS_IN_LINE, seed=8, way="task")
def test_every_history_stays_in_the_table_and_keeps_jobs_single(steps: list[str], seed: int, way: Way) -> None:
    async def play(story: Story) -> None:
        for step in ("push", "push once", "push many", *steps):
            await story.happen(step)
            assert max([*story.world.places().values(), 0]) <= 1, step

    story, transitions = lived(play, seed, way)
    event(f"as planned: {story.first.planned.total() > 0}")
    for before, after in transitions.met:
        event(f"{before} -> {after}")
    assert {("FETCHED", "ADMITTED"), ("NONE", "DECIDED")} <= transitions.met


async def _all_is_well(story: Story) -> None:
    story.push(3, "once")
    await trio.sleep(1)
    story.push(12, "safe")
    await trio.sleep(1)


async def _the_target_trips_while_a_job_is_marked(story: Story) -> None:
    (pool,), mark = story.first.status.pools, Reference.mark

    def trip_and_mark(reference: Reference, *args: Any) -> object:
        pool.breaker.trip(Reason("TargetUnwell", "It is down."))
        return mark(reference, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Reference, "mark", trip_and_mark)
        story.push(1, "once")
        await trio.sleep(0.1)


async def _the_server_does_not_know_us_for_a_while(story: Story) -> None:
    await _all_is_well(story)
    story.target.manner = lambda: "401"
    story.push(3, "safe")
    await trio.sleep(1)


async def _a_process_stops_while_many_wait(story: Story) -> None:
    await _all_is_well(story)
    story.target.duration_s = lambda: 1.0
    story.push(12, "safe")
    await trio.sleep(0.5)
    story.first.stop()
    await story.first.done.wait()
    assert story.world.lying("queue:rest")
    story.start()


async def _all_that_is_sent_is_cancelled(story: Story) -> None:
    await _all_is_well(story)
    story.target.duration_s = lambda: 1.0
    story.push(2, "safe")
    await trio.sleep(0.5)
    running = story.first.status.running_jobs()
    assert len(running) == 2
    for job in running:
        assert story.first.status.cancel(job.thread)


async def _jobs_wait_for_their_target(story: Story) -> WorkerPool:
    """Some wait, and nothing is in delivery any more."""
    await _all_is_well(story)
    (pool,) = story.first.status.pools
    story.target.up = False
    pool.breaker.trip(Reason("TargetUnwell", "It is down."))
    pool.breaker.record_probe(FINE)
    story.target.duration_s = lambda: 1.0
    story.push(6, "safe")
    await trio.sleep(0.5)
    pool.breaker.trip(Reason("TargetUnwell", "It is down."))
    await trio.sleep(1.0)
    assert len(pool.breaker.semaphore.line) >= 3
    return pool


async def _jobs_wait_for_their_target_and_redis_loses_that_it_gave_them(story: Story) -> None:
    pool = await _jobs_wait_for_their_target(story)
    data, own = story.world.reference.data, story.world.reference.data.held[pool.identity.name]
    story.first.way.cut = True
    data.lists["queue:rest"] += [*own.jobs.values()]
    own.jobs.clear()
    await trio.sleep(3)
    story.first.way.cut = False
    await trio.sleep(3)
    story.target.up = True
    await trio.sleep(10)


async def _jobs_wait_for_their_target_and_redis_goes_back_to_what_it_had_forgotten(story: Story) -> None:
    pool = await _jobs_wait_for_their_target(story)
    own = story.world.reference.data.held[pool.identity.name]
    known = dict(own.jobs)
    for jobs in ({}, known):
        story.first.way.cut = True
        own.jobs.clear()
        own.jobs.update(jobs)
        await trio.sleep(3)
        story.first.way.cut = False
        await trio.sleep(3)
    story.target.up = True
    await trio.sleep(10)


async def _one_is_cancelled_in_the_instant_of_its_answer(story: Story) -> None:
    await _all_is_well(story)
    cancelled = list[bool]()

    def cancelling(resume: Callable[[Worker, Delivery], None]) -> Callable[[Worker, Delivery], None]:
        def cancel_and_resume(worker: Worker, delivery: Delivery) -> None:
            cancelled.extend(story.first.status.cancel(job.thread) for job in story.first.status.running_jobs())
            resume(worker, delivery)

        return cancel_and_resume

    with pytest.MonkeyPatch.context() as patch:
        for resume in (Worker.resume, Worker.resume_soon):
            patch.setattr(Worker, resume.__name__, cancelling(resume))
        story.push(1, "safe")
        await trio.sleep(1)
    assert cancelled == [True]


async def _jobs_wait_for_their_target_until_the_lease_has_run_out(story: Story) -> None:
    pool = await _jobs_wait_for_their_target(story)
    story.first.way.cut = True
    await trio.sleep(20)
    assert not pool.lease.is_fresh
    story.target.up = True
    await trio.sleep(8)
    assert pool.breaker.admits


async def _redis_goes_away_while_a_job_is_sent(story: Story) -> None:
    story.target.duration_s = lambda: 1.0
    story.push(2, "safe")
    await trio.sleep(0.5)
    story.first.way.cut = True
    await trio.sleep(1)


async def _redis_refuses_to_settle(story: Story) -> None:
    story.first.way.refuses = True
    story.push(2, "safe")
    await trio.sleep(1)


async def _redis_refuses_to_settle_and_goes_away(story: Story) -> None:
    await _redis_refuses_to_settle(story)
    story.first.way.cut, story.first.way.refuses = True, False
    await trio.sleep(10)


async def _redis_is_back_and_refuses_to_settle(story: Story) -> None:
    await _redis_goes_away_while_a_job_is_sent(story)
    story.first.way.cut, story.first.way.refuses = False, True
    await trio.sleep(10)


STORIES = {
    ("FETCHED", "ADMITTED"): _all_is_well,
    ("ADMITTED", "MARKED"): _all_is_well,
    ("ADMITTED", "SENDING"): _all_is_well,
    ("MARKED", "SENDING"): _all_is_well,
    ("MARKED", "ADMITTED"): _the_target_trips_while_a_job_is_marked,
    ("SENDING", "ANSWERED"): _all_is_well,
    ("SENDING", "ADMITTED"): _the_server_does_not_know_us_for_a_while,
    ("NONE", "DECIDED"): _all_is_well,
    ("DECIDED", "REQUESTED"): _redis_goes_away_while_a_job_is_sent,
    ("DECIDED", "REFUSED"): _redis_refuses_to_settle,
    ("DECIDED", "CONFIRMED"): _all_is_well,
    ("REQUESTED", "REFUSED"): _redis_is_back_and_refuses_to_settle,
    ("REQUESTED", "CONFIRMED"): _redis_goes_away_while_a_job_is_sent,
    ("REFUSED", "REQUESTED"): _redis_refuses_to_settle_and_goes_away,
    ("REFUSED", "CONFIRMED"): _redis_refuses_to_settle,
}
"""A story in which each step of the table is taken: one that no story takes would be looked at by no test."""


def test_there_is_a_story_for_each_step_of_the_table() -> None:
    assert STORIES.keys() == LEGAL_STEPS


@pytest.mark.parametrize("step", STORIES, ids="-".join)
def test_each_step_of_the_table_is_taken_and_every_job_ends_well(step: tuple[str, str]) -> None:
    story, transitions = lived(STORIES[step])
    assert step in transitions.met
    assert story.jids == set(story.target.jids)
    assert story.world.places() == Counter()


def test_most_of_the_plain_jobs_are_delivered_as_planned() -> None:
    story, _ = lived(_all_is_well)
    assert story.first.planned.total() >= 9


@pytest.mark.parametrize("way", WAYS)
def test_job_cancelled_while_sent_dies_as_perhaps_run(way: Way) -> None:
    story, _ = lived(_all_that_is_sent_is_cancelled, way=way)
    assert story.world.lying("dead") == {"safe12", "safe13"}


@pytest.mark.parametrize(
    "play",
    [
        _jobs_wait_for_their_target_until_the_lease_has_run_out,
        _jobs_wait_for_their_target_and_redis_loses_that_it_gave_them,
        _a_process_stops_while_many_wait,
    ],
)
def test_jobs_that_wait_are_sent_only_by_who_may_send_them(play: Play) -> None:
    story, _ = lived(play)
    assert story.jids == set(story.target.jids)


@pytest.mark.parametrize("way", WAYS)
def test_redis_going_back_sends_no_waiting_job_twice(way: Way) -> None:
    story, _ = lived(_jobs_wait_for_their_target_and_redis_goes_back_to_what_it_had_forgotten, way=way)
    assert set(Counter(story.target.jids).values()) == {1}
    assert story.jids == set(story.target.jids)


@pytest.mark.parametrize("way", WAYS)
def test_job_cancelled_as_its_answer_comes_is_settled_by_it(way: Way) -> None:
    story, _ = lived(_one_is_cancelled_in_the_instant_of_its_answer, way=way)
    assert story.world.lying("dead") == set()
    assert story.jids == set(story.target.jids)


async def _jobs_take_long_after_an_outage(story: Story) -> None:
    await _all_is_well(story)
    (pool,) = story.first.status.pools
    pool.breaker.trip(Reason("TargetUnwell", "It is down."))
    pool.breaker.record_probe(FINE)
    story.target.duration_s = lambda: 5.0
    story.push(6, "safe")
    await trio.sleep(0.5)
    assert pool.ready.demand.in_delivery == 1
    await trio.sleep(4)
    assert pool.ready.demand.in_delivery == 3


@pytest.mark.parametrize("way", WAYS)
def test_a_limit_that_rises_by_time_alone_lets_others_in(way: Way) -> None:
    story, _ = lived(_jobs_take_long_after_an_outage, way=way)
    assert story.jids == set(story.target.jids)


async def _it_freezes_in_the_middle_of_many(story: Story) -> None:
    await _all_is_well(story)
    story.target.duration_s = lambda: 0.5
    story.start()
    story.push(30, "safe")
    story.push(2, "once")
    await trio.sleep(0.7)
    assert story.world.in_progress().keys() >= story.first.identities
    before = story.first.identities
    await _freeze(story.first, 40.0)
    await trio.sleep(5)
    assert story.first.identities.isdisjoint(before), "another one took its jobs, and it goes on under a new name"


def test_process_frozen_until_takeover_sends_none_of_its_jobs() -> None:
    story, _ = lived(_it_freezes_in_the_middle_of_many)
    assert story.jids == set(story.target.jids)
    assert len(story.world.of(JobsRecovered)) == 1
