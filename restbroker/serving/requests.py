"""Parses the requests on one connection of HTTP/1.1: heads, and bodies in parts. `serving.plain` uses it.

llhttp reads the bytes, as it reads answers in `transport.http1`. Always holds: ambiguous requests are refused (two
lengths, a length beside chunks, no `Host`, folded headers); the size of a head is limited; no bytes are kept beyond
those fed since the last request was taken.

Prosody 0.12 puts a user's name into an address as it is, in UTF-8 (measured; 13 read), and llhttp refuses any byte
beyond ASCII there. In `RequestLines` such a byte travels as its number in `<` and `>`, which no address holds, and
`restore_bytes` makes it itself again; bytes outside the first line of a GET or HEAD stay as they are. A body that looks
like one is not distinguished from it: this is for apps that read none.
"""

import re
from collections import deque
from http import HTTPStatus
from typing import Final

import httptools

from restbroker.light import define, field

HEAD_LIMIT_BYTES: Final = 16 * 1024
PART_BYTES: Final = 64 * 1024
"""The most bytes that are fed at once."""
_FRAMING: Final = (b"content-length", b"transfer-encoding")
_METHODS: Final = (b"GET ", b"HEAD ")
_LONGEST: Final = max(map(len, _METHODS))
_BEYOND_ASCII: Final = re.compile(rb"[\x80-\xff]")
_STAND_IN: Final = re.compile(rb"<([89A-F][0-9A-F])>")


class BadRequest(ValueError):
    """The bytes that came are not a request; it is answered with the HTTP status `status`."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status = status


@define(eq=False)
class IncomingRequest:
    """A request. Names of headers are in lower case. `parts`: those of its body that were not taken yet."""

    method: str = ""
    target: bytes = b""
    version: str = ""
    headers: list[tuple[bytes, bytes]] = field(factory=list)
    parts: deque[bytes] = field(factory=deque)
    is_whole: bool = False
    is_continued: bool = False
    """Whether the sender was told to send the body (100 Continue)."""
    keeps_alive: bool = False

    def size_bytes(self) -> int:
        """Return the size of its head in bytes, without method and version."""
        return len(self.target) + sum(len(name) + len(value) for name, value in self.headers)

    @property
    def has_body(self) -> bool:
        """Whether a body may follow its head."""
        return self.is_chunked or any(name == b"content-length" and value != b"0" for name, value in self.headers)

    @property
    def is_chunked(self) -> bool:
        """Whether its body comes in chunks."""
        return any(name == b"transfer-encoding" for name, _ in self.headers)

    @property
    def waits_for_continue(self) -> bool:
        """Whether its sender waits for 100 Continue, by its head, and no part of a body came."""
        if self.version == "1.0" or self.parts or self.is_whole or self.is_continued:
            return False
        return any(name == b"expect" and value.lower() == b"100-continue" for name, value in self.headers)


@define(eq=False)
class Requests:
    """The parser of one connection: `feed` takes its bytes, `take` returns the requests, in order."""

    _parser: httptools.HttpRequestParser = field(init=False)
    _ready: deque[IncomingRequest] = field(factory=deque)
    _current: IncomingRequest = field(factory=IncomingRequest)
    _has_head: bool = False
    """Whether the head of the request that is read now is whole."""
    _has_moved: bool = False
    _is_resumed: bool = False
    _stuck_bytes: int = 0
    """How many bytes came since a head or a part of a body ended."""
    _refused: int = 0

    def __attrs_post_init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)

    def feed(self, data: bytes) -> None:
        """Parse the next bytes; if they are no request, `take` raises once it has returned the requests before them."""
        rest: bytes | None = data
        self._has_moved = False
        while rest is not None and not self._refused:
            rest = self._read(rest)
        # May count what ended just now, too: a head that ends is measured as it ends. What follows the last chunk has
        # no other bound.
        self._stuck_bytes = len(data) if self._has_moved else self._stuck_bytes + len(data)
        if self._stuck_bytes > HEAD_LIMIT_BYTES + 2 * PART_BYTES:
            self._refused = self._refused or HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE

    def take(self) -> IncomingRequest | None:
        """Return the next request whose head is complete; None if none is. Raise `BadRequest` if no more can follow."""
        if self._ready:
            return self._ready.popleft()
        if self._refused:
            raise BadRequest(self._refused)
        return None

    @property
    def is_begun(self) -> bool:
        """Whether a request is to be read on, or none was yet."""
        return not self._current.is_whole

    @property
    def is_broken(self) -> bool:
        """Whether the bytes that were fed last are no part of a request, so that nothing behind them can be parsed."""
        return self._refused > 0

    def on_message_begin(self) -> None:
        """Handle llhttp's event: a request begins."""
        if not self._is_resumed:
            self._current, self._has_head, self._has_moved = IncomingRequest(), False, True

    def on_url(self, url: bytes) -> None:
        """Handle llhttp's event: a part of the address came."""
        if not self._is_resumed:
            self._current.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Handle llhttp's event: a header came, or one that follows the last chunk, which is dropped."""
        if not self._is_resumed and not self._has_head:
            self._current.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Handle llhttp's event: a head is complete; the request is ready, or to be refused."""
        # Of what follows a request that is refused, nothing may be answered in its place.
        if self._is_resumed or self._refused:
            return
        now = self._current
        now.method, now.version = self._parser.get_method().decode(), self._parser.get_http_version()
        now.keeps_alive = now.version == "1.1" and self._parser.should_keep_alive()
        self._has_head = self._has_moved = True
        if now.version not in ("1.0", "1.1"):
            self._refused = HTTPStatus.HTTP_VERSION_NOT_SUPPORTED
        elif now.size_bytes() > HEAD_LIMIT_BYTES:
            self._refused = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        elif now.version == "1.1" and sum(name == b"host" for name, _ in now.headers) != 1:
            self._refused = HTTPStatus.BAD_REQUEST
        else:
            self._ready.append(now)

    def on_body(self, body: bytes) -> None:
        """Handle llhttp's event: a part of the body came; 10,000 chunks of one byte take 1 ms (measured)."""
        self._current.parts.append(body)
        self._has_moved = True

    def on_message_complete(self) -> None:
        """Handle llhttp's event: a request is complete; if it offers HTTP/2, llhttp calls this before its body."""
        self._current.is_whole = self._is_resumed or not self._parser.should_upgrade() or not self._framing()
        self._is_resumed = False
        self._has_head, self._has_moved = not self._current.is_whole, True

    def _read(self, data: bytes) -> bytes | None:
        """Read this; return what is still to be read after an offer that is declined, None if all was read."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as error:
            return self._after_offer(data[error.args[0] :])
        except httptools.HttpParserError as error:
            self._refused = self._refused or _status_of(error)
        return None

    def _framing(self) -> bytes:
        """Return the headers that say how long the body is."""
        return b"".join(name + b": " + value + b"\r\n" for name, value in self._current.headers if name in _FRAMING)

    def _after_offer(self, rest: bytes) -> bytes | None:
        """Return what to read after an offer of HTTP/2 or a WebSocket, which is declined; Java's client always offers.

        llhttp ends there, and would leave out the body.
        """
        self._parser = httptools.HttpRequestParser(self)
        if self._current.is_whole:
            return rest or None
        self._is_resumed = True
        return b"POST / HTTP/1.1\r\n" + self._framing() + b"\r\n" + rest


def _status_of(error: httptools.HttpParserError) -> int:
    unknown = isinstance(error, httptools.HttpParserInvalidMethodError)
    return HTTPStatus.NOT_IMPLEMENTED if unknown else HTTPStatus.BAD_REQUEST


def restore_bytes(target: bytes) -> bytes:
    """Return the address as the client sent it: with the byte itself in the place of each number such as `<C3>`."""
    return _STAND_IN.sub(lambda found: bytes.fromhex(found[1].decode()), target)


@define(eq=False)
class RequestLines:
    """The encoder of what one connection receives."""

    _in_line: bool = True
    """Whether the next byte belongs to the first line of a request, else to a head."""
    _begun: bytes = b""
    """The first bytes of the line that the next byte belongs to, as far as they came."""

    def ascii(self, data: bytes) -> bytes:
        """Return the data with each byte beyond ASCII encoded (`<C3>`) in the first line of each GET or HEAD."""
        # Not `splitlines`, which takes a lone carriage return for the end of a line.
        *whole, rest = data.split(b"\n")
        return b"".join([self._part(part + b"\n") for part in whole] + [self._part(rest)])

    def _part(self, part: bytes) -> bytes:
        """Return a line, or a part of one, encoded if it is a first line."""
        self._begun += part[: _LONGEST - len(self._begun)]
        is_asking = self._in_line and self._begun.startswith(_METHODS)
        if part.endswith(b"\n"):
            # An empty line ends a head, and is no request.
            self._in_line = not self._begun.strip(b"\r\n")
            self._begun = b""
        return _BEYOND_ASCII.sub(_escape_byte, part) if is_asking else part


def _escape_byte(found: re.Match[bytes]) -> bytes:
    return b"<%02X>" % found[0][0]
