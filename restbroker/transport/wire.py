"""Bytes to and from a server, over TCP or a unix socket. Opened by `connect.dial`, used by exchanges and under TLS.

Always holds: `close` takes effect at once, from any task, and ends all waits; `has_sent` says whether the kernel has
taken any byte of what is being sent.
"""

import contextlib
import select
import socket
from collections.abc import Callable
from typing import Final, TypeAlias

import trio

from restbroker.transport.readiness import Readiness

_READ_BYTES: Final = 65536

Listener: TypeAlias = Callable[[bytes | Exception], None]
"""What is called with the bytes that come, each time; b"" is the end, an error is what broke the connection.

The error is `trio.ClosedResourceError` if it was closed here, and `Unwatched` if nothing reads it any more.
"""


class Unwatched(Exception):
    """Nothing reads the connection any more: what comes will not be known here."""


class Wire:
    """A connection to a server: a non-blocking socket.

    `has_sent` is False until a byte is sent after it was last set to False. `_watcher` calls the wire when it is
    readable; `_rest` is what the kernel has not taken yet. Trio's own streams cost 6 µs more for a request and its
    answer (measured).
    """

    __slots__ = ("_is_attended", "_is_paused", "_listener", "_look", "_rest", "_socket", "_watcher", "has_sent")

    def __init__(self, connected: socket.socket) -> None:
        connected.setblocking(False)
        self._socket = connected
        self._look = select.poll()
        self._look.register(connected, select.POLLIN)
        self._watcher: Readiness | None = None
        self._is_attended = self._is_paused = False
        self._listener: Listener | None = None
        self._rest: bytes | memoryview = b""
        self.has_sent = False

    def begin(self, message: bytes) -> bool:
        """Send what is left, then as much of the message as the kernel takes at once; return False if not all went.

        Raise OSError if it breaks.
        """
        left: bytes | memoryview = message
        if self._rest:
            left = b"".join((self._rest, message)) if message else self._rest
            self._rest = b""
        if not left:
            return True
        try:
            sent = self._socket.send(left)
        except BlockingIOError:
            sent = 0
        else:
            self.has_sent = True
        if sent == len(left):
            return True
        self._rest = memoryview(left)[sent:]
        return False

    async def send_rest(self) -> None:
        """Send what is left, waiting while the kernel takes none; raise OSError or a Trio resource error."""
        while self._rest:
            if self._socket.fileno() < 0:
                # Closed while this task was about to run. Trio would register the descriptor -1.
                raise trio.ClosedResourceError
            await trio.lowlevel.wait_writable(self._socket)
            # Not what TLS makes of it: that is encrypted already.
            Wire.begin(self, b"")

    async def receive(self) -> bytes:
        """Wait for bytes by Trio and return some, b"" at the end; raise OSError or a Trio resource error."""
        while True:
            await trio.lowlevel.wait_readable(self._socket)
            with contextlib.suppress(BlockingIOError):
                return self._socket.recv(_READ_BYTES)

    def listen(self, listener: Listener, readiness: Readiness) -> bool:
        """Have the listener called with what comes, until `unlisten`; the last listener counts.

        Return False if a task must await `attend` for that: `readiness` does not run, or has no room. Raise
        `trio.ClosedResourceError` if the wire is closed.
        """
        self._listener, self._is_paused = listener, False
        return self._watcher is readiness or self._have_watched(readiness)

    def unlisten(self) -> None:
        """Have no one called any more; what comes stays unread."""
        self._listener = None

    def pause(self) -> None:
        """Read nothing until `listen` is called again; the listener is told of a close, and of nothing else."""
        self._is_paused = True
        self._unwatch()

    async def attend(self) -> None:
        """Call the listener with what comes, as long as there is one and no pause, by waits of Trio's own.

        When cancelled, the listener gets `Unwatched`.
        """
        self._is_attended = True
        try:
            while self._listener is not None and not self._is_paused:
                await trio.lowlevel.wait_readable(self._socket)
                self.on_readable()
        except trio.ClosedResourceError:
            pass  # its listener knows
        finally:
            self._is_attended = False
            if not self._is_paused:
                self.lose_watch()

    def on_readable(self) -> bool:
        """Read the bytes and pass them to the listener; return False if there is none."""
        listener = self._listener
        if listener is None:
            return False
        try:
            got: bytes | Exception = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return True
        except (OSError, MemoryError) as error:
            got = error
        listener(got)
        return True

    def lose_watch(self) -> None:
        """Note that nothing watches the socket any more; tell the listener, if there is one."""
        self._watcher = None
        listener, self._listener = self._listener, None
        if listener is not None:
            listener(Unwatched())

    def receive_now(self) -> bytes | None:
        """Return the bytes that are there: b"" at the end or if the connection is broken; None if nothing came."""
        try:
            return self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def is_quiet(self) -> bool:
        """Tell whether nothing came since the last answer, not even the end; if not, never use the wire again.

        A poll is used: to learn by an exception that nothing can be received takes three times as long (measured).
        """
        # Its descriptor may be another's once it is closed.
        return self._socket.fileno() >= 0 and not self._look.poll(0)

    def close(self) -> None:
        """Close the socket at once, end the waits on it, and tell the listener; may be called again."""
        if self._socket.fileno() >= 0:
            self._unwatch()
            listener, self._listener = self._listener, None
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()
            if listener is not None:
                listener(trio.ClosedResourceError())

    def _have_watched(self, readiness: Readiness) -> bool:
        if self._socket.fileno() < 0:
            self._listener = None
            raise trio.ClosedResourceError
        if self._is_attended:
            return True
        self._unwatch()
        if not readiness.is_kept:
            return False
        try:
            readiness.watch(self._socket.fileno(), self)
        except OSError:
            return False  # there is a limit to what epoll takes
        self._watcher = readiness
        return True

    def _unwatch(self) -> None:
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.forget(self._socket.fileno())
