"""One life of the broker: new identities, from their registration to the last settlement.

`broker.run` runs one after the other until the process stops; a life also ends when Redis no longer grants it its
rights, or when one of a later configuration has taken over. It is a nest of nurseries whose exits are the phases of its
end: intake ends first, then the workers, then the committers once the last worker is gone, then the remaining jobs are
settled or requeued, and the beat stops last. Always holds: however a life ends, every job is settled, requeued, or in
its in-progress hash for a reaper; and a life that was replaced may take until the process stops, since it lives on
beside its successor and a job that is cut off may have run.
"""

import math
import os
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial

import attrs
import trio

from restbroker import __version__
from restbroker.broker.beat import Beat
from restbroker.broker.delivery import worker
from restbroker.broker.delivery.gate import Gate
from restbroker.broker.health import StoreHealth
from restbroker.broker.intake.fetcher import Fetcher
from restbroker.broker.intake.waiting import Waiting
from restbroker.broker.lane import Lane, LanePlan, new_life
from restbroker.broker.lease import Lease
from restbroker.broker.plan import BrokerPlan
from restbroker.broker.scopes import bound, cancel_on
from restbroker.broker.settling import leftovers
from restbroker.broker.settling.committer import Committer
from restbroker.broker.settling.leftovers import Left
from restbroker.broker.signals import Control
from restbroker.broker.upkeep import prober, samehost
from restbroker.broker.upkeep.pauses import Pauses
from restbroker.broker.upkeep.reaper import Reaper
from restbroker.broker.upkeep.rewrite import Rewrite
from restbroker.broker.upkeep.scheduler import Scheduler
from restbroker.store import jobs
from restbroker.store.connection import Connection
from restbroker.store.server import require_supported, time_s
from restbroker.telemetry.events import BrokerStarted, Event, GateClosed, GateOpened

_END_S = 5.0
_END_AT_ONCE_S = 2.0
"""Bounds on the last settlements, in seconds: `_END_S` after a drain, `_END_AT_ONCE_S` after a second signal."""
_SETTLE_AGAIN_S = 5.0


@attrs.define(eq=False)
class Life:
    """One life, for one call of `run`. Setting `replaced` ends it; it calls `take_over` when it begins to take jobs.

    `identities` holds those of all lives of this process: a life adds its own, and removes them at its end.
    """

    plan: BrokerPlan
    control: Control
    health: StoreHealth
    identities: set[str] = attrs.field(factory=set)
    replaced: trio.Event = attrs.field(factory=trio.Event)
    take_over: Callable[[], None] = lambda: None
    _name: str = attrs.field(factory=new_life)
    _lease: Lease = attrs.field(factory=Lease)
    _settle_scope: trio.CancelScope = attrs.field(factory=lambda: trio.CancelScope(shield=True))
    _commit_scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    _work_scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    _intake_scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    _opened: AsyncExitStack = attrs.field(factory=AsyncExitStack)
    _confirmed: trio.Event = attrs.field(factory=trio.Event)
    _lost: bool = False
    """Whether the life was fenced, or an error ended it: then it is no use to wait longer for the last settlements."""

    async def run(self) -> Left:
        """Run until the process stops, a later life takes over or Redis fences this one; return what was left.

        Raise `StoreRefused` if Redis is too old.
        """
        async with self._opened:
            lanes = [self._lane(lane_plan) for lane_plan in self.plan.lanes]
            try:
                return await self._serve(lanes) if await self._register(lanes) else Left()
            finally:
                self.identities.difference_update(lane.identity for lane in lanes)

    def _open(self) -> Connection:
        connection = self.plan.open_connection()
        self._opened.push_async_callback(connection.aclose)
        return connection

    def _open_waiting(self, queues: Sequence[str]) -> Waiting:
        waiters = {queue: self.plan.open_waiter() for queue in queues}
        for waiter in waiters.values():
            self._opened.callback(waiter.close)
        return Waiting(waiters)

    def _lane(self, plan: LanePlan) -> Lane:
        return Lane(
            plan=plan,
            store=self._open(),
            health=self.health,
            lease=self._lease,
            gate=Gate(plan.target.name, self._report_of_gate, plan.target.concurrency),
            report=self.plan.report,
            identity=f"{self._name}:{plan.target.name}",
            quiet=self.control.quiet,
        )

    def _report_of_gate(self, event: Event) -> None:
        """Report an event of a gate, but once this life is replaced, not that a gate closed or opened.

        Only the newest life reports that: a gate of an older one would never be reported as open again.
        """
        if not (self.replaced.is_set() and isinstance(event, GateClosed | GateOpened)):
            self.plan.report(event)

    async def _register(self, lanes: Sequence[Lane]) -> bool:
        """Register all lanes' identities; return False if this life is to end before Redis answers.

        Raise `StoreRefused` if Redis is too old.
        """
        registered = False
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cancel_on, self.control.stop, nursery.cancel_scope)
            nursery.start_soon(cancel_on, self.replaced, nursery.cancel_scope)
            await self.health.insist(lanes[0].store, require_supported)
            # The first job that fails is due by Redis' clock, too.
            asked_at_s = time.time()
            self.health.saw_clock(await self.health.insist(lanes[0].store, time_s), asked_at_s, time.time())
            for lane in lanes:
                await self._register_one(lane)
            registered = True
            nursery.cancel_scope.cancel()
        return registered

    async def _register_one(self, lane: Lane) -> None:
        target = lane.plan.target
        facts = samehost.own_facts(target.name)
        responses = lane.plan.policy.responses
        while not await self.health.insist(lane.store, jobs.register, lane.identity, facts, target.queues, responses):
            lane.identity = f"{new_life()}:{target.name}"
        self.identities.add(lane.identity)

    async def _serve(self, lanes: Sequence[Lane]) -> Left:
        async with trio.open_nursery() as keep:
            keep.start_soon(self._beat, Beat(lanes, self._open(), self._lease, self.plan.snapshot))
            keep.start_soon(self._watch_fences, lanes)
            keep.start_soon(self._watch_stop, lanes)
            keep.start_soon(cancel_on, self.replaced, self._intake_scope)
            try:
                await self._work(lanes)
            except BaseException:
                self._lost = True
                raise
            finally:
                left = await self._settle_leftovers(lanes)
                self.plan.status.rest(lanes)
            keep.cancel_scope.cancel()
        return left

    async def _beat(self, beat: Beat) -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(beat.run)
            self._confirmed.set()

    async def _work(self, lanes: Sequence[Lane]) -> None:
        with self._commit_scope:
            async with trio.open_nursery() as commit:
                for lane in lanes:
                    commit.start_soon(Committer(lane).run)
                try:
                    with self._work_scope:
                        await self._deliver(lanes)
                finally:
                    for lane in lanes:
                        lane.finished.close()
                    bound(self._commit_scope, self._end_s())

    async def _deliver(self, lanes: Sequence[Lane]) -> None:
        async with trio.open_nursery() as connectors:
            for lane in lanes:
                await connectors.start(lane.plan.transport.run)
                await connectors.start(_run_connector, lane)
            async with trio.open_nursery() as work:
                for lane in lanes:
                    work.start_soon(self._run_workers, lane, connectors)
                with self._intake_scope:
                    await self._take_in(lanes)
                for lane in lanes:
                    lane.stop()
                    # Their server may take no more connections than these, and the next life needs some.
                    connectors.start_soon(lane.plan.transport.keep_none)
                    if self.replaced.is_set():
                        connectors.start_soon(partial(leftovers.give_back, lane, workers_gone=False))
            connectors.cancel_scope.cancel()

    async def _run_workers(self, lane: Lane, beside: trio.Nursery) -> None:
        async with trio.open_nursery() as workers:
            for _ in range(lane.plan.workers):
                workers.start_soon(worker.run, lane)
        if self.replaced.is_set():
            # Other lanes may have long to go, and the next life could do these jobs meanwhile.
            beside.start_soon(partial(leftovers.give_back, lane, workers_gone=True))

    async def _take_in(self, lanes: Sequence[Lane]) -> None:
        report = self.plan.report
        upkeep = self._open()
        async with trio.open_nursery() as intake:
            for lane in lanes:
                intake.start_soon(prober.run, lane)
                intake.start_soon(Fetcher(lane, self._open_waiting(lane.plan.target.queues)).run)
            specs = {queue: lane.plan.connector.spec for lane in lanes for queue in lane.plan.target.queues}
            intake.start_soon(Scheduler(upkeep, self.health, report, frozenset(specs)).run)
            intake.start_soon(Reaper(upkeep, self.health, report, samehost.this_host(), self.identities, specs).run)
            intake.start_soon(Pauses(upkeep, self.health, report).run)
            intake.start_soon(Rewrite(upkeep, self.health, report, self._name).run)
            intake.start_soon(self._take_over, lanes)

    async def _take_over(self, lanes: Sequence[Lane]) -> None:
        # Before its first beat is confirmed, no request is started; an older life goes on for so long.
        await self._confirmed.wait()
        if self.replaced.is_set():
            return
        self.plan.status.serve(lanes, self._lease)
        self.take_over()
        targets = [lane.plan.target for lane in lanes]
        queues = tuple(queue for target in targets for queue in target.queues)
        concurrency = sum(target.concurrency for target in targets)
        names = tuple(target.name for target in targets)
        self.plan.report(BrokerStarted(os.getpid(), __version__, names, queues, concurrency))

    async def _watch_stop(self, lanes: Sequence[Lane]) -> None:
        await self.control.stop.wait()
        # Intake may have to wait for Redis before it ends, and no worker may start another job meanwhile.
        for lane in lanes:
            lane.handover.close()
        timeout_s = self.plan.shutdown_timeout_s
        bound(self._work_scope, timeout_s)
        bound(self._commit_scope, timeout_s + _END_S)
        bound(self._settle_scope, timeout_s + 2 * _END_S)
        self._intake_scope.cancel()
        await self.control.at_once.wait()
        bound(self._commit_scope, _END_AT_ONCE_S)
        bound(self._settle_scope, 2 * _END_AT_ONCE_S)
        self._work_scope.cancel()

    async def _watch_fences(self, lanes: Sequence[Lane]) -> None:
        async with trio.open_nursery() as nursery:
            for lane in lanes:
                nursery.start_soon(cancel_on, lane.fenced, nursery.cancel_scope)
        self._lost = True
        bound(self._commit_scope, _END_S)
        bound(self._settle_scope, 2 * _END_S)
        self._intake_scope.cancel()
        self._work_scope.cancel()

    async def _settle_leftovers(self, lanes: Sequence[Lane]) -> Left:
        total = Left()
        bound(self._settle_scope, self._end_s())
        with self._settle_scope as scope:
            while True:
                total = Left()
                for lane in lanes:
                    total = total.plus(await leftovers.settle(lane, told=self.control.stop.is_set()))
                if total.complete or self._end_s() < math.inf:
                    break
                await trio.sleep(_SETTLE_AGAIN_S)
        complete = total.complete and not scope.cancelled_caught
        left = 0 if complete else sum(len(lane.in_hand) for lane in lanes)
        return attrs.evolve(total, complete=complete, left=left)

    def _end_s(self) -> float:
        """Return the seconds that the last settlements may take: infinite if the process lives on and they may work."""
        if self.replaced.is_set() and not self.control.stop.is_set() and not self._lost:
            return math.inf
        return _END_AT_ONCE_S if self.control.at_once.is_set() else _END_S


async def _run_connector(lane: Lane, *, task_status: trio.TaskStatus[None]) -> None:
    """Run a connector's background work; if it fails, its target alone gets no more jobs in this life."""
    has_begun = False
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(lane.plan.connector.run)
            has_begun = True
            task_status.started()
    except* Exception as errors:  # noqa: BLE001 - a connector's bug must not end the process
        bug = lane.plan.bug("The connector's background work", errors)
        cure = f"{bug.cure} Jobs wait in Redis; a reload (SIGHUP) or a restart tries again."
        lane.gate.give_up(attrs.evolve(bug, cure=cure))
    if not has_begun:
        task_status.started()
