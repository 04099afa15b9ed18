"""Payloads that are too large, or large and many: what waits behind them is done soon, and the process stays small.

A producer that may only push into one queue must not be able to hold up every target of a process, or to fill its
memory: nothing that is too large ever reaches it.
"""

import re
from pathlib import Path
from typing import Final

import pytest

from tests.support.bench import Bench, job_id, payload
from tests.support.process import Running, Stopwatch, waited_for_a_core_s
from tests.support.redis_line import Report
from tests.support.shared import TOKEN
from tests.support.wait import NEVER_S

MIB: Final = 1024 * 1024
LARGE: Final = 8 * MIB
SMALL_WITHIN_S: Final = 60.0
MOST_KIB: Final = 150 * 1024


def peak_kib(broker: Running) -> int:
    """The most memory that the process ever had."""
    status = Path(f"/proc/{broker.process.pid}/status").read_text(encoding="ascii")
    (found,) = re.findall(r"VmHWM:\s+(\d+) kB", status)
    return int(found)


def too_large(number: int) -> bytes:
    return b'{"class":"Add","args":["x"],"jid":"%024x","pad":"' % number + b"x" * LARGE + b'"}'


@pytest.mark.promise("Security: who can push to the queues", "to crash or stall it")
@pytest.mark.promise("Producers: jobs", "payloads in progress take little memory")
@pytest.mark.parametrize("idle", [False, True], ids=["before-it-starts", "while-it-waits"])
def test_thirty_payloads_of_8_mib_delay_nothing_and_stay_small(bench: Bench, report: Report, *, idle: bool) -> None:
    bench.configure()
    if idle:
        bench.start()
    bench.push([too_large(0)])
    for number in range(1, 30):
        bench.push([too_large(number)])
    bench.push([payload(number, "check_account", user=f"u{number}", host="example.org") for number in range(20)])
    assert bench.redis.process is not None
    watch, waited_s = Stopwatch.start(*bench.brokers), waited_for_a_core_s(bench.redis.process.pid)
    broker = bench.brokers[0] if idle else bench.start()
    bench.wait_until_sent(20, 2 * NEVER_S)
    starved_s = waited_for_a_core_s(bench.redis.process.pid) - waited_s
    took_s = watch.took_s(*bench.brokers[idle:]) - starved_s
    assert took_s <= SMALL_WITHIN_S
    bench.wait_until_finished()
    report(f"behind 30 payloads of 8 MiB: {took_s:.1f} s, peak {peak_kib(broker) // 1024} MiB")
    assert bench.client.command("ZCARD", "dead") == 30
    assert set(bench.proxy.of_jobs()) == {job_id(number) for number in range(20)}
    assert peak_kib(broker) < MOST_KIB
    # A Redis that has no core does not answer in time; its own work holds nobody up.
    assert " redis.lost " not in broker.output() or waited_for_a_core_s(bench.redis.process.pid) - waited_s > 1
    assert broker.output().count("code=PayloadTooLarge") >= 1
    assert bench.client.command("GET", "stat:failed") == b"30"


def of_empty_lists(number: int) -> bytes:
    """Almost a mebibyte that takes twenty once it is read."""
    return payload(number, "check_account", user=f"u{number}", host="example.org", more=[[]] * (MIB // 4 - 1000))


@pytest.mark.promise("Security: who can push to the queues", "to crash or stall it")
@pytest.mark.promise("Producers: jobs", "payloads in progress take little memory")
def test_jobs_that_take_more_memory_than_bytes_are_few_at_a_time(bench: Bench, report: Report) -> None:
    bench.configure()
    bench.push([of_empty_lists(number).replace(TOKEN.encode(), b"wrong") for number in range(20)])
    broker = bench.start()
    bench.wait_until_finished()
    report(f"20 jobs of lists at once: peak {peak_kib(broker) // 1024} MiB")
    assert bench.client.command("ZCARD", "dead") == 20
    assert peak_kib(broker) < MOST_KIB
