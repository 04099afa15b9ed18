"""A server that says of itself what no Redis at hand would: an old version, another clock.

For tests of what a real Redis cannot be made to say. Always holds: it knows INFO, TIME and what a client sends when
it connects; any other command is an error.
"""

import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedIOBase


@contextmanager
def fake_redis(info: str, *, clock_ahead_s: int = 0) -> Iterator[str]:
    """The URL of a server with this answer to INFO (lines such as `redis_version:6.2.14`), for the block."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while words := _read(self.rfile):
                self.wfile.write(_answer(words, info, int(time.time()) + clock_ahead_s))

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"redis://127.0.0.1:{server.server_address[1]}/0"
        finally:
            server.shutdown()
            thread.join()


def _read(stream: BufferedIOBase) -> list[str]:
    """One command, [] at the end. A command is `*N`, then for each word its length and itself."""
    head = stream.readline()
    count = int(head[1:]) if head else 0
    return [stream.read(int(stream.readline()[1:]) + 2)[:-2].decode() for _ in range(count)]


def _answer(words: list[str], info: str, now_s: int) -> bytes:
    match words[0].upper():
        case "INFO":
            return _bulk(info)
        case "TIME":
            return b"*2\r\n" + _bulk(str(now_s)) + _bulk("0")
        case "CLIENT" | "SELECT":
            return b"+OK\r\n"
        case _:
            return f"-ERR unknown command '{words[0]}'\r\n".encode()


def _bulk(text: str) -> bytes:
    return f"${len(text.encode())}\r\n{text}\r\n".encode()
