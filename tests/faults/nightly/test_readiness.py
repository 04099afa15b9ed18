"""`/readyz` tells the truth while Redis comes and goes, and no broker is alive without taking jobs.

All the while jobs are pushed, directly, so that a ready broker has something to do.
"""

import time
from collections.abc import Callable, Sequence

import attrs
import pytest

from tests.support.pages import page
from tests.support.process import Stopwatch
from tests.support.redis_line import Line, pause
from tests.support.tcp_proxy import TcpProxy
from tests.support.wait import until

NOTICED_S = 5.0
"""A call is given up after three seconds: so long may a frozen network go unnoticed."""
BACK_S = 4.0
OUTAGE_S = 8.0


@attrs.frozen
class Sample:
    """One look: what /readyz said, and how many requests of jobs had arrived."""

    at_s: float
    ready: bool
    sent: int


def look(line: Line) -> Sample:
    assert page(line.health_port, "/healthz").status_code == 200
    at_s = time.monotonic()
    return Sample(at_s, line.ready() == 200, len(line.bench.proxy.of_jobs()))


def watch(line: Line, seconds: float) -> list[Sample]:
    ends_s = time.monotonic() + seconds
    samples = []
    while time.monotonic() < ends_s:
        line.push(1)
        samples.append(look(line))
        pause(0.05)
    return samples


def idle_s(samples: Sequence[Sample]) -> float:
    """The longest time for which a broker called itself ready and took nothing."""
    longest = 0.0
    since = samples[0]
    for sample in samples:
        if not sample.ready or sample.sent > since.sent:
            since = sample
        longest = max(longest, sample.at_s - since.at_s)
    return longest


FAULTS: dict[str, tuple[Callable[[TcpProxy], None], Callable[[TcpProxy], None], float]] = {
    "cut": (TcpProxy.cut, TcpProxy.mend, 3.0),
    "freeze": (TcpProxy.freeze, TcpProxy.thaw, NOTICED_S),
}
"""How it begins, how it ends, and in how many seconds it must be noticed."""


@pytest.mark.promise("A good citizen", "/readyz tells the truth")
@pytest.mark.parametrize("fault", FAULTS)
def test_readyz_is_true_throughout_an_outage(line: Line, fault: str) -> None:
    """A ready process takes jobs."""
    begin, end, noticed_s = FAULTS[fault]
    line.under_load()
    before = watch(line, 1)
    began_s, starved = time.monotonic(), Stopwatch.start(line.broker)
    begin(line.proxy)
    during = watch(line, OUTAGE_S)
    ended_s = time.monotonic()
    end(line.proxy)
    after = watch(line, BACK_S + 1.5)
    until(lambda: line.ready() == 200, "it is ready in the end")
    late_s = starved.waited_s()

    assert all(sample.ready for sample in before)
    assert not any(sample.ready for sample in during if sample.at_s > began_s + noticed_s + late_s)
    assert all(sample.ready for sample in after if sample.at_s > ended_s + BACK_S + late_s)
    assert idle_s([*before, *during, *after]) <= noticed_s + late_s
    line.report(f"{line.name}: ready and idle for at most {idle_s([*before, *during, *after]):.1f} s")
    line.assert_each_is_answered_once()
    line.assert_each_was_sent_once()
    line.assert_outages(1)
