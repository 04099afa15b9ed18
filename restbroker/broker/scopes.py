"""Two helpers for cancel scopes. Used by `generation`, `phases`, `broker` and `status.record`.

Always holds: a scope's end only ever comes nearer.
"""

import trio


async def cancel_on(event: trio.Event, scope: trio.CancelScope) -> None:
    """Wait for the event, then cancel the scope."""
    await event.wait()
    scope.cancel()


def bound(scope: trio.CancelScope, within_s: float) -> None:
    """End the scope within `within_s` seconds from now, unless it ends sooner."""
    scope.deadline = min(scope.deadline, trio.current_time() + within_s)
