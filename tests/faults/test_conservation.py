"""No command is lost, and few run twice, while everything that can be killed is killed.

FAULT_JOBS is the number of jobs (10,000), FAULT_ROUNDS how often all faults happen (1); `.ci/soak` raises both.
"""

import os
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from restbroker.trial.result import Verdict, verdict_of
from tests.support.bench import CONCURRENCY, Bench, job_id, payload
from tests.support.process import freeze
from tests.support.redis_line import Report
from tests.support.shared import FAST_RETRIES
from tests.support.wait import CRASHED_S

JOBS = int(os.environ.get("FAULT_JOBS", "10000"))
ROUNDS = int(os.environ.get("FAULT_ROUNDS", "1"))

Fault = Callable[[Bench], int]
"""Breaks something; returns how many jobs were in progress of what broke, so how many may run twice."""


def job(number: int, name: str) -> bytes:
    """A create, a command that must not run twice, and harmless questions."""
    user = f"{name}{number}"
    match number % 3:
        case 0:
            return payload(number, "register", user=user, host="example.org", password="a password")
        case 1:
            words = {"type": "headline", "from": "example.org", "subject": "", "body": str(number)}
            return payload(number, "send_message", **words, to=f"{user}@example.org")
        case _:
            return payload(number, "check_account", user=user)


def kill_broker(bench: Bench) -> int:
    """SIGKILL, counted in Redis while nobody runs, then a new process."""
    victim = bench.brokers[-1].process
    victim.kill()
    victim.wait()
    held = bench.held()
    bench.start()
    return held


def kill_one_of_two_brokers(bench: Bench) -> int:
    """SIGKILL while another process serves the same queue, which has jobs of its own in progress."""
    victim = bench.brokers[-1].process
    bench.start()
    freeze(victim.pid)  # it can be counted before the other one takes its jobs
    held = sum(len(jobs) for name, jobs in bench.in_progress().items() if f":{victim.pid}:" in name)
    victim.kill()
    victim.wait()
    return held


def restart_ejabberd(bench: Bench) -> int:
    """In good order: about a second of odd answers, then broken connections, then nobody listens."""
    bench.ejabberd.restart()
    return CONCURRENCY


def kill_ejabberd(bench: Bench) -> int:
    """SIGKILL and a new start."""
    bench.ejabberd.kill()
    bench.ejabberd.start()
    return CONCURRENCY


def judged(bench: Bench, attempted: list[str]) -> tuple[Verdict, list[dict[str, Any]]]:
    """Return what became of the jobs, and those that are dead, once all are settled."""
    dead = bench.members("dead")
    statuses = {
        job: [call.status for call in exchanges if call.forwarded] for job, exchanges in bench.proxy.of_jobs().items()
    }
    return verdict_of(attempted, attempted, statuses, bench.places(), [job["jid"] for job in dead]), dead


FAULTS: list[Fault] = [
    kill_broker,
    restart_ejabberd,
    kill_broker,
    kill_ejabberd,
    kill_one_of_two_brokers,
    restart_ejabberd,
]


@pytest.mark.promise("No command is lost", "brokers are killed and ejabberd is restarted under load")
@pytest.mark.promise("At least once, and seldom more", "only what was in progress when killed runs twice")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("jobs", "faults", "fairness"),
    [
        pytest.param(600, [kill_broker, kill_ejabberd, kill_one_of_two_brokers], {}, id="a few"),
        pytest.param(JOBS, FAULTS * ROUNDS, {}, id="in turn as they came", marks=pytest.mark.nightly),
        pytest.param(
            JOBS,
            FAULTS * ROUNDS,
            {"FairBy": ["host"], "OrderBy": ["host", "user"]},
            id="fair, in order",
            marks=pytest.mark.nightly,
        ),
    ],
)
def test_no_job_is_lost_over_ejabberd_restarts_and_broker_kills(
    bench: Bench, report: Report, jobs: int, faults: list[Fault], fairness: Mapping[str, object]
) -> None:
    bench.configure(Backoff=FAST_RETRIES, **fairness)
    attempted = [job_id(number) for number in range(jobs)]
    # Users are left from the other runs.
    bench.push([job(number, f"{'fair' if fairness else 'u'}{jobs}-") for number in range(jobs)])
    bench.start()
    in_progress = []
    for number, fault in enumerate(faults, start=1):
        bench.wait_until_sent(number * jobs // (len(faults) + 2))
        in_progress.append(fault(bench))
    bench.wait_until_finished(CRASHED_S + jobs / 50)
    verdict, dead = judged(bench, attempted)
    why = Counter(f"{job['args'][0]} {job['error_class']}" for job in dead)
    report(f"{verdict}\nin progress at each fault: {in_progress}, together {sum(in_progress)}; dead: {dict(why)}\n")
    assert verdict.lost == verdict.unexpected == 0
    assert verdict.ok + verdict.dead >= jobs
    assert verdict.duplicated <= sum(in_progress)
    assert not bench.client.command("KEYS", "restbroker:[lt][iu][nr]*")
    assert set(why) <= {"send_message Uncertain", "send_message ConnectionLost", "send_message TimedOut"}


@pytest.mark.promise("No command is lost", "brokers are killed while jobs come one by one")
@pytest.mark.slow
def test_single_jobs_survive_kills_and_stops_of_the_broker(bench: Bench, report: Report) -> None:
    """At 500 a second nearly each is taken by a fetch that stood in Redis when it came, or when the process died."""
    bench.configure(Backoff=FAST_RETRIES)
    bench.start()
    attempted, held = [job_id(number) for number in range(2000)], 0
    began_s = time.monotonic()
    for number in range(2000):
        # Late jobs are not made up for: they would come in crowds.
        began_s = max(began_s, time.monotonic() - 0.002)
        time.sleep(max(0.0, began_s + 0.002 - time.monotonic()))
        began_s += 0.002
        bench.push([job(number, "alone-")])
        if number % 300 == 200:
            held += kill_broker(bench)
        elif number % 300 == 50:
            bench.brokers[-1].process.terminate()
            bench.start()
    bench.wait_until_finished()
    verdict, dead = judged(bench, attempted)
    report(f"{verdict}\nin progress at the kills: {held}; dead: {len(dead)}\n")
    assert verdict.lost == verdict.unexpected == 0
    assert verdict.ok + verdict.dead >= 2000
    assert verdict.duplicated <= held
