"""TLS on a wire, for the lean client. Opened by `connect.dial`.

Always holds: as for every wire; and messages of TLS itself between two answers (session tickets, new keys) leave a
connection fit for use, while a byte of another answer does not.

Not on `trio.SSLStream`, which cannot tell whether a byte of a request left, nor what is in its buffers.
"""

import contextlib
import socket
import ssl
from typing import Final

from restbroker.transport.readiness import Readiness
from restbroker.transport.wire import Listener, Wire

_READ_BYTES: Final = 65536
_PIECE_BYTES: Final = 256 * 1024
"""How many bytes are encrypted at a time: a large body neither lies in memory twice nor holds other tasks up."""


class TlsWire(Wire):
    """A `Wire` with TLS; the certificate must name `host`, which SNI names too. `_message`: what is to be encrypted."""

    __slots__ = ("_hears", "_incoming", "_is_between_records", "_message", "_outgoing", "_tls")

    def __init__(self, connected: socket.socket, context: ssl.SSLContext, host: str) -> None:
        super().__init__(connected)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._is_between_records = True
        self._hears: Listener | None = None
        self._message = memoryview(b"")

    async def shake_hands(self) -> None:
        """Do the TLS handshake; call it once, before anything else.

        Raise ssl.SSLError if either side refuses the other or the server closes the connection, else OSError or a Trio
        resource error.
        """
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self.send_rest()
                data = await self.receive()
                if not data:
                    # So does one that speaks no TLS.
                    raise ssl.SSLEOFError(ssl.SSL_ERROR_EOF, "the server closed it during the handshake") from None
                self._incoming.write(data)
            else:
                await self.send_rest()
                return

    def begin(self, message: bytes) -> bool:
        """Encrypt and send as much as the kernel takes at once; return False if `send_rest` must follow.

        Raise OSError if it breaks.
        """
        self._message = memoryview(message)
        self._encrypt()
        return self._push() and not self._message

    async def send_rest(self) -> None:
        """Encrypt and send what is left; raise OSError or a Trio resource error if the connection breaks."""
        while True:
            if not self._push():
                await super().send_rest()
                self._is_between_records = True
            if not self._message:
                return
            self._encrypt()

    def listen(self, listener: Listener, readiness: Readiness) -> bool:
        """Have the listener called with what comes, decrypted, as `Wire.listen` promises."""
        self._hears = listener
        return super().listen(self._take, readiness)

    def is_quiet(self) -> bool:
        """Tell whether only TLS' own messages came since the last answer; otherwise the wire must not be used again.

        TLS 1.3 servers send session tickets whenever they like; these are taken in here.
        """
        while (data := self.receive_now()) is not None:
            if not data:
                return False
            self._incoming.write(data)
        try:
            self._tls.read(1)
        except ssl.SSLWantReadError:
            return True
        except ssl.SSLError:
            return False
        return False

    def close(self) -> None:
        """Close the connection at once; TLS' close_notify or alert is sent only if the kernel takes it at once."""
        if self._is_between_records:
            self._is_between_records = False
            with contextlib.suppress(OSError):
                with contextlib.suppress(ssl.SSLError):
                    self._tls.unwrap()
                super().begin(self._outgoing.read())
        super().close()

    def _encrypt(self) -> None:
        piece, self._message = self._message[:_PIECE_BYTES], self._message[_PIECE_BYTES:]
        self._tls.write(piece)

    def _push(self) -> bool:
        """Send what is encrypted, behind what the kernel has not taken yet; return False if some of it is left."""
        self._is_between_records = False
        self._is_between_records = super().begin(self._outgoing.read())
        return self._is_between_records

    def _take(self, got: bytes | Exception) -> None:
        """Decrypt what came and pass it on; answer what TLS itself asks for.

        What the kernel does not take of that goes before the next thing that is sent.
        """
        listener = self._hears
        assert listener is not None  # noqa: S101 - `listen` was called
        if isinstance(got, Exception):
            listener(got)
            return
        if got:
            self._incoming.write(got)
        else:
            self._incoming.write_eof()
        data, end = self._decrypt()
        if self._outgoing.pending:
            with contextlib.suppress(OSError):
                self._push()
        if data:
            listener(data)
        if end is not None:
            if self._listener is not None:
                listener(end)
            self.unlisten()
            # Also behind a whole answer: its connection must not pass for a quiet one.
            self.close()

    def _decrypt(self) -> tuple[bytes, bytes | Exception | None]:
        """Return all that is there, and what follows: b"" for the end, an error, or None.

        An end without TLS' close_notify, which many servers omit, is one.
        """
        parts: list[bytes] = []
        try:
            while part := self._tls.read(_READ_BYTES):
                parts.append(part)
            end: bytes | Exception | None = b""
        except ssl.SSLWantReadError:
            end = None
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            end = b""
        except (OSError, MemoryError) as error:
            end = error
        return b"".join(parts), end


def refuses_certificate(error: BaseException) -> bool:
    """Tell whether the error says that the server refuses this client's certificate, or requires one.

    In TLS 1.3 a server says so only after the client's handshake is over, in reply to the first request, which it did
    not read.
    """
    reason = error.reason or "" if isinstance(error, ssl.SSLError) else ""
    return "ALERT" in reason and ("CERTIFICATE" in reason or "UNKNOWN_CA" in reason)
