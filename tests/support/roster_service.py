"""A roster service for Prosody, in threads of the test, that serves what it is told and can fail in each known way.

For tests of who asks it, where restbroker's own service is not the subject. Always holds: a request is kept before it
is answered; a user without a roster gets `{}`.
"""

import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, Self

import attrs

Way = Literal["hang", "close", "cut"]
"""Never answers until the block ends; hangs up without a word; hangs up in the middle of the body."""


@attrs.frozen
class Get:
    """A request for a roster. `target` is what stood in the request line."""

    user: str
    target: str
    headers: Mapping[str, str]


@attrs.define(eq=False)
class RosterService:
    """Serves on `port` while its `with` block runs. What `answers` says of a user comes before his roster."""

    port: int
    rosters: dict[str, object] = attrs.field(factory=dict)
    """By user; each is served as JSON."""
    answers: dict[str, Way | int | bytes] = attrs.field(factory=dict)
    """A way to fail, a status instead of 200, or a body that need not be JSON."""
    before: Callable[[str], object] = lambda _user: None
    """Called with the user before he is answered, after his roster was looked up; may block."""
    gets: list[Get] = attrs.field(factory=list)
    peak: int = 0
    """The most requests that were open at the same time."""
    _open: int = 0
    _lock: threading.Lock = attrs.field(factory=threading.Lock)
    _over: threading.Event = attrs.field(factory=threading.Event)
    _server: ThreadingHTTPServer | None = None

    @property
    def asked(self) -> Counter[str]:
        """How often each user's roster was asked for."""
        return Counter(get.user for get in list(self.gets))

    def __enter__(self) -> Self:
        ours = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                ours._serve(self)

            def log_message(self, *_: object) -> None:
                """Tests read what they need from `gets`."""

        server = _Server(("127.0.0.1", self.port), Handler)
        self._server = server
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server is not None
        self._over.set()
        self._server.shutdown()
        self._server.server_close()

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        user = handler.path.partition("?")[0].rpartition("/")[2]
        with self._lock:
            self.gets.append(Get(user, handler.path, {name.lower(): value for name, value in handler.headers.items()}))
            self._open += 1
            self.peak = max(self.peak, self._open)
        try:
            self._answer(handler, self.answers.get(user, 200), json.dumps(self.rosters.get(user, {})).encode(), user)
        finally:
            with self._lock:
                self._open -= 1

    def _answer(self, handler: BaseHTTPRequestHandler, how: Any, body: bytes, user: str) -> None:
        self.before(user)
        handler.close_connection = True
        if how == "hang":
            self._over.wait()
            return
        if how == "close":
            return
        if isinstance(how, bytes):
            body = how
        handler.send_response(how if isinstance(how, int) else 200)
        handler.send_header("Content-Length", str(len(body) + 10 * (how == "cut")))
        handler.end_headers()
        handler.wfile.write(body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024
    allow_reuse_address = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up in the middle is what some tests are about."""
