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


class NotNow(Exception):
    """While the job waited for a connection, the gate closed, the lease ran out, or the lane began to stop."""


@attrs.define(eq=False)
class WorkerLink:
    """Made by the worker for one delivery of `item`; `item` None for a probe. `mark` for `AtMostOnce` alone.

    `in_hand`: the tickets of the jobs that are still ours. `may_start`: whether requests may be started at all. It is
    the transport's `Sender` too: a connection may come long after it was asked for.
    """

    transport: Transport
    item: Item | None = None
    mark: Callable[[str], Awaitable[bool]] | None = None
    in_hand: Container[str] = ()
    may_start: Callable[[], bool] = lambda: True

    def ask(self, request: Request) -> Coroutine[Any, Any, Response]:
        """Preparation: does not mark the job as sent."""
        return self.transport.send(request)

    def send(self, request: Request) -> Coroutine[Any, Any, Response]:
        """The effect: what must not run twice is marked in Redis first. Raises `NotOurs` or `NotNow`: not sent.

        To be awaited at once. Without a coroutine of its own: each is one more to pass at every wake-up.
        """
        if self.item is None:
            return self.transport.send(request)
        if self.mark is not None:
            return self._send_marked(request, self.item, self.mark)
        return self.transport.send(request, self)

    def may_send(self) -> None:
        """See `Sender`."""
        if self.item is not None and self.item.ticket not in self.in_hand:
            raise NotOurs
        if not self.may_start():
            raise NotNow

    def sending(self) -> None:
        """See `Sender`."""
        if self.item is not None:
            self.item.sending = True

    async def _send_marked(self, request: Request, item: Item, mark: Callable[[str], Awaitable[bool]]) -> Response:
        if not await mark(item.ticket):
            raise NotOurs
        return await self.transport.send(request, self)


def unreachable(problem: NotSent | MaybeSent) -> Reason:
    """Why nothing was sent, or why a question was not answered."""
    if isinstance(problem, NotSent) and problem.tls:
        cure = "Jobs wait in Redis. Check the server's certificate, and that its authority is known to this system."
        return Reason("TlsRefused", problem.message, cure)
    cure = "Jobs wait in Redis. Check that the server runs and that the target's URL (RestURL) names its HTTP listener."
    return Reason("TargetUnreachable", problem.message, cure)


def unanswered(problem: MaybeSent) -> Reason:
    """Why nobody knows whether what was sent has run."""
    if problem.timed_out:
        cure = (
            "The server hangs, or has too much to do: look at its load and log. If the command takes that long, raise"
            " RequestTimeout."
        )
        return Reason("TimedOut", problem.message, cure)
    cure = "The server stopped, or something before it drops connections: look at the log of both."
    return Reason("ConnectionLost", problem.message, cure)
