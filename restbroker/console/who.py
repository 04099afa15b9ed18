"""Who types: for the audit stream. Used by commands that change something."""

import os
import socket


def who() -> str:
    """USER@HOST; with sudo, the user who called it."""
    import getpass  # with it what reads passwords, and most commands only look

    try:
        user = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"
