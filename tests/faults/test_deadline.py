"""A stop that is over before the server answers: what was sent may have run, and is treated so.

The server answers one second after the broker's patience ended.
"""

import signal
import time

import pytest

from tests.support.bench import CONCURRENCY, Bench, headline, job_id, payload
from tests.support.process import Stopwatch
from tests.support.redis_line import pause
from tests.support.shared import FAST_RETRIES
from tests.support.wait import until

HALF = CONCURRENCY // 2
WAITING = 5
GRACE_S = 1.0


@pytest.mark.promise("No command is lost", "restbroker is told to stop")
@pytest.mark.parametrize("at_most_once", [[], ["send_message"]], ids=["repeated", "at-most-once"])
def test_what_the_server_answers_after_a_stops_deadline_may_have_run(bench: Bench, at_most_once: list[str]) -> None:
    bench.configure(ShutdownTimeout=f"{GRACE_S:g}s", AtMostOnce=at_most_once, Backoff=FAST_RETRIES)
    safe, unsafe, waiting = range(HALF), range(HALF, CONCURRENCY), range(CONCURRENCY, CONCURRENCY + WAITING)
    bench.proxy.answers.clear()
    broker = bench.start()
    bench.push([payload(number, "check_account", user="u") for number in safe])
    bench.push([headline(number) for number in unsafe])
    bench.push([payload(number, "check_account", user="u") for number in waiting])
    bench.wait_until_sent(CONCURRENCY)
    stopping_s, watch = time.monotonic(), Stopwatch.start(broker)
    broker.signal(signal.SIGTERM)
    until(lambda: watch.took_s() > GRACE_S + 8 or broker.process.poll() is not None, "it ends, or is late")
    assert broker.process.poll() == 0
    assert time.monotonic() - stopping_s >= GRACE_S
    pause(stopping_s + GRACE_S + 1 - time.monotonic())
    bench.proxy.answers.set()

    uncertain = {job["jid"]: job["error_class"] for job in [*bench.members("retry"), *bench.members("dead")]}
    assert uncertain == {job_id(number): "CutOff" for number in unsafe}
    parked = {job_id(number) for number in unsafe} if at_most_once else set()
    assert {job["jid"] for job in bench.members("dead")} == parked
    assert all(job["restbroker_uncertain"] == 1 for job in bench.members("retry"))
    back = {job["jid"]: job.get("restbroker_uncertain") for job in bench.waiting()}
    assert back == {job_id(n): 1 for n in safe} | {job_id(n): None for n in waiting}
    assert not any("retry_count" in job for job in bench.waiting())
    assert bench.held() == 0

    bench.start()
    bench.wait_until_finished()
    assert {job["jid"] for job in bench.members("dead")} == parked
    sendings = {job: len(sent) for job, sent in bench.proxy.of_jobs().items()}
    once = {job_id(number) for number in waiting} | parked
    assert sendings == {job_id(n): 1 if job_id(n) in once else 2 for n in range(CONCURRENCY + WAITING)}


@pytest.mark.promise("No command is lost", "restbroker is told to stop")
@pytest.mark.nightly
def test_what_ran_before_a_stop_without_an_answer_is_no_error_when_it_is_sent_again(bench: Bench) -> None:
    bench.configure(ShutdownTimeout="1s")
    bench.proxy.answers.clear()
    broker = bench.start()
    account = {"host": "example.org", "password": "p"}
    bench.push([payload(number, "register", user=f"stop{number}", **account) for number in range(HALF)])
    bench.wait_until_sent(HALF)
    broker.signal(signal.SIGTERM)
    assert broker.wait() == 0
    assert [job["restbroker_uncertain"] for job in bench.waiting()] == [1] * HALF
    bench.proxy.answers.set()
    bench.start()
    bench.wait_until_finished()
    assert bench.members("retry") == bench.members("dead") == []
    statuses = {job: [one.status for one in sent] for job, sent in bench.proxy.of_jobs().items()}
    assert statuses == {job_id(number): [200, 409] for number in range(HALF)}
