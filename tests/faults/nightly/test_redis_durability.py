"""What a Redis that is killed under load costs, by how often it saves: with `always` nothing, with `everysec` a second.

SIGKILL alone loses nothing that Redis gave to the system; a machine that loses its power does. So the test cuts the
file to the size that it had one second before the kill. That size may itself be old: while the system is busy with one
fsync, Redis puts the next write off, for two seconds at most (redis.conf, 7.0).
"""

import time
from collections.abc import Callable, Iterable

import attrs
import pytest

from tests.support import process
from tests.support.bench import Bench, job_id
from tests.support.counting_proxy import Exchange
from tests.support.redis_line import LOAD, Line, pause
from tests.support.redis_server import RedisServer
from tests.support.wait import until

LAST_S = 1.0
PUT_OFF_S = 2.0
FILLED_S = 4.0
PUSHED_AT_ONCE = 15
SLOWLY = "100/s"
"""Fewer are done than are pushed, on any machine: what is pushed last must still wait when Redis is killed."""
KILLS = 5


@attrs.frozen
class Moment:
    """How far everything was, and how large the file."""

    at_s: float
    size_bytes: int
    pushed: int
    sent: int


@pytest.fixture
def forgetful_line(
    make_line: Callable[[Bench], Line],
    make_bench: Callable[[RedisServer], Bench],
    make_redis: Callable[..., RedisServer],
) -> Line:
    """On a Redis that saves each second, and says so."""
    return make_line(make_bench(make_redis(appendonly="yes", appendfsync="everysec")))


def push_for(line: Line, seconds: float) -> list[Moment]:
    """A steady stream of jobs, and the moment before each push."""
    file = line.bench.redis.append_only_file
    moments = []
    ends_s = time.monotonic() + seconds
    while (now_s := time.monotonic()) < ends_s:
        sent = len(line.bench.proxy.exchanges)
        moments.append(Moment(now_s, file.stat().st_size, line.pushed, sent))
        line.push(PUSHED_AT_ONCE)
        pause(0.03)
    return moments


def latest(moments: Iterable[Moment], at_s: float) -> Moment:
    """The last one that is not later."""
    return max((moment for moment in moments if moment.at_s <= at_s), key=lambda one: one.at_s)


def jobs(exchanges: Iterable[Exchange]) -> set[str]:
    return {exchange.job for exchange in exchanges if exchange.job}


@pytest.mark.promise("No command is lost", "everysec costs at most the last second")
def test_everysec_costs_at_most_the_last_second_as_check_said(forgetful_line: Line) -> None:
    line, bench = forgetful_line, forgetful_line.bench
    line.configure(RateLimit=SLOWLY)
    findings = process.run(["check", "--config", str(bench.directory / "env.json")]).stdout
    assert "SavedEachSecond" in findings
    assert "may lose about the last second" in findings
    line.under_load()
    moments = push_for(line, FILLED_S)
    line.proxy.cut()  # the broker does not reach the new Redis before the test has looked at it
    bench.redis.kill()
    killed_s = time.monotonic()
    cut = latest(moments, killed_s - LAST_S)
    safe = latest(moments, killed_s - LAST_S - PUT_OFF_S)
    with bench.redis.append_only_file.open("r+b") as file:
        file.truncate(cut.size_bytes)
    line.wait_until_lost()
    bench.revive_redis()

    in_progress = {job for held in bench.in_progress().values() for job in held}
    waiting = set(bench.places()) - in_progress
    line.proxy.mend()
    line.wait_until_back()
    bench.wait_until_finished()

    sendings = bench.proxy.of_jobs()
    never = {job_id(number) for number in range(line.pushed)} - set(sendings)
    twice = {job for job, sent in sendings.items() if len(sent) > 1}
    line.report(
        f"{line.name}: {line.pushed - cut.pushed} of {line.pushed} jobs were pushed in the last second, "
        f"{len(never)} never ran, {len(twice)} ran twice"
    )
    assert never <= {job_id(number) for number in range(safe.pushed, line.pushed)}
    assert never, "what was pushed last was still in its queue"
    assert twice, "what ran last was in its queue again"
    assert twice <= waiting, "what was in progress is settled, not run again"
    assert twice.isdisjoint(jobs(bench.proxy.exchanges[: safe.sent]))
    assert all(len(sent) <= 2 and sent[-1].done for sent in sendings.values())
    # The broker remembers what ran in the last seconds; a create that it just did not know of finds its object.
    dead = bench.members("dead")
    assert {job["jid"] for job in dead} <= twice
    assert {job["error_class"] for job in dead} <= {"AlreadyExists"}
    line.assert_outages(1)


@pytest.mark.promise("No command is lost", "Redis is stopped or killed under load")
def test_redis_killed_again_and_again_loses_nothing_with_always(own_line: Line) -> None:
    line, bench = own_line, own_line.bench
    line.under_load()
    for kill in range(1, KILLS + 1):
        until(lambda: line.ready() == 200, "it takes jobs")
        line.push(LOAD // 3)
        bench.wait_until_sent(LOAD // 6 + kill * LOAD // 6)
        bench.redis.kill()
        line.wait_until_lost()
        bench.revive_redis()
        line.wait_until_back()
    line.assert_each_is_answered_once()
    line.assert_each_was_sent_once()
    line.assert_outages(KILLS)
