"""Makes a Quart app in the way that all of ours are: JSON answers, nothing to keep, frame or guess, no traceback.

Called by the rooms that have pages. Always holds: an error of ours answers 500 without a word about it; its kind is
reported, its text is not, since it may hold a secret.
"""

import json
from collections.abc import Mapping
from http import HTTPStatus

from quart import Response, request
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException

from restbroker.rules.json_types import Json
from restbroker.telemetry.events import Report, Warned

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def new_app(name: str, report: Report) -> QuartTrio:
    """An app without pages that reads no request bodies. `name` is for messages."""
    app = QuartTrio(name, static_folder=None)
    # Nobody may send a body; it is not read, and the connection ends after the answer.
    app.config["MAX_CONTENT_LENGTH"] = 0
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False

    async def with_headers(response: Response) -> Response:
        response.headers.update(_HEADERS)
        return response

    async def refused(error: HTTPException) -> Response:
        status = error.code or 500
        here = " and ".join(sorted(rule.rule for rule in app.url_map.iter_rules()))
        cure = f"Ask for {here}." if status == HTTPStatus.NOT_FOUND else None
        answer = failure(status, error.name.replace(" ", ""), f"{request.method} {request.path}: {error.name}.", cure)
        for header, value in error.get_headers():
            if header == "Allow":
                answer.headers[header] = value
        return answer

    async def failed(error: Exception) -> Response:
        what = f"{name}: {request.path} failed with {type(error).__name__}."
        report(Warned("RequestFailed", what, "Please report this."))
        return failure(500, "Bug", "This request failed.", "Please report it.")

    app.after_request(with_headers)
    app.register_error_handler(HTTPException, refused)
    # Without it Quart writes a traceback to stderr.
    app.register_error_handler(Exception, failed)
    return app


def answer(body: Mapping[str, Json], status: int = 200) -> Response:
    """`body` as JSON, in one line."""
    return text_answer(json.dumps(body), status)


def text_answer(text: str, status: int = 200) -> Response:
    """An answer whose body is JSON already."""
    return Response(text + "\n", status, content_type="application/json; charset=utf-8")


def failure(status: int, code: str, message: str, cure: str | None = None) -> Response:
    """An error as JSON: what happened and what to do next."""
    return answer({"error": {"code": code, "message": message, "cure": cure}}, status)
