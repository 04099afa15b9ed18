"""Checks the login of requests for rosters. Used by `rosters.service.service`.

Always holds: secrets are compared in constant time, and never leave this file; one that stands in a file is read again
after `READ_AGAIN_S`, or a second after the last time where what a request shows does not fit, in a thread: a slow disk
must not hold up deliveries. One that cannot be read any more, or not within `_READ_S`, stays as it was.

Prosody sends what stands in `http_roster_url` as it is written there, percent sequences too (measured), and not every
secret can be written into an address without them: so both forms fit.
"""

import binascii
import hmac
from base64 import b64decode
from urllib.parse import unquote_to_bytes

import attrs
import trio

from restbroker.config.roster import QueryKey
from restbroker.config.secret import Secret
from restbroker.config.target import Basic
from restbroker.errors import ConfigError
from restbroker.serving.plain import Request
from restbroker.telemetry.events import OperatorWarning, Report

READ_AGAIN_S = 10.0
_IN_DOUBT_S = 1.0
_READ_S = 0.5
_FIRST_S = 5.0
"""Seconds that a file may take: `_READ_S` where its last secret is known, and this where none is."""


@attrs.define(eq=False)
class Login:
    """The check of one service's login. `auth`: what is required; None: nothing."""

    auth: Basic | QueryKey | None
    report: Report
    _known: bytes = attrs.field(default=b"", repr=False)
    """What a request must show; empty before it was read."""
    _read_at_s: float = float("-inf")
    _lock: trio.Lock = attrs.field(factory=trio.Lock)
    _thread: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(1))
    """A limiter of its own: where a disk hangs, threads must not pile up, nor take the places of others."""

    async def fits(self, request: Request, key: bytes) -> bool:
        """Tell whether this request shows the login, in its head or as this `key`.

        Raise `ConfigError` if the secret cannot be read and none is known.
        """
        match self.auth:
            case None:
                return True
            case QueryKey(value):
                return await self._is(key, b"", value)
            case Basic(user, password):
                return await self._is(_basic(request.header(b"authorization")), user.encode() + b":", password)

    async def _is(self, given: bytes, before: bytes, secret: Secret) -> bool:
        await self._read(before, secret, READ_AGAIN_S)
        if self._equals(given):
            return True
        await self._read(before, secret, _IN_DOUBT_S)
        return self._equals(given)

    def _equals(self, given: bytes) -> bool:
        as_written = hmac.compare_digest(given, self._known)
        decoded = hmac.compare_digest(unquote_to_bytes(given), self._known)
        return as_written or decoded

    async def _read(self, before: bytes, secret: Secret, age_s: float) -> None:
        """Read the secret, unless what is known is younger than `age_s`; `before` precedes it in a login."""
        async with self._lock:
            if self._known and (secret.path is None or trio.current_time() - self._read_at_s < age_s):
                return
            if secret.path is None:
                self._known = before + secret.reveal().encode()
                return
            try:
                with trio.move_on_after(_READ_S if self._known else _FIRST_S):
                    text = await trio.to_thread.run_sync(secret.reveal, abandon_on_cancel=True, limiter=self._thread)
                    self._known = before + text.encode()
            except ConfigError as error:
                self.report(OperatorWarning("LoginUnreadable", error.message, error.hint))
                if not self._known:
                    raise
            if not self._known:
                raise ConfigError("The file of the login for rosters does not answer.", "Check its file system.")
            self._read_at_s = trio.current_time()


def _basic(header: bytes) -> bytes:
    """Return user and password of this header as `user:password`; b"" if there are none."""
    kind, _, given = header.partition(b" ")
    if kind.lower() != b"basic":
        return b""
    try:
        return b64decode(given.strip(), validate=True)
    except binascii.Error:
        return b""
