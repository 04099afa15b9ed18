"""HTTP as Cowboy speaks it in MongooseIM: one connection's requests, read and answered byte for byte.

Used by the stand-in's server. Always holds: an answer has lower-case header names and a length; nothing here knows
GraphQL.
"""

import socket
from collections.abc import Mapping
from email.utils import formatdate
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qs, urlsplit

import attrs

LARGEST: Final = 8_000_000
"""7.5 MB were taken, more than 8 MB not."""
_HEAD_END: Final = b"\r\n\r\n"


@attrs.frozen
class Asked:
    """One request. Header names are lower-case; `connection` counts accepted connections from 1."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    connection: int

    @property
    def path(self) -> str:
        """Without the query."""
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        """What stands behind the question mark."""
        return {name: values[-1] for name, values in parse_qs(urlsplit(self.target).query).items()}

    @property
    def host(self) -> str:
        """The name that it was sent to, without the port."""
        return self.headers.get("host", "").rpartition(":")[0] or self.headers.get("host", "")


@attrs.frozen
class Said:
    """One answer. `typed` leaves the content type out where that server does."""

    status: int
    body: bytes = b""
    typed: bool = True

    def bytes(self, *, is_last: bool) -> bytes:
        """As it goes over the line."""
        lines = [f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}"]
        lines += ["connection: close"] if is_last else []
        lines += [f"content-length: {len(self.body)}"]
        lines += ["content-type: application/json"] if self.typed and self.body else []
        lines += [f"date: {formatdate(usegmt=True)}", "server: Cowboy", "vary: accept"]
        return "\r\n".join(lines).encode() + _HEAD_END + self.body


@attrs.define(eq=False)
class Reader:
    """The requests of a connection, also of a client that sends the next one before it has the answer."""

    line: socket.socket
    number: int
    idle_s: float
    _came: bytearray = attrs.field(factory=bytearray)

    def next(self) -> Asked | None:
        """The next request; None when the client is gone or was idle for too long."""
        self.line.settimeout(self.idle_s)
        while _HEAD_END not in self._came:
            if not self._more():
                return None
        head, _, self._came = self._came.partition(_HEAD_END)
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ", 2)
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", "0"))
        while len(self._came) < length:
            if not self._more():
                return None
        body, self._came = bytes(self._came[:length]), self._came[length:]
        return Asked(method, target, headers, body, self.number)

    def _more(self) -> bool:
        try:
            piece = self.line.recv(65536)
        except OSError:
            return False
        self._came += piece
        return bool(piece)
