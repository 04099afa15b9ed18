"""The errors of a request without an answer; which one it is decides whether the job may be sent again."""

import errno
import os
import ssl

# The words of OpenSSL 1.1 and 3.
_WRONG_NAME = "mismatch, certificate is not valid for"
_UNKNOWN_ISSUER = ("self-signed certificate", "self signed certificate", "unable to get", "unable to verify")


class NotSent(Exception):
    """No byte of the request reached the server: sending again is safe.

    `by_request`: the request itself cannot be sent (a header that HTTP forbids), so repeating is pointless.
    `tls`: the server's certificate was not accepted. `timed_out`: no connection came about in time. `hint`: what to do,
    where that is known better than "check the server".
    """

    def __init__(
        self,
        message: str,
        *,
        by_request: bool = False,
        tls: bool = False,
        timed_out: bool = False,
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.by_request = by_request
        self.tls = tls
        self.timed_out = timed_out

    @property
    def tls_hint(self) -> str:
        """What to do about a failure of TLS."""
        if _WRONG_NAME in self.message:
            return "Use a name that is in the server's certificate in the URL, or have it issued for this one."
        if any(words in self.message for words in _UNKNOWN_ISSUER):
            return 'Give the certificate of its authority: "TLS": {"CAFile": "ca.pem"} in the target.'
        return "Check the server's certificate and TLS.CAFile."


class MaybeSent(Exception):
    """Some of the request may have reached the server and no whole answer came: it may have run.

    `timed_out`: the deadline passed while waiting.
    """

    def __init__(self, message: str, *, timed_out: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.timed_out = timed_out


class Withdrawn(Exception):
    """Its sender does not let the request out (any more): nothing was sent. Each sender raises errors of its own."""


def reason_of(error: BaseException) -> str:
    """Return the error as text without a full stop: the system's words for an OSError, else the error's own."""
    if isinstance(error, OSError) and error.strerror:
        # Trio's own text has an address in it as Python writes it. The numbers of TLS and of names mean other things.
        if error.errno is not None and error.errno in errno.errorcode and not isinstance(error, ssl.SSLError):
            return os.strerror(error.errno)
        return error.strerror.rstrip(".")
    return str(error).rstrip(".") or type(error).__name__
