"""HTTP as Jetty speaks it in Openfire: one connection's requests, read and answered byte for byte.

Used by the stand-in's server. Always holds: an answer has a length, comes in chunks or is the last one of its
connection; nothing here knows the APIs.
"""

import socket
from collections.abc import Mapping
from email.utils import formatdate
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qsl, urlsplit

import attrs

_HEAD_END: Final = b"\r\n\r\n"


@attrs.frozen
class Asked:
    """One request. Header names are lower-case; `port` is "rest" or "chat"; `connection` counts from 1."""

    port: str
    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    connection: int

    @property
    def path(self) -> str:
        """Without the query, encoded as it came."""
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        """What stands behind the question mark."""
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))

    @property
    def line(self) -> str:
        """Method and path, which faults are matched with."""
        return f"{self.method} {self.path}"

    @property
    def accept(self) -> str:
        """The header, `*/*` where there is none."""
        return self.headers.get("accept", "*/*")

    @property
    def content_type(self) -> str:
        """Of the body, without its parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


@attrs.frozen
class Said:
    """One answer. `reason` where the server's differs from the usual one."""

    status: int
    body: bytes = b""
    content_type: str = ""
    reason: str = ""
    headers: tuple[tuple[str, str], ...] = ()

    def bytes(self, *, is_chunked: bool = False) -> bytes:
        """As it goes over the line. A page of Jetty's own has its length."""
        body = self.body
        length = [f"Content-Length: {len(self.body)}"]
        if is_chunked and self.body and self.content_type != "text/html":
            length = ["Transfer-Encoding: chunked"]
            body = b"%X\r\n%b" % (len(self.body), body) + b"\r\n0\r\n\r\n"
        lines = [
            f"HTTP/1.1 {self.status} {self.reason or HTTPStatus(self.status).phrase}",
            f"Date: {formatdate(usegmt=True)}",
        ]
        lines += [f"{name}: {value}" for name, value in self.headers]
        lines += [f"Content-Type: {self.content_type}"] if self.content_type else []
        lines += [] if self.status == 204 else length
        lines += ["Server: Jetty(9.2.z-SNAPSHOT)"]
        return "\r\n".join(lines).encode("latin-1") + _HEAD_END + body


@attrs.define(eq=False)
class Reader:
    """The requests of a connection."""

    line: socket.socket
    port: str
    number: int
    idle_s: float
    _came: bytearray = attrs.field(factory=bytearray)

    def next(self) -> Asked | None:
        """The next request; None when the client is gone or was idle for too long."""
        self.line.settimeout(self.idle_s)
        while _HEAD_END not in self._came:
            if not self._more():
                return None
        head, _, rest = bytes(self._came).partition(_HEAD_END)
        self._came = bytearray(rest)
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ", 2)
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = self._take(int(headers.get("content-length", "0")))
        return None if body is None else Asked(self.port, method, target, headers, body, self.number)

    def _take(self, length: int) -> bytes | None:
        while len(self._came) < length:
            if not self._more():
                return None
        body, self._came = bytes(self._came[:length]), self._came[length:]
        return body

    def _more(self) -> bool:
        try:
            piece = self.line.recv(65536)
        except OSError:
            return False
        self._came += piece
        return bool(piece)
