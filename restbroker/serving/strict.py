"""Keeps from an app what none of ours takes: a WebSocket. `serving.app` puts it before every app that it makes.

It is plain ASGI, so that it holds under any server. Always holds: what is refused here reaches no framework, and
nothing of what the stranger wrote reaches the log.
"""

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

import attrs
import trio
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope

from restbroker.telemetry.events import Report, Warned

App: TypeAlias = Callable[[Scope, ASGIReceiveCallable, ASGISendCallable], Awaitable[None]]
_REMIND_S: Final = 60.0


@attrs.define(eq=False)
class Strict:
    """The app behind it, `name` for messages. What is refused is reported once a minute at most."""

    app: App
    name: str
    report: Report
    _reported_at_s: float = float("-inf")

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Serves one request, as ASGI says."""
        if scope["type"] == "websocket":
            self._warn_of_websocket()
            await receive()
            # Before it was accepted, this is answered with 403.
            await send({"type": "websocket.close", "code": 1000, "reason": None})
        else:
            await self.app(scope, receive, send)

    def _warn_of_websocket(self) -> None:
        if trio.current_time() - self._reported_at_s >= _REMIND_S:
            self._reported_at_s = trio.current_time()
            message = f"{self.name}: a WebSocket was asked for, which nothing here speaks; it was refused (403)."
            cure = "Any web page in a browser that reaches this port can ask so. Let only those reach it who need it."
            self.report(Warned("WebSocketRefused", message, cure))
