"""`GET /stats`: the figures as JSON, under the address and with the fields that the original program had.

Assembly makes the app when `Stats` is on. Always holds: a page of another site can neither ask (no CORS header, names
are checked) nor learn a secret; an answer never waits for Redis longer than a few seconds. The original answered any
page with the tokens of running jobs, and hung up when Redis was away (measured).
"""

import json
from collections.abc import Callable, Mapping
from typing import TypeAlias

import trio
from quart import Response, request
from quart_trio import QuartTrio

from restbroker.errors import ConnectionEnded, RestbrokerError
from restbroker.rules.json_types import Json
from restbroker.serving.app import failure, new_app, text_answer
from restbroker.store.client import Client
from restbroker.store.connection import Connection
from restbroker.telemetry.events import Report
from restbroker.web import hosts

TURN_S = 2.0
"""So long a request waits while others ask Redis."""


Question: TypeAlias = Callable[[Client], Mapping[str, Json]]
"""Asks Redis for the figures, in the thread of the connection."""


def stats_app(bind: str, connection: Connection, question: Callable[[], Question], report: Report) -> QuartTrio:
    """The app, for the address or name `bind`. `question` makes a new one for each request.

    `connection` is its own, with a short time-out, and closed with it.
    """
    app = new_app("stats", report)

    async def guard() -> Response | None:
        if hosts.is_own(request.headers.get("Host", ""), bind):
            return None
        return failure(
            421,
            "UnknownHost",
            "This page is not served under that name.",
            "Ask for it by address, as localhost, or under the name in StatsBind.",
        )

    async def stats() -> Response:
        figures = question()

        def body(client: Client) -> str:
            # As ASCII: integers of any size and half surrogate pairs, which jobs may hold, do no harm.
            return json.dumps(figures(client), indent=2)

        try:
            with trio.move_on_after(TURN_S):
                try:
                    return text_answer(await connection.call(body))
                except ConnectionEnded:  # since the last request; Redis itself may be well
                    return text_answer(await connection.call(body))
        except RestbrokerError as error:
            return failure(503, type(error).__name__, error.message, error.cure)
        return failure(503, "Busy", "Other requests for these figures are waiting for Redis.", "Try again later.")

    app.before_request(guard)
    app.add_url_rule("/stats", view_func=stats, methods=["GET"])
    app.after_serving(connection.aclose)
    return app
