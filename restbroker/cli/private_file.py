"""Writes a new file that only its owner may read: a configuration, a secret. Used by `config init` and `token new`.

Always holds: a file that is there already is left alone, and nobody else can read the new one at any moment.
"""

import os
from pathlib import Path

from restbroker.errors import UsageError


def write_new(path: Path, text: str) -> None:
    """Makes the file with mode 0600. Raises `UsageError` if it exists or cannot be made."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise UsageError(f"{path} exists already; nothing was changed.", "Name another file, or remove it.") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be made: {error.strerror}.", "Name another file.") from error
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
