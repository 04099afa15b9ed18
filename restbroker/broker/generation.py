"""One generation of the broker: new identities, from their registration to the last settlement.

`broker.run` runs one after the other until the process stops; a generation also ends when Redis no longer grants it its
rights, or when one of a later configuration has taken over. It is a nest of nurseries whose exits are the phases of its
end (`phases.py`): intake ends first, then the workers, then the ackers once the last worker is gone, then the remaining
jobs are settled or requeued, and the heartbeat stops last. Always holds: however a generation ends, every job is
settled, requeued, or in its in-progress hash for a reaper; what is pushed once a generation is reported as started is
taken by no older one; and one that was replaced has no time-out until the process stops, since it lives on beside its
successor, and a job that is cut off may have run.
"""

import math
import os
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial

import attrs
import trio

from restbroker import __version__
from restbroker.broker import same_host
from restbroker.broker.classifier import Classifier
from restbroker.broker.health import Lease, StoreHealth, boot_time_s
from restbroker.broker.heartbeat import Heartbeat, Member
from restbroker.broker.identity import Identity, new_name
from restbroker.broker.intake import look_after
from restbroker.broker.periodic import PeriodicPusher
from restbroker.broker.phases import Phases
from restbroker.broker.plan import BrokerPlan
from restbroker.broker.ready_buffer import stretch
from restbroker.broker.reaper import Reaper
from restbroker.broker.recovery import StopResult
from restbroker.broker.scheduler import Scheduler
from restbroker.broker.scopes import bound, cancel_after, until
from restbroker.broker.signals import Control
from restbroker.broker.target_plan import TargetPlan
from restbroker.broker.upkeep import RedisUpkeep, Rewrite
from restbroker.broker.worker_pool import WorkerPool
from restbroker.light import define, field
from restbroker.store import waiter
from restbroker.store.connection import Connection
from restbroker.store.older_form import require_none
from restbroker.store.server import require_supported, time_s
from restbroker.telemetry.events import BrokerStarted, Event, TargetDown, TargetUp

_SETTLE_AGAIN_S = 5.0


@define(eq=False)
class Generation:
    """One generation, for one call of `run`. Setting `replaced` ends it; it holds `intake` while it takes jobs.

    When it begins, it calls `take_over`, which returns once no older one takes jobs. `identities` holds those of all
    generations of this process: each adds its own, and removes them at its end.
    """

    plan: BrokerPlan
    control: Control
    health: StoreHealth
    identities: set[str] = field(factory=set)
    replaced: trio.Event = field(factory=trio.Event)
    intake: trio.Lock = field(factory=trio.Lock)
    take_over: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint
    _name: str = field(factory=new_name)
    _lease: Lease = field(factory=Lease)
    _phases: Phases = field(init=False)
    _opened: AsyncExitStack = field(factory=AsyncExitStack)

    def __attrs_post_init__(self) -> None:
        """Make the phases of its end."""
        self._phases = Phases(self.control, self.replaced, self.plan.shutdown_timeout_s)

    async def run(self) -> StopResult:
        """Run until the process stops, a later generation takes over or Redis fences this one.

        Return how many jobs were requeued, were uncertain, or remained.

        Raise `StoreRefused` if Redis is too old, or has jobs in a form that has gone.
        """
        async with self._opened:
            connection = self._open()
            shared = self._open() if stretch(len(self.plan.targets)) > 1 else None
            pools = [self._pool(target, shared) for target in self.plan.targets]
            try:
                return await self._serve(pools, connection) if await self._register(pools, connection) else StopResult()
            finally:
                self.identities.difference_update(pool.identity.name for pool in pools)

    def _open(self) -> Connection:
        connection = self.plan.open_connection()
        self._opened.push_async_callback(connection.aclose)
        return connection

    def _pool(self, plan: TargetPlan, shared: Connection | None) -> WorkerPool:
        """Return a worker pool; its fetches and settlements go over `shared`, if any, together with those of others."""
        store = self._open()
        if shared is not None:
            store.join(shared)
        waiters = {queue: self.plan.open_waiter() for queue in plan.target.queues}
        most_s = stands_s(plan, len(self.plan.targets))
        for queue_waiter in waiters.values():
            # Those of many targets would else come back together each time.
            queue_waiter.block_s = random.uniform(max(waiter.BLOCK_S, 0.8 * most_s), most_s)  # noqa: S311
            self._opened.callback(queue_waiter.close)
        return WorkerPool(
            plan,
            Identity(f"{self._name}:{plan.target.name}", self.plan.report),
            self._lease,
            self.control.quiet,
            store=store,
            health=self.health,
            waiters=waiters,
            upkeep=self.plan.upkeep,
            report_of_breaker=self._report_of_breaker,
            pools=len(self.plan.targets),
        )

    def _report_of_breaker(self, event: Event) -> None:
        """Report an event of a breaker, but once this generation is replaced, not that a breaker tripped or was reset.

        Only the newest one reports that: a breaker of an older one would never be reported as reset.
        """
        if not (self.replaced.is_set() and isinstance(event, TargetDown | TargetUp)):
            self.plan.report(event)

    async def _register(self, pools: Sequence[WorkerPool], connection: Connection) -> bool:
        """Register all pools' identities; return False if this generation is to end before Redis answers.

        Then, or at an error, it removes those that it registered, or may have: they would live until a reaper comes.

        Raise `StoreRefused` if Redis is too old, or has jobs in a form that has gone.
        """
        begun: list[WorkerPool] = []
        registered = False
        try:
            async with until(self.control.stop.wait, self.replaced.wait):
                await self.health.call_until_up(connection, require_supported)
                served = {pool.plan.target.name: pool.plan.target.queues for pool in pools}
                await self.health.call_until_up(connection, require_none, served)
                # The first job that fails is due by Redis' clock, too.
                asked_at_s = boot_time_s()
                self.health.record_clock(await self.health.call_until_up(connection, time_s), asked_at_s)
                for pool in pools:
                    begun.append(pool)
                    await pool.register()
                    self.identities.add(pool.identity.name)
                registered = True
        finally:
            if not registered:
                self._phases.record_lost()
                await self._settle_unfinished(begun)
        return registered

    async def _serve(self, pools: Sequence[WorkerPool], connection: Connection) -> StopResult:
        members = [Member(pool.identity, pool.plan.tokens, partial(self.plan.snapshot, pool)) for pool in pools]
        async with trio.open_nursery() as keep:
            keep.start_soon(Heartbeat(members, self._open(), self.health, self._lease).run)
            keep.start_soon(self._phases.watch_fences, pools)
            keep.start_soon(self._phases.watch_stop, pools)
            keep.start_soon(cancel_after, self.replaced.wait, self._phases.intake)
            try:
                await self._work(pools, connection)
            except BaseException:
                self._phases.record_lost()
                raise
            finally:
                stop_result = await self._settle_unfinished(pools)
                self.plan.status.remove(pools)
            keep.cancel_scope.cancel()
        return stop_result

    async def _work(self, pools: Sequence[WorkerPool], connection: Connection) -> None:
        with self._phases.commit:
            async with trio.open_nursery() as commit:
                for pool in pools:
                    commit.start_soon(pool.acker.run)
                try:
                    with self._phases.work:
                        await self._deliver(pools, connection)
                finally:
                    for pool in pools:
                        pool.acker.close()
                    bound(self._phases.commit, self._phases.end_s)

    async def _deliver(self, pools: Sequence[WorkerPool], connection: Connection) -> None:
        async with trio.open_nursery() as connectors:
            await connectors.start(self.plan.upkeep.run)
            for pool in pools:
                await connectors.start(pool.plan.transport.run)
                await connectors.start(_run_connector, pool)
            async with trio.open_nursery() as work:
                for pool in pools:
                    work.start_soon(self._run_worker, pool, connectors)
                async with self.intake:
                    with self._phases.intake:
                        if not self.replaced.is_set():
                            await self._take_in(pools, connection)
                    for pool in pools:
                        pool.stop()
                for pool in pools:
                    # Their server may take no more connections than these, and the next generation needs some.
                    connectors.start_soon(pool.plan.transport.keep_none)
                    if self.replaced.is_set():
                        connectors.start_soon(partial(pool.recovery.requeue, worker_gone=False))
            connectors.cancel_scope.cancel()

    async def _run_worker(self, pool: WorkerPool, beside: trio.Nursery) -> None:
        await pool.worker.run()
        if self.replaced.is_set():
            # Other pools may have long to go, and the next generation could do these jobs meanwhile.
            beside.start_soon(partial(pool.recovery.requeue, worker_gone=True))

    async def _take_in(self, pools: Sequence[WorkerPool], connection: Connection) -> None:
        shared = connection, self.health, self.plan.report
        async with trio.open_nursery() as intake:
            for pool in pools:
                intake.start_soon(pool.prober.run)
                intake.start_soon(pool.intake.run)
                if pool.plan.target.fairness is not None:
                    intake.start_soon(Classifier(pool.plan, self._open(), pool.intake, self.plan.report).run)
            intake.start_soon(look_after, [pool.intake for pool in pools])
            specs = {queue: pool.plan.connector.spec for pool in pools for queue in pool.plan.target.queues}
            intake.start_soon(Scheduler(*shared, frozenset(specs)).run)
            ordered = [pool.plan for pool in pools if pool.plan.order is not None]
            intake.start_soon(Reaper(*shared, same_host.this_host(), self.identities, specs, ordered).run)
            dead_limit = max((target.limits.dead for target in self.plan.targets), default=0)
            intake.start_soon(RedisUpkeep(*shared, dead_limit).run)
            if self.plan.periodic:
                intake.start_soon(PeriodicPusher(*shared, self.plan.periodic).run)
            intake.start_soon(Rewrite(*shared, self._name).run)
            intake.start_soon(self._take_over, pools)

    async def _take_over(self, pools: Sequence[WorkerPool]) -> None:
        # Before its first heartbeat is confirmed, no request is started; an older one goes on for so long.
        await self._lease.granted.wait()
        if self.replaced.is_set():
            return
        self.plan.status.serve(pools, self._lease)
        await self.take_over()
        targets = [pool.plan.target for pool in pools]
        queues = tuple(queue for target in targets for queue in target.queues)
        concurrency = sum(target.concurrency for target in targets)
        names = tuple(target.name for target in targets)
        self.plan.report(
            BrokerStarted(
                pid=os.getpid(),
                version=__version__,
                targets=names,
                queues=queues,
                concurrency=concurrency,
                down=tuple(pool.plan.target.name for pool in pools if pool.breaker.is_reported),
            )
        )

    async def _settle_unfinished(self, pools: Sequence[WorkerPool]) -> StopResult:
        total = StopResult()
        bound(self._phases.settle, self._phases.end_s)
        with self._phases.settle as scope:
            while True:
                total = StopResult()
                for pool in pools:
                    by_order = self.control.stop.is_set()
                    total = total.plus(await pool.recovery.settle_unfinished(by_order=by_order))
                if total.complete or self._phases.end_s < math.inf:
                    break
                await trio.sleep(_SETTLE_AGAIN_S)
        complete = total.complete and not scope.cancelled_caught
        reserved = 0 if complete else sum(len(pool.reservations.jobs) for pool in pools)
        return attrs.evolve(total, complete=complete, reserved=reserved)


def stands_s(plan: TargetPlan, pools: int) -> float:
    """Return for how long a fetch of this target may stand: longer where most of many are idle, up to `MOST_BLOCK_S`.

    Not where jobs have keys: of one that another process held, and left, nothing but the next fetch tells.
    """
    return waiter.BLOCK_S if plan.key_rules else min(waiter.MOST_BLOCK_S, waiter.BLOCK_S * stretch(pools))


async def _run_connector(pool: WorkerPool, *, task_status: trio.TaskStatus[None]) -> None:
    """Run a connector's background work; if it fails, its target alone gets no more jobs in this generation."""
    has_begun = False
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(pool.plan.connector.run)
            has_begun = True
            task_status.started()
    except* Exception as errors:  # noqa: BLE001 - a connector's bug must not end the process
        bug = pool.plan.bug("The connector's background work", errors)
        hint = f"{bug.hint} Jobs wait in Redis; a reload (SIGHUP) or a restart tries again."
        pool.breaker.trip_for_good(attrs.evolve(bug, hint=hint))
    if not has_begun:
        task_status.started()
