"""Requests, responses, what is raised without one, and the protocol `Transport`, behind which the client is exchanged.

Connectors build a `Request` and judge a `Response`. Always holds: paths are already encoded, the origin comes from the
target, and nothing outside this room knows which client is inside. Which error a request without an answer ends with
decides whether the job may be sent again.
"""

import errno
import os
import re
import ssl
from collections.abc import Mapping
from datetime import UTC
from typing import TYPE_CHECKING, Final, Protocol

from restbroker.config.secret import Secret
from restbroker.job.reply import REPLY_LIMIT_BYTES
from restbroker.light import frozen_plain

if TYPE_CHECKING:  # a kind of server in one file does without Trio where a job is pushed
    import trio


@frozen_plain
class Request:
    """One HTTP request. `path` is encoded and begins with "/"; `timeout_s` bounds the whole exchange in seconds.

    `body` is sent with Content-Length, never chunked. Answers beyond `body_limit_bytes` are cut off. `repeatable`:
    sending it twice does no harm, so that it is sent again where a kept-alive connection ended before an answer.
    """

    method: str
    path: str
    timeout_s: float
    query: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    # Why: docs/design.md#long-answers
    body_limit_bytes: int = 8 * 1024 * 1024
    repeatable: bool = False


TRUNCATED: Final = "answer truncated"
UNPARSED: Final = "answer not parsed"
_TEXT_BYTES: Final = REPLY_LIMIT_BYTES + 4
"""Of more, no reply shows anything but that it is cut; a character has four bytes at most."""


@frozen_plain
class Response:
    """One HTTP response. Header names are lower-case.

    `note`: why nothing of its body is parsed: it was longer than the limit or than there was room for (`TRUNCATED`), or
    there is no room to parse it (`UNPARSED`). So judges read `parsable`, and for people `text_of`.

    `request_pairs`: the headers and the query of its request, whose secrets must not be shown where a server repeats
    them. Nor must `secrets` be shown, which are all secrets of its target.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    duration_s: float
    note: str | None = None
    request_pairs: tuple[tuple[str, str], ...] = ()
    secrets: tuple[Secret, ...] = ()

    @property
    def parsable(self) -> bytes:
        """The body, or nothing if it may be good, though nothing of it is parsed."""
        return b"" if self.note else self.body


def text_of(body: bytes) -> str:
    """Return the body of an answer as text, as far as a reply may have of it."""
    return body[:_TEXT_BYTES].decode("utf-8", "replace")


LONGEST_S: Final = 24 * 3600.0
"""The longest wait that a 429 may ask of its job."""
LONGEST_PAUSE_S: Final = 900.0
"""The longest wait that any other answer may ask for, and the longest pause of a target."""
_TOO_MANY: Final = 429


def retry_after_s(response: Response, now_s: float) -> float | None:
    """Return the seconds to wait by the Retry-After header (seconds or a date); None if it is invalid.

    At most a day for a 429, else 15 minutes. `now_s` is the current time in epoch seconds. None too if there is no such
    header; 0.0 for a date that has passed.
    """
    longest_s = LONGEST_S if response.status == _TOO_MANY else LONGEST_PAUSE_S
    text = response.headers.get("retry-after", "").strip()
    if not text:
        return None
    if re.fullmatch(r"[0-9]{1,9}", text):
        return min(float(text), longest_s)
    from email.utils import parsedate_to_datetime  # few servers write a date, and to push a job takes none

    try:
        date = parsedate_to_datetime(text)
        wait_s = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now_s
    except (ValueError, OverflowError):
        return None
    return min(max(0.0, wait_s), longest_s)


class Sender(Protocol):
    """A caller of `Transport.send` that may withdraw its request while it waits for a connection, maybe for long."""

    def may_send(self) -> None:
        """Raise a `Withdrawn` if the request must not be sent any more; called after each wait.

        `Transport.send` raises the same, and nothing was sent.
        """
        ...

    def start_sending(self) -> None:
        """Note that a connection is there; called right before the first byte may leave."""
        ...

    def clear_sending(self) -> None:
        """Note that an answer came whose status is not a success (2xx)."""
        ...


class Transport(Protocol):
    """Sends requests to one target over kept-alive connections. Never follows a redirect."""

    async def send(self, request: Request, sender: Sender | None = None) -> Response:
        """Send one request and return the whole answer, within `request.timeout_s` seconds of having a connection.

        Raise `MaybeSent` or `NotSent`, the latter also if every connection was busy for as long before; when cancelled,
        the connection in use is closed, not reused.
        """
        ...

    async def run(self, *, task_status: "trio.TaskStatus[None]") -> None:
        """Serve requests cheaply until cancelled; without it, they are served all the same.

        When cancelled, it may give up the requests under way: their `send` raises `MaybeSent` or `NotSent`.
        """
        ...

    async def keep_none(self) -> None:
        """Close idle connections, and keep none for later from now on, since other parts need the descriptors more.

        Each further request is sent over a connection of its own.
        """
        ...

    async def aclose(self) -> None:
        """Close idle connections now, and those in use when their exchange ends."""
        ...


# The words of OpenSSL 1.1 and 3.
_WRONG_NAME = "mismatch, certificate is not valid for"
_UNKNOWN_ISSUER = ("self-signed certificate", "self signed certificate", "unable to get", "unable to verify")


class NotSent(Exception):
    """No byte of the request reached the server: sending again is safe.

    `by_request`: the request itself cannot be sent (a header that HTTP forbids), so repeating is pointless.
    `tls`: the server's certificate was not accepted. `timed_out`: no connection came about in time. `hint`: what to do,
    where that is known better than "check the server".
    """

    def __init__(
        self,
        message: str,
        *,
        by_request: bool = False,
        tls: bool = False,
        timed_out: bool = False,
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.by_request = by_request
        self.tls = tls
        self.timed_out = timed_out

    @property
    def tls_hint(self) -> str:
        """What to do about a failure of TLS."""
        if _WRONG_NAME in self.message:
            return "Use a name that is in the server's certificate in the URL, or have it issued for this one."
        if any(words in self.message for words in _UNKNOWN_ISSUER):
            return 'Give the certificate of its authority: "TLS": {"CAFile": "ca.pem"} in the target.'
        return "Check the server's certificate and TLS.CAFile."


class MaybeSent(Exception):
    """Some of the request may have reached the server and no whole answer came: it may have run.

    `timed_out`: the deadline passed while waiting.
    """

    def __init__(self, message: str, *, timed_out: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.timed_out = timed_out


class Withdrawn(Exception):
    """Its sender does not let the request out (any more): nothing was sent. Each sender raises errors of its own."""


def reason_of(error: BaseException) -> str:
    """Return the error as text without a full stop: the system's words for an OSError, else the error's own."""
    if isinstance(error, OSError) and error.strerror:
        # Trio's own text has an address in it as Python writes it. The numbers of TLS and of names mean other things.
        if error.errno is not None and error.errno in errno.errorcode and not isinstance(error, ssl.SSLError):
            return os.strerror(error.errno)
        return error.strerror.rstrip(".")
    return str(error).rstrip(".") or type(error).__name__
