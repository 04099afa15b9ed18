"""TLS on a plain wire, for the lean client. Opened by `dial`.

Always holds: as for every wire; and messages of TLS itself between two answers (session tickets, new keys) leave a
connection fit for use, while a byte of another answer does not.

Not on `trio.SSLStream`, which cannot tell whether a byte of a request left, nor what is in its buffers.
"""

import contextlib
import ssl
from typing import Final

from restbroker.transport.wire import PlainWire

_READ_BYTES: Final = 65536
_PIECE_BYTES: Final = 256 * 1024
"""How many bytes are encrypted at a time: a large body neither lies in memory twice nor holds other tasks up."""


class TlsWire:
    """A `Wire` with TLS over `under`; the certificate must name `host`, which SNI names too."""

    __slots__ = ("_incoming", "_is_between_records", "_outgoing", "_tls", "_under")

    def __init__(self, under: PlainWire, context: ssl.SSLContext, host: str) -> None:
        self._under = under
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._is_between_records = True

    @property
    def has_sent(self) -> bool:
        """Whether a byte was sent since it was set to False last."""
        return self._under.has_sent

    @has_sent.setter
    def has_sent(self, has_sent: bool) -> None:
        """Set it on the plain wire, which sets it to True when it sends."""
        self._under.has_sent = has_sent

    async def shake_hands(self) -> None:
        """Do the TLS handshake; call it once, before anything else.

        Raise ssl.SSLError if either side refuses the other or the server closes the connection, else as `send_all`.
        """
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                data = await self._under.receive()
                if not data:
                    # So does one that speaks no TLS.
                    raise ssl.SSLEOFError(ssl.SSL_ERROR_EOF, "the server closed it during the handshake") from None
                self._incoming.write(data)
            else:
                await self._flush()
                return

    async def send_all(self, data: bytes) -> None:
        """Encrypt and send all the bytes; raise OSError or a Trio resource error if the connection breaks."""
        if len(data) <= _PIECE_BYTES:
            self._tls.write(data)
            await self._flush()
            return
        view = memoryview(data)
        for start in range(0, len(data), _PIECE_BYTES):
            self._tls.write(view[start : start + _PIECE_BYTES])
            await self._flush()

    async def receive(self) -> bytes:
        """Wait for bytes and return them; b"" at the end, even without TLS' close_notify, which many servers omit."""
        while True:
            try:
                return self._tls.read(_READ_BYTES)
            except ssl.SSLWantReadError:
                pass
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""
            await self._flush()
            if data := await self._under.receive():
                self._incoming.write(data)
            else:
                self._incoming.write_eof()

    def is_quiet(self) -> bool:
        """Tell whether only TLS' own messages came since the last answer; otherwise the wire must not be used again.

        TLS 1.3 servers send session tickets whenever they like; these are taken in here.
        """
        while (data := self._under.receive_now()) is not None:
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
                self._under.send_now(self._outgoing.read())
        self._under.close()

    async def _flush(self) -> None:
        if self._outgoing.pending:
            self._is_between_records = False
            await self._under.send_all(self._outgoing.read())
            self._is_between_records = True


def refuses_certificate(error: BaseException) -> bool:
    """Tell whether the error says that the server refuses this client's certificate, or requires one.

    In TLS 1.3 a server says so only after the client's handshake is over, in reply to the first request, which it did
    not read.
    """
    reason = error.reason or "" if isinstance(error, ssl.SSLError) else ""
    return "ALERT" in reason and ("CERTIFICATE" in reason or "UNKNOWN_CA" in reason)
