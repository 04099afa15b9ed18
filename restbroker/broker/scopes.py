"""Helpers for cancel scopes. Used throughout this room.

Always holds: a scope's end only ever comes nearer.
"""

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio


async def cancel_after(wait: Callable[[], Awaitable[object]], scope: trio.CancelScope) -> None:
    """Wait for what this waits for, then cancel the scope."""
    await wait()
    scope.cancel()


@asynccontextmanager
async def until(*waits: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
    """Cancel the block once one of these functions has returned."""
    async with trio.open_nursery() as nursery:
        for wait in waits:
            nursery.start_soon(cancel_after, wait, nursery.cancel_scope)
        yield
        nursery.cancel_scope.cancel()


async def wait_for_any(*waits: Callable[[], Awaitable[object]]) -> None:
    """Wait until one of these functions has returned; for ever if there is none."""
    async with until(*waits):
        await trio.sleep(math.inf)


def bound(scope: trio.CancelScope, within_s: float) -> None:
    """End the scope within `within_s` seconds from now, unless it ends sooner."""
    scope.deadline = min(scope.deadline, trio.current_time() + within_s)
