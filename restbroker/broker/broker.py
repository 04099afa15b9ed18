"""The broker: signals, services, and one life after the other. Assembly calls `run`.

Always holds: the signal receiver is open until the very end; a process that was fenced goes on under new identities;
an exception that nobody expected ends the process, after its life has put every job in a place.
"""

import attrs
import trio

from restbroker.broker import signals
from restbroker.broker.health import StoreHealth
from restbroker.broker.leftovers import Left
from restbroker.broker.life import Life
from restbroker.broker.plan import BrokerPlan
from restbroker.broker.signals import Control
from restbroker.telemetry.events import BrokerStopped


@attrs.frozen
class Ended:
    """How it ended: `second_signal` cut the drain short; `clean` False: some entries were left for a reaper."""

    clean: bool
    second_signal: int | None


async def run(plan: BrokerPlan, control: Control) -> Ended:
    """Serves until `control.stop`."""
    left = Left()
    async with trio.open_nursery() as process:
        await process.start(signals.watch, control, plan.report)
        health = StoreHealth(plan.report)
        plan.status.begin(control, health)
        for service in plan.services:
            await process.start(service.run)
        while not control.stop.is_set():
            left = await Life(plan, control, health).run()
        process.cancel_scope.cancel()
    plan.report(BrokerStopped(left.complete, left.pushed_back, left.uncertain))
    return Ended(left.complete, control.second)
