"""A way to Redis that loses exactly the replies it is told to lose. Used by tests of lost replies."""

import select
import socket
import threading
from types import TracebackType
from typing import Self

_WAIT_S = 10
_PIECE_S = 0.02
"""So long after one piece of an answer another may come: that of the second of two commands."""


class LossyProxy:
    """Forwards one connection after the other to `port` on loopback; counts what clients send (`sent`, in pieces).

    With `lose_next` set, the next answer is swallowed but for its first `keep_bytes`, and the connection cut, as when a
    network fails.
    """

    def __init__(self, port: int) -> None:
        self.lose_next = False
        self.keep_bytes = 0
        self.sent: list[bytes] = []
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(_WAIT_S)
        assert not self._thread.is_alive()

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            with near, socket.create_connection(("127.0.0.1", self._target)) as far:
                self._forward(near, far)

    def _forward(self, near: socket.socket, far: socket.socket) -> None:
        # Clients of these tests send a whole request and then read.
        near.settimeout(_WAIT_S)
        while request := near.recv(65536):
            self.sent.append(request)
            far.sendall(request)
            answer = far.recv(65536)
            while select.select([far], [], [], _PIECE_S)[0] and (piece := far.recv(65536)):
                answer += piece
            if self.lose_next:
                self.lose_next = False
                near.sendall(answer[: self.keep_bytes])
                return
            near.sendall(answer)
