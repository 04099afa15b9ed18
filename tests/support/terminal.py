"""What a command shows on a terminal of a given width. Used by tests of the command line."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.process import clean_environment


def on_a_terminal(
    arguments: Sequence[str], directory: Path, *, columns: int = 80, environ: Mapping[str, str] | None = None
) -> str:
    """Everything that `python -m restbroker` writes to stdout on a terminal, escape sequences included."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    with subprocess.Popen(
        [sys.executable, "-m", "restbroker", *arguments],
        stdout=theirs,
        stderr=subprocess.DEVNULL,
        cwd=directory,
        env=clean_environment({"TERM": "xterm", **(environ or {})}),
    ):
        os.close(theirs)
        parts = []
        try:
            while part := os.read(ours, 65536):
                parts.append(part)
        except OSError:
            pass  # Linux says EIO when the other side of a terminal is closed
        finally:
            os.close(ours)
    return b"".join(parts).decode()
