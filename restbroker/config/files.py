"""Read the text of a configuration or secret file, which must be a regular file, and decode that of a secret.

Called by `document` and `secret`. Always holds: a FIFO without a writer, or a device, blocks no caller; it could not be
read again at a reload or a rotation either.
"""

import errno
import stat
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from pathlib import Path


def bytes_of(path: Path) -> bytes:
    """Return the file's bytes; raise `OSError`, with `strerror`, if it cannot be read or is no regular file."""
    mode = path.stat().st_mode
    # A directory is left to the reading, which says so.
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(errno.EINVAL, "it is a FIFO, socket or device; a regular file is needed", str(path))
    return path.read_bytes()


def text_of(raw: bytes) -> str:
    """Return the text in these bytes of UTF-8 or UTF-16, as editors write it, without its byte-order mark.

    Raise `ValueError` if it is no such text; its message says so without a part of it.
    """
    low, high = raw[1::2].count(0), raw[::2].count(0)
    encoding = "utf-8-sig"
    if raw.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        encoding = "utf-16"
    elif max(low, high) > len(raw) // 4:  # without a mark most characters of a secret must be Latin ones
        encoding = "utf-16-le" if low > high else "utf-16-be"
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise ValueError("it is neither UTF-8 nor UTF-16 text")
    return text
