"""The broker: signals, services, and one generation after the other. `app` calls `run`.

Always holds: the signal receiver is open until the very end; a process that was fenced goes on under new identities; a
new configuration is served by a new generation, beside which the older one finishes what it has in progress; an
unforeseen exception ends the process, after its generations have put every job in a place; one over a single job makes
that job dead.
"""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import trio

from restbroker.broker import signals
from restbroker.broker.generation import Generation
from restbroker.broker.health import StoreHealth
from restbroker.broker.plan import BrokerPlan, start_all
from restbroker.broker.recovery import StopResult
from restbroker.broker.scopes import until, wait_for_any
from restbroker.broker.signals import Control
from restbroker.light import define, field, frozen
from restbroker.telemetry.events import BrokerStopped, BrokerStopping

Reload: TypeAlias = Callable[[], Awaitable[BrokerPlan | None]]
"""Returns the plan of the configuration as it is now, for the same Redis; None: go on as before. A stop cancels it."""
_CLOSE_S = 1.0


@frozen
class BrokerEnd:
    """How the broker ended.

    `clean`: no job was left in progress for a reaper. `second_signal`: the number of the signal that cut the drain
    short; None if there was none.
    """

    clean: bool
    second_signal: int | None


async def _as_before() -> BrokerPlan | None:
    return None


async def run(plan: BrokerPlan, control: Control, reload: Reload = _as_before) -> BrokerEnd:
    """Serve until `control.stop` is set, and return how the broker ended.

    At each `control.reload`, `reload` is called: the plan that it returns takes over, except its services, which are
    not run.
    """
    async with trio.open_nursery() as process:
        await process.start(signals.watch, control, plan.report)
        health = StoreHealth(plan.report)
        plan.status.begin(control, health)
        await start_all(plan.services, process, control.stop)
        generations = _Generations(control, health)
        async with trio.open_nursery() as serving:
            newest: BrokerPlan | None = plan
            while newest is not None:
                plan = newest
                serving.start_soon(generations.serve, plan)
                newest = await _next(control, reload)
            plan.report(BrokerStopping(control.why, plan.shutdown_timeout_s))
        process.cancel_scope.cancel()
    rest = generations.stop_result
    plan.report(BrokerStopped(rest.complete, rest.requeued, rest.uncertain, rest.reserved))
    return BrokerEnd(rest.complete, control.second)


async def _next(control: Control, reload: Reload) -> BrokerPlan | None:
    """Wait until a reload brings another plan, and return it; None when the process is to stop."""
    while True:
        await wait_for_any(control.stop.wait, control.reload.wait)
        if control.stop.is_set():
            return None
        control.take_reload()
        plan = None
        async with until(control.stop.wait):
            plan = await reload()
        if plan is not None:
            return plan


@define(eq=False)
class _Generations:
    """All generations of a process. `stop_result`: what was left of those that lived until its stop, added up."""

    control: Control
    health: StoreHealth
    stop_result: StopResult = field(factory=StopResult)
    _identities: set[str] = field(factory=set)
    _serving: list[tuple[trio.Event, trio.Lock]] = field(factory=list)

    async def serve(self, plan: BrokerPlan) -> None:
        """Run generations until the process stops or a later plan takes over; close what their targets use."""
        older = tuple(self._serving)
        replaced, intake = trio.Event(), trio.Lock()
        self._serving.append((replaced, intake))

        async def take_over() -> None:
            for event, _ in older:
                event.set()
            # The last fetch of each has been answered when it lets go.
            for _, lock in older:
                async with lock:
                    pass

        stop_result = StopResult()
        try:
            while not (self.control.stop.is_set() or replaced.is_set()):
                generation = Generation(
                    plan=plan,
                    control=self.control,
                    health=self.health,
                    identities=self._identities,
                    replaced=replaced,
                    intake=intake,
                    take_over=take_over,
                )
                stop_result = await generation.run()
        finally:
            self._serving.remove((replaced, intake))
            with trio.CancelScope(shield=True, deadline=trio.current_time() + _CLOSE_S):
                for target in plan.targets:
                    for service in (*target.services, target.transport):
                        await service.aclose()
        if self.control.stop.is_set():
            self.stop_result = self.stop_result.plus(stop_result)
