"""Asks the stand-in for Openfire, as a client that knows nothing: requests as they are, the whole answer, and events.

Used by the tests of the stand-in. Always holds: each request goes over a connection of its own, without cookies.
"""

import base64
import http.client
import json
import socket
from collections.abc import Mapping
from typing import Any, Final, Self

import attrs

from tests.support.openfire.server import CHAT, REST, SSE, Openfire
from tests.support.openfire.sse import STANZAS

JSON: Final = "application/json"
XML: Final = "application/xml"
LOGIN: Final = "application/json, text/plain;q=0.9"
"""Of a login: what is sent otherwise is refused, or its refusals are."""


@attrs.frozen
class Answer:
    """What came back."""

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def kind(self) -> str:
        """The content type, or `-` for none."""
        return self.headers.get("content-type", "-")

    @property
    def text(self) -> str:
        """The body."""
        return self.body.decode()

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


def basic(user: str, password: str) -> str:
    """A login as a header has it."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@attrs.frozen
class Asker:
    """Sends requests, as the administrator who wants JSON unless a header says otherwise; `with` closes listeners."""

    server: Openfire
    listeners: list["Listener"] = attrs.field(factory=list)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for listener in self.listeners:
            listener.close()

    def rest(self, method: str, path: str, body: bytes | str | dict[str, Any] | None = None, **headers: str) -> Answer:
        """One request to the REST plugin; a header that is empty is left out."""
        return self._send(self.server.rest_port, method, REST + path, body, headers)

    def chat(self, method: str, path: str, body: bytes | str | dict[str, Any] | None = None, **headers: str) -> Answer:
        """One request to the Chat API; `path` behind `/restapi/v1`."""
        return self._send(self.server.chat_port, method, CHAT + path, body, headers)

    def raw(self, port: int, method: str, path: str, **headers: str) -> Answer:
        """One request to any path."""
        return self._send(port, method, path, None, headers)

    def login(self, *users: str) -> list[str]:
        """The streams of users."""
        return [self.chat("POST", f"/chat/{user}/login", Accept=LOGIN).text for user in users]

    def listen(self, user: str, accept: str = "text/event-stream", by: str = "") -> "Listener":
        """The user's event stream, open until this ends; `by` is another user than the path's."""
        self.listeners.append(Listener.opened(self.server, user, accept, by))
        with self.server.world.lock:
            pass  # it is held from the head of the answer until the reader is one
        return self.listeners[-1]

    def _send(
        self, port: int, method: str, path: str, body: bytes | str | dict[str, Any] | None, headers: Mapping[str, str]
    ) -> Answer:
        line = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        given = {
            "Accept": JSON,
            "Content-Type": JSON if isinstance(body, dict) else "",
            "Authorization": basic("admin", "secret"),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        sent = json.dumps(body).encode() if isinstance(body, dict) else body.encode() if isinstance(body, str) else body
        try:
            line.putrequest(method, path, skip_accept_encoding=True)
            for name, value in given.items():
                if value:
                    line.putheader(name, value)
            if sent is not None:
                line.putheader("Content-Length", str(len(sent)))
            line.endheaders(sent)
            got = line.getresponse()
            return Answer(got.status, got.reason, {n.lower(): v for n, v in got.getheaders()}, got.read())
        finally:
            line.close()


@attrs.define
class Listener:
    """An open event stream, read byte for byte."""

    line: socket.socket
    head: str
    _came: bytes = b""

    @classmethod
    def opened(cls, server: Openfire, user: str, accept: str, by: str) -> Self:
        """Opens it, and reads the answer's head."""
        line = socket.create_connection(("127.0.0.1", server.chat_port), timeout=10)
        lines = [f"GET {SSE}{user} HTTP/1.1", "Host: localhost", f"Authorization: {basic(by or user, 'secret')}"]
        lines += [f"Accept: {accept}"] if accept else []
        line.sendall("\r\n".join([*lines, "", ""]).encode())
        listener = cls(line, "")
        listener.head = listener._until(b"\r\n\r\n").decode()
        return listener

    @property
    def status(self) -> int:
        """Of the answer."""
        return int(self.head.split(" ")[1])

    def _until(self, end: bytes) -> bytes:
        while end not in self._came:
            piece = self.line.recv(65536)
            if not piece:
                raise EOFError
            self._came += piece
        found, _, self._came = self._came.partition(end)
        return found

    def frame(self) -> tuple[str, str]:
        """The next event with its data. Raises EOFError."""
        while True:
            lines = [line for line in self._until(b"\r\n\r\n").decode().split("\r\n") if line]
            if lines:
                return lines[0].removeprefix("event: "), "\n".join(line.removeprefix("data: ") for line in lines[1:])

    def next(self) -> tuple[str, str]:
        """The next event with its data, the raw stanzas left out. Raises EOFError."""
        while (found := self.frame())[0] == STANZAS:
            pass
        return found

    def stanza(self) -> str:
        """The next raw stanza. Raises EOFError."""
        while (found := self.frame())[0] != STANZAS:
            pass
        return base64.b64decode(json.loads(found[1])["xmpp"]).decode()

    def typed(self, kind: str) -> dict[str, Any]:
        """The next event of a type. Raises EOFError."""
        while True:
            _, data = self.next()
            found: dict[str, Any] = json.loads(data)
            if found["type"] == kind:
                return found

    def rest(self) -> bytes:
        """What comes until the end."""
        while piece := self.line.recv(65536):
            self._came += piece
        return self._came

    def close(self) -> None:
        """Leaves."""
        self.line.close()
