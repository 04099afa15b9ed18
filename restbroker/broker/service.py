"""What runs beside the lanes for as long as the process does: the stats app, the log's summaries."""

from typing import Protocol

import trio


class Service(Protocol):
    """One background task of the process; it must survive a restart of the lanes."""

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Runs until cancelled; `task_status.started()` when it is up."""
        ...
