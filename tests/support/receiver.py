"""A small HTTP server in threads of the test that takes any request, keeps it byte for byte, and answers as it is told.

For tests of the kind `http`: what comes is what a receiver of webhooks gets. Always holds: a request is kept before it
is answered.
"""

import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

import attrs


@attrs.frozen
class Received:
    """One request. `target` is path and query as they stood in the request line; header names are lower-case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


@attrs.frozen
class Answer:
    """What is said to it."""

    status: int = 200
    body: bytes = b'{"ok":true}'
    headers: Mapping[str, str] = attrs.field(factory=dict)


@attrs.define(eq=False)
class Receiver:
    """Serves while its `with` block runs. `act` says what to answer. A port that is not given is chosen."""

    act: Callable[[Received], Answer] = lambda _received: Answer()
    received: list[Received] = attrs.field(factory=list)
    port: int = 0
    _server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def of(self, method: str) -> list[Received]:
        """The requests with this method."""
        return [one for one in list(self.received) if one.method == method]

    def __enter__(self) -> Self:
        ours = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                headers = {name.lower(): value for name, value in self.headers.items()}
                received = Received(self.command, self.path, headers, body)
                ours.received.append(received)
                answer = ours.act(received)
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
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up in the middle is what some tests are about."""
