"""An answer as Jetty writes it for the stand-in, byte for byte."""

from email.utils import formatdate
from http import HTTPStatus

import attrs

from tests.support.lines import HEAD_END


@attrs.frozen
class Said:
    """One answer. `reason` where the server's differs from the usual one."""

    status: int
    body: bytes = b""
    content_type: str = ""
    reason: str = ""
    headers: tuple[tuple[str, str], ...] = ()

    def bytes(self, *, is_chunked: bool = False) -> bytes:
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
        return "\r\n".join(lines).encode("latin-1") + HEAD_END + body
