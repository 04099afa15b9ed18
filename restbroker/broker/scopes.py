"""Helpers for cancel scopes. Used by `generation`, `phases`, `broker`, `plan`, `workers` and `status.record`.

Always holds: a scope's end only ever comes nearer.
"""

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio


async def cancel_on(event: trio.Event, scope: trio.CancelScope) -> None:
    """Wait for the event, then cancel the scope."""
    await event.wait()
    scope.cancel()


@asynccontextmanager
async def until(*events: trio.Event) -> AsyncIterator[None]:
    """Cancel the block once one of the events is set."""
    async with trio.open_nursery() as nursery:
        for event in events:
            nursery.start_soon(cancel_on, event, nursery.cancel_scope)
        yield
        nursery.cancel_scope.cancel()


async def wait_for_any(*events: trio.Event) -> None:
    """Wait until one of the events is set; for ever if there is none."""
    async with until(*events):
        await trio.sleep(math.inf)


def bound(scope: trio.CancelScope, within_s: float) -> None:
    """End the scope within `within_s` seconds from now, unless it ends sooner."""
    scope.deadline = min(scope.deadline, trio.current_time() + within_s)
