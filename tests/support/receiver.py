"""A small HTTP server in threads of the test that takes any request, keeps it byte for byte, and answers as it is told.

Always holds: a request is kept before it is answered.
"""

import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self, TypeAlias

import attrs


@attrs.frozen
class Received:
    """One request. `target` is path and query as they stood in the request line; header names are lower-case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    client: int = 0
    """The port that it came from."""
    number: int = 1
    """Which one of its connection it is."""


@attrs.frozen
class Answer:
    """What is said to it."""

    status: int = 200
    body: bytes = b'{"ok":true}'
    headers: Mapping[str, str] = attrs.field(factory=dict)


Act: TypeAlias = Callable[[Received], Answer | bytes]
"""What is said to a request. Bytes go out as they are, then the connection is closed."""


@attrs.define(eq=False)
class Receiver:
    """Serves while its `with` block runs. `act` says what to answer. A port that is not given is chosen."""

    act: Act = lambda _received: Answer()
    received: list[Received] = attrs.field(factory=list)
    port: int = 0
    _server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def of(self, method: str) -> list[Received]:
        return [one for one in list(self.received) if one.method == method]

    def __enter__(self) -> Self:
        ours = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Head and body go out in two writes: with Nagle's algorithm each answer would take 40 ms.
            disable_nagle_algorithm = True
            count = 0

            def handle_any(self) -> None:
                length = int(self.headers.get("Content-Length", "0"))
                body = self.rfile.read(length)
                if len(body) < length:  # the client was killed while it sent
                    self.close_connection = True
                    return
                self.count += 1
                headers = {name.lower(): value for name, value in self.headers.items()}
                received = Received(self.command, self.path, headers, body, self.client_address[1], self.count)
                ours.received.append(received)
                answer = ours.act(received)
                if isinstance(answer, bytes):
                    self.close_connection = True
                    self.wfile.write(answer)
                    return
                self.send_response(answer.status)
                for name, value in {**answer.headers, "Content-Length": str(len(answer.body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(answer.body)

            def log_message(self, *_: object) -> None:
                """Tests read what they need from `received`."""

        for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
            setattr(Handler, f"do_{method}", Handler.handle_any)
        server = _Server(("127.0.0.1", self.port), Handler)
        self._server, self.port = server, server.server_address[1]
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up in the middle is what some tests are about."""
