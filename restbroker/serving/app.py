"""Makes a Quart app with JSON answers that browsers neither cache, frame nor sniff, and without tracebacks.

Called by the rooms that have pages. Always holds: an error in restbroker is answered with 500 and no detail; its kind
is reported, its text is not, since it may hold a secret. `AppOptions` has what an app of pages needs beyond that.

Before each app is a guard (`StrictApp`): a WebSocket, or a request with an unclear end, reaches no framework, and no
part of it reaches the log. Where a body has a length beside its chunks, what a proxy takes for a part of it may be the
next request here (RFC 9112, 6.1), so that another client's rights count for it. The same holds where the request names
a version of HTTP whose framing is not known.
"""

import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Final, Protocol, TypeAlias

import trio
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, HTTPScope, Scope
from quart import Response, request
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException

from restbroker.job.json_types import Json
from restbroker.light import define, field, frozen
from restbroker.serving.plain import error_answer
from restbroker.telemetry.events import OperatorWarning, Report

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_BODY_TIMEOUT_S = 10
App: TypeAlias = Callable[[Scope, ASGIReceiveCallable, ASGISendCallable], Awaitable[None]]
_REMIND_S: Final = 60.0
_REST_S: Final = 0.5
_REST_PARTS: Final = 16


class Refuse(Protocol):
    """A function that makes the answer to a refused request: what happened, and what to do next."""

    def __call__(self, status: int, code: str, message: str, hint: str | None = None) -> Response:
        """Return the answer, with this status."""
        ...


def answer(body: Mapping[str, Json], status: int = 200) -> Response:
    """Return an answer with `body` as JSON, in one line."""
    return text_answer(json.dumps(body), status)


def text_answer(text: str, status: int = 200) -> Response:
    """Return an answer whose body, `text`, is JSON already."""
    return Response(text + "\n", status, content_type="application/json; charset=utf-8")


def failure(status: int, code: str, message: str, hint: str | None = None) -> Response:
    """Return an error as JSON: what happened and what to do next."""
    return answer({"error": {"code": code, "message": message, "hint": hint}}, status)


@frozen
class AppOptions:
    """How an app differs from one that only answers JSON.

    `headers` are set instead of the usual ones, unless an answer has its own. `body_limit_bytes`: how long a request's
    body may be. `ask_for`: the hint for a client that requests an unknown address; None: it lists every address.
    """

    headers: Mapping[str, str] = field(factory=dict)
    body_limit_bytes: int = 0
    refuse: Refuse = failure
    ask_for: str | None = None


def new_app(name: str, report: Report, options: AppOptions | None = None) -> QuartTrio:
    """Return an app; without `options`, for JSON answers alone, which reads no request bodies. `name`: for messages."""
    options = options or AppOptions()
    app = QuartTrio(name, static_folder=None)
    app.logger = _logger(name, report)
    app.asgi_app = StrictApp(app.asgi_app, name, report)  # type: ignore[method-assign]  # as Quart documents it
    # Where no one may send a body it is not read, and the connection ends after the answer.
    app.config["MAX_CONTENT_LENGTH"] = options.body_limit_bytes
    app.config["BODY_TIMEOUT"] = _BODY_TIMEOUT_S
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    # Else `//a` is answered with a redirect to `/a` that names the host and forgets a proxy's prefix.
    app.url_map.merge_slashes = False
    headers = {**_HEADERS, **options.headers}

    async def with_headers(response: Response) -> Response:
        for header, value in headers.items():
            response.headers.setdefault(header, value)
        return response

    async def refused(error: HTTPException) -> Response:
        status = error.code or 500
        here = options.ask_for or " and ".join(sorted(rule.rule for rule in app.url_map.iter_rules()))
        hint = f"Ask for {here}." if status == HTTPStatus.NOT_FOUND else None
        answer = options.refuse(
            status, error.name.replace(" ", ""), f"{request.method} {request.path}: {error.name}.", hint
        )
        for header, value in error.get_headers():
            if header == "Allow":
                answer.headers[header] = value
        return answer

    async def failed(error: Exception) -> Response:
        what = f"{name}: {request.path} failed with {type(error).__name__}."
        report(OperatorWarning("RequestFailed", what, "Please report this."))
        return options.refuse(500, "Bug", "This request failed.", "Please report this.")

    app.after_request(with_headers)
    app.register_error_handler(HTTPException, refused)
    # Without it Quart writes a traceback to stderr.
    app.register_error_handler(Exception, failed)
    return app


def _logger(name: str, report: Report) -> logging.Logger:
    """Return what Quart logs to; it writes nothing, and reports the kind of a failure, like all that fails here.

    Quart's own writes the address of the request to stderr as it came, line breaks and all, and a traceback.
    """
    logger = logging.Logger(name)  # noqa: LOG001  not the process' one of that name, which others may write through

    def reported(record: logging.LogRecord) -> bool:
        kind = record.exc_info[0] if record.exc_info else None
        what = f"{name}: a request failed with {kind.__name__ if kind else 'an unknown error'}."
        report(OperatorWarning("RequestFailed", what, "Please report this."))
        return False

    logger.addFilter(reported)
    return logger


@define(eq=False)
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
            answer = error_answer(400, "BadRequest", *doubt)
            headers = (*answer.all_headers, (b"connection", b"close"))
            await send({"type": "http.response.start", "status": 400, "headers": headers, "trailers": False})
            await send({"type": "http.response.body", "body": answer.body, "more_body": False})
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
