"""A connection may come long after it was asked for: what must not be sent any more by then is not."""

import json
from collections.abc import Callable

import attrs
import pytest
import trio
from trio.testing import MockClock

from restbroker.broker.health import Lease, boot_time_s
from restbroker.broker.worker_pool import WorkerPool
from restbroker.errors import ConnectionEnded
from restbroker.job.outcome import Reason
from restbroker.store import identities, jobs
from restbroker.store.client import StoreSettings, open_client
from restbroker.store.connection import Connection
from restbroker.telemetry.events import JobFinished
from restbroker.transport.errors import NotSent
from tests.broker.conftest import FINE, Harness, Held
from tests.support.redis_server import RedisServer


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


def pool_of(harness: Harness) -> WorkerPool:
    (pool,) = harness.status.pools
    return pool


@pytest.mark.promise("At least once, and seldom more", "nothing leaves after trip, lease or stop")
async def test_what_gets_its_connection_while_the_breaker_is_tripped_waits_until_it_is_reset(
    harness: Harness, hurry: MockClock
) -> None:
    turns = Turns()
    harness.target.connected = turns.connected
    async with harness.broker():
        harness.push(count=3)
        await harness.until(lambda: turns.waiting == 3, "all wait for connections")
        harness.target.probe_answer = NotSent("It is down.")
        breaker = pool_of(harness).breaker
        breaker.trip(Reason("TargetUnreachable", "It is down."))
        turns.come.set()
        await harness.until(
            lambda: turns.waiting == 0 and breaker.semaphore.waiting_jobs == 3, "they wait at the breaker"
        )
        assert harness.target.sent == []
        harness.target.probe_answer = FINE
        await harness.until(lambda: len(harness.of(JobFinished)) == 3, "all are delivered")
    assert len(harness.target.sent) == 3


@pytest.mark.promise("At least once, and seldom more", "nothing leaves after trip, lease or stop")
@pytest.mark.parametrize("comes", [False, True])
async def test_what_waits_for_a_connection_at_a_stop_goes_back_to_its_queue(harness: Harness, *, comes: bool) -> None:
    turns = Turns()
    harness.target.connected = turns.connected
    harness.shutdown_timeout_s = 5.0 if comes else 0.1
    async with harness.broker():
        harness.push("once", count=3)
        await harness.until(lambda: turns.waiting == 3, "all wait for connections")
        if comes:
            harness.control.stop.set()
            await pool_of(harness).stopping.wait()
            turns.come.set()
    assert harness.target.sent == []
    assert harness.size("queue:rest") == 3
    assert harness.size("retry") == harness.size("dead") == 0


async def test_what_gets_its_connection_once_its_job_is_in_other_hands_is_not_sent(harness: Harness) -> None:
    turns = Turns()
    harness.target.connected = turns.connected
    async with harness.broker():
        harness.push()
        await harness.until(lambda: turns.waiting, "it waits for a connection")
        (identity,) = identities.live_identities(harness.client)
        harness.client.command("DEL", f"restbroker:ip:{identity}")
        pool = pool_of(harness)
        pool.acker.health.note_outage(ConnectionEnded("It was idle."))
        await harness.until(lambda: not pool.reservations.jobs, "it is let go of")
        turns.come.set()
        await harness.until(lambda: not harness.status.running_jobs() and not turns.waiting, "it is over")
    assert harness.target.sent == []


def run_out(pool: WorkerPool) -> None:
    # One that no beat confirms.
    pool.worker.checks.lease = Lease()


@pytest.mark.parametrize("at_most_once", [(), ("safe",)])
async def test_a_job_whose_lease_has_run_out_waits_unmarked_and_is_sent_once_there_is_a_new_one(
    harness: Harness, at_most_once: tuple[str, ...], hurry: MockClock
) -> None:
    harness.at_most_once = at_most_once
    async with harness.broker():
        await harness.until(harness.status.served_targets, "it serves")
        pool = pool_of(harness)
        run_out(pool)
        harness.push("safe")
        breaker = pool.breaker
        await harness.until(
            lambda: harness.target.calls and breaker.semaphore.capacity == harness.concurrency, "it was not sent"
        )
        assert harness.target.sent == []
        assert harness.client.command("KEYS", "restbroker:sent:*") == []
        pool.worker.checks.lease.confirm(boot_time_s())
        await harness.until(lambda: harness.of(JobFinished), "it is delivered")
    assert len(harness.target.sent) == 1


@attrs.define(eq=False)
class Forgetful:
    """A Redis that is killed while the poller waits for the committer, and comes back as it was saved before."""

    harness: Harness
    redis: RedisServer
    killed: bool = False

    def connect(self, _settings: StoreSettings) -> Connection:
        return _Told(self)

    async def before_finish(self) -> None:
        if not self.killed:
            self.killed = True
            self.harness.push("once", first=9)
            lock = pool_of(self.harness).acker.lock
            await self.harness.until(lambda: lock.statistics().tasks_waiting, "the poller waits")
            self.redis.kill()
            self.harness.client.close()
            self.redis.start()
            # As it was saved, nothing was to be taken yet.
            self.redis.command("SREM paused rest")


class _Told(Connection):
    def __init__(self, what: Forgetful) -> None:
        super().__init__(open_client(StoreSettings(what.redis.url)))
        self._what = what

    async def finish(self, request: jobs.FinishRequest, now_s: float) -> list[jobs.Code]:
        await self._what.before_finish()
        return await super().finish(request, now_s)


@pytest.mark.promise("At least once, and seldom more", "after an outage Redis is asked before more is taken")
async def test_after_an_outage_that_the_committer_sat_out_nothing_is_fetched_before_it_was_compared(
    harness: Harness, make_redis: Callable[..., RedisServer]
) -> None:
    redis = harness.on(make_redis())
    harness.concurrency, harness.at_most_once = 2, ("once",)
    redis.command("ACL SETUSER default -blmove")  # so that no fetch stands in Redis, and each waits for the committer
    what = Forgetful(harness, redis)
    harness.connect = what.connect
    harness.target.answers.append(first := Held())
    harness.target.answer = others = Held()
    async with harness.broker():
        await harness.until(lambda: harness.target.probes, "it serves")
        payloads = [json.dumps({"class": "Add", "jid": f"j{n}", "args": ["once", {"n": n}, "t"]}) for n in range(3)]
        harness.client.command("SADD", "paused", "rest")
        harness.client.command("LPUSH", "queue:rest", *payloads)
        assert redis.command("SAVE").startswith("+OK")
        harness.client.command("SREM", "paused", "rest")
        await harness.until(lambda: len(harness.target.sent) == 2, "two are sent")
        first.let.set()
        await harness.until(lambda: what.killed, "the first is being settled")
        others.let.set()
        await harness.until(
            lambda: harness.size("queue:rest") == 0 and not pool_of(harness).reservations.jobs, "all is done"
        )
    # The fourth was pushed after Redis was saved.
    assert len(harness.target.sent) == 3
