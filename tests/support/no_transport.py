"""A transport for connectors that must not use it: they send through the link of each delivery only."""

import trio

from restbroker.transport.message import Request, Response, Sender


class NoTransport:
    """Whoever sends over it, or runs it, fails the test."""

    async def send(self, request: Request, sender: Sender | None = None) -> Response:
        raise AssertionError(request, sender)

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        raise AssertionError(task_status)

    async def keep_none(self) -> None:
        return None

    async def aclose(self) -> None:
        return None
