"""The head of a request, as bytes. Used by the lean client, and in parts by the stock one.

Always holds: a request that HTTP forbids is refused before anything is sent; a body has a Content-Length and is never
chunked.
"""

import re
from typing import Final
from urllib.parse import quote, urlencode

import attrs

from restbroker.config.target import Target
from restbroker.transport.coding import ACCEPT
from restbroker.transport.errors import NotSent
from restbroker.transport.message import Request

OWN_HEADERS: Final = frozenset({"host", "content-length", "transfer-encoding", "connection"})
"""The headers that the client sets itself; of those in a request only `Host` counts."""

_KNOWN_LIMIT: Final = 256
_LONGEST_KNOWN_BYTES: Final = 4096
"""The longest head that is kept: a job may have a megabyte, and a path or query may be made of it."""
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_VALUE: Final = re.compile(r"(?:[!-~](?:[ \t!-~]*[!-~])?)?", re.ASCII)
_PATH: Final = re.compile(r"/[!-~]*", re.ASCII)


def headers_of(target: Target, request: Request) -> list[tuple[str, str]]:
    """Return all headers of the request as (name, value), `Host` first, without Content-Length."""
    given = next((value for name, value in request.headers if name.lower() == "host"), None)
    host = given or target.host_header or target.url.origin.partition("://")[2]
    own = [(name, value) for name, value in request.headers if name.lower() not in OWN_HEADERS]
    asks = any(name.lower() == ACCEPT[0].lower() for name, _ in own)
    return [("Host", host), *own] if asks else [("Host", host), ACCEPT, *own]


@attrs.define(eq=False, repr=False)
class Heads:
    """The encoded heads of one target's requests; most jobs of a command share theirs, so the last few are kept."""

    _target: Target
    _known: dict[tuple[object, ...], bytes] = attrs.field(factory=dict)

    def message(self, request: Request) -> bytes:
        """Return head and body of the request as bytes; raise `NotSent` if it has something that HTTP forbids."""
        return whole(self.head(request), request.body)

    def head(self, request: Request) -> bytes:
        """Return the request's head up to the length of its body; raise `NotSent` as `message` does."""
        key = (request.method, request.path, request.query, request.headers)
        head = self._known.get(key)
        if head is None:
            head = self._head(request)
            if len(self._known) >= _KNOWN_LIMIT:
                self._known.clear()
            if len(head) <= _LONGEST_KNOWN_BYTES:
                self._known[key] = head
        return head

    def _head(self, request: Request) -> bytes:
        query = f"?{urlencode(request.query, quote_via=quote)}" if request.query else ""
        headers = headers_of(self._target, request)
        if not _TOKEN.fullmatch(request.method):
            raise _unsendable(f"{request.method!r} is not a method")
        if not _PATH.fullmatch(request.path):
            raise _unsendable("its path has characters that must be encoded")
        for name, value in headers:
            # Not shown: it may be a secret.
            if not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
                raise _unsendable(f"the header {name!r} has characters that HTTP forbids")
        lines = [f"{request.method} {request.path}{query} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
        return "\r\n".join([*lines, "Content-Length: "]).encode("ascii")


def whole(head: bytes, body: bytes) -> bytes:
    """Return the message of a head, as `Heads.head` makes it, and a body."""
    return b"%b%d\r\n\r\n%b" % (head, len(body), body)


def _unsendable(why: str) -> NotSent:
    return NotSent(f"The request cannot be sent: {why}.", by_request=True)
