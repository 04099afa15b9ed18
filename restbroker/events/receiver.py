"""Runs the app that servers post events to, the readers, and the deliverer that pushes for both. `app` makes it.

Always holds: while the process stops, events that came by then are still pushed and confirmed, within the time that a
web app has for its end.
"""

from collections.abc import Sequence

import attrs
import trio

from restbroker.events.deliver import Deliverer
from restbroker.servers.event_contract import Reader
from restbroker.serving.runner import Server


@attrs.define(eq=False)
class Receiver:
    """The sources of a process, and the `deliverer`, which ends after them.

    `servers`: one for each address that servers post to. `readers` includes the `StatesInRedis`, which reports their
    states.
    """

    deliverer: Deliverer
    servers: Sequence[Server]
    readers: Sequence[Reader] = ()

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Receive events until cancelled; then push those that came by then."""
        async with trio.open_nursery() as nursery:
            pushing = trio.CancelScope(shield=True)
            nursery.start_soon(self._push, pushing)
            try:
                async with trio.open_nursery() as sources:
                    for server in self.servers:
                        await sources.start(server.run)
                    for reader in self.readers:
                        await sources.start(reader.run)
                    task_status.started()
            finally:
                pushing.cancel()

    async def _push(self, scope: trio.CancelScope) -> None:
        with scope:
            await self.deliverer.run()
        await self.deliverer.connection.aclose()
