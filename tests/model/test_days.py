"""Days of a broker's life in seconds: outages, retries, takeovers, on the mock clock and on the reference of the store.

Everything between Redis and the server is the real thing: pools, workers, scheduler, reaper, beats. Where a test is
about days and not about seconds, the real intervals are stretched, or its idle polls would take minutes.
"""

import json
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from functools import partial
from itertools import pairwise

import attrs
import pytest
import trio
from trio.testing import MockClock

from restbroker.broker import (
    acker,
    health,
    heartbeat,
    intake,
    life,
    reaper,
    rules,
    scheduler,
    upkeep,
)
from restbroker.store import server
from restbroker.telemetry.events import IdentityFenced, JobsRecovered, PauseEnded
from tests.model import link
from tests.model.target import SimulatedTarget
from tests.model.world import BEGAN_AT_S, FACTS, World, simulate

MINUTE_S, HOUR_S, DAY_S = 60.0, 3600.0, 86_400.0
BACK_WITHIN_S = 25.0
LOOK_S = 0.25
SEED = int(os.environ.get("MODEL_SEED", "1"))
STRETCHED = [
    (heartbeat, "HEARTBEAT_S"),
    (health, "FENCE_AFTER_S"),
    (health, "MARGIN_S"),
    (upkeep, "PAUSES_S"),
    (reaper, "FENCE_AFTER_S"),
    (reaper, "SCAN_S"),
    (upkeep, "REWRITE_S"),
    (scheduler, "POLL_S"),
    (intake, "LOOK_EVERY_S"),
    (link, "BLOCK_S"),
    (rules, "_PROBE_AFTER_S"),
    (acker, "_REFUSED_WAIT_S"),
]


@pytest.fixture
async def world(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    simulate(monkeypatch)
    async with trio.open_nursery() as nursery:
        yield World(SimulatedTarget(), nursery)
        nursery.cancel_scope.cancel()


def stretch(patch: pytest.MonkeyPatch, times: float) -> None:
    """Makes the pauses between idle looks longer."""
    for module, name in STRETCHED:
        patch.setattr(module, name, getattr(module, name) * times)


async def until(question: Callable[[], object], what: str, timeout_s: float) -> None:
    """Waits, in simulated time."""
    with trio.move_on_after(timeout_s):
        while not question():  # noqa: ASYNC110 - looking costs no time on a clock that jumps
            await trio.sleep(LOOK_S)
    assert question(), f"In {timeout_s:g} simulated seconds this did not happen: {what}"


@pytest.mark.promise("No command is lost", "the target is down")
@pytest.mark.parametrize("hours", [10, pytest.param(48, marks=pytest.mark.nightly)])
async def test_a_server_that_is_down_for_hours_costs_time_only(
    autojump_clock: MockClock, world: World, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    stretch(monkeypatch, 600)
    jids = [f"j{n}" for n in range(50)]
    world.start()
    world.start()
    await trio.sleep(MINUTE_S)
    world.target.up = False
    world.push(*jids)
    await trio.sleep(hours * HOUR_S)
    assert world.target.ran == []
    assert world.places() == Counter(jids)
    world.target.up = True
    await trio.sleep(HOUR_S)
    assert sorted(world.target.jids) == sorted(jids)
    assert world.places() == Counter()
    assert world.reference.data.failed == 0


@pytest.mark.nightly
async def test_failing_job_is_tried_26_times_in_20_days_like_sidekiq(
    autojump_clock: MockClock, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After that it is dead."""
    stretch(monkeypatch, 600)
    world.target.status = 500
    world.start()
    world.push("bad")
    await trio.sleep(25 * DAY_S)
    times_s = [at_s for _, at_s in world.target.ran]
    assert len(times_s) == 26
    late_s = 1.5 * scheduler.POLL_S + 10
    for count, (before_s, after_s) in enumerate(pairwise(times_s)):
        assert count**4 + 15 <= after_s - before_s <= count**4 + 15 + 10 * (count + 1) + late_s
    assert 19 * DAY_S < times_s[-1] - times_s[0] < 22 * DAY_S
    (dead,) = world.reference.data.sets["dead"]
    assert (json.loads(dead)["retry_count"], json.loads(dead)["error_class"]) == (25, "ServerError")
    assert (world.reference.data.processed, world.reference.data.failed) == (26, 26)
    assert world.places() == Counter(["bad"])


async def test_scheduled_jobs_run_hours_later_once_and_never_early(
    autojump_clock: MockClock, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    stretch(monkeypatch, 600)
    dues_s = {f"j{n}": 8 * HOUR_S + 100 * n for n in range(20)}
    for jid, due_s in dues_s.items():
        job = {"class": "A", "jid": jid, "queue": "rest", "args": ["safe", {"jid": jid}, "t"]}
        world.reference.data.sets["schedule"][json.dumps(job).encode()] = BEGAN_AT_S + due_s
    world.start()
    world.start()
    await trio.sleep(10 * HOUR_S)
    assert sorted(world.target.jids) == sorted(dues_s)
    for jid, at_s in world.target.ran:
        assert dues_s[jid] <= at_s <= dues_s[jid] + 1.5 * scheduler.POLL_S + 10
    assert world.places() == Counter()


@pytest.mark.promise("Back soon", "jobs of a killed process are back in 25 s elsewhere")
async def test_jobs_of_randomly_dying_processes_return_in_25_seconds(autojump_clock: MockClock, world: World) -> None:
    chance = random.Random(1)
    world.target.duration_s = lambda: chance.uniform(1, 60)
    jids = [f"j{n}" for n in range(150)]
    world.start()
    world.start()
    world.push(*jids)
    lost = 0
    for _ in range(12):
        await trio.sleep(chance.uniform(10, 90))
        world.start()
        victim = world.alive[chance.randrange(len(world.alive) - 1)]
        mine = victim.identities
        lost += sum(len(world.in_progress().get(identity, ())) for identity in mine)
        victim.kill()
        await until(partial(world.known_is_without, mine), "its jobs are back", BACK_WITHIN_S)
    await until(lambda: not world.places(), "everything is done", 10 * HOUR_S)
    assert set(world.target.jids) == set(jids)
    assert len(world.target.ran) <= len(jids) + lost
    assert world.reference.data.processed == len(jids)
    assert world.of(IdentityFenced) == []


@pytest.mark.slow  # ten hours of a simulated clock
@pytest.mark.promise("Back soon", "an outage of Redis for all has nobody taken over")
async def test_ten_hours_without_redis_cause_no_takeover(
    autojump_clock: MockClock, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name in [(health, "LONGEST_WAIT_S"), (intake, "LONGEST_WAIT_S"), (life, "ASK_AGAIN_S")]:
        monkeypatch.setattr(module, name, MINUTE_S)
    world.target.duration_s = lambda: 30.0
    jids = [f"j{n}" for n in range(60)]
    for _ in range(3):
        world.start()
    world.push(*jids)
    await trio.sleep(MINUTE_S)
    before = world.known
    # Who looks first afterwards is chance: one outage would often show nothing.
    for _ in range(4):
        held = world.in_progress()
        for process in world.processes:
            process.way.cut = True
        await trio.sleep(2.5 * HOUR_S)
        assert world.in_progress() == held
        for process in world.processes:
            process.way.cut = False
        await trio.sleep(2 * MINUTE_S)
    await until(lambda: not world.places(), "everything is done", 2 * HOUR_S)
    assert world.known == before
    assert world.of(JobsRecovered) == world.of(IdentityFenced) == []
    assert sorted(world.target.jids) == sorted(jids)


async def test_paused_queue_and_target_resume_after_two_minutes(autojump_clock: MockClock, world: World) -> None:
    """One process reports it."""
    for _ in range(3):
        world.start()
    await trio.sleep(MINUTE_S)
    world.reference.pause_queue("rest", "ann", "it moves", 2 * MINUTE_S)
    world.push("j1", "j2")
    await trio.sleep(2 * MINUTE_S - 1)
    assert world.target.ran == []
    await until(lambda: len(world.target.ran) == 2, "the queue is served", 10)
    world.reference.pause_target("t", "bob", "", 2 * MINUTE_S)
    world.push("j3")
    await trio.sleep(2 * MINUTE_S - 1)
    assert len(world.target.ran) == 2
    await until(lambda: len(world.target.ran) == 3, "the target gets jobs", 10)
    await until(lambda: len(world.of(PauseEnded)) == 2, "both are reported", 10)
    ended = sorted(world.of(PauseEnded), key=lambda event: str(event.kind))
    assert ended == [PauseEnded("queue", "rest", "ann", "it moves"), PauseEnded("target", "t", "bob", None)]
    assert (world.reference.data.queue_notes, world.reference.data.target_notes) == ({}, {})


@pytest.mark.promise("Back soon", "another Redis takes over unseen, as behind a proxy")
async def test_what_another_redis_showed_has_nobody_fenced(
    autojump_clock: MockClock, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked which one it is before each fence; what it knows may be old, and is watched for as long again."""
    world.start()
    victim = world.start()
    await trio.sleep(MINUTE_S)
    mine = victim.identities
    victim.kill()
    # Its last heartbeat may be 2.5 s old.
    await trio.sleep(16)
    monkeypatch.setattr(server, "server", lambda _reference, **_: attrs.evolve(FACTS, run_id="another"))
    await trio.sleep(19)
    assert not world.known_is_without(mine)
    await until(partial(world.known_is_without, mine), "its jobs are back", 7 + BACK_WITHIN_S - 16)


async def test_due_jobs_follow_a_clock_of_redis_that_was_set(
    autojump_clock: MockClock, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "POLL_S", 1.0)
    job = {"class": "A", "jid": "j", "queue": "rest", "args": ["safe", {"jid": "j"}, "t"]}
    world.reference.data.sets["schedule"][json.dumps(job).encode()] = BEGAN_AT_S + HOUR_S
    world.start()
    await trio.sleep(MINUTE_S)
    clock = world.reference.clock
    monkeypatch.setattr(server, "time_s", lambda _reference: clock() + HOUR_S)
    world.reference.clock = lambda: clock() + HOUR_S
    await until(lambda: world.target.ran, "it is sent", scheduler.CLOCK_S + 3)


async def test_process_cut_off_for_minutes_loses_its_jobs_and_renames(autojump_clock: MockClock, world: World) -> None:
    world.target.duration_s = lambda: 30.0
    jids = [f"j{n}" for n in range(150)]
    other, cut_off = world.start(), world.start()
    world.push(*jids)
    await trio.sleep(MINUTE_S)
    old = cut_off.identities
    lost = sum(len(world.in_progress()[identity]) for identity in old)
    cut_off.way.cut = True
    await until(partial(world.known_is_without, old), "its jobs are back", BACK_WITHIN_S)
    sent = len(world.target.ran)
    await trio.sleep(5 * MINUTE_S)
    cut_off.way.cut = False
    await until(lambda: not world.places(), "everything is done", 3 * HOUR_S)
    assert cut_off.identities.isdisjoint(old)
    assert len(cut_off.identities) == len(other.identities) == 1
    assert set(world.target.jids) == set(jids)
    assert len(world.target.ran) <= len(jids) + lost
    assert sent < len(jids)
    assert world.reference.data.processed == len(jids)


async def test_hours_of_lost_calls_and_sudden_deaths_lose_no_job(autojump_clock: MockClock, world: World) -> None:
    chance = random.Random(SEED)
    world.target.duration_s = lambda: chance.uniform(0.01, 2)
    jids = [f"j{n}" for n in range(200)]
    at_risk = 0
    for _ in range(3):
        world.start().way.loses = lambda: chance.random() < 0.02
    for round_number in range(5):
        world.push(*jids[round_number * 40 : round_number * 40 + 40])
        await trio.sleep(chance.uniform(5, 60))
        victim = chance.choice(world.alive)
        at_risk += sum(len(world.in_progress().get(identity, ())) for identity in victim.identities)
        victim.kill()
        world.start().way.loses = lambda: chance.random() < 0.02
    await until(lambda: not world.places(), "everything is done", 10 * HOUR_S)
    assert set(world.target.jids) == set(jids)
    assert len(world.target.ran) <= len(jids) + at_risk
    assert (world.reference.data.processed, world.reference.data.failed) == (len(jids), 0)
