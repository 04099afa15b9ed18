"""Reads the text of a configuration or secret file, and of no other thing that a path may name.

Called by `document` and `secret`. Always holds: a FIFO without a writer, or a device, blocks nobody; such a thing could
not be read again at a reload or a rotation either.
"""

import errno
import stat
from pathlib import Path


def text_of(path: Path, encoding: str) -> str:
    """The file's text. Raises OSError with `strerror`, also for what is no regular file, and UnicodeDecodeError."""
    mode = path.stat().st_mode
    # A directory is left to the reading, which says so.
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(errno.EINVAL, "it is a FIFO, socket or device; a regular file is needed", str(path))
    return path.read_text(encoding=encoding)
