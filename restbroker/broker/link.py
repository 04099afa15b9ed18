"""The way to the target for one delivery, which remembers whether the effect may have left, and its failures."""

from collections.abc import Awaitable, Callable, Container

import attrs

from restbroker.broker.item import Item
from restbroker.rules.outcome import Reason
from restbroker.transport.errors import MaybeSent, NotSent
from restbroker.transport.message import Request, Response, Transport


class NotOurs(Exception):
    """The job is in other hands by now: a reaper's, or back in its queue. It must not be sent."""


@attrs.define(eq=False)
class WorkerLink:
    """Made by the worker for one delivery of `item`; `item` None for a probe. `mark` for `AtMostOnce` alone.

    `in_hand`: the tickets of the jobs that are still ours.
    """

    transport: Transport
    item: Item | None = None
    mark: Callable[[str], Awaitable[bool]] | None = None
    in_hand: Container[str] = ()

    async def ask(self, request: Request) -> Response:
        """Preparation: does not mark the job as sent."""
        return await self.transport.send(request)

    async def send(self, request: Request) -> Response:
        """The effect: what must not run twice is marked in Redis first. Raises `NotOurs` if it cannot be."""
        if self.item is not None:
            if self.mark is not None and not await self.mark(self.item.ticket):
                raise NotOurs
            if self.item.ticket not in self.in_hand:
                raise NotOurs
            self.item.sending = True
        return await self.transport.send(request)


def unreachable(problem: NotSent | MaybeSent) -> Reason:
    """Why nothing was sent, or why a question was not answered."""
    if isinstance(problem, NotSent) and problem.tls:
        cure = "Jobs wait in Redis. Check the server's certificate, and that its authority is known to this system."
        return Reason("TlsRefused", problem.message, cure)
    cure = "Jobs wait in Redis. Check that the server runs and that the target's URL (RestURL) names its HTTP listener."
    return Reason("TargetUnreachable", problem.message, cure)
