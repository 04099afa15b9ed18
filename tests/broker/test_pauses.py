"""Pauses that end by themselves while a broker runs."""

from trio.testing import MockClock

from restbroker.store import pauses
from restbroker.telemetry.events import OperatorWarning, PauseEnded
from tests.broker.conftest import Harness


async def test_a_queue_that_was_paused_for_a_while_is_served_again_and_the_log_says_so(
    harness: Harness, hurry: MockClock
) -> None:
    pauses.pause_queue(harness.client, "rest", "ann", "for a moment", 0.3)
    harness.push(count=1)
    async with harness.broker():
        await harness.until(lambda: harness.of(PauseEnded), "the pause ends")
        await harness.until(lambda: harness.target.calls, "the job is delivered")
    assert harness.of(PauseEnded) == [PauseEnded("queue", "rest", "ann", "for a moment")]


async def test_pauses_that_cannot_be_looked_at_are_told_once_and_stop_nothing(harness: Harness) -> None:
    harness.client.command("SET", "restbroker:pauses:queues", "x")
    async with harness.broker():
        await harness.until(lambda: harness.of(OperatorWarning), "it is told")
        harness.push(count=1)
        await harness.until(lambda: harness.target.calls, "the job is delivered")
    (told,) = harness.of(OperatorWarning)
    assert told.code == "PausesRefused"
