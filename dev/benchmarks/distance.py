"""A Redis that is far away: `python -m dev.benchmarks.distance PORT UPSTREAM_PORT DELAY_MS` stands in front of one.

Always holds: every piece is passed on in its order, in both directions, this long after it came.
"""

import selectors
import socket
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from dev.benchmarks.processes import started
from dev.benchmarks.surroundings import Surroundings, wait_for
from tests.support.ports import free_port

_PIECE: Final = 2**18


@contextmanager
def redis_away(around: Surroundings, delay_ms: int) -> Iterator[str]:
    """Yield the URL by which Redis is this far away."""
    port, upstream = free_port(), around.redis_url.rpartition(":")[2].partition("/")[0]
    words = [sys.executable, "-m", "dev.benchmarks.distance", str(port), upstream, str(delay_ms)]
    with started(words, around.directory / "distance.out"):
        wait_for(port)
        yield f"redis://127.0.0.1:{port}/0"


def main() -> None:
    """Pass on until the process is ended."""
    port, upstream_port, delay_ms = map(int, sys.argv[1:])
    server = socket.create_server(("127.0.0.1", port))
    # It waits in microseconds; epoll would round up to the next millisecond.
    selector = selectors.SelectSelector()
    selector.register(server, selectors.EVENT_READ)
    held: deque[tuple[float, socket.socket, bytes]] = deque()
    while True:
        patience_s = max(0.0, held[0][0] - time.monotonic()) if held else None
        for key, _ in selector.select(patience_s):
            if key.data is None:
                near, far = server.accept()[0], socket.create_connection(("127.0.0.1", upstream_port))
                for line, other in ((near, far), (far, near)):
                    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    selector.register(line, selectors.EVENT_READ, (line, other))
            else:
                line, other = key.data
                piece = _received(line)
                if not piece:
                    selector.unregister(line)
                held.append((time.monotonic() + delay_ms / 1000, other, piece))
        while held and held[0][0] <= time.monotonic():
            _, other, piece = held.popleft()
            _pass_on(other, piece)


def _received(line: socket.socket) -> bytes:
    try:
        return line.recv(_PIECE)
    except ConnectionError:
        return b""


def _pass_on(line: socket.socket, piece: bytes) -> None:
    """Send it; nothing is the end of what the other side says."""
    try:
        if piece:
            line.sendall(piece)
        else:
            line.shutdown(socket.SHUT_WR)
    except OSError:
        return  # it is gone


if __name__ == "__main__":
    main()
