"""One open event stream, as Jetty's EventSourceServlet writes it: what is written after the other side left is lost.

Used by this folder. Always holds: frames end with CRLF, and data is written as it is, unescaped (recorded).
"""

import re
import socket
import threading
from typing import Final

import attrs

HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=UTF-8\r\nConnection: close\r\n\r\n"
_LINE: Final = re.compile(r"\r\n|\r|\n")


def frame(name: str, data: str) -> bytes:
    """Return an event: a line of data for each line, and none for no data."""
    lines = [f"event: {name}", *(f"data: {line}" for line in _LINE.split(data) if data), "", ""]
    return "\r\n".join(lines).encode()


@attrs.define(eq=False)
class Emitter:
    """An event stream. `heartbeat_s` is 10 s there."""

    username: str
    line: socket.socket
    heartbeat_s: float = 10.0
    is_mute: bool = False
    """Heartbeats only, as the stream of a user whose other reader came later."""
    _lock: threading.Lock = attrs.field(factory=threading.Lock)
    _ended: threading.Event = attrs.field(factory=threading.Event)

    def begin(self) -> None:
        """Writes the answer's head."""
        self.raw(HEAD)

    def run(self) -> None:
        """Heartbeats until it ends or the other side is gone."""
        while not self._ended.wait(self.heartbeat_s):
            if not self.raw(b"\r\n"):
                return

    def event(self, name: str, data: str) -> bool:
        """Writes an event. Return whether that was possible."""
        return self.is_mute or self.raw(frame(name, data))

    def end(self) -> None:
        """The end of the stream, which looks the same whatever its reason."""
        self._ended.set()

    @property
    def is_ended(self) -> bool:
        """Whether nothing is written any more."""
        return self._ended.is_set()

    def raw(self, written: bytes) -> bool:
        """Writes these bytes. Return whether that was possible."""
        with self._lock:
            if self._ended.is_set():
                return False
            try:
                self.line.sendall(written)
            except OSError:
                self._ended.set()
                return False
        return True
