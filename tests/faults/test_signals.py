"""What a broker process does when it is told to stop, to be quiet or to explain itself, and when Redis goes away."""

import signal

import pytest

from tests.support.bench import CONCURRENCY, Bench, job_id, payload
from tests.support.process import Running, Stopwatch
from tests.support.shared import FAST_RETRIES
from tests.support.wait import until

JOBS = 300
DEAD_AT_ONCE_S = 12.0
"""A drain would take 25 s."""


def busy(bench: Bench, command: str = "check_account") -> Running:
    """A broker with every worker waiting for an answer, and more jobs in the queue."""
    bench.configure(RequestTimeout="60s", Backoff=FAST_RETRIES)
    bench.proxy.answers.clear()
    broker = bench.start()
    bench.push([payload(number, command, user="richard", host="example.org") for number in range(JOBS)])
    bench.wait_until_sent(CONCURRENCY)
    return broker


def assert_in_one_place(bench: Bench) -> None:
    """Each job is either done or in exactly one place of Redis."""
    places = bench.places()
    sendings = bench.proxy.of_jobs()
    for number in range(JOBS):
        job = job_id(number)
        assert places[job] == 1 or (places[job] == 0 and any(sending.done for sending in sendings[job]))
    assert len(places) + sum(places[job] == 0 for job in sendings) == JOBS


def assert_left_nothing_of_itself(bench: Bench) -> None:
    assert bench.in_progress() == {}
    for key in ("restbroker:beats", "restbroker:dying"):
        assert bench.client.command("HLEN", key) == 0


@pytest.mark.promise("No command is lost", "restbroker is told to stop")
@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.nightly)])
def test_a_first_signal_drains_and_exits_0(bench: Bench, number: signal.Signals) -> None:
    broker = busy(bench)
    broker.signal(number)
    broker.wait_for(rf"broker\.stopping.*why={number.name}")
    bench.proxy.answers.set()
    assert broker.wait() == 0
    assert_left_nothing_of_itself(bench)
    assert_in_one_place(bench)
    assert bench.queued() == JOBS - CONCURRENCY
    assert bench.members("retry") == bench.members("dead") == []


@pytest.mark.promise("No command is lost", "restbroker is told to stop")
@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.nightly)])
def test_a_second_signal_ends_it_at_once_and_says_which(bench: Bench, number: signal.Signals) -> None:
    broker = busy(bench)
    broker.signal(number)
    broker.wait_for(r"broker\.stopping")
    watch = Stopwatch.start(broker)
    broker.signal(number)
    until(lambda: watch.took_s() > DEAD_AT_ONCE_S or broker.process.poll() is not None, "it ends, or is late")
    assert broker.process.poll() == 128 + number
    assert_left_nothing_of_itself(bench)
    assert_in_one_place(bench)
    # What was sent and not answered is not simply pushed back: it carries that it may have run.
    assert [job.get("restbroker_uncertain") for job in bench.waiting()].count(1) == CONCURRENCY
    assert bench.queued() == JOBS
    assert bench.members("retry") == bench.members("dead") == []


@pytest.mark.nightly
def test_stop_without_redis_exits_1_and_next_start_has_every_job(durable_bench: Bench) -> None:
    bench = durable_bench
    broker = busy(bench)
    bench.redis.kill()
    bench.proxy.answers.set()
    broker.wait_for(r"redis\.lost")
    assert broker.stop() == 1
    bench.revive_redis()
    assert bench.held() >= CONCURRENCY
    assert len(bench.places()) == JOBS
    bench.start()
    bench.wait_until_finished()
    assert_in_one_place(bench)
    assert bench.places() == {}
