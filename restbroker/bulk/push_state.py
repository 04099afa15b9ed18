"""The state file of a batch, beside its input: its id and progress. `bulk.command` reads and writes it.

Always holds: only its owner may read it, and it is written as a whole or stays as it was. It only saves time: Redis
records which rows are pushed, together with the jobs.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import attrs

from restbroker.console import private_file
from restbroker.errors import UsageError
from restbroker.job import rubyjson
from restbroker.job.json_types import Json

SUFFIX: Final = ".restbroker-state"
_VERSION: Final = 1


@attrs.frozen
class State:
    """The contents of the file: the id of the batch, and the last row (`row`) that was pushed when it was written.

    `source`: a digest of the input, the command and the options. `rows`: a digest of the rows up to `row`, where the
    input can be read once only.
    """

    batch: str
    source: str
    row: int = 0
    rows: str = ""
    is_complete: bool = False


def read(path: Path) -> State | None:
    """Return the contents of the file; None without a file. Raise `UsageError` for another kind of file."""
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
            hint = "Name another one with --state, or remove it: Redis also knows how far the batch got."
            raise UsageError(f"{path} is not a state file of this version.", hint)


def write(path: Path, state: State) -> None:
    """Write the state, replacing the file. Raise `OSError` if that fails."""
    document: Mapping[str, Json] = {"version": _VERSION, "batch": state.batch, "source": state.source,
        "row": state.row, "rows": state.rows, "complete": state.is_complete}  # fmt: skip
    private_file.replace(path, [rubyjson.dumps(document) + b"\n"])


def digest(path: Path) -> str:
    """Return the digest of a file's bytes. Raise `OSError` if it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
