"""Two things that lives do with cancel scopes, besides entering them. Used by `life` and `broker`.

Always holds: a scope's end only ever comes nearer.
"""

import trio


async def cancel_on(event: trio.Event, scope: trio.CancelScope) -> None:
    """Cancels the scope when the event comes."""
    await event.wait()
    scope.cancel()


def bound(scope: trio.CancelScope, within_s: float) -> None:
    """Ends the scope within so many seconds from now, unless it ends sooner."""
    scope.deadline = min(scope.deadline, trio.current_time() + within_s)
