"""A way to Redis that loses exactly the replies it is told to lose. Used by tests of lost replies."""

import select
import socket
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

import pytest

from restbroker.errors import StoreUnavailable
from restbroker.store.client import Client, StoreSettings, open_client
from tests.store.pools import NAMESPACE, Server

_WAIT_S = 10
_PIECE_S = 0.02
"""How long after one piece of an answer another may come: that of the second of two commands."""


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


def assert_each_may_be_sent_twice(server: Server, calls: Sequence[tuple[Callable[[Client], object], object]]) -> None:
    """Makes these calls in turn, loses the first answer to each, and has the second one be as it should."""
    with LossyProxy(server.process.port) as proxy:
        lossy = open_client(StoreSettings(f"redis://127.0.0.1:{proxy.port}", namespace=NAMESPACE))
        # Redis knows the scripts from here on: the answer to lose is not NOSCRIPT.
        for call, _ in calls:
            call(lossy)
        server.raw.flushdb()
        for call, answer in calls:
            # The connection is open: what gets lost is the answer to the call.
            lossy.command("PING")
            proxy.lose_next = True
            with pytest.raises(StoreUnavailable):
                call(lossy)
            assert call(lossy) == answer
        lossy.close()
