"""Under kill -9: one job of an idempotency key is done; a job that kills its senders ends dead, alone."""

import contextlib
import json
import signal
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from restbroker.store.client import items, raw
from tests.support.answering import AnsweringServer, Arrival
from tests.support.bench import CONCURRENCY, Bench, payload
from tests.support.process import Running, started
from tests.support.redis_line import Report
from tests.support.several import Several, target, times_done
from tests.support.wait import until

MOST_SENT = 5
"""The least number of the first twenty jobs in progress that are sent: others are their twins."""


def pushes_of(key: int) -> list[bytes]:
    """A job, the same once more, as by a repeated push, and one of another id."""
    first, twin = (
        json.loads(payload(number, "check_account", user=f"once{key}", host="example.org"))
        for number in (key, key + 10_000)
    )
    one, other = (json.dumps({**job, "idempotency_key": f"key-{key}"}).encode() for job in (first, twin))
    return [one, one, other]


@pytest.mark.slow  # twins of a job that was in a crash look again after five seconds
@pytest.mark.promise("No command is lost", "jobs of one key, or a push that is repeated: done once")
@pytest.mark.parametrize(("keys", "kills"), [(80, 2), pytest.param(400, 5, marks=pytest.mark.nightly)])
def test_one_job_per_key_is_done_despite_killed_brokers(bench: Bench, report: Report, keys: int, kills: int) -> None:
    bench.start()
    for kill in range(kills):
        bench.proxy.answers.clear()
        round_keys = range(kill * keys // kills, (kill + 1) * keys // kills)
        sent_before = sum(map(len, bench.proxy.of_jobs().values()))
        bench.push([job for key in round_keys for job in pushes_of(key)])
        bench.wait_until_sent(sent_before + MOST_SENT)
        broker = bench.brokers[-1]
        broker.process.kill()
        broker.process.wait()
        bench.start()
        bench.proxy.answers.set()
    bench.wait_until_finished()
    sent = bench.proxy.of_jobs()
    jobs: dict[int, set[str]] = defaultdict(set)
    for job in sent:
        jobs[(int(job.split("-")[1], 16) - 1) % 10_000].add(job)
    assert sorted(jobs) == list(range(keys))
    assert {key: found for key, found in jobs.items() if len(found) > 1} == {}
    repeated = sum(len(exchanges) - 1 for exchanges in sent.values())
    assert kills <= repeated <= kills * CONCURRENCY
    values = [
        json.loads(raw(bench.client.command("GET", raw(key))))[:2]
        for key in items(bench.client.command("KEYS", "restbroker:once:*"))
    ]
    assert sorted(values) == sorted([min(found), "done"] for found in jobs.values())
    assert (bench.members("retry"), bench.members("dead")) == ([], [])
    report(f"{3 * keys} jobs of {keys} keys, {kills} kill -9: {repeated} repeated after a kill, no key by two jobs")


JOBS, CRASHER = 60, 12


@pytest.mark.promise("No command is lost", "a job kills every process that sends it")
@pytest.mark.promise("Security: who can push to the queues", "to crash or stall it")
@pytest.mark.slow
def test_one_crasher_dies_as_poison_after_six_crashes(several: Several, tmp_path: Path, report: Report) -> None:
    """Those beside it crash as often, but it waits elsewhere than they do, and they are done. Its own waits are cut."""
    brokers: list[Running] = []

    def kill_who_sends_the_crasher(arrival: Arrival) -> int:
        if arrival.arguments["user"] == f"user{CRASHER}":
            with contextlib.suppress(IndexError):
                brokers[-1].process.send_signal(signal.SIGKILL)
        return 200

    def dead() -> list[dict[str, Any]]:
        return [json.loads(raw(member)) for member in items(several.client.command("ZRANGE", "dead", 0, -1))]

    def hurry(word: bytes) -> bool:
        waiting = [raw(member) for member in items(several.client.command("ZRANGE", "schedule", 0, -1))]
        meant = [member for member in waiting if word in member]
        for member in meant:
            several.client.command("ZADD", "schedule", "XX", 1, member)
        return bool(meant)

    with AnsweringServer(kill_who_sends_the_crasher) as server:
        several.configure({"one": target(server.port, "rest")})
        several.push("rest", range(JOBS))
        while not dead():
            assert len(brokers) < 10, f"no end after {len(brokers)} lives:\n{brokers[-1].output()}"
            with started(several.command, directory=tmp_path / "run") as broker:
                brokers.append(broker)
                until(
                    lambda: (not hurry(b'"jid%d"' % CRASHER) and dead()) or broker.process.poll() is not None,
                    "it is killed, or the job is dead",
                )
                if dead():
                    until(lambda: not hurry(b"") and several.unfinished() == {"dead": 1}, "all others run")
                    assert broker.stop() == 0
    assert [(entry["jid"], entry["error_class"]) for entry in dead()] == [(f"jid{CRASHER}", "Poison")]
    assert sorted(times_done(server)) == list(range(JOBS))
    assert len(brokers) == 7, "it killed six; the seventh makes it dead"
    report(f"dead after {len(brokers) - 1} crashes, {len(server.arrivals)} requests for {JOBS} jobs")
