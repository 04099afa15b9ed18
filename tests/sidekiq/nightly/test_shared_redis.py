"""A real Ruby Sidekiq and restbroker work on one Redis, each on its own queue, under failures and kills.

Each side's poller moves due jobs of both. SHARED_S is how many seconds of load there are (10), SHARED_KILLS how often
a side is killed (3); `.ci/soak` raises both.
"""

import json
import os
import time
from collections import Counter
from collections.abc import Callable

import attrs
import pytest

from restbroker.job import rubyjson
from restbroker.job.json_types import Json
from tests.support.beside_ruby import REFUSED, TOKENS, Beside, check, ours, rubys
from tests.support.sidekiq_process import SidekiqProcess, executions, how_many
from tests.support.wait import until

LOAD_S = float(os.environ.get("SHARED_S", "10"))
KILLS = int(os.environ.get("SHARED_KILLS", "3"))
KILL_EVERY_S = 2.0
TICK_S = 0.5
OURS, RUBYS = "rest", "default"
LONGEST_RETRY_S = 60.0
"""Ruby's own: 1 s and up to 9 s of jitter, then 1 s and up to 18 s, and its poller each time."""
ODD: list[Json] = [
    1.0e15,
    1e-05,
    2.5,
    -0.0,
    2**70,
    "größe ☃ 😀 \u2028 </a>",
    [],
    {},
    [[], {"": [None, {}]}],
    None,
    True,
]


@attrs.frozen
class Kind:
    """Jobs of which a tick pushes `each_tick`: due in `in_s`, so many failures first, `retry` as the payload says."""

    name: str
    each_tick: int
    failures: int = 0
    retry: bool | int = True
    in_s: float = 0.0

    @property
    def runs(self) -> int:
        """How often such a job is executed."""
        return self.failures + 1 if not self.dies else 1 if self.failures == REFUSED else int(self.retry) + 1

    @property
    def dies(self) -> bool:
        """Whether it ends in the dead set."""
        return self.failures == REFUSED or self.failures > 25

    @property
    def failed_runs(self) -> int:
        """How many of its executions fail."""
        return self.runs if self.dies else self.failures


COMMON = [
    Kind("plain", 11),
    Kind("once", 2, failures=1),
    Kind("twice", 2, failures=2),
    Kind("doomed", 1, failures=99, retry=1),
    Kind("later", 2, in_s=3.0),
    Kind("later-once", 1, failures=1, in_s=2.0),
]
OF_OURS = [*COMMON, Kind("refused", 1, failures=REFUSED)]
OF_RUBYS = [*COMMON, Kind("dead-at-once", 1, failures=99, retry=0)]
QUICK = [Kind("plain", 8), Kind("later", 8, in_s=1.0), Kind("once", 1, failures=1)]
"""Jobs of Ruby that are soon done: its own retries wait for 1 to 10 s."""


@pytest.fixture(autouse=True)
def _configured(beside: Beside) -> None:
    beside.configure(OURS, **TOKENS)


@attrs.frozen
class Pushed:
    """The jobs of a load by their jids: those of restbroker and those of Ruby."""

    own: dict[str, Kind] = attrs.field(factory=dict)
    foreign: dict[str, Kind] = attrs.field(factory=dict)


def load(beside: Beside, goes_on: Callable[[float], bool], rubys_kinds: list[Kind], takes_s: float = 0.0) -> Pushed:
    """Pushes jobs of every kind and both sides each tick, for as long as `goes_on` says; it is told the seconds.

    `takes_s`: how long the server needs for each.
    """
    pushed, began_s, tick = Pushed(), time.monotonic(), 0
    while goes_on(time.monotonic() - began_s):
        time.sleep(max(0.0, began_s + tick * TICK_S - time.monotonic()))
        tick += 1
        own, foreign = _named(OURS, tick, OF_OURS), _named(RUBYS, tick, rubys_kinds)
        pushed.own.update(own)
        pushed.foreign.update(foreign)
        for jid, kind in own.items():
            made = ours(jid, OURS, kind.failures, retry=kind.retry, odd=list(ODD), takes_s=takes_s)
            _push(beside, OURS, kind, made)
        for jid, kind in foreign.items():
            _push(beside, RUBYS, kind, rubys(jid, RUBYS, kind.failures, retry=kind.retry))
    return pushed


def _named(side: str, tick: int, kinds: list[Kind]) -> dict[str, Kind]:
    return {f"{side}-{kind.name}-{tick}-{serial}": kind for kind in kinds for serial in range(kind.each_tick)}


def _push(beside: Beside, queue: str, kind: Kind, made: bytes) -> None:
    if kind.in_s:
        beside.schedule(made, kind.in_s)
    else:
        beside.push(queue, made)


def wanted_runs(jobs: dict[str, Kind]) -> Counter[str]:
    return Counter({jid: kind.runs for jid, kind in jobs.items()})


def wanted_dead(jobs: dict[str, Kind]) -> set[str]:
    return {jid for jid, kind in jobs.items() if kind.dies}


def executed_by_ruby(beside: Beside) -> Counter[str]:
    return Counter(job["jid"] for job in executions(beside.witness))


def wait_for_ruby(beside: Beside, foreign: dict[str, Kind]) -> None:
    """Returns when Ruby executed all that it should: what it runs is nowhere in Redis."""
    total = wanted_runs(foreign).total()
    until(lambda: how_many(beside.witness) >= total, "Ruby executed everything", LONGEST_RETRY_S)


@pytest.mark.promise("Sidekiq: counters and metrics", "both sides' executions in one counter")
@pytest.mark.promise("Sidekiq: one Redis with Ruby workers", "its processes work next to others")
def test_two_sides_share_redis_under_load_and_jobs_end_right(beside: Beside, report: Callable[[str], None]) -> None:
    broker, ruby = beside.broker(), beside.ruby(RUBYS)
    pushed = load(beside, lambda seconds: seconds < LOAD_S, OF_RUBYS)
    wait_for_ruby(beside, pushed.foreign)
    beside.wait_until_finished()
    assert (ruby.running.stop(), broker.stop()) == (0, 0)
    report(f"{len(pushed.own)} + {len(pushed.foreign)} jobs, moved by Ruby: {moved_by_queue([ruby])}")
    assert "Traceback" not in broker.output()
    assert beside.server.executions() == wanted_runs(pushed.own)
    assert executed_by_ruby(beside) == wanted_runs(pushed.foreign)
    assert beside.unfinished() == Counter()
    _assert_the_dead(beside, pushed)
    _assert_the_counters(beside, [*pushed.own.values(), *pushed.foreign.values()])
    _assert_both_moved_both(ruby, pushed)


def _assert_the_dead(beside: Beside, pushed: Pushed) -> None:
    dead = beside.members("dead")
    assert sorted(job["jid"] for job in dead) == sorted(wanted_dead(pushed.own) | wanted_dead(pushed.foreign))
    given = [job["args"][1]["odd"] for job in dead if job["queue"] == OURS]
    given += [arrival.arguments["odd"] for arrival in beside.server.http.arrivals]
    assert {repr(odd) for odd in given} == {repr(ODD)}


def _assert_the_counters(beside: Beside, both: list[Kind]) -> None:
    processed, failed = sum(kind.runs for kind in both), sum(kind.failed_runs for kind in both)
    assert (beside.number("stat:processed"), beside.per_day("stat:processed")) == (processed, processed)
    assert (beside.number("stat:failed"), beside.per_day("stat:failed")) == (failed, failed)


def _assert_both_moved_both(ruby: SidekiqProcess, pushed: Pushed) -> None:
    """Ruby prints what it moved; what it did not, restbroker moved."""
    moved = moved_by_queue([ruby])
    for queue, jobs in ((OURS, pushed.own), (RUBYS, pushed.foreign)):
        due = sum(kind.runs - 1 + (kind.in_s > 0) for kind in jobs.values())
        assert 0 < moved[queue] < due, (queue, moved, due)


def moved_by_queue(rubies: list[SidekiqProcess]) -> Counter[str]:
    return Counter(job["queue"] for ruby in rubies for job in ruby.moved())


@pytest.mark.promise("Sidekiq: queues", "a crash loses nothing in progress")
def test_killing_restbroker_under_load_loses_no_job_on_any_side(beside: Beside, report: Callable[[str], None]) -> None:
    ruby, brokers, held = beside.ruby(RUBYS), [beside.broker()], list[int]()

    def kill_now_and_then(seconds: float) -> bool:
        if seconds > KILL_EVERY_S * len(brokers):
            brokers[-1].process.kill()
            brokers[-1].wait()
            held.append(beside.in_progress())
            brokers.append(beside.broker())
        return len(brokers) <= KILLS

    pushed = load(beside, kill_now_and_then, QUICK, takes_s=0.2)
    beside.wait_until_finished(LONGEST_RETRY_S)
    wait_for_ruby(beside, pushed.foreign)
    assert (ruby.running.stop(), brokers[-1].stop()) == (0, 0)
    came, wanted = beside.server.executions(), wanted_runs(pushed.own)
    repeated = (came - wanted).total()
    report(f"{len(pushed.own)} jobs, in progress at each kill: {held}, executed once more than needed: {repeated}")
    assert not wanted - came, "lost"
    assert repeated <= sum(held)
    assert executed_by_ruby(beside) == wanted_runs(pushed.foreign)
    _assert_the_dead(beside, pushed)


@pytest.mark.promise("Sidekiq: one Redis with Ruby workers", "a poller that is killed loses the job it moves")
def test_killing_ruby_under_load_costs_us_only_jobs_it_moves(beside: Beside, report: Callable[[str], None]) -> None:
    """They are due, and in the hands of its poller."""
    broker, rubies, killed = beside.broker(), [beside.ruby(RUBYS)], list[float]()

    def kill_when_it_moves(seconds: float) -> bool:
        if seconds > KILL_EVERY_S * (len(killed) + 1) and moved_by_queue(rubies[-1:])[OURS]:
            rubies[-1].kill()
            killed.append(seconds)
            rubies.append(beside.ruby(RUBYS))
        return len(killed) < KILLS

    pushed = load(beside, kill_when_it_moves, QUICK)
    beside.wait_until_finished(LONGEST_RETRY_S)
    assert (rubies[-1].running.stop(), broker.stop()) == (0, 0)
    came, wanted = beside.server.executions(), wanted_runs(pushed.own)
    lost = wanted - came
    report(f"{len(pushed.own)} jobs, Ruby killed at {[round(at) for at in killed]} s, lost by its poller: {set(lost)}")
    assert not came - wanted, "executed more often than it should"
    assert len(lost) <= KILLS
    never_due = {jid for jid, kind in pushed.own.items() if kind.runs == 1 and not kind.in_s}
    assert not never_due & lost.keys()
    assert {job["jid"] for job in beside.members("dead")} >= wanted_dead(pushed.own) - lost.keys()


@pytest.mark.promise("Sidekiq: one Redis with Ruby workers", "a poller that is killed loses the job it moves")
@pytest.mark.promise("Sidekiq: one Redis with Ruby workers", "client middleware runs over our due jobs")
def test_ruby_killed_while_moving_a_due_job_loses_it_as_warned(beside: Beside) -> None:
    fields = json.loads(ours("dawdles", OURS))
    beside.schedule(rubyjson.dumps({**fields, "dawdle": True}), -1)
    ruby = beside.ruby(RUBYS, poll_s=0.1)
    until(lambda: not beside.members("schedule"), "Ruby took it out")
    warned = check(beside)["SharedDatabase"]
    assert "killed while it moves a due job out of the retry or schedule set loses that job" in str(warned["why"])
    ruby.kill()
    assert beside.unfinished() == Counter()
    assert beside.members("dead") == []
