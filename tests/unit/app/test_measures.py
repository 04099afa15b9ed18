"""What a process knows of itself for /metrics: copied at one moment, made into values at another."""

import trio

from restbroker.app.measures import Measures
from restbroker.broker.status.status import Status
from restbroker.telemetry.counts import Counts
from restbroker.telemetry.events import JobFinished
from restbroker.telemetry.figures import Figures
from restbroker.telemetry.series import Distribution, Samples


def jobs(samples: Samples) -> tuple[object, int, int]:
    """How many were counted, timed, and given or settled by Redis."""
    durations = samples["restbroker_job_duration_seconds"].get(("e",), Distribution((), 0.0))
    calls = samples["restbroker_redis_call_seconds"][()]
    assert isinstance(durations, Distribution)
    assert isinstance(calls, Distribution)
    counted = samples["restbroker_jobs_total"].get(("e", "c", "delivered"), 0)
    return counted, sum(durations.counts), sum(calls.counts)


async def test_values_are_those_of_the_moment_at_which_they_were_copied() -> None:
    measures = Measures(Counts(lambda _target: {"c"}), Figures(trio.current_time), Status())

    def deliver() -> None:
        event = JobFinished("e", "q", "c", "j", "delivered", "ack", 1, 0.01)
        measures.counts(event)
        measures.figures(event)
        measures.took(0.001)

    made = [measures.samples()]
    for _ in range(3):
        deliver()
        made.append(measures.samples())
    assert [jobs(one()) for one in made] == [(0, 0, 0), (1, 1, 1), (2, 2, 2), (3, 3, 3)]
    assert jobs(made[1]()) == (1, 1, 1)
