"""Whose jobs may be taken over, and what a process does that finds itself taken over."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support import process
from tests.support.bench import CONCURRENCY, Bench, headline
from tests.support.process import Running, Stopwatch
from tests.support.redis_line import Line, pause
from tests.support.shared import FAST_RETRIES
from tests.support.wait import until

FENCED_WITHIN_S = 25.0


def identity_of(bench: Bench, broker: Running) -> str:
    (name,) = bench.identities(broker)
    return name


@pytest.mark.promise("At least once, and seldom more", "only who is dead, frozen or cut off is taken over")
@pytest.mark.nightly
def test_cut_off_process_loses_its_jobs_and_the_other_keeps_its(line: Line) -> None:
    bench = line.bench
    bench.proxy.answers.clear()
    line.configure(RequestTimeout="60s")
    cut = bench.start()
    line.push(CONCURRENCY)
    bench.wait_until_sent(CONCURRENCY)
    bench.configure(RequestTimeout="60s", Backoff=FAST_RETRIES)
    other = bench.start()
    line.push(CONCURRENCY)
    until(lambda: bench.held() == 2 * CONCURRENCY, "the other one has its own")
    before, lost, kept = bench.in_progress(), identity_of(bench, cut), identity_of(bench, other)
    line.proxy.cut()
    watch = Stopwatch.start(other)
    until(lambda: lost not in bench.in_progress(), "the jobs of the one are given back")
    assert watch.took_s() <= FENCED_WITHIN_S
    assert set(before[kept]) <= set(bench.in_progress()[kept])
    assert bench.unfinished() == 2 * CONCURRENCY
    other.wait_for(rf"jobs\.recovered.*jobs={len(before[lost])}\b")
    line.proxy.mend()
    cut.wait_for(rf"fenced.*{lost}")
    bench.proxy.answers.set()
    line.assert_each_is_answered_once()
    sendings = bench.proxy.of_jobs()
    assert {job for job, sent in sendings.items() if len(sent) > 1} <= set(before[lost])
    assert "fenced" not in other.output()


@contextmanager
def in_a_container(bench: Bench) -> Iterator[Running]:
    """A broker with process numbers of its own, and the machine's name and boot."""
    rights = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    command = [
        "unshare",
        *rights,
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        sys.executable,
        "-m",
        "restbroker",
    ]
    arguments = ["run", "--config", str(bench.directory / "env.json")]
    with process.started(arguments, directory=bench.directory, command=command) as broker:
        broker.wait_for(r"broker\.started")
        yield broker


@pytest.mark.promise("At least once, and seldom more", "only who is dead, frozen or cut off is taken over")
@pytest.mark.nightly
def test_containers_of_one_hostname_do_not_seem_dead_to_others(bench: Bench) -> None:
    bench.configure(RequestTimeout="60s", Backoff=FAST_RETRIES)
    bench.proxy.answers.clear()
    with in_a_container(bench):
        bench.push([headline(number) for number in range(CONCURRENCY)])
        bench.wait_until_sent(CONCURRENCY)
        ((first, jobs),) = bench.in_progress().items()
        assert bench.client.command("HGET", f"restbroker:info:{first}", "pid") == b"1"
        with in_a_container(bench) as second:
            assert "pid=1 " in second.output()
            pause(6)  # three looks at the others
            assert bench.in_progress() == {first: jobs}
            assert "jobs.recovered" not in second.output()
            bench.proxy.answers.set()
            bench.wait_until_finished()
    assert all(len(sent) == 1 for sent in bench.proxy.of_jobs().values())
