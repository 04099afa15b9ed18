"""Who may report events: the secret of a source, in every place where its server can put it, or its signing key.

Called by `webhook` for each request; the roster service has its secret here, too. Always holds: secrets are compared in
constant time; one in a file is read again within seconds, never on the event loop; a file that cannot be read leaves
its last value in force, with one warning.
"""

import base64
import binascii
import hmac
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Final
from urllib.parse import unquote_to_bytes

import trio

from restbroker.config.secret import Secret
from restbroker.config.urls import is_loopback
from restbroker.errors import ConfigError
from restbroker.light import define, field
from restbroker.telemetry.events import OperatorWarning, Report

_READ_AGAIN_S: Final = 5.0
"""Seconds between two reads of a file while the secrets of requests fit."""
_READ_SOON_S: Final = 1.0
"""Seconds between two reads of a file while one does not."""
_KNOWN_S: Final = 0.5
_FIRST_S: Final = 5.0
"""Seconds that a file may take: `_KNOWN_S` where its last value is known, and this where none is."""
_MOST_PARTS: Final = 8
_HOST: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:]*))(?::\d{1,5})?")


@define(eq=False)
class CurrentSecret:
    """A secret with its current value; one that stands in no file is read once."""

    secret: Secret
    report: Report
    value: bytes = field(default=b"", repr=False)
    """The value as it was read last, in UTF-8; empty while it could not be read yet."""
    _read_at_s: float = -_READ_AGAIN_S
    _is_reported: bool = False
    _thread: trio.CapacityLimiter = field(factory=lambda: trio.CapacityLimiter(1))
    """A limiter of its own: where a disk hangs, threads must not pile up, nor take the places of others."""

    async def current(self) -> bytes:
        """Return the value, read again if the last read was more than some seconds ago; the last one if that fails."""
        await self.read(_READ_AGAIN_S)
        return self.value

    async def fits(self, is_right: Callable[[bytes], bool]) -> bool:
        """Tell whether the value is right, as it was read last or else as it is now; one that is not known is not."""
        if is_right(await self.current()) and self.value:
            return True
        return await self.read(_READ_SOON_S) and is_right(self.value) and bool(self.value)

    async def read(self, after_s: float) -> bool:
        """Read the value if the last read was `after_s` seconds ago or more; return whether a read was tried.

        If the file cannot be read, or does not answer soon, the value stays; of the first one warning is reported.
        """
        now_s = trio.current_time()
        if self.value and (self.secret.path is None or now_s - self._read_at_s < after_s):
            return False
        self._read_at_s = now_s
        try:
            # A slow disk must hold up neither deliveries nor requests.
            with trio.move_on_after(_KNOWN_S if self.value else _FIRST_S):
                text = await trio.to_thread.run_sync(self.secret.reveal, abandon_on_cancel=True, limiter=self._thread)
                self.value, self._is_reported = text.encode(), False
        except ConfigError as error:
            if not self._is_reported:
                self._is_reported = True
                self.report(
                    OperatorWarning("SecretFileUnusable", f"{error.message} Its last value stays valid.", error.hint)
                )
        return True


@define(eq=False)
class SourceLogin:
    """The check of the secret of one source, which has a secret or takes events from this machine only."""

    secret: CurrentSecret | None

    async def accepts(self, headers: Mapping[bytes, bytes], query: bytes, in_path: Sequence[str] = ()) -> bool:
        """Tell whether a request shows the secret, or, where there is none, names this machine as its `Host`.

        Programs of this machine do name it. A web page that a user of this machine opens could send requests as well,
        but under a host name of its own. `in_path`: what follows the source's path in the request's may be these.
        """
        fresh = self.secret
        if fresh is None:
            return _names_this_machine(headers.get(b"host", b"").decode("latin-1"))
        given = [*_credentials(headers, query), *(text.encode("utf-8", "surrogateescape") for text in in_path)]
        return bool(given) and await fresh.fits(lambda secret: _is_among(secret, given))

    def without_secret(self, rest: str) -> str:
        """Return what follows the source's path in the path of a request that was accepted, without the secret."""
        secret, found = b"" if self.secret is None else self.secret.value, f"/{rest}/"
        while secret and (whole := f"/{secret.decode()}/") in found:
            found = found.replace(whole, "/")
        return found[1:-1]


def beginnings(path: str) -> list[str]:
    """Return each beginning of a path that may be a secret, which may itself have some slashes."""
    parts = path.split("/", _MOST_PARTS)[:_MOST_PARTS] if path else []
    return ["/".join(parts[:end]) for end in range(1, len(parts) + 1)]


def _is_among(secret: bytes, given: list[bytes]) -> bool:
    fits = [bool(candidate) and hmac.compare_digest(candidate, secret) for candidate in given]  # all take their time
    return any(fits)


def basic_login(header: bytes) -> bytes:
    """Return the `user:password` of HTTP Basic in the header `Authorization`; b"" if there is none."""
    scheme, _, credentials = header.partition(b" ")
    try:
        return base64.b64decode(credentials.strip(), validate=True) if scheme.lower() == b"basic" else b""
    except binascii.Error:
        return b""


def _credentials(headers: Mapping[bytes, bytes], query: bytes) -> Iterator[bytes]:
    """Yield what a request shows as its secret: a bearer token, the password of HTTP Basic, `?key=`."""
    scheme, _, credentials = headers.get(b"authorization", b"").partition(b" ")
    match scheme.lower():
        case b"bearer":
            yield credentials.strip()
        case b"basic":
            login = basic_login(headers[b"authorization"])
            # Prosody sends what stands before the @ of its URL, whatever that is.
            yield login.partition(b":")[2] if b":" in login else login
        case _:
            pass
    for part in query.split(b"&"):
        if part.startswith(b"key="):
            # Not as a form's: a plus is a plus.
            yield unquote_to_bytes(part.removeprefix(b"key="))


@lru_cache(maxsize=64)
def _names_this_machine(host: str) -> bool:
    parts = _HOST.fullmatch(host)
    return parts is not None and is_loopback(parts[1] or parts[2])
