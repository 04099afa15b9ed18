"""The way to the target for one delivery, which remembers whether the effect may have left, and its failures."""

import attrs

from restbroker.broker.item import Item
from restbroker.rules.outcome import Reason
from restbroker.transport.errors import MaybeSent, NotSent
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


def unreachable(problem: NotSent | MaybeSent) -> Reason:
    """Why nothing was sent, or why a question was not answered."""
    if isinstance(problem, NotSent) and problem.tls:
        cure = "Jobs wait in Redis. Check the server's certificate, and that its authority is known to this system."
        return Reason("TlsRefused", problem.message, cure)
    cure = "Jobs wait in Redis. Check that the server runs and that RestURL names its HTTP listener."
    return Reason("TargetUnreachable", problem.message, cure)
