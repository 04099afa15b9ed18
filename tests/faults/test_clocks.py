"""Clocks that disagree by an hour: nothing runs early, and nothing waits for an hour more.

The broker's clock is moved, since only the difference counts. That is done inside Python, where all that it knows of
the time of day comes from: a library before the system's calls, as libfaketime, changes what waits and sleeps do, too.
"""

import sys
from datetime import UTC, datetime, timedelta

import pytest

from restbroker.store import queues
from restbroker.store.server import time_s
from tests.support.bench import Bench, job_id, payload
from tests.support.counting_proxy import refusal
from tests.support.wait import until

HOUR_S = 3600
SOON_S = 3.0
JOBS = 10
MOVED = """
import runpy, sys, time
real, ahead_s = time.time, int(sys.argv.pop(1))
time.time = lambda: real() + ahead_s
runpy.run_module("restbroker", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize("ahead_s", [HOUR_S, -HOUR_S], ids=["broker-ahead", "broker-back"])
def test_with_clocks_an_hour_apart_nothing_runs_early_and_nothing_stalls(bench: Bench, ahead_s: int) -> None:
    now, soon, later = range(JOBS), range(JOBS, 2 * JOBS), range(2 * JOBS, 3 * JOBS)
    retried = job_id(now[0])
    bench.proxy.instead[retried] = [refusal(500, "internal_error")]
    due_s = time_s(bench.client) + SOON_S
    for number in soon:
        queues.schedule(bench.client, payload(number, "check_account", user="u"), due_s)
    for number in later:
        queues.schedule(bench.client, payload(number, "check_account", user="u"), due_s + HOUR_S / 2)
    broker = bench.start((sys.executable, "-c", MOVED, str(ahead_s)))
    log_began = datetime.fromisoformat(broker.output().split()[0])
    bench.push([payload(number, "check_account", user="u") for number in now])
    until(lambda: {job_id(number) for number in now} <= done(bench), "what waits runs, and the failed one again")
    until(lambda: {job_id(number) for number in soon} & done(bench), "what is due runs")
    assert time_s(bench.client) >= due_s
    until(lambda: bench.unfinished() == len(later), "what is due is done")
    assert bench.client.command("ZCARD", "schedule") == len(later)
    assert set(bench.proxy.of_jobs()) == {job_id(number) for number in [*now, *soon]}
    assert len(bench.proxy.of_jobs()[retried]) == 2
    assert broker.stop() == 0
    assert abs(log_began - timedelta(seconds=ahead_s) - datetime.now(UTC)) < timedelta(seconds=HOUR_S / 2)


def done(bench: Bench) -> set[str]:
    return {job for job, sent in bench.proxy.of_jobs().items() if sent[-1].done}
