"""An HTTP server that notes how long after its push each job's request has come, for jobs at a rate.

Always holds: every request is answered with 200 at once; only those count whose body has the moment of the push
(`"n"`, in µs of the clock that all processes share), which probes have not.
"""

import re
import selectors
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import attrs

_ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1\r\n\r\n0"
_LENGTH: Final = re.compile(rb"(?i)content-length: *(\d+)")
_PUSHED: Final = re.compile(rb'"n\\*" *: *\\*"?(\d+)')


@attrs.define(eq=False)
class Listener:
    """`waits_ms` has the time from push to request of each job, in the order in which they came."""

    server: socket.socket
    waits_ms: list[float] = attrs.field(factory=list)
    selector: selectors.DefaultSelector = attrs.field(factory=selectors.DefaultSelector)
    buffers: dict[socket.socket, bytes] = attrs.field(factory=dict)
    is_over: bool = False

    def serve(self) -> None:
        """Run until `is_over`."""
        self.selector.register(self.server, selectors.EVENT_READ)
        while not self.is_over:
            for key, _ in self.selector.select(0.2):
                if key.fileobj is self.server:
                    connection, _ = self.server.accept()
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self.selector.register(connection, selectors.EVENT_READ, connection)
                    self.buffers[connection] = b""
                else:
                    self._read(key.data)
        for open_one in (*self.buffers, self.server):
            open_one.close()

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
        while (size := _size(data)) and size <= len(data):
            if found := _PUSHED.search(data, 0, size):
                self.waits_ms.append((now_us - int(found[1])) / 1e3)
            data = data[size:]
            connection.sendall(_ANSWER)
        self.buffers[connection] = data


@contextmanager
def listening() -> Iterator[tuple[Listener, int]]:
    """Yield a listener that runs in a thread, and its port."""
    server = socket.create_server(("127.0.0.1", 0), backlog=100)
    listener = Listener(server)
    thread = threading.Thread(target=listener.serve)
    thread.start()
    try:
        yield listener, int(server.getsockname()[1])
    finally:
        listener.is_over = True
        thread.join()


def _size(data: bytes) -> int:
    """Return the size of the first request, head and body; 0 if its head is not complete."""
    end = data.find(b"\r\n\r\n")
    found = _LENGTH.search(data, 0, max(0, end))
    return 0 if end < 0 else end + 4 + (int(found[1]) if found else 0)
