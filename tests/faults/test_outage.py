"""An ejabberd that is down costs waiting, and nothing else: no job, no try, no CPU.

EXPIRED_JOBS is how many jobs expire meanwhile (3,000).
"""

import json
import os
import re
import threading
import time
from collections.abc import Callable

import pytest

from restbroker.store.client import integer, raw
from tests.support.bench import CONCURRENCY, Bench, payload, share_at_rest
from tests.support.pages import metrics
from tests.support.ports import free_port
from tests.support.process import Running
from tests.support.wait import until

JOBS = 200
EXPIRED_JOBS = int(os.environ.get("EXPIRED_JOBS", "3000"))
GONE_WITHIN_S = 60.0
MOST_CPU = 0.03
WATCHED_S = 1.5

Report = Callable[[str], None]


def mixed(prefix: str, numbers: range) -> list[bytes]:
    """Jobs of all kinds; the users of a `prefix` are registered nowhere else."""
    kinds: list[Callable[[int], bytes]] = [
        lambda n: payload(n, "register", user=f"{prefix}{n}", host="example.org", password="a password"),
        lambda n: payload(n, "check_account", user=f"{prefix}{n}", host="example.org"),
        lambda n: payload(n, "connected_users_number"),
        lambda n: payload(n, "user_sessions_info", user="richard"),
    ]
    return [kinds[n % len(kinds)](n) for n in numbers]


def end_under_load(bench: Bench, prefix: str, how: str) -> int:
    """Ends ejabberd, which may take seconds, and pushes on until it is gone; returns how many jobs were pushed."""
    ending = threading.Thread(target=bench.ejabberd.stop if how == "stop" else bench.ejabberd.kill)
    ending.start()
    pushed = JOBS
    while ending.is_alive():
        if bench.queued() < JOBS // 2:
            bench.push(mixed(prefix, range(pushed, pushed + JOBS // 4)))
            pushed += JOBS // 4
    ending.join()
    bench.push(mixed(prefix, range(pushed, pushed + JOBS // 2)))
    return pushed + JOBS // 2


def share_of_a_core(running: Running) -> float:
    """What a process uses that has found its target closed, once it is at rest."""
    running.wait_for(r"target\.down")
    return share_at_rest(running.process.pid, WATCHED_S, MOST_CPU)


@pytest.mark.promise("No command is lost", "the target is down")
@pytest.mark.promise("Defects of the Go original", "a request that failed was forgotten")
@pytest.mark.nightly
def test_jobs_pushed_in_an_outage_run_later_and_use_no_try(bench: Bench, report: Report) -> None:
    bench.ejabberd.stop()
    broker = bench.start()
    bench.push(mixed("down", range(JOBS)))
    share = share_of_a_core(broker)
    report(f"jobs wait for a stopped ejabberd: {share:.1%} of a core")
    assert bench.unfinished() == JOBS
    bench.ejabberd.start()
    bench.wait_until_sent(JOBS)
    assert (bench.members("retry"), bench.members("schedule"), bench.members("dead")) == ([], [], [])
    bench.wait_until_finished()
    sendings = bench.proxy.of_jobs()
    assert len(sendings) == JOBS
    assert all(len(sent) == 1 and sent[0].status == 200 for sent in sendings.values())


@pytest.mark.promise("A good citizen", "a dead target is probed every second or two")
@pytest.mark.slow
@pytest.mark.parametrize("how", ["kill", pytest.param("stop", marks=pytest.mark.nightly)])
def test_ejabberd_ending_during_delivery_costs_no_job_and_no_cpu(bench: Bench, report: Report, how: str) -> None:
    broker = bench.start()
    bench.push(mixed(f"during{how}", range(JOBS)))
    bench.wait_until_sent(JOBS // 4)
    pushed = end_under_load(bench, f"during{how}", how)
    share = share_of_a_core(broker)
    report(f"ejabberd ended during delivery ({how}), workers hold {bench.held()} jobs: {share:.1%} of a core")
    assert bench.unfinished() >= JOBS // 2
    bench.ejabberd.start()
    bench.wait_until_finished()
    sendings = bench.proxy.of_jobs()
    assert sum(any(sent.done for sent in jobs) for jobs in sendings.values()) == pushed
    assert sum(jobs[0].maybe_run for jobs in sendings.values()) <= CONCURRENCY
    assert bench.members("dead") == []


@pytest.mark.nightly
def test_jobs_expiring_in_an_outage_go_soon_and_are_all_counted(bench: Bench, report: Report) -> None:
    port = free_port()
    bench.configure(Stats=True, StatsPort=port)
    bench.ejabberd.stop()
    broker = bench.start()
    broker.wait_for(r"target\.down")
    dead = [json.dumps({"class": "Add", "jid": f"dead{number}", "args": []}) for number in range(3)]
    bench.client.command("ZADD", "dead", *(word for job in dead for word in (time.time(), job)))
    # Every hundredth has no expiry, and is done.
    due, expiry = EXPIRED_JOBS // 100, time.time() + 2 + EXPIRED_JOBS / 10_000
    bench.push([expiring(number, None if number < due else expiry) for number in range(EXPIRED_JOBS + due)])
    until(lambda: time.time() > expiry, "all have expired")
    assert bench.unfinished() >= EXPIRED_JOBS - CONCURRENCY
    bench.ejabberd.start()
    began_s = time.monotonic()
    bench.wait_until_finished(GONE_WITHIN_S)
    report(f"{EXPIRED_JOBS} jobs that expired during an outage are gone {time.monotonic() - began_s:.1f} s after it")
    assert len(bench.proxy.of_jobs()) == due
    assert sorted(map(str, bench.members("dead"))) == sorted(str(json.loads(job)) for job in dead)
    assert integer(bench.client.command("ZCARD", "retry")) == 0
    until(lambda: ended(port) == {"delivered": due, "expired": EXPIRED_JOBS}, "/metrics counts each")
    assert int(raw(bench.client.command("GET", "stat:processed"))) == EXPIRED_JOBS + due
    assert broker.stop() == 0
    first = re.findall(r"job\.failed .*code=Expired", broker.output())
    more = re.findall(r"jobs\.failed .*code=Expired count=(\d+)", broker.output())
    assert len(first) + sum(map(int, more)) == EXPIRED_JOBS, "the log counts each"


def expiring(number: int, expiry: float | None) -> bytes:
    job = json.loads(payload(number, "check_account", user=f"late{number}", host="example.org"))
    return json.dumps({**job, "expiry": expiry}).encode()


def ended(port: int) -> dict[str, float]:
    """How many tries ended, by their outcome."""
    return {outcome: count for outcome, count in metrics(port, "restbroker_jobs_total", "outcome").items() if count}
