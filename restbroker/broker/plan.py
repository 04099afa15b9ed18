"""The parts of a broker. `app` builds them from a configuration; all generations of that configuration share them.

Always holds: nothing here names a kind of server; what outlives a generation beside the pools is a `Service`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import trio

from restbroker.broker.periodic import PeriodicJob
from restbroker.broker.scopes import until
from restbroker.broker.status.status import Status
from restbroker.broker.target_plan import TargetPlan
from restbroker.broker.worker_pool import WorkerPool
from restbroker.job.json_types import Json
from restbroker.light import field, frozen
from restbroker.store.connection import Connection
from restbroker.store.waiter import Waiter
from restbroker.telemetry.events import Report
from restbroker.transport.readiness import Upkeep


class Service(Protocol):
    """A background task of the process; it must survive a restart of the pools."""

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Run until cancelled; call `task_status.started()` once the service is up."""
        ...


async def start_all(services: Sequence[Service], nursery: trio.Nursery, stop: trio.Event) -> None:
    """Start the services in the nursery, one after the other; return once all are up, or at `stop`.

    One may have to look up a name to listen on, which can take long.
    """
    async with until(stop.wait):
        for service in services:
            await nursery.start(service.run)


@frozen
class BrokerPlan:
    """The parts of a broker.

    `open_connection` opens a connection to Redis, `open_waiter` one for waiting for jobs, `open_control` one with a
    short time-out, which bounds a stop while Redis is frozen. `snapshot` describes a pool for `restbroker stats`.
    `shutdown_timeout_s` bounds a drain, in seconds.
    """

    targets: Sequence[TargetPlan]
    services: Sequence[Service]
    open_connection: Callable[[], Connection]
    open_control: Callable[[], Connection]
    open_waiter: Callable[[], Waiter]
    report: Report
    snapshot: Callable[[WorkerPool], Mapping[str, Json]]
    shutdown_timeout_s: float = 25.0
    upkeep: Upkeep = field(factory=Upkeep)
    """That of the targets' HTTP clients."""
    periodic: Sequence[PeriodicJob] = ()
    status: Status = field(factory=Status)
