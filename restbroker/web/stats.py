"""`GET /stats`: the figures as JSON, under the address and with the fields that the original program had.

Assembly makes the app when `Stats` is on. Always holds: a page of another site can neither ask (no CORS header, names
are checked) nor learn a secret; an answer never waits for Redis longer than a few seconds. The original answered any
page with the tokens of running jobs, and hung up when Redis was away (measured).
"""

from collections.abc import Callable

import attrs
import trio
from quart import Response, request
from quart_trio import QuartTrio

from restbroker.errors import ConnectionEnded, RestbrokerError
from restbroker.serving.app import failure, json_text, new_app, text_answer
from restbroker.store.client import Client
from restbroker.store.connection import Connection
from restbroker.telemetry.events import Report
from restbroker.web import figures, hosts
from restbroker.web.figures import InDelivery

TURN_S = 2.0
"""So long a request waits while others ask Redis."""


@attrs.frozen
class StatsSettings:
    """`bind`: the address or name that is served on; `queues`: those that this process serves."""

    bind: str
    queues: tuple[str, ...]
    show_bodies: bool = False


def stats_app(
    settings: Callable[[], StatsSettings],
    connection: Connection,
    in_delivery: Callable[[StatsSettings], InDelivery],
    report: Report,
    unready: Callable[[], str | None] = lambda: None,
) -> QuartTrio:
    """The app. `settings`, `in_delivery` and `unready` (why no jobs are taken now, as on /readyz) are asked for at each
    request. `connection` is its own, with a short time-out, and closed with it.
    """
    app = new_app("stats", report)

    async def guard() -> Response | None:
        if hosts.is_own(request.headers.get("Host", ""), settings().bind):
            return None
        return failure(
            421,
            "UnknownHost",
            "This page is not served under that name.",
            "Ask for it by address, as localhost, or under the name in StatsBind.",
        )

    async def stats() -> Response:
        now = settings()
        jobs, why = in_delivery(now), unready()

        def body(client: Client) -> str:
            return json_text({**figures.figures(client, now.queues, jobs), "unready": why}, indent=2)

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
