"""An HTTP server that notes when each job's request has come: the scenario `latency` sends jobs to it.

Always holds: every request is answered with 200 at once; only those count whose body has the moment of their pushing
(`"n"`, in µs of the clock that all processes share), which probes have not.
"""

import re
import selectors
import socket
import time
from typing import Final

import attrs

_ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1\r\n\r\n0"
_LENGTH: Final = re.compile(rb"(?i)content-length: *(\d+)")
_PUSHED: Final = re.compile(rb'"n" *: *(\d+)')


@attrs.define(eq=False)
class Listener:
    """`waits_ms` has the time from push to request of each job, in the order in which they came."""

    server: socket.socket
    waits_ms: list[float] = attrs.field(factory=list)
    selector: selectors.DefaultSelector = attrs.field(factory=selectors.DefaultSelector)
    buffers: dict[socket.socket, bytes] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self.selector.register(self.server, selectors.EVENT_READ)

    @property
    def port(self) -> int:
        """Where it listens on 127.0.0.1."""
        return int(self.server.getsockname()[1])

    def close(self) -> None:
        """Closes all connections, and the port."""
        for connection in (*self.buffers, self.server):
            connection.close()
        self.selector.close()

    def serve(self, jobs: int, lasts_s: float) -> bool:
        """Returns when so many jobs have come in all, and True; or when the time is up, and False."""
        until_s = time.monotonic() + lasts_s
        while len(self.waits_ms) < jobs:
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                return False
            for key, _ in self.selector.select(left_s):
                if key.fileobj is self.server:
                    self._accept()
                else:
                    self._read(key.data)
        return True

    def _accept(self) -> None:
        connection, _ = self.server.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.selector.register(connection, selectors.EVENT_READ, connection)
        self.buffers[connection] = b""

    def _read(self, connection: socket.socket) -> None:
        try:
            received = connection.recv(2**18)
        except ConnectionResetError:
            received = b""
        now_us = time.time_ns() // 1000
        if not received:
            self.selector.unregister(connection)
            connection.close()
            del self.buffers[connection]
            return
        data = self.buffers[connection] + received
        while (size_bytes := _size(data)) and size_bytes <= len(data):
            if found := _PUSHED.search(data, 0, size_bytes):
                self.waits_ms.append((now_us - int(found[1])) / 1e3)
            data = data[size_bytes:]
            connection.sendall(_ANSWER)
        self.buffers[connection] = data


def _size(data: bytes) -> int:
    """Of the first request, its head and its body; 0 if its head is not complete."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return 0
    found = _LENGTH.search(data, 0, end)
    return end + 4 + (int(found[1]) if found else 0)
