"""Sending and receiving over one wire, step by step."""

import math

import trio

from restbroker.transport.readiness import Readiness
from restbroker.transport.wire import Wire


async def receive(wire: Wire, readiness: Readiness | None = None) -> bytes:
    """What comes next; it is raised if it is an error."""
    sending, coming = trio.open_memory_channel[bytes | Exception](math.inf)
    async with trio.open_nursery() as nursery:
        try:
            if not wire.listen(sending.send_nowait, readiness or Readiness()):
                nursery.start_soon(wire.attend)
            got = await coming.receive()
        except trio.ClosedResourceError as error:
            got = error
        finally:
            wire.unlisten()
        nursery.cancel_scope.cancel()
    if isinstance(got, Exception):
        raise got
    return got


async def send_all(wire: Wire, data: bytes) -> None:
    """All of the data is sent."""
    if not wire.begin(data):
        await wire.send_rest()
