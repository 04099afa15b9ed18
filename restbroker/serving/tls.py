"""The certificate that a server of restbroker shows, and the start of a TLS connection. `serving.runner` uses it.

Always holds: a renewed certificate counts for new connections within seconds; one that cannot be used leaves the last
in force, with one warning; one that has expired is shown all the same, with a warning; a client that fails costs its
own connection, and is reported once for each reason.
"""

import math
import ssl
import time
from datetime import UTC, datetime

import trio

from restbroker.config.target import CertFiles
from restbroker.config.tls import ends_at_s, server_context, why_unusable
from restbroker.light import define
from restbroker.telemetry.events import OperatorWarning, Report

_LOOK_AGAIN_S = 5.0
_Stamp = tuple[tuple[int, int, int], ...]
"""What changes when a file is written again or replaced, for each file."""


@define(eq=False)
class Certificate:
    """The certificate of one server. `key`: what names it in the configuration. The files were checked before."""

    files: CertFiles
    key: str
    report: Report
    _context: ssl.SSLContext | None = None
    _stamp: _Stamp | None = None
    _looked_at_s: float = float("-inf")
    _is_reported: bool = False
    _ends_s: float = math.inf
    """When it expires, if that is not reported yet."""

    async def context(self) -> ssl.SSLContext | None:
        """Return the TLS context for a new connection, read again if the files changed; None: no usable one yet."""
        if trio.current_time() - self._looked_at_s >= _LOOK_AGAIN_S:
            self._looked_at_s = trio.current_time()
            try:
                # A slow disk must not hold up deliveries.
                stamp = await trio.to_thread.run_sync(_stamp_of, self.files)
                if stamp != self._stamp:
                    self._context = await trio.to_thread.run_sync(server_context, self.files)
                    self._ends_s = await trio.to_thread.run_sync(ends_at_s, self.files.cert)
                    self._stamp, self._is_reported = stamp, False
            except OSError as error:
                await self._report_failure(error)
            if self._ends_s <= time.time():
                ended, self._ends_s = datetime.fromtimestamp(self._ends_s, UTC), math.inf
                what = f"The certificate {self.files.cert} ({self.key}) expired at {ended:%Y-%m-%d %H:%M:%S} UTC."
                hint = "Clients refuse it. Put a renewed one there, with its key."
                self.report(OperatorWarning("CertificateExpired", what, hint))
        return self._context

    async def _report_failure(self, error: OSError) -> None:
        if self._is_reported:
            return
        self._is_reported = True
        why = await trio.to_thread.run_sync(why_unusable, self.files, error)
        left = "No connection can be accepted" if self._context is None else "The previous one stays in use"
        what = f"The certificate {self.files.cert} ({self.key}) cannot be used: {why}. {left}."
        hint = "Put a certificate with its key there, in PEM form, readable by restbroker."
        self.report(OperatorWarning("CertificateUnusable", what, hint))


def failure(error: BaseException, what: str) -> OperatorWarning | None:
    """Return why a client of `what` could not begin with TLS; None for one that only tested if the port is open."""
    cause = error.__cause__
    if not isinstance(cause, ssl.SSLError) or isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return None
    reason = cause.reason or type(cause).__name__
    match reason:
        case "HTTP_REQUEST" | "WRONG_VERSION_NUMBER":
            hint = "It does not speak TLS: give it an https:// address."
        case _ if "UNKNOWN_CA" in reason or "BAD_CERTIFICATE" in reason or "CERTIFICATE_UNKNOWN" in reason:
            hint = (
                "It does not trust the certificate: give it the authority's certificate, and a host name "
                "that the certificate contains."
            )
        case _:
            hint = "The log of that client may say more."
    return OperatorWarning("TLSFailed", f"A TLS handshake failed with {what}: {reason}.", hint)


def _stamp_of(files: CertFiles) -> _Stamp:
    found = [path.stat() for path in (files.cert, files.key) if path is not None]
    return tuple((stat.st_ino, stat.st_size, stat.st_mtime_ns) for stat in found)
