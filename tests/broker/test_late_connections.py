"""A connection may come long after it was asked for: what must not be sent any more by then is not."""

import attrs
import pytest
import trio
from trio.testing import MockClock

from restbroker.broker.health import Lease, boot_time_s
from restbroker.errors import ConnectionEnded
from restbroker.job.outcome import Reason
from restbroker.transport.message import NotSent
from tests.broker.conftest import FINE, Harness


@attrs.define(eq=False)
class Turns:
    """Requests wait until `come` is set. `waiting` of them do."""

    come: trio.Event = attrs.field(factory=trio.Event)
    waiting: int = 0

    async def connected(self) -> None:
        self.waiting += 1
        try:
            await self.come.wait()
        finally:
            self.waiting -= 1


@pytest.mark.promise("At least once, and seldom more", "nothing leaves after trip, lease or stop")
async def test_late_connection_waits_while_breaker_is_tripped(harness: Harness, hurry: MockClock) -> None:
    turns = Turns()
    harness.target.connected = turns.connected
    async with harness.broker():
        harness.push(count=3)
        await harness.until(lambda: turns.waiting == 3, "all wait for connections")
        harness.target.probe_answer = NotSent("It is down.")
        breaker = harness.pool.breaker
        breaker.trip(Reason("TargetUnreachable", "It is down."))
        turns.come.set()
        await harness.until(lambda: turns.waiting == 0 and len(breaker.semaphore.line) == 3, "they wait at the breaker")
        assert harness.target.sent == []
        harness.target.probe_answer = FINE
        await harness.until_ended(3)
    assert len(harness.target.sent) == 3


@pytest.mark.promise("At least once, and seldom more", "nothing leaves after trip, lease or stop")
@pytest.mark.parametrize("comes", [False, True])
async def test_job_waiting_for_connection_at_stop_returns_to_its_queue(harness: Harness, *, comes: bool) -> None:
    turns = Turns()
    harness.target.connected = turns.connected
    harness.shutdown_timeout_s = 5.0 if comes else 0.1
    async with harness.broker():
        harness.push("once", count=3)
        await harness.until(lambda: turns.waiting == 3, "all wait for connections")
        if comes:
            harness.control.stop.set()
            await harness.pool.stopping.wait()
            turns.come.set()
    assert harness.target.sent == []
    assert harness.size("queue:rest") == 3
    assert harness.size("retry") == harness.size("dead") == 0


async def test_late_connection_of_a_job_in_other_hands_sends_nothing(harness: Harness) -> None:
    turns = Turns()
    harness.target.connected = turns.connected
    async with harness.broker():
        harness.push()
        await harness.until(lambda: turns.waiting, "it waits for a connection")
        harness.client.command("DEL", f"restbroker:ip:{harness.identity}")
        pool = harness.pool
        pool.acker.health.record_outage(ConnectionEnded("It was idle."))
        await harness.until(lambda: not pool.reservations.jobs, "it is let go of")
        turns.come.set()
        await harness.until(lambda: not harness.status.running_jobs() and not turns.waiting, "it is over")
    assert harness.target.sent == []


@pytest.mark.parametrize("at_most_once", [(), ("safe",)])
async def test_job_with_expired_lease_waits_unmarked_for_a_new_one(
    harness: Harness, at_most_once: tuple[str, ...], hurry: MockClock
) -> None:
    harness.at_most_once = at_most_once
    async with harness.broker():
        await harness.until(lambda: harness.status.serving, "it serves")
        pool = harness.pool
        # One that no beat confirms.
        pool.worker.life.checks.lease = Lease()
        harness.push("safe")
        breaker = pool.breaker
        await harness.until(
            lambda: harness.target.calls and breaker.semaphore.capacity == harness.concurrency, "it was not sent"
        )
        assert harness.target.sent == []
        assert harness.client.command("KEYS", "restbroker:sent:*") == []
        pool.worker.life.checks.lease.confirm(boot_time_s())
        await harness.until_ended()
    assert len(harness.target.sent) == 1
