"""Queues of one target with weights: shares come near them, and nothing starves, on a real Redis."""

from collections import Counter

import attrs
import pytest
import trio

from restbroker.broker import broker
from restbroker.broker.plan import BrokerPlan
from restbroker.store.jobs import Limits
from restbroker.telemetry.events import JobFinished
from tests.broker.conftest import Harness

FEW_AT_ONCE = Limits(in_flight=4)
"""So that the jobs come by hundreds of fetches."""


def weighted(harness: Harness, **weights: int) -> BrokerPlan:
    harness.limits = FEW_AT_ONCE
    plan = harness.plan()
    target = attrs.evolve(plan.targets[0].target, queues=tuple(weights), weights=weights)
    return attrs.evolve(plan, targets=[attrs.evolve(plan.targets[0], target=target)])


def order(harness: Harness) -> list[str]:
    """The queue of each job, as they were finished."""
    return [event.queue for event in harness.of(JobFinished)]


async def run_until(harness: Harness, plan: BrokerPlan, jobs: int) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(broker.run, plan, harness.control)
        await harness.until(lambda: len(order(harness)) >= jobs, f"{jobs} jobs are done")
        harness.control.stop.set()


@pytest.mark.promise("Sidekiq: the process record", "queues with weights")
async def test_while_both_queues_have_jobs_each_gets_its_weight_s_share(harness: Harness) -> None:
    harness.push(count=600, into="heavy")
    harness.push(count=600, into="light")
    await run_until(harness, weighted(harness, heavy=3, light=1), 600)
    shares = Counter(order(harness)[:600])
    # Five standard deviations of 150 fetches.
    assert abs(shares["heavy"] / 600 - 0.75) < 0.18


async def test_a_queue_of_great_weight_that_is_never_empty_starves_no_light_one(harness: Harness) -> None:
    harness.push(count=1200, into="heavy")
    harness.push(count=5, into="light")
    await run_until(harness, weighted(harness, heavy=20, light=1), 1000)
    assert "light" in order(harness)[:1000]
    assert harness.size("queue:heavy") > 0


async def test_an_empty_queue_of_great_weight_holds_a_light_one_up_for_no_time(harness: Harness) -> None:
    harness.push(count=100, into="light")
    await run_until(harness, weighted(harness, heavy=1000, light=1), 100)
    assert Counter(order(harness)) == {"light": 100}
