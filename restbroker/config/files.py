"""Read the text of a configuration or secret file, which must be a regular file.

Called by `document` and `secret`. Always holds: a FIFO without a writer, or a device, blocks no caller; it could not be
read again at a reload or a rotation either.
"""

import errno
import stat
from pathlib import Path


def text_of(path: Path, encoding: str) -> str:
    """Return the file's text.

    Raise `OSError`, with `strerror`, if it cannot be read or is no regular file, and `UnicodeDecodeError` if it does
    not have this encoding.
    """
    mode = path.stat().st_mode
    # A directory is left to the reading, which says so.
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(errno.EINVAL, "it is a FIFO, socket or device; a regular file is needed", str(path))
    return path.read_text(encoding=encoding)
