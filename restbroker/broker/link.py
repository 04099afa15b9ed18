"""The way to the target for one delivery, which remembers whether the effect may have left."""

import attrs

from restbroker.broker.item import Item
from restbroker.transport.message import Request, Response, Transport


@attrs.define(eq=False)
class WorkerLink:
    """Made by the worker for one delivery of `item`; `item` None for a probe."""

    transport: Transport
    item: Item | None = None

    async def ask(self, request: Request) -> Response:
        """Preparation: does not mark the job as sent."""
        return await self.transport.send(request)

    async def send(self, request: Request) -> Response:
        """The effect: the job is marked before the first byte can leave."""
        if self.item is not None:
            self.item.sending = True
        return await self.transport.send(request)
