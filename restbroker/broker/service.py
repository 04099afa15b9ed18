"""The protocol of a service: a task that runs beside the pools as long as the process does, such as the stats app."""

from typing import Protocol

import trio


class Service(Protocol):
    """A background task of the process; it must survive a restart of the pools."""

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Run until cancelled; call `task_status.started()` once the service is up."""
        ...
