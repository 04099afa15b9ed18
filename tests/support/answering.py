"""A small HTTP server in threads of the test: it answers as ejabberd does, notes when each job came, and does more.

For tests with real broker processes whose target must do what no ejabberd does: kill the broker, count arrivals by the
millisecond, or do as each job says. Always holds: an arrival is noted before it is acted on; probes are answered and
not noted.
"""

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import attrs


@attrs.frozen
class Arrival:
    """One request of a job. `at_s` is monotonic time; `broker` the port that it came from."""

    at_s: float
    command: str
    arguments: dict[str, Any]
    broker: int


@attrs.define(eq=False)
class AnsweringServer:
    """Serves while its `with` block runs. `act` is called for each job after it was noted; its result is the status.

    `body` gives what is said beside it. A connection is closed with its answer number `answers_each`; 0: never.
    """

    act: Callable[[Arrival], int] = lambda _arrival: 200
    body: Callable[[Arrival], bytes] = lambda _arrival: b"0"
    answers_each: int = 0
    arrivals: list[Arrival] = attrs.field(factory=list)
    port: int = 0
    _server: ThreadingHTTPServer | None = None

    def __enter__(self) -> Self:
        ours = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Head and body go out in two writes: with Nagle's algorithm each answer would take 40 ms.
            disable_nagle_algorithm = True
            answers = 0

            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length", "0"))
                body = self.rfile.read(length)
                if len(body) < length:  # the client was killed while it sent
                    self.close_connection = True
                    return
                status, answer = ours._answer(self.path.rpartition("/")[2], body, self.client_address[1])
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.answers += 1
                if self.answers == ours.answers_each:
                    self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                """Tests read what they need from `arrivals`."""

        server = _Server(("127.0.0.1", self.port), Handler)
        self._server, self.port = server, server.server_address[1]
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, command: str, body: bytes, broker: int) -> tuple[int, bytes]:
        if command == "status":
            return 200, b'"The node n@h is started. Status: startedejabberd 23.01-1 is running in that node"'
        if command == "connected_users_number":
            return 200, b'{"num_sessions":0}'
        arrival = Arrival(time.monotonic(), command, json.loads(body or b"{}"), broker)
        self.arrivals.append(arrival)
        return self.act(arrival), self.body(arrival)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was killed in the middle is what many tests are about."""
