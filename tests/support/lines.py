"""What stand-ins for servers have in common: doors on loopback, requests read byte for byte, and what goes wrong.

Always holds: each connection has a thread of its own; the ports stay the same when a stand-in stops and starts again.
"""

import contextlib
import enum
import fnmatch
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import attrs

HEAD_END: Final = b"\r\n\r\n"
_RESET: Final = struct.pack("ii", 1, 0)
"""What a socket lingers with so that it sends a reset."""


class Gone(Exception):
    """The connection ends without an answer; `reset` when it is torn down."""

    def __init__(self, *, reset: bool = False) -> None:
        self.reset = reset


@attrs.frozen
class Asked:
    """One request. Header names are lower-case; `port` is which of the doors it came through."""

    port: str
    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))

    @property
    def line(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def accept(self) -> str:
        return self.headers.get("accept", "*/*")

    @property
    def content_type(self) -> str:
        """Of the body, without its parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def host(self) -> str:
        """The name that it was sent to, without the port."""
        return self.headers.get("host", "").rpartition(":")[0] or self.headers.get("host", "")


@attrs.define(eq=False)
class Reader:
    """The requests of a connection, also of a client that sends the next one before it has the answer."""

    line: socket.socket
    port: str
    _came: bytearray = attrs.field(factory=bytearray)

    def next(self) -> Asked | None:
        """The next request; None when the client is gone or was idle for too long."""
        while HEAD_END not in self._came:
            if not self._more():
                return None
        head, _, self._came = self._came.partition(HEAD_END)
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ", 2)
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", "0"))
        while len(self._came) < length:
            if not self._more():
                return None
        body, self._came = bytes(self._came[:length]), self._came[length:]
        return Asked(self.port, method, target, headers, body)

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

    talk: Callable[[socket.socket, str, threading.Event], None]
    gone: threading.Event = attrs.field(factory=threading.Event)
    """Set when what was opened since `begin` is closed."""
    connections: int = 0
    _doors: list[socket.socket] = attrs.field(factory=list)
    _lines: set[socket.socket] = attrs.field(factory=set)
    _threads: list[threading.Thread] = attrs.field(factory=list)

    def begin(self) -> threading.Event:
        self.gone = threading.Event()
        return self.gone

    def open(self, port: str, number: int) -> None:
        door = socket.create_server(("127.0.0.1", number), backlog=256)
        self._doors.append(door)
        self.run(self._serve, door, port, self.gone)

    def run(self, target: Callable[..., object], *arguments: Any) -> None:
        """In a thread."""
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def end(self, before: Callable[[], object], *, abruptly: bool) -> None:
        """Refuses at once, and ends the connections (with resets). `before` is called before anybody of them wakes."""
        self.gone.set()
        for door in self._doors:
            with contextlib.suppress(OSError):
                door.shutdown(socket.SHUT_RDWR)
            door.close()
        self._doors.clear()
        lines = list(self._lines)
        for line in lines if abruptly else ():
            # Before anybody wakes: whoever closes it then, with nothing to linger for, sends a reset.
            with contextlib.suppress(OSError):
                line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        before()
        for line in lines:
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RD)

    def join(self) -> None:
        for thread in self._threads:
            thread.join(5)

    def _serve(self, door: socket.socket, port: str, gone: threading.Event) -> None:
        while not gone.is_set():
            try:
                line, _ = door.accept()
            except OSError:
                return
            self.connections += 1
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._lines.add(line)
            self.run(self._talk, line, port, gone)

    def _talk(self, line: socket.socket, port: str, gone: threading.Event) -> None:
        try:
            self.talk(line, port, gone)
        except OSError:
            return
        except Gone as ended:
            if ended.reset:
                line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        finally:
            self._lines.discard(line)
            line.close()


@attrs.define(eq=False)
class Fault:
    """For the next `times` requests that fit `pattern` (as file names are matched; None: for all of them)."""

    kind: enum.Enum
    pattern: str = "*"
    times: int | None = 1
    delay_s: float = 0.0
    reached: threading.Event = attrs.field(factory=threading.Event)
    carried_out: threading.Event = attrs.field(factory=threading.Event)
    """Of those that are carried out before they go wrong."""
    release: threading.Event = attrs.field(factory=threading.Event)


@attrs.define(eq=False)
class Faults:
    """What goes wrong when a test says so. Each request that fits uses one up."""

    listed: list[Fault] = attrs.field(factory=list)
    lock: threading.Lock = attrs.field(factory=threading.Lock)

    def add(self, kind: enum.Enum, pattern: str = "*", *, times: int | None = 1, delay_s: float = 0.0) -> Fault:
        fault = Fault(kind, pattern, times, delay_s)
        with self.lock:
            self.listed.append(fault)
        return fault

    def of(self, line: str) -> Fault | None:
        with self.lock:
            for fault in self.listed:
                if fault.times != 0 and fnmatch.fnmatchcase(line, fault.pattern):
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
