"""Requests and responses, and the seam behind which the HTTP client can be exchanged.

Connectors build a `Request` and judge a `Response`. Always holds: paths are already encoded, the target gives
the origin, and nothing outside this room knows which client is inside.
"""

from collections.abc import Mapping
from typing import Protocol

import trio

from restbroker.config.secret import Secret
from restbroker.light import light


@light
class Request:
    """One HTTP request. `path` is encoded and begins with "/"; `timeout_s` bounds the whole exchange in seconds.

    `body` is sent with Content-Length, never chunked. Answers beyond `body_limit_bytes` are cut off. `repeatable`: it
    does no harm twice, so that it is sent again where a kept-alive connection ended before an answer.
    """

    method: str
    path: str
    timeout_s: float
    query: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    body_limit_bytes: int = 8 * 1024 * 1024
    repeatable: bool = False


@light
class Response:
    """One HTTP response. Header names are lower-case. `truncated`: the body was longer than the limit.

    `said`: the headers and the query of its request, whose secrets must not be shown where a server repeats them; nor
    must `secrets`, which are all of its target's.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    duration_s: float
    truncated: bool = False
    said: tuple[tuple[str, str], ...] = ()
    secrets: tuple[Secret, ...] = ()


class Sender(Protocol):
    """Who has a request sent that must not leave whenever its turn for a connection comes, which may be late."""

    def may_send(self) -> None:
        """Asked after each wait. What it raises is raised by `Transport.send`, and nothing was sent."""
        ...

    def sending(self) -> None:
        """Told when a connection is there, right before the first byte may leave."""
        ...

    def note_refused(self) -> None:
        """Told of an answer whose status is none of success."""
        ...


class Transport(Protocol):
    """Sends requests to one target over kept-alive connections. Never follows a redirect."""

    async def send(self, request: Request, sender: Sender | None = None) -> Response:
        """Sends one request and reads the whole answer, within `request.timeout_s` seconds of having a connection.

        Raises `NotSent` or `MaybeSent`; when cancelled, the connection in use is closed, not reused.
        """
        ...

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Keeps deadlines cheaply for as long as it runs. Without it, they are kept all the same.

        When cancelled, it ends as soon as no request is on its way whose deadline it keeps.
        """
        ...

    async def keep_none(self) -> None:
        """From now on no connection is kept for later, and idle ones are closed: others need them more.

        What is still to be sent is sent, over a connection of its own.
        """
        ...

    async def aclose(self) -> None:
        """Closes idle connections now and those in use when their exchange ends."""
        ...
