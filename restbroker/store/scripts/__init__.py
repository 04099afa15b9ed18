"""The Lua scripts: each does for many jobs what must happen in one step. Used by the files of the store.

Always holds: every script may be sent twice, and keeps each job in exactly one place even when Redis refuses a part.
Needs Redis ≥ 7.0 or Valkey ≥ 7.2 (`#!lua flags=…`): a full Redis must be drained, not refuse its own relief.
"""

from functools import cache
from pathlib import Path
from typing import Final

from restbroker.light import frozen

_FOLDER: Final = Path(__file__).parent
_PARTS = ("clock", "keys", "states", "key_queues", "size", "rate", "hand", "moments", "moves", "reading")
"""What several scripts know: a part stands in the place of the line that names it when a script is sent.

One that names another stands before that one here.
"""

_KNOWN: Final = {"push": "fbcb7ebffff9966320dbb44826c52aab191c560d"}
"""The SHA-1 of what `enqueue` runs."""


@frozen
class Script:
    """A script's source, and the SHA-1 that Redis knows it by."""

    source: bytes
    sha: str


@cache
def script(name: str) -> Script:
    """Return the script of this name, which is read once per process."""
    source = _FOLDER.joinpath(f"{name}.lua").read_bytes()
    for part in _PARTS:
        line = f"-- part: {part}\n".encode()
        if line in source:
            source = source.replace(line, _FOLDER.joinpath("parts", f"{part}.lua").read_bytes())
    return Script(source, _KNOWN.get(name) or _sha_of(source))


def _sha_of(source: bytes) -> str:
    import hashlib  # it loads OpenSSL, which takes a shell command longer than its job

    return hashlib.sha1(source, usedforsecurity=False).hexdigest()


def names() -> list[str]:
    """Return the names of all scripts: each is a file."""
    return sorted(file.stem for file in _FOLDER.glob("*.lua"))


def read_all() -> None:
    """Read every script now: later, files of another version may be there, or no file descriptor may be free."""
    for name in names():
        script(name)
