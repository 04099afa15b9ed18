"""Runs the app that servers post to, with what pushes for it. Assembly makes it.

Always holds: while the process stops, what was posted by then is still pushed and answered, within the time that a web
app has for its end.
"""

import attrs
import trio

from restbroker.events.deliver import Deliverer
from restbroker.serving.runner import Server


@attrs.define(eq=False)
class Receiver:
    """The app, and what pushes, which ends after it."""

    deliverer: Deliverer
    server: Server

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Serves until cancelled."""
        async with trio.open_nursery() as nursery:
            pushing = trio.CancelScope(shield=True)
            nursery.start_soon(self._push, pushing)
            try:
                await self.server.run(task_status=task_status)
            finally:
                pushing.cancel()

    async def _push(self, scope: trio.CancelScope) -> None:
        with scope:
            await self.deliverer.run()
        await self.deliverer.connection.aclose()
