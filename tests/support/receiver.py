"""Servers in threads of the test: doors on loopback, HTTP requests kept byte for byte, answers, and what goes wrong.

`Receiver` answers as the test says; the players of recorded answers and the proxies are made of the same parts. Always
holds: a request is kept before it is answered; each connection has a thread of its own; a port stays the same when its
server stops and starts again.
"""

import contextlib
import enum
import fnmatch
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final, Self, TypeAlias
from urllib.parse import parse_qsl, urlsplit

import attrs

from tests.support.ports import free_port

_HEAD_END: Final = b"\r\n\r\n"
_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus}
_RESET: Final = struct.pack("ii", 1, 0)
"""What a socket lingers with so that it sends a reset."""


class Gone(Exception):
    """The connection ends without an answer; `reset` when it is torn down."""

    def __init__(self, *, reset: bool = False) -> None:
        self.reset = reset


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

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))

    @property
    def line(self) -> str:
        return f"{self.method} {self.path}"


@attrs.frozen
class Answer:
    """What is said to it."""

    status: int = 200
    body: bytes = b'{"ok":true}'
    headers: Mapping[str, str] = attrs.field(factory=dict)

    def to_bytes(self, *, with_body: bool = True) -> bytes:
        headers = dict(self.headers)
        if self.status >= 200 and self.status not in (204, 304):
            headers["Content-Length"] = str(len(self.body))
        lines = [f"HTTP/1.1 {self.status} {_PHRASES.get(self.status, '')}", *map(": ".join, headers.items())]
        return "\r\n".join(lines).encode("latin-1") + _HEAD_END + (self.body if with_body else b"")


@attrs.define(eq=False)
class Reader:
    """The requests of a connection, also of a client that sends the next one before it has the answer."""

    line: socket.socket
    _came: bytearray = attrs.field(factory=bytearray)
    _count: int = 0

    def next(self) -> Received | None:
        """The next request; None when the client is gone or was idle for too long."""
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
        self._count += 1
        return Received(method, target, headers, body, self.line.getpeername()[1], self._count)

    def _more(self) -> bool:
        try:
            piece = self.line.recv(65536)
        except OSError:
            return False
        self._came += piece
        return bool(piece)


@attrs.define(eq=False)
class Doors:
    """What listens, and the connections that came. `talk` serves one of them, and may raise Gone."""

    talk: Callable[[socket.socket, threading.Event], None]
    gone: threading.Event = attrs.field(factory=threading.Event)
    """Set when what was opened last is closed."""
    connections: int = 0
    _door: socket.socket | None = None
    _lines: set[socket.socket] = attrs.field(factory=set)
    _threads: list[threading.Thread] = attrs.field(factory=list)

    @property
    def is_open(self) -> bool:
        return self._door is not None

    def open(self, port: int) -> None:
        self.gone = threading.Event()
        self._door = socket.create_server(("127.0.0.1", port), backlog=1024)
        self.run(self._serve, self._door, self.gone)

    def run(self, target: Callable[..., object], *arguments: Any) -> None:
        """In a thread."""
        thread = threading.Thread(target=target, args=arguments, name=target.__name__, daemon=True)
        self._threads.append(thread)
        thread.start()

    def refuse(self) -> None:
        """Ends no connection; new ones are refused."""
        door, self._door = self._door, None
        if door is not None:
            shut(door)  # wakes `accept`, which a close would not
            door.close()

    def end(self, before: Callable[[], object] = lambda: None, *, abruptly: bool = False) -> None:
        """Refuses at once, and ends the connections (with resets). `before` is called before anybody of them wakes."""
        self.gone.set()
        self.refuse()
        lines = list(self._lines)
        for line in lines if abruptly else ():
            # Before any task wakes: one that closes it then, with nothing to linger for, sends a reset.
            linger_for_reset(line)
        before()
        for line in lines:
            shut(line, socket.SHUT_RD)

    def join(self) -> None:
        for thread in list(self._threads):
            thread.join(10)

    def _serve(self, door: socket.socket, gone: threading.Event) -> None:
        while not gone.is_set():
            try:
                line, _ = door.accept()
            except OSError:
                return
            self.connections += 1
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._lines.add(line)
            self.run(self._talk, line, gone)

    def _talk(self, line: socket.socket, gone: threading.Event) -> None:
        try:
            self.talk(line, gone)
        except OSError:
            return
        except Gone as ended:
            if ended.reset:
                linger_for_reset(line)
        finally:
            self._lines.discard(line)
            line.close()


def shut(one: socket.socket, how: int = socket.SHUT_RDWR) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(how)


def linger_for_reset(one: socket.socket) -> None:
    """A later close sends a reset."""
    with contextlib.suppress(OSError):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


class Kind(enum.Enum):
    """What goes wrong for a request. `DELAY`, `LATE` and `LOST` are carried out, the others not.

    `DELAY`: carried out after `delay_s`. `LATE`: answered `delay_s` after it was, or when it is released. `LOST`:
    carried out, then a reset. `RESET`: a reset at once. `HANG`: no answer; closed when it is released. The others are
    answers of a server that has them: 500 without a body, 401, 302 to the login page, 503.
    """

    DELAY = enum.auto()
    LATE = enum.auto()
    LOST = enum.auto()
    RESET = enum.auto()
    HANG = enum.auto()
    EMPTY = enum.auto()
    DENIED = enum.auto()
    REDIRECT = enum.auto()
    UNAVAILABLE = enum.auto()


@attrs.define(eq=False)
class Fault:
    """For the next `times` requests that fit `pattern` (None: for all of them).

    It is matched as file names are, with `METHOD /path`, or with that, a blank and the body.
    """

    kind: Kind
    pattern: str = "*"
    times: int | None = 1
    delay_s: float | None = None
    reached: threading.Event = attrs.field(factory=threading.Event)
    carried_out: threading.Event = attrs.field(factory=threading.Event)
    """Set when a request is carried out that goes wrong afterwards."""
    release: threading.Event = attrs.field(factory=threading.Event)

    def before(self) -> None:
        """What goes wrong before it is carried out. Raises Gone."""
        self.reached.set()
        match self.kind:
            case Kind.RESET:
                raise Gone(reset=True)
            case Kind.HANG:
                self.release.wait()
                raise Gone
            case Kind.DELAY:
                self.release.wait(self.delay_s)

    def after(self) -> None:
        """What goes wrong once it is carried out. Raises Gone."""
        self.carried_out.set()
        match self.kind:
            case Kind.LOST:
                raise Gone(reset=True)
            case Kind.LATE:
                self.release.wait(self.delay_s)


@attrs.define(eq=False)
class Faults:
    """What goes wrong when a test says so. Each request that fits uses one up."""

    listed: list[Fault] = attrs.field(factory=list)
    lock: threading.Lock = attrs.field(factory=threading.Lock)

    def add(self, kind: Kind, pattern: str = "*", *, times: int | None = 1, delay_s: float | None = None) -> Fault:
        fault = Fault(kind, pattern, times, delay_s)
        with self.lock:
            self.listed.append(fault)
        return fault

    def of(self, request: Received) -> Fault | None:
        whole = f"{request.line} {request.body.decode('utf-8', 'replace')}"
        with self.lock:
            for fault in self.listed:
                if fault.times != 0 and any(fnmatch.fnmatchcase(text, fault.pattern) for text in (request.line, whole)):
                    fault.times = None if fault.times is None else fault.times - 1
                    return fault
        return None

    def clear(self) -> None:
        self.release()
        with self.lock:
            self.listed.clear()

    def release(self) -> None:
        """Nobody hangs any longer."""
        for fault in self.listed:
            fault.release.set()


@attrs.define(eq=False)
class Server:
    """An HTTP server while its `with` block runs; a subclass answers."""

    port: int = attrs.field(factory=free_port, kw_only=True)
    idle_s: float | None = attrs.field(default=None, kw_only=True)
    faults: Faults = attrs.field(factory=Faults, kw_only=True)
    received: list[Received] = attrs.field(factory=list, kw_only=True)
    unexpected: list[Received] = attrs.field(factory=list, kw_only=True)
    """What was to be played, and was not recorded."""
    _doors: Doors = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._doors = Doors(self._talk)

    def answer(self, request: Received, line: socket.socket) -> bytes | None:
        """None: the connection was served, and ends."""
        raise NotImplementedError

    def refusal(self, _kind: Kind) -> bytes | None:
        """What is answered to a fault of this kind instead of carrying the request out."""
        return None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def connections(self) -> int:
        """How many were accepted."""
        return self._doors.connections

    def of(self, method: str, path: str = "") -> list[Received]:
        """Return the requests of this method, and of this path if one is given, in order."""
        return [request for request in list(self.received) if request.method == method and path in ("", request.path)]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: object = None, *_: object) -> None:
        self.stop()
        self._doors.join()
        if kind is None:
            assert not self.unexpected, f"no exchange fits {self.unexpected[0]}"

    def start(self) -> None:
        """Listens."""
        self._doors.open(self.port)

    def stop(self) -> None:
        """Refuses at once, and ends the connections."""
        self._doors.end(self.faults.release)

    def kill(self) -> None:
        """The same, with resets."""
        self._doors.end(self.faults.release, abruptly=True)

    def _talk(self, line: socket.socket, gone: threading.Event) -> None:
        reader = Reader(line)
        line.settimeout(self.idle_s)
        while (request := reader.next()) is not None and not gone.is_set():
            self.received.append(request)
            answer = self._answer(request, line)
            if answer is None or gone.is_set():
                return
            line.sendall(answer)

    def _answer(self, request: Received, line: socket.socket) -> bytes | None:
        fault = self.faults.of(request)
        if fault is None:
            return self.answer(request, line)
        fault.before()
        answer = self.refusal(fault.kind) or self.answer(request, line)
        fault.after()
        return answer


Act: TypeAlias = Callable[[Received], Answer | bytes]
"""What is said to a request. Bytes go out as they are, then the connection is closed."""


@attrs.define(eq=False)
class Receiver(Server):
    """Takes any request; `act` says what to answer."""

    act: Act = lambda _received: Answer()

    def __exit__(self, *_: object) -> None:
        """Does not wait for connections held up in `act`."""
        self.stop()

    def answer(self, request: Received, line: socket.socket) -> bytes | None:
        answer = self.act(request)
        if isinstance(answer, Answer):
            written = answer.to_bytes(with_body=request.method != "HEAD")
            if "close" not in (answer.headers.get("Connection"), request.headers.get("connection")):
                return written
            answer = written
        line.sendall(answer)
        return None
