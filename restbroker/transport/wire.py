"""Bytes to and from a server, over TCP or a unix socket. Opened by `dial`, used by the lean client and under TLS.

Always holds: `close` takes effect at once, from any task, and ends whoever waits; `left` says whether the kernel has
taken any byte of what is being sent.
"""

import select
import socket
from typing import Final, Protocol

import trio

_READ_BYTES: Final = 65536


class Wire(Protocol):
    """`left` is False until a byte was sent since it was set to False last."""

    left: bool

    async def send_all(self, data: bytes) -> None:
        """Raises OSError or a Trio resource error."""
        ...

    async def receive(self) -> bytes:
        """Some bytes; none at the end. Raises as `send_all`."""
        ...

    def is_quiet(self) -> bool:
        """Whether nothing came since, not even the end: otherwise it must not be used again."""
        ...

    def close(self) -> None:
        """Closes it, and waits for nobody; may be repeated."""
        ...


class PlainWire:
    """A non-blocking socket. Trio's own streams cost 6 µs more for a request and its answer (measured)."""

    __slots__ = ("_look", "_socket", "left")

    def __init__(self, connected: socket.socket) -> None:
        connected.setblocking(False)
        self._socket = connected
        self._look = select.poll()
        self._look.register(connected, select.POLLIN)
        self.left = False

    async def send_all(self, data: bytes) -> None:
        """See `Wire`."""
        sent = self.send_now(data)
        if sent == len(data):
            return
        rest = memoryview(data)[sent:]
        while rest:
            await trio.lowlevel.wait_writable(self._socket)
            rest = rest[self.send_now(rest) :]

    def send_now(self, data: bytes | memoryview) -> int:
        """How many of these bytes the kernel took at once. Raises OSError."""
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            return 0
        self.left = True
        return sent

    async def receive(self) -> bytes:
        """See `Wire`."""
        while True:
            if self._socket.fileno() < 0:
                # Closed at its deadline while its task was about to run. Trio would register the descriptor -1.
                raise trio.ClosedResourceError
            await trio.lowlevel.wait_readable(self._socket)
            try:
                return self._socket.recv(_READ_BYTES)
            except BlockingIOError:
                continue

    def receive_now(self) -> bytes | None:
        """What is there; no bytes at the end, or if it is broken; None if nothing came."""
        try:
            return self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def is_quiet(self) -> bool:
        """See `Wire`. To be told by an exception that nothing can be received takes three times as long (measured)."""
        # Its descriptor may be another's once it is closed.
        return self._socket.fileno() >= 0 and not self._look.poll(0)

    def close(self) -> None:
        """See `Wire`."""
        if self._socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()
