"""MongooseIM's event pusher over HTTP (`mod_event_pusher.http`), byte for byte as it was seen to post.

`HttpPusher.told` goes into a world's `told`; `push` posts a message by itself. Always holds: a status, whichever it is,
counts as sent; the same bytes are posted three times in all where the receiver hangs up without an answer, and once
otherwise; whoever pushes waits, as the sender of the message does there.
"""

import concurrent.futures
import socket
import ssl
import threading
from typing import Final, Self

import attrs

from tests.support.mongooseim.world import Sent

_TRIES: Final = 3
_PLAIN: Final = frozenset(b"-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz")
_SPACE: Final = ord(" ")


def escaped(text: str) -> str:
    """A value of the form.

    Both ways of writing a space mix: a byte that needs escaping and is followed by three that need it too is escaped
    together with them, a space as %20; any other space is a plus sign.
    """
    octets, written, at = text.encode(), "", 0
    while at < len(octets):
        four = octets[at : at + 4]
        if four[0] in _PLAIN:
            written += chr(four[0])
            at += 1
        elif len(four) == 4 and not _PLAIN & set(four):
            written += "".join(f"%{one:02X}" for one in four)
            at += 4
        else:
            written += "+" if four[0] == _SPACE else f"%{four[0]:02X}"
            at += 1
    return written


def body(author: str, server: str, receiver: str, message: str) -> bytes:
    fields = {"author": author, "server": server, "receiver": receiver, "message": message}
    return "&".join(f"{name}={escaped(value)}" for name, value in fields.items()).encode()


def literal_body(author: str, server: str, receiver: str, message: str) -> bytes:
    """The form as its documentation shows it, and as old versions sent it: nothing is escaped."""
    return f"author={author}&server={server}&receiver={receiver}&message={message}".encode()


class _HungUp(Exception):
    """The receiver closed the connection without an answer."""


@attrs.define(eq=False)
class HttpPusher:
    """`path` is appended to `prefix` without anything between them; a leading `/` of it is left out.

    `trust`: the file of an authority's certificate, where the pool's host begins with https.
    `sent`, `failed`: its two counters.
    """

    port: int
    path: str = "/notifications"
    prefix: str = "/"
    host: str = "127.0.0.1"
    trust: str | None = None
    workers: int = 10
    request_timeout_s: float = 2.0
    call_timeout_s: float = 5.0
    sent: int = 0
    failed: int = 0
    _pool: concurrent.futures.ThreadPoolExecutor = attrs.field(init=False)
    _kept: list[socket.socket] = attrs.field(factory=list)
    _lock: threading.Lock = attrs.field(factory=threading.Lock)

    def __attrs_post_init__(self) -> None:
        self._pool = concurrent.futures.ThreadPoolExecutor(self.workers, "event pusher")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._pool.shutdown()
        while self._kept:
            self._kept.pop().close()

    def told(self, sent: Sent) -> None:
        """Of a message that somebody sends. Only chat with a text is pushed, and the receiver's domain is lost."""
        if sent.kind == "chat" and sent.body:
            self.push(sent.sender.node, sent.sender.domain, sent.receiver.node, sent.body)

    def push(self, author: str, server: str, receiver: str, message: str) -> bool:
        """Posts, and waits for it; returns whether it counts as sent.

        Where all workers are busy for too long it counts as failed, and is posted nevertheless.
        """
        form = body(author, server, receiver, message)
        try:
            was_sent = self._pool.submit(self._posted, form).result(self.call_timeout_s)
        except TimeoutError:
            was_sent = False
        with self._lock:
            self.sent += was_sent
            self.failed += not was_sent
        return was_sent

    def request(self, form: bytes) -> bytes:
        target = self.prefix + self.path.removeprefix("/")
        head = f"POST {target} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\nContent-Length: {len(form)}\r\n"
        return f"{head}content-type: application/x-www-form-urlencoded\r\n\r\n".encode() + form

    def _posted(self, form: bytes) -> bool:
        for _ in range(_TRIES):
            try:
                self._exchange(self.request(form))
            except _HungUp:
                continue
            except OSError:
                # Refused, or no answer in time: it may have been taken, and is not sent again.
                return False
            return True
        return False

    def _exchange(self, request: bytes) -> None:
        line = self._kept.pop() if self._kept else self._connected()
        is_kept = False
        try:
            line.sendall(request)
            is_kept = _is_kept_open(line)
        except (ConnectionResetError, BrokenPipeError):
            raise _HungUp from None
        finally:
            if is_kept:
                self._kept.append(line)
            else:
                line.close()

    def _connected(self) -> socket.socket:
        line = socket.create_connection((self.host, self.port), self.request_timeout_s)
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.trust is None:
            return line
        return ssl.create_default_context(cafile=self.trust).wrap_socket(line, server_hostname=self.host)


def _is_kept_open(line: socket.socket) -> bool:
    """Reads the whole answer, by its length; whether the receiver keeps the connection after it."""
    came = b""
    while b"\r\n\r\n" not in came:
        came += _more(line)
    head, _, rest = came.partition(b"\r\n\r\n")
    lines = [one.partition(b":") for one in head.splitlines()[1:]]
    headers = {name.strip().lower(): value.strip() for name, _, value in lines}
    while len(rest) < int(headers.get(b"content-length", b"0")):
        rest += _more(line)
    return headers.get(b"connection", b"").lower() != b"close"


def _more(line: socket.socket) -> bytes:
    piece = line.recv(65536)
    if not piece:
        raise _HungUp
    return piece
