"""Who types, for the audit log; used by commands that change something."""

import os
import socket


def who() -> str:
    """Return USER@HOST; with sudo, USER is the one who called it."""
    import getpass  # with it what reads passwords, and most commands only look

    try:
        user = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"
