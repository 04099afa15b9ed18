"""A TCP proxy in front of an HTTP server that counts, per job, what was received, forwarded and answered.

For fault tests: it is the judge of what was lost and what ran twice, so it survives its server's deaths and is as
truthful about them as a proxy can be. Always holds: an exchange counts as forwarded before its first byte can reach
the server, and as answered only once the whole answer came from the server, whether or not the client got it.

How a dead server looks matters, since it decides what the client may conclude:
- Its port is closed: connecting is refused, so nothing was sent. The proxy closes its own port for as long as the
  server's is closed. It learns of a death at once by a connection on which nothing is ever sent.
- It dies between accepting a connection and answering: the connection breaks, and the request may have been sent.
  A connection that the proxy accepted before it knew of the death is reset, which shows the client just that.
- An idle connection that the server closes is closed here too, before the client sends another request on it.
- It lives, and its short backlog is full: a connection waits. Many at once are made one after the other, since the
  kernel resets some of those that overflow a backlog together, which would look like a death.
"""

import contextlib
import select
import socket
import threading
from io import BufferedReader
from typing import Self

import attrs

from tests.support.ports import free_port
from tests.support.receiver import Doors, Gone, shut

_LOOK_AGAIN_S = 0.01
_LONGEST_ANSWER_S = 60.0
_CONNECTS_IN_S = 0.05
"""On loopback it takes microseconds, or the backlog was full: the kernel would try again after a second."""


@attrs.define(eq=False)
class Exchange:
    """One request. `job` is its `traceparent`, "" without one; `status` is the whole answer's, None until it came."""

    job: str
    path: str
    head: bytes
    body: bytes
    forwarded: bool = False
    status: int | None = None

    @property
    def maybe_run(self) -> bool:
        return self.forwarded and self.status is None

    @property
    def done(self) -> bool:
        """Whether the server says that it did it, now or before (409)."""
        return self.status is not None and (200 <= self.status < 300 or self.status == 409)


@attrs.define(eq=False)
class CountingProxy:
    """Stands in front of 127.0.0.1:`upstream_port` while its `with` block runs; `port` stays the same all the time.

    Clearing `answers` holds the answers to jobs back: the server has done what was asked, and the client waits.
    `instead` has answers of the proxy's own for a job (its `traceparent`), used up in their order: the server, or what
    stands before it, is unwell, and nothing is forwarded.
    """

    upstream_port: int
    port: int = attrs.field(factory=free_port)
    exchanges: list[Exchange] = attrs.field(factory=list)
    answers: threading.Event = attrs.field(factory=threading.Event)
    instead: dict[str, list[bytes]] = attrs.field(factory=dict)
    _closing: threading.Event = attrs.field(factory=threading.Event)
    _canary: socket.socket | None = None
    _upstreams: set[socket.socket] = attrs.field(factory=set)
    _doors: Doors = attrs.field(init=False)
    _reaching: threading.Lock = attrs.field(factory=threading.Lock)

    def __attrs_post_init__(self) -> None:
        self._doors = Doors(self._serve)

    def __enter__(self) -> Self:
        self.answers.set()
        self._doors.run(self._keep_door)
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self.answers.set()
        self._doubt()
        self._doors.end()
        for upstream in list(self._upstreams):
            shut(upstream)
        self._doors.join()

    @property
    def is_open(self) -> bool:
        return self._doors.is_open

    def of_jobs(self) -> dict[str, list[Exchange]]:
        """What happened to each job, in the order of its sendings; requests without a job (probes) are left out."""
        found: dict[str, list[Exchange]] = {}
        for exchange in list(self.exchanges):
            if exchange.job:
                found.setdefault(exchange.job, []).append(exchange)
        return found

    def _keep_door(self) -> None:
        while not self._closing.is_set():
            canary = self._reach()
            if canary is None:
                self._doors.refuse()
                self._closing.wait(_LOOK_AGAIN_S)
                continue
            with canary:
                self._canary = canary
                if not self.is_open and not self._closing.is_set():
                    self._doors.open(self.port)
                with contextlib.suppress(OSError):
                    canary.recv(1)

    def _reach(self) -> socket.socket | None:
        with self._reaching:
            while not self._closing.is_set():
                upstream = socket.socket()
                upstream.settimeout(_CONNECTS_IN_S)
                try:
                    upstream.connect(("127.0.0.1", self.upstream_port))
                except OSError as problem:
                    upstream.close()
                    if isinstance(problem, TimeoutError):
                        continue
                    return None
                upstream.settimeout(_LONGEST_ANSWER_S)
                upstream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return upstream
        return None

    def _doubt(self) -> None:
        if self._canary is not None:
            shut(self._canary)

    def _serve(self, client: socket.socket, _gone: threading.Event) -> None:
        upstream = self._reach()
        if upstream is None:
            self._doubt()
            raise Gone(reset=True)
        with upstream:
            self._upstreams.add(upstream)
            try:
                self._exchanges(client, upstream)
            except OSError:
                raise Gone(reset=True) from None
            finally:
                self._upstreams.discard(upstream)

    def _exchanges(self, client: socket.socket, upstream: socket.socket) -> None:
        with client.makefile("rb") as requests, upstream.makefile("rb") as answers:
            while not self._closing.is_set():
                ready, _, _ = select.select([client, upstream], [], [])
                if upstream in ready or not (request := _read(requests)):
                    return
                head, body = request
                exchange = Exchange(_header(head, "traceparent"), head.split(b" ", 2)[1].decode(), head, body)
                self.exchanges.append(exchange)
                if not (answer := self._own_answer(exchange) or _ask(exchange, upstream, answers)):
                    return
                exchange.status = int(answer.split(b" ", 2)[1])
                if exchange.job:
                    self.answers.wait(_LONGEST_ANSWER_S)
                client.sendall(answer)

    def _own_answer(self, exchange: Exchange) -> bytes:
        own = self.instead.get(exchange.job)
        return own.pop(0) if own else b""


def _ask(exchange: Exchange, upstream: socket.socket, answered: BufferedReader) -> bytes:
    """The server's whole answer; empty where it ends before."""
    exchange.forwarded = True
    upstream.sendall(exchange.head + exchange.body)
    answer = _read(answered)
    return b"" if answer is None else answer[0] + answer[1]


def refusal(status: int, words: str = "busy") -> bytes:
    """An answer for `CountingProxy.instead`, as ejabberd words it."""
    body = f'{{"status":"error","code":{status},"message":"{words}"}}'.encode()
    return f"HTTP/1.1 {status} Words\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def _read(stream: BufferedReader) -> tuple[bytes, bytes] | None:
    """A whole request or answer: head and body; None where it ends before. ejabberd always gives a length."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        line = stream.readline()
        if not line:
            return None
        head += line
    length = int(_header(head, "content-length") or "0")
    body = stream.read(length)
    return (head, body) if len(body) == length else None


def _header(head: bytes, name: str) -> str:
    for line in head.decode("latin-1").split("\r\n")[1:]:
        key, _, value = line.partition(":")
        if key.lower() == name:
            return value.strip()
    return ""
