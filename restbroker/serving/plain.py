"""An app that answers from one function: for machines that send many requests, and need nothing of Quart.

Called by the rooms that serve machines. Always holds, as in `serving.app`: JSON answers that are not cached, framed or
sniffed, and no traceback; of a failure its kind is reported, and no part of the request, which may hold a secret.
"""

import json
from collections.abc import Awaitable, Callable, Iterable

import attrs
from hypercorn.typing import ASGIFramework, ASGIReceiveCallable, ASGISendCallable, HTTPScope, Scope

from restbroker.serving.lines import restore_bytes
from restbroker.telemetry.events import OperatorWarning, Report

_HEADERS = (
    (b"content-type", b"application/json; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
)


@attrs.frozen
class Request:
    """A request. `target` is the path with its query as they came; names of headers are in lower case."""

    method: str
    target: bytes
    headers: Iterable[tuple[bytes, bytes]]

    def header(self, name: bytes) -> bytes:
        """Return the first header of this name (in lower case); b"" if there is none."""
        return next((value for given, value in self.headers if given.lower() == name), b"")


@attrs.frozen
class Answer:
    """An answer; `body` is JSON. `closing`: the connection (of HTTP/1) ends behind it."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()
    closing: bool = False


def error_answer(
    status: int, code: str, message: str, hint: str | None = None, *headers: tuple[bytes, bytes], closing: bool = False
) -> Answer:
    """Return an error as JSON: what happened and what to do next."""
    body = json.dumps({"error": {"code": code, "message": message, "hint": hint}}).encode() + b"\n"
    return Answer(status, body, headers, closing)


def plain_app(name: str, answer: Callable[[Request], Awaitable[Answer]], report: Report) -> ASGIFramework:
    """Return the app, which answers 500 if `answer` raises. `name` is for messages."""

    async def app(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] == "lifespan":
            await _run_lifespan(receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1000, "reason": None})
        elif scope["type"] == "http":
            try:
                found = await answer(_read_request(scope))
            except Exception as error:  # noqa: BLE001  a stranger's request must not end a broker
                report(
                    OperatorWarning(
                        "RequestFailed", f"{name}: failed with {type(error).__name__}.", "Please report this."
                    )
                )
                found = error_answer(500, "Bug", "This request failed.", "Please report this.")
            await send_answer(found, send, closing=found.closing and scope["http_version"].startswith("1"))

    return app


def _read_request(scope: HTTPScope) -> Request:
    query = scope["query_string"]
    return Request(
        scope["method"], restore_bytes(scope["raw_path"] + (b"?" + query if query else b"")), scope["headers"]
    )


async def send_answer(answer: Answer, send: ASGISendCallable, *, closing: bool) -> None:
    """Send the whole answer, as ASGI says. `closing`: the connection of HTTP/1 ends behind it."""
    length = (b"content-length", b"%d" % len(answer.body))
    headers = [*_HEADERS, length, *answer.headers, *([(b"connection", b"close")] if closing else [])]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers, "trailers": False})
    await send({"type": "http.response.body", "body": answer.body, "more_body": False})


async def _run_lifespan(receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})
