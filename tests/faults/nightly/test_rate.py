"""The rate limit, counted where it matters: at the server, over two processes, one of which is frozen for a second."""

import signal
import time
from pathlib import Path

import pytest

from tests.support.answering import AnsweringServer
from tests.support.process import Stopwatch, started
from tests.support.several import Several, target, times_done
from tests.support.wait import until

RATE_PER_S, BURST, JOBS = 50, 10, 250
# What left a process in time may reach the server late: threads of two brokers and a server share the machine. At this
# rate it may be a quarter of a second, and as much more as they waited for a core; what a frozen process holds
# would be more (`Concurrency` is 20).
SLACK_JOBS = 12


def most_within(moments: list[float], span_s: float) -> int:
    """The most arrivals in any window of this length."""
    ordered, first, most = sorted(moments), 0, 0
    for last, moment in enumerate(ordered):
        while moment - ordered[first] > span_s:
            first += 1
        most = max(most, last - first + 1)
    return most


@pytest.mark.promise("A good citizen", "RateLimit holds for all processes together")
def test_two_processes_share_a_rate_and_a_thawed_one_is_no_burst(several: Several, tmp_path: Path) -> None:
    with AnsweringServer() as server:
        limit = {"Rate": f"{RATE_PER_S}/s", "Burst": BURST}
        several.configure({"one": target(server.port, "rest", Concurrency=20, RateLimit=limit)})
        with (
            started(several.command, directory=tmp_path / "run") as one,
            started(several.command, directory=tmp_path / "run") as two,
        ):
            for broker in (one, two):
                broker.wait_for(r"broker\.started")
            watch = Stopwatch.start(one, two)
            several.push("rest", range(JOBS))
            for round_number in range(3):
                until(lambda wanted=JOBS // 5 * (round_number + 1): len(server.arrivals) >= wanted, "it goes on")  # type: ignore[misc]
                one.signal(signal.SIGSTOP)
                stopped_at_s = time.monotonic()
                until(lambda since=stopped_at_s: time.monotonic() - since >= 1.0, "a second passes")  # type: ignore[misc]
                one.signal(signal.SIGCONT)
            until(lambda: len(server.arrivals) >= JOBS, "all are delivered")
            waited_s = watch.waited_s()
    moments = [arrival.at_s for arrival in server.arrivals]
    assert len(times_done(server)) == len(moments) == JOBS
    for span_s in (0.5, 1.0, 2.0):
        most = BURST + RATE_PER_S * (span_s + waited_s) + SLACK_JOBS
        assert most_within(moments, span_s) <= most, f"in {span_s} s"
    took_s = max(moments) - min(moments) - waited_s
    assert took_s <= JOBS / (0.8 * RATE_PER_S)
