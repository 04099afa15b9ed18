"""`GET /stats`: the metrics as JSON, under the address and with the fields that the original program had.

`web.site` serves it. Always holds: a page of another site can neither request it (no CORS header, host names are
checked) nor learn a secret; an answer never waits for Redis longer than a few seconds. The original answered any page
with the tokens of running jobs, and hung up when Redis was away (measured).
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

import trio
from quart import Response

from restbroker.errors import ConnectionEnded, RestbrokerError
from restbroker.job.json_types import Json
from restbroker.serving.app import failure, text_answer
from restbroker.store.client import Client
from restbroker.store.connection import Connection

TIMEOUT_S = 2.0
"""How many seconds a request waits while others use Redis."""


Question: TypeAlias = Callable[[Client], Mapping[str, Json]]
"""Reads the figures from Redis, in the thread of the connection."""


def stats_view(connection: Connection, question: Callable[[], Question]) -> Callable[[], Awaitable[Response]]:
    """Return the view for /stats.

    For each request, `question()` returns the function that reads the metrics over `connection`, which has a short
    time-out.

    The view answers 503 if Redis is away or busy.
    """

    async def stats() -> Response:
        figures = question()

        def body(client: Client) -> str:
            # As ASCII: integers of any size and half surrogate pairs, which jobs may hold, do no harm.
            return json.dumps(figures(client), indent=2)

        try:
            with trio.move_on_after(TIMEOUT_S):
                try:
                    return text_answer(await connection.call(body))
                except ConnectionEnded:  # since the last request; Redis itself may be well
                    return text_answer(await connection.call(body))
        except RestbrokerError as error:
            return failure(503, type(error).__name__, error.message, error.hint)
        return failure(503, "Busy", "Other requests for these numbers are waiting for Redis.", "Try again later.")

    return stats
