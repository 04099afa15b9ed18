"""The input of `enqueue --bulk`, and the name of its batch. Called by `bulk.command`.

Always holds: the same file with the same command is the same batch, no matter who pushes it again; the name of a batch
reveals nothing of what is in the file without the token's secret.
"""

import errno
import hashlib
import hmac
import io
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

import attrs

from restbroker.bulk import push_state as bulk_state
from restbroker.bulk.push_jobs import BATCH_DIGITS
from restbroker.bulk.push_state import State
from restbroker.bulk.read import Source
from restbroker.console import output
from restbroker.errors import UsageError

STDIN: Final = "-"


@attrs.define(eq=False)
class Input:
    """An open input. `digest` None: it can be read once only. `size` None: it is unknown. `state`: its state file.

    `begins`: the position of its first byte in the file; `copy`: a copy of the text read so far, if the input can be
    read once only and will be needed again.
    """

    name: str
    source: Source
    raw: io.BufferedReader
    digest: str | None
    size: int | None
    state: Path | None
    begins: int = 0
    copy: IO[str] | None = None

    @contextmanager
    def reopen(self) -> Iterator[Source | None]:
        """Yield the same input from its beginning, or None if the file was changed; `source` ends by that."""
        if self.copy is not None:
            self.copy.seek(0)
            yield self.copy
            return
        self.raw.seek(self.begins)
        if _digest(self.raw) != self.digest:
            yield None
            return
        source = _as_text(self.raw)
        yield source
        source.detach()

    def bytes_read(self) -> int:
        """Return how many bytes of the file have been read; 0 if the input can be read once only."""
        return self.raw.tell() if self.digest is not None else 0


@attrs.frozen(eq=False)
class _CopyingSource:
    """Keeps a copy of what is read."""

    source: Source
    copy: IO[str]

    def readline(self, size: int = -1, /) -> str:
        """Return the next line, as `Source` does, and keep a copy."""
        text = self.source.readline(size)
        self.copy.write(text)
        return text


def _as_text(raw: io.BufferedReader) -> io.TextIOWrapper:
    # Bytes that are not UTF-8 cost their row only.
    return io.TextIOWrapper(raw, encoding="utf-8", errors="surrogateescape", newline="")


@contextmanager
def open_input(file: Path, state: Path | None, *, twice: bool = False) -> Iterator[Input]:
    """Yield the input; `twice`: it will be read again (`Input.reopen`). Raise `UsageError` if it cannot be read.

    `file`: its path, or `-` for standard input. `state`: the path of its state file; None: beside a file, or none.
    """
    name = "standard input" if str(file) == STDIN else str(file)
    try:
        with open(0 if str(file) == STDIN else file, "rb", closefd=str(file) != STDIN) as raw:
            found = os.fstat(raw.fileno())
            is_file = stat.S_ISREG(found.st_mode)
            digest = _digest(raw) if is_file else None
            source, begins = _as_text(raw), raw.tell() if is_file else 0
            beside = file.with_name(file.name + bulk_state.SUFFIX) if is_file and str(file) != STDIN else None
            size = found.st_size if is_file else None
            if is_file or not twice:
                yield Input(name, source, raw, digest=digest, size=size, state=state or beside, begins=begins)
            else:
                # No one else can open it, and it is gone with this process.
                with tempfile.TemporaryFile("w+", encoding="utf-8", errors="surrogateescape", newline="") as copy:
                    yield Input(
                        name, _CopyingSource(source, copy), raw, digest=digest, size=size, state=state, copy=copy
                    )
            source.detach()
    except OSError as error:
        if error.filename is None and str(file) == STDIN and error.errno != errno.EBADF:
            raise
        raise UsageError(f"{name} cannot be read: {error.strerror}.", "Name a file of CSV or NDJSON, or -.") from None


def batch_of(found: Input, what: str, secret: str, *, again: bool) -> State:
    """Return the batch of this input: its id, and its progress if it was begun before.

    `what`: the command and options, as a text; another text means another batch. `secret`: the first token's, from
    which the id is derived, so that the same file has the same id. `again`: begin a new batch in any case. Raise
    `UsageError` if the state file belongs to another batch, or cannot be read.
    """
    source = hashlib.sha256(f"{found.digest}\n{what}".encode()).hexdigest()
    if again:
        return State(secrets.token_hex(BATCH_DIGITS // 2), source)
    known = None if found.state is None else bulk_state.read(found.state)
    if known is None:
        if found.digest is None:
            return State(secrets.token_hex(BATCH_DIGITS // 2), source)
        derived = hmac.new(secret.encode(), b"restbroker bulk " + source.encode(), "sha256").hexdigest()
        return State(derived[:BATCH_DIGITS], source)
    if known.source != source:
        raise UsageError(
            f"{found.state} belongs to another batch: {found.name} or the command line has changed.",
            "--again pushes all its rows as they are now. To push only corrected rows, feed the rejects file.",
        )
    return known


def save(found: Input, state: State) -> None:
    """Write the state file of `found`, if it has one.

    If it cannot be written, print a note and go on without one: Redis also knows how far the batch got.
    """
    if found.state is None:
        return
    try:
        bulk_state.write(found.state, state)
    except OSError as error:
        output.say(
            f"note: the state file {found.state} cannot be written: {error.strerror}; Redis keeps the progress too."
        )
        found.state = None


def _digest(raw: io.BufferedReader) -> str:
    began = raw.tell()
    digest = hashlib.file_digest(raw, "sha256").hexdigest()
    raw.seek(began)
    return digest
