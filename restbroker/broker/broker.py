"""The broker: lives of lanes inside one process, from the first beat to the last settlement.

Assembly calls `run`. A life is a nest of nurseries whose exits are the phases of a stop: intake ends first, then the
workers (within `ShutdownTimeout`), then the committer once the last worker is gone, then what is left gets a place,
then the beat stops. Always holds: a life that ends, however it ends, leaves every job settled, pushed back, or in its
in-progress hash for a reaper; and a fenced process goes on under new identities.
"""

import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack

import attrs
import trio

from restbroker import __version__
from restbroker.broker import leftovers, samehost, signals, worker
from restbroker.broker.beat import Beat
from restbroker.broker.committer import Committer
from restbroker.broker.fetcher import Fetcher
from restbroker.broker.gate import Gate
from restbroker.broker.health import StoreHealth
from restbroker.broker.item import Item
from restbroker.broker.lane import Lane, LanePlan, new_identity
from restbroker.broker.lease import Lease
from restbroker.broker.leftovers import Left
from restbroker.broker.link import WorkerLink
from restbroker.broker.pace import Pace
from restbroker.broker.reaper import Reaper
from restbroker.broker.scheduler import Scheduler
from restbroker.broker.service import Service
from restbroker.broker.signals import Control
from restbroker.broker.status import Status
from restbroker.errors import StoreUnavailable
from restbroker.rules.json_types import Json
from restbroker.rules.outcome import Probe
from restbroker.store import jobs
from restbroker.store.connection import Connection, Waiter
from restbroker.telemetry.events import BrokerStarted, BrokerStopped, BrokerStopping, Report

_LEFTOVERS_S = 5.0
_LEFTOVERS_AT_ONCE_S = 2.0


@attrs.frozen
class BrokerPlan:
    """What the broker is made of. `open_connection` makes a connection of its own, `open_waiter` one for waiting,
    `open_control` the one that ends waits: its short time-out bounds a stop while Redis is frozen.

    `snapshot` adds figures to what a lane tells of itself with each beat; `shutdown_timeout_s` bounds a drain.
    `status` is kept up to date for the services.
    """

    lanes: Sequence[LanePlan]
    services: Sequence[Service]
    open_connection: Callable[[], Connection]
    open_control: Callable[[], Connection]
    open_waiter: Callable[[Connection], Waiter]
    report: Report
    snapshot: Callable[[Lane], Mapping[str, Json]]
    shutdown_timeout_s: float = 25.0
    status: Status = attrs.field(factory=Status)


@attrs.frozen
class Ended:
    """How it ended: `second_signal` cut the drain short; `clean` False: some entries were left for a reaper."""

    clean: bool
    second_signal: int | None


async def run(plan: BrokerPlan, control: Control) -> Ended:
    """Serves until `control.stop`. An unexpected exception ends the lives in order and is raised."""
    async with trio.open_nursery() as process:
        await process.start(signals.watch, control, plan.report)
        health = StoreHealth(plan.report)
        plan.status.begin(control, health)
        for service in plan.services:
            await process.start(service.run)
        left: Left | None = None
        while not control.stop.is_set():
            left = await _Life(plan, control, health).run()
        process.cancel_scope.cancel()
    clean = left is not None
    plan.report(BrokerStopped(clean, left.pushed_back if left else 0, left.uncertain if left else 0))
    return Ended(clean, control.second)


@attrs.define(eq=False)
class _Life:
    """One life: fresh identities, connections and tasks."""

    plan: BrokerPlan
    control: Control
    health: StoreHealth
    lease: Lease = attrs.field(factory=Lease)
    work_scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    intake_scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    async def run(self) -> Left | None:
        """What was left at the end; None if Redis was away and the entries had to stay."""
        async with AsyncExitStack() as opened:
            beat = self._open(opened)
            upkeep = self._open(opened)
            lanes = [self._lane(lane_plan, self._open(opened)) for lane_plan in self.plan.lanes]
            if not await self._register([lane for lane, _ in lanes], upkeep):
                return Left()
            return await self._serve(opened, lanes, beat, upkeep)

    def _open(self, opened: AsyncExitStack) -> Connection:
        connection = self.plan.open_connection()
        opened.push_async_callback(connection.aclose)
        return connection

    def _open_waiters(self, lane: Lane, opened: AsyncExitStack) -> dict[str, Waiter]:
        unblock = self.plan.open_control()
        opened.push_async_callback(unblock.aclose)
        waiters = {queue: self.plan.open_waiter(unblock) for queue in lane.plan.target.queues}
        for waiter in waiters.values():
            opened.push_async_callback(waiter.aclose)
        return waiters

    def _lane(self, plan: LanePlan, store: Connection) -> tuple[Lane, trio.MemoryReceiveChannel[Item]]:
        send, receive = trio.open_memory_channel[Item](plan.target.concurrency)
        report = self.plan.report
        gate = Gate(plan.target.name, report)
        identity = new_identity(plan.target.name)
        quiet = self.control.quiet
        return Lane(plan, store, self.health, self.lease, gate, report, identity, send, quiet), receive

    async def _register(self, lanes: Sequence[Lane], upkeep: Connection) -> bool:
        """False if the process is asked to stop before Redis answers."""
        registered = False
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_on, self.control.stop, nursery.cancel_scope)
            for lane in lanes:
                target = lane.plan.target
                facts = samehost.own_facts(target.name)
                while not await self.health.insist(upkeep, jobs.register, lane.identity, facts, target.queues):
                    lane.identity = new_identity(target.name)
            registered = True
            nursery.cancel_scope.cancel()
        return registered

    async def _serve(
        self,
        opened: AsyncExitStack,
        lanes: Sequence[tuple[Lane, trio.MemoryReceiveChannel[Item]]],
        beat: Connection,
        upkeep: Connection,
    ) -> Left | None:
        only_lanes = [lane for lane, _ in lanes]
        async with trio.open_nursery() as keep:
            keep.start_soon(Beat(only_lanes, beat, self.lease, self.plan.snapshot).run)
            keep.start_soon(self._watch_fences, only_lanes)
            keep.start_soon(self._watch_stop)
            try:
                await self._work(opened, lanes, upkeep)
            finally:
                left = await self._settle_leftovers(only_lanes)
                self.plan.status.rest()
            keep.cancel_scope.cancel()
        return left

    async def _work(
        self,
        opened: AsyncExitStack,
        lanes: Sequence[tuple[Lane, trio.MemoryReceiveChannel[Item]]],
        upkeep: Connection,
    ) -> None:
        commit_scope = trio.CancelScope()
        with commit_scope:
            async with trio.open_nursery() as commit:
                paces = [Pace() for _ in lanes]
                for (lane, finished), pace in zip(lanes, paces, strict=True):
                    commit.start_soon(Committer(lane, pace, finished).run)
                try:
                    with self.work_scope:
                        await self._deliver([lane for lane, _ in lanes], paces, opened, upkeep)
                finally:
                    for lane, _ in lanes:
                        lane.outcomes.close()
                    commit_scope.deadline = trio.current_time() + _LEFTOVERS_S
                    if self.control.at_once.is_set():
                        commit_scope.deadline = trio.current_time() + _LEFTOVERS_AT_ONCE_S

    async def _deliver(
        self,
        lanes: Sequence[Lane],
        paces: Sequence[Pace],
        opened: AsyncExitStack,
        upkeep: Connection,
    ) -> None:
        async with trio.open_nursery() as connectors:
            for lane in lanes:
                await connectors.start(lane.plan.connector.run)
            async with trio.open_nursery() as work:
                for lane in lanes:
                    for _ in range(lane.plan.target.concurrency):
                        work.start_soon(worker.run, lane)
                with self.intake_scope:
                    await self._take_in(lanes, paces, opened, upkeep)
                for lane in lanes:
                    lane.stop()
            connectors.cancel_scope.cancel()

    async def _take_in(
        self,
        lanes: Sequence[Lane],
        paces: Sequence[Pace],
        opened: AsyncExitStack,
        upkeep: Connection,
    ) -> None:
        report = self.plan.report
        async with trio.open_nursery() as intake:
            for lane, pace in zip(lanes, paces, strict=True):
                waiters = self._open_waiters(lane, opened)
                intake.start_soon(lane.gate.probe_forever, _prober(lane))
                intake.start_soon(Fetcher(lane, pace, waiters).run)
            own = frozenset(lane.identity for lane in lanes)
            intake.start_soon(Scheduler(upkeep, self.health, report).run)
            intake.start_soon(Reaper(upkeep, self.health, report, samehost.this_host(), own).run)
            self.plan.status.serve(lanes, self.lease)
            self._announce(lanes)

    def _announce(self, lanes: Sequence[Lane]) -> None:
        targets = [lane.plan.target for lane in lanes]
        queues = tuple(queue for target in targets for queue in target.queues)
        concurrency = sum(target.concurrency for target in targets)
        names = tuple(target.name for target in targets)
        self.plan.report(BrokerStarted(os.getpid(), __version__, names, queues, concurrency))

    async def _watch_stop(self) -> None:
        await self.control.stop.wait()
        timeout_s = self.plan.shutdown_timeout_s
        self.plan.report(BrokerStopping(self.control.why, timeout_s))
        self.work_scope.deadline = trio.current_time() + timeout_s
        self.intake_scope.cancel()
        await self.control.at_once.wait()
        self.work_scope.cancel()

    async def _watch_fences(self, lanes: Sequence[Lane]) -> None:
        async with trio.open_nursery() as nursery:
            for lane in lanes:
                nursery.start_soon(_cancel_on, lane.fenced, nursery.cancel_scope)
        self.intake_scope.cancel()
        self.work_scope.cancel()

    async def _settle_leftovers(self, lanes: Sequence[Lane]) -> Left | None:
        pushed_back = uncertain = 0
        bound_s = _LEFTOVERS_AT_ONCE_S if self.control.at_once.is_set() else _LEFTOVERS_S
        with trio.CancelScope(shield=True, deadline=trio.current_time() + bound_s) as bound:
            try:
                for lane in lanes:
                    left = await leftovers.settle(lane)
                    pushed_back += left.pushed_back
                    uncertain += left.uncertain
            except StoreUnavailable as error:
                self.health.lost(error)
                return None
        return None if bound.cancelled_caught else Left(pushed_back, uncertain)


async def _cancel_on(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


def _prober(lane: Lane) -> Callable[[], Awaitable[Probe]]:
    async def ask() -> Probe:
        return await lane.plan.connector.probe(WorkerLink(lane.plan.transport))

    return ask
