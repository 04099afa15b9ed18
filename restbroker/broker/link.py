"""The way to the target for one delivery, which remembers whether the effect may have left, and its failures."""

from collections.abc import Awaitable, Callable, Container, Coroutine
from typing import Any

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

    def ask(self, request: Request) -> Coroutine[Any, Any, Response]:
        """Preparation: does not mark the job as sent."""
        return self.transport.send(request)

    def send(self, request: Request) -> Coroutine[Any, Any, Response]:
        """The effect: what must not run twice is marked in Redis first. Raises `NotOurs` if it cannot be.

        To be awaited at once. Without a coroutine of its own: each is one more to pass at every wake-up.
        """
        if self.item is None:
            return self.transport.send(request)
        if self.mark is not None:
            return self._send_marked(request, self.item, self.mark)
        return self._send(request, self.item)

    async def _send_marked(self, request: Request, item: Item, mark: Callable[[str], Awaitable[bool]]) -> Response:
        if not await mark(item.ticket):
            raise NotOurs
        return await self._send(request, item)

    def _send(self, request: Request, item: Item) -> Coroutine[Any, Any, Response]:
        if item.ticket not in self.in_hand:
            raise NotOurs
        item.sending = True
        return self.transport.send(request)


def unreachable(problem: NotSent | MaybeSent) -> Reason:
    """Why nothing was sent, or why a question was not answered."""
    if isinstance(problem, NotSent) and problem.tls:
        cure = "Jobs wait in Redis. Check the server's certificate, and that its authority is known to this system."
        return Reason("TlsRefused", problem.message, cure)
    cure = "Jobs wait in Redis. Check that the server runs and that the target's URL (RestURL) names its HTTP listener."
    return Reason("TargetUnreachable", problem.message, cure)
