"""A secret that cannot be printed by accident, from the configuration itself or from a file.

Always holds: `repr`, `str`, `attrs.asdict`, `pickle` and errors never show the value; a secret from a file is read
again at each `reveal`, so that a rotated file takes effect without a restart; an empty file is no secret (a shell
empties a file before it writes it); a FIFO without a writer, or a device, blocks no caller: it could not be read again.
"""

import errno
import stat
import time
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Callable
from pathlib import Path
from typing import Final, NoReturn

from restbroker.config.values import without_logins
from restbroker.errors import ConfigError

_LINE_ENDS: Final = "\n\x85\u2028\u2029\x1a"
"""What editors of any system may leave at a file's end; blanks belong to the secret."""
_FIXED_TEXT: Final = b"Which restbroker processes have the same secret?"
_SETTLED_NS: Final = 1_000_000_000
"""How long ago a file must have changed: a clock of files may tick only every few milliseconds."""


class Secret:
    """A secret, as its value or the file that holds it; no attrs class, since `attrs.asdict` would show the value.

    `part` returns the secret from the file's text, and may raise `ConfigError`.
    """

    __slots__ = ("_before", "_last", "_part", "_value", "path")

    def __init__(self, value: str | None = None, path: Path | None = None, *, part: Callable[[str], str] = str) -> None:
        self._value: Final = value
        self.path: Final = path
        self._part: Final = part
        self._last = self._before = ""

    def __repr__(self) -> str:
        return "Secret(…)" if self.path is None else f"Secret(path={without_logins(str(self.path))!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and (self._value, self.path) == (other._value, other.path)

    def __hash__(self) -> int:
        return hash((self._value, self.path))

    def __reduce__(self) -> NoReturn:
        raise TypeError("A secret cannot be pickled or copied.")

    def reveal(self) -> str:
        """Return the secret's text, that of a file without its final line break.

        Raise `ConfigError` if the file cannot be read or is blank.
        """
        if self.path is None:
            return self._value or ""
        # An address written as its file's may have a login in it.
        file = f"The secret file {without_logins(str(self.path))}"
        try:
            text = text_of(bytes_of(self.path)).replace("\r\n", "\n").replace("\r", "\n").rstrip(_LINE_ENDS)
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
        else:
            if text.strip():
                if (secret := self._part(text)) != self._last:
                    self._before, self._last = self._last, secret
                return secret
            raise ConfigError(f"{file} is empty.", "Put the secret into it, on one line.")
        # Not within the handler: an error of decoding holds the file's bytes.
        raise ConfigError(
            f"{file} cannot be read: {why}.",
            "Check that the file exists and that the user that runs restbroker may read it.",
        )

    @property
    def last_text(self) -> str:
        """The secret as it was read last, from its file only if it never was. Raise the errors of `reveal` then."""
        return self._last or self.reveal()

    @property
    def texts_read(self) -> frozenset[str]:
        """The texts that must not be shown, as far as they are known without reading the file."""
        return frozenset({self._value or "", self._last, self._before} - {""})

    def is_other_than(self, used: str) -> bool:
        """Read the file again, and tell whether it holds another secret than `used`; False if it cannot be read."""
        try:
            return self.reveal() != used
        except ConfigError:
            return False

    def file_state(self) -> tuple[int, ...] | None:
        """Return a value (numbers of `stat`) that changes when the secret's file changes.

        None: there is no file, it cannot be found, or it changed so lately that another change might not show.
        """
        if self.path is None:
            return None
        try:
            found = self.path.stat()
        except OSError:
            return None
        if time.time_ns() - max(found.st_mtime_ns, found.st_ctime_ns) < _SETTLED_NS:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns

    def texts(self) -> frozenset[str]:
        """Return the texts that must not be shown: the secret as it is now, and as it was read from its file before.

        A request may still be in progress with the earlier one.
        """
        before = self._last
        try:
            now = self.reveal()
        except ConfigError:
            now = ""
        return frozenset({before, now} - {""})


def digest_of(secret: str) -> str:
    """Return an HMAC (hex, 64 bits) of a fixed text under this secret, or any other value.

    It tells whether two processes have the same value, and of a secret only whether a guess is right.
    """
    import hmac  # it loads OpenSSL, and anyone who only pushes jobs does without

    return hmac.digest(secret.encode("utf-8", "surrogatepass"), _FIXED_TEXT, "sha256").hex()[:16]


NO_SECRET: Final = Secret()
"""The value of a field for which no secret was written."""


def place_of(place: str, written: Secret | None) -> str:
    """Return the key that the secret was written for: that at `place`, or the one for its file."""
    return place if written is None or written.path is None else f"{place}File"


def is_blank(written: Secret | None) -> bool:
    """Tell whether nothing, or only blanks, was written; a secret in a file is judged when it is read."""
    return written is None or (written.path is None and not written.reveal().strip())


def bytes_of(path: Path) -> bytes:
    """Return the file's bytes; raise `OSError`, with `strerror`, if it cannot be read or is no regular file."""
    mode = path.stat().st_mode
    # A directory is left to the reading, which says so.
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(errno.EINVAL, "it is a FIFO, socket or device; a regular file is needed", str(path))
    return path.read_bytes()


def text_of(raw: bytes) -> str:
    """Return the text in these bytes of UTF-8 or UTF-16, as editors write it, without its byte-order mark.

    The clients of examples/clients do the same (docs/tokens.md). Raise `ValueError` if it is no such text; its message
    says so without a part of it.
    """
    encoding = "utf-16" if raw.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else "utf-8-sig"
    if 0 in raw[:2]:  # without a mark the first character of a secret must be a Latin one
        encoding = "utf-16-le" if raw[0] else "utf-16-be"
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise ValueError("it is neither UTF-8 nor UTF-16 text")
    return text
