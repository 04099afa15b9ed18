"""Write files that only their owner may read; used for everything that holds a secret, a roster or a batch's state.

Always holds: no other user can read the file at any moment, except a service's group if root configures it. It is
there completely, or as it was before, also when the disk is full: half a secret would be taken for one. A new file
(`write_new`) never replaces one that exists.
"""

import os
import shlex
import stat
import tempfile
from collections.abc import Iterable
from pathlib import Path

from restbroker.errors import UsageError


def write_new(path: Path, text: str) -> None:
    """Create a file of the configuration; raise `UsageError` and leave nothing if it exists or cannot be written.

    Its mode is 0600. If root writes it into a folder that only a group may enter, as /etc/restbroker, that group reads
    it, with mode 0640.
    """
    write_pieces(path, [text], for_service=True)


def readers(path: Path) -> str:
    """Return who can read a file that `write_new` made, as the beginning of a sentence."""
    return "Only you and its folder's group" if path.stat().st_mode & stat.S_IRGRP else "Only you"


def require_folder(path: Path) -> None:
    """Raise `UsageError` if the folder that the file would be in does not exist."""
    if not path.parent.exists():
        hint = f"Make it first: mkdir -p {shlex.quote(str(path.parent))}"
        raise UsageError(f"{path} cannot be written: its folder does not exist.", hint)


def write_pieces(path: Path, texts: Iterable[str], *, for_service: bool = False) -> None:
    """Create the file from pieces with mode 0600; if iterating over them raises an error, no file is left.

    `for_service`: with the group that `write_new` names.
    """
    require_folder(path)
    folder = path.parent.stat()
    shares = for_service and os.geteuid() == 0 and folder.st_gid != 0 and folder.st_mode & 0o057 == 0o050
    try:
        handle, name = tempfile.mkstemp(prefix=".restbroker-", dir=path.parent)
        beside = Path(name)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.writelines(texts)
                file.flush()
                if shares:
                    os.fchown(handle, -1, folder.st_gid)
                    os.fchmod(handle, 0o640)
                os.fsync(handle)
            # Takes the name, or fails; a link would do both at once, but some file systems have none.
            path.touch(0o600, exist_ok=False)
            beside.replace(path)
        except BaseException:
            beside.unlink()
            raise
    except FileExistsError as error:
        raise UsageError(f"{path} exists already; nothing was changed.", "Name another file, or remove it.") from error
    except OSError as error:
        hint = "Free some space there, or name another file."
        raise UsageError(f"{path} cannot be written: {error.strerror}. No file was left behind.", hint) from error
