"""Refuses, before an app, requests that none of restbroker's apps takes: WebSockets, and those with an unclear end.

`serving.app` puts it before every app that it makes. Where a body has a length beside its chunks, what a proxy takes
for a part of it may be the next request here (RFC 9112, 6.1), so that another client's rights count for it. The same
holds where the request names a version of HTTP whose framing is not known.

It is plain ASGI, so that it works under any server. Always holds: a request that is refused here reaches no framework,
and no part of it reaches the log.
"""

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

import attrs
import trio
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, HTTPScope, Scope

from restbroker.serving.plain import error_answer, send_answer
from restbroker.telemetry.events import OperatorWarning, Report

App: TypeAlias = Callable[[Scope, ASGIReceiveCallable, ASGISendCallable], Awaitable[None]]
_REMIND_S: Final = 60.0
_REST_S: Final = 0.5
_REST_PARTS: Final = 16


@attrs.define(eq=False)
class StrictApp:
    """The guard before an `app`; `name` is for messages. A WebSocket is reported once a minute at most."""

    app: App
    name: str
    report: Report
    _reported_at_s: float = float("-inf")

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Serve one request, as ASGI says: refuse it, or pass it to the app."""
        if scope["type"] == "websocket":
            self._warn_of_websocket()
            await receive()
            # Before it was accepted, this is answered with 403.
            await send({"type": "websocket.close", "code": 1000, "reason": None})
        elif scope["type"] == "http" and (doubt := _doubtful_end(scope)) is not None:
            # Not behind a 100: where the body is read on there, Hypercorn 0.18 loses one answer of four (measured).
            if all(name != b"expect" for name, _ in scope["headers"]):
                await _drop_body(receive)
            await send_answer(error_answer(400, "BadRequest", *doubt), send, closing=True)
        else:
            await self.app(scope, receive, send)

    def _warn_of_websocket(self) -> None:
        if trio.current_time() - self._reported_at_s >= _REMIND_S:
            self._reported_at_s = trio.current_time()
            message = f"{self.name}: a client requested a WebSocket, which this port does not support; it got 403."
            hint = "Any web page in a browser that reaches this port can do this. Restrict access to the port."
            self.report(OperatorWarning("WebSocketRefused", message, hint))


def _doubtful_end(scope: HTTPScope) -> tuple[str, str] | None:
    """Return why a proxy may see another end of this request, and what to do; None: its end is clear."""
    version = scope["http_version"]
    # HTTP/2 has frames for it. Where a request of HTTP/1 only says that it were one, h11 reports "2.0".
    if version == "2":
        return None
    if version not in ("1.0", "1.1"):
        return "Its HTTP version is not supported: it could be two requests.", "Send HTTP/1.1."
    # Without a body, `serving.connections` refuses it: Hypercorn would take it. With one, Hypercorn passes over it.
    if any(name == b"upgrade" and b"h2c" in value.lower() for name, value in scope["headers"]):
        return "It offers HTTP/2 inside HTTP/1.1, which is not supported.", "Send HTTP/1.1 without Upgrade."
    framing = [name for name, _ in scope["headers"] if name in (b"content-length", b"transfer-encoding")]
    if len(framing) > 1 or (version == "1.0" and b"transfer-encoding" in framing):
        length = "It has both a length and chunks, or chunks in HTTP/1.0: it could be two requests."
        return length, "Send only one of them."
    return None


async def _drop_body(receive: ASGIReceiveCallable) -> None:
    """Read on for a moment: Hypercorn 0.18 loses an answer that ends a connection while it still reads (measured)."""
    with trio.move_on_after(_REST_S):
        for _ in range(_REST_PARTS):
            event = await receive()
            if event["type"] != "http.request" or not event["more_body"]:
                break
    # The reader's turn: where it meets what follows after our answer has begun, it ends the connection under it.
    await trio.lowlevel.checkpoint()
