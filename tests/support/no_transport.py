"""A transport for connectors that must not use it: they send through the link of each delivery only."""

import trio

from restbroker.transport.message import Request, Response


class NoTransport:
    """Whoever sends over it, or runs it, fails the test."""

    async def send(self, request: Request) -> Response:
        raise AssertionError(request)

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        raise AssertionError(task_status)

    async def aclose(self) -> None:
        return None
