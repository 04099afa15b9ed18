"""The file in which a batch remembers what it is, beside its input. `bulk.command` reads and writes it.

Always holds: nobody else may read it, and it is there as a whole or as it was before. It is a help, not the truth:
Redis notes what is pushed together with the jobs.
"""

import hashlib
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import attrs

from restbroker.errors import UsageError
from restbroker.job import rubyjson
from restbroker.job.json_types import Json

SUFFIX: Final = ".restbroker-state"
_VERSION: Final = 1


@attrs.frozen
class State:
    """`source`: a digest of the input and of what was asked for it. `rows`: that of the rows up to `row`, where the
    input can be read once only.
    """

    batch: str
    source: str
    row: int = 0
    rows: str = ""
    is_complete: bool = False


def read(path: Path) -> State | None:
    """What the file says; None without a file. Raises `UsageError` for one that is something else."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f"The state file {path} cannot be read: {error.strerror}.", "Check its rights.") from None
    match rubyjson.object_of(raw):
        case {"version": 1, "batch": str(batch), "source": str(source), "row": int(row), "rows": str(rows),
              "complete": bool(complete)}:  # fmt: skip
            return State(batch, source, row, rows=rows, is_complete=complete)
        case _:
            cure = "Name another one with --state, or remove it: then Redis alone tells how far the batch got."
            raise UsageError(f"{path} is no state file of this version.", cure)


def write(path: Path, state: State) -> None:
    """Writes it in the place of what was there. Raises `OSError`."""
    document: Mapping[str, Json] = {"version": _VERSION, "batch": state.batch, "source": state.source,
        "row": state.row, "rows": state.rows, "complete": state.is_complete}  # fmt: skip
    handle, name = tempfile.mkstemp(prefix=".restbroker-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(rubyjson.dumps(document) + b"\n")
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


def digest(path: Path) -> str:
    """Of a file's bytes. Raises `OSError`."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
