"""Files with one job in each row: CSV with a line that names its columns, or NDJSON. `enqueue --bulk` reads them.

Always holds: however long the file or a line of it is, little of it is in memory; each row has its number, even after
bad rows; a row that cannot be read is a `Bad` row with the line in which it begins and its exact text; no member of an
object is lost: one that names a member twice is a bad row.
"""

import errno
import hashlib
import io
import json
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import attrs

from restbroker.bulk import csv as bulk_csv
from restbroker.bulk.read import (
    BOM,
    ENDS,
    ERROR,
    LONGEST,
    Bad,
    BadFile,
    Lines,
    Read,
    Row,
    Source,
    Table,
    TooLong,
    too_long,
)
from restbroker.errors import UsageError
from restbroker.job import rubyjson
from restbroker.job.endpoint import kind_of
from restbroker.job.json_types import Json

STDIN: Final = "-"


@attrs.frozen(eq=False)
class Input:
    """An open input. `digest`: of its bytes; `size`: how many these are. Both are None if it can be read once only."""

    name: str
    source: Source
    raw: io.BufferedReader
    digest: str | None
    size: int | None

    def share_read(self) -> float | None:
        """Return which share of the file has been read, 0 to 1; None if its size is unknown."""
        return self.raw.tell() / self.size if self.size else None


@contextmanager
def open_input(file: Path) -> Iterator[Input]:
    """Yield the input in the file of this path, or standard input for `-`. Raise `UsageError` if it cannot be read."""
    is_stdin = str(file) == STDIN
    name = "standard input" if is_stdin else str(file)
    try:
        with open(0 if is_stdin else file, "rb", closefd=not is_stdin) as raw:
            found = os.fstat(raw.fileno())
            is_file = stat.S_ISREG(found.st_mode)
            # Bytes that are not UTF-8 cost their row only.
            source = io.TextIOWrapper(raw, encoding="utf-8", errors="surrogateescape", newline="")
            digest, size = (_digest(raw), found.st_size) if is_file else (None, None)
            yield Input(name, source, raw, digest=digest, size=size)
            source.detach()
    except OSError as error:
        if error.filename is None and is_stdin and error.errno != errno.EBADF:
            raise
        raise UsageError(f"{name} cannot be read: {error.strerror}.", "Name a file of CSV or NDJSON, or -.") from None


def _digest(raw: io.BufferedReader) -> str:
    began = raw.tell()
    digest = hashlib.file_digest(raw, "sha256").hexdigest()
    raw.seek(began)
    return digest


def open_table(source: Source) -> Table:
    """Return the table in a file of CSV, or of NDJSON if it begins with `{`.

    Raise `BadFile` if it can be neither; its rows raise it too, while they are read.
    """
    lines = Lines(source)
    try:
        first = next((line for line in lines if line.strip(BOM + " \t\r\n")), "")
    except TooLong:
        raise BadFile("begins with a line of more than 1 MiB", "Give CSV, or one JSON object in each line.") from None
    mark = BOM if lines.row_lines[:1] and lines.row_lines[0].startswith(BOM) else ""
    first = first.removeprefix(BOM)
    if first.startswith(("\udcff\udcfe", "\udcfe\udcff")) or "\0" in first:
        raise BadFile("is UTF-16 or not text", "Save it as UTF-8 (in a spreadsheet: CSV UTF-8).")
    if not first:
        raise BadFile("is empty", "Give CSV, whose first line names the columns, or one JSON object in each line.")
    match first.lstrip()[0]:
        case "{":
            lines.row_lines[:] = [first]
            return Table("ndjson", (), "", opening=mark, rows=_ndjson_rows(lines))
        case "[":
            raise BadFile("is a JSON list", "Write one object in each line: jq -c '.[]' FILE")
        case _:
            return bulk_csv.table_of(first, lines, mark)


def reject_text(table: Table, bad: Bad) -> str:
    """Return the text of a bad row for the rejects file, in a form that can be corrected and read again."""
    if bad.more:
        return f"{table.separator}{bad.text}" if bad.is_open else bad.text
    why = f"line {bad.line}: {bad.why}"
    text = bad.text if bad.text.endswith(ENDS) or len(bad.text) >= LONGEST else f"{bad.text}\n"
    if table.form == "csv":
        cell = why.replace('"', '""')
        if bad.is_open:  # Once it is closed, the lines behind it are rows with an empty cell there.
            text = re.sub("(?<=\n)(?=.)", table.separator, text)
        elif not table.is_rejects:
            text = bulk_csv.guarded_row(text, table.separator)
        return f'"{cell}"{table.separator}{text}'
    document = rubyjson.object_of(text.encode("utf-8", "surrogateescape"))
    if not document or _has_duplicate_name(text):  # What cannot be read, or would lose something.
        return f"{json.dumps({ERROR: why}, ensure_ascii=False)}\n{text}"
    document.pop(ERROR, None)
    return rubyjson.dumps({**document, ERROR: why}).decode() + "\n"


def _ndjson_rows(lines: Lines) -> Iterator[Read]:
    """Yield all rows as they are read, good and bad; `lines` has the first line already."""
    number = 0
    while True:
        text = lines.text()
        if text.strip():
            found = _member_of(text)
            if found != {}:
                number += 1
                if isinstance(found, str):
                    yield Bad(number, lines.number, found, text)
                else:
                    yield Row(number, lines.number, found, text)
        lines.begin()
        try:
            if next(lines, None) is None:
                return
        except TooLong:
            number += 1
            yield from too_long(number, lines)
            lines.row_lines[:] = [""]


def _member_of(text: str) -> dict[str, Json] | str:
    """Return the object of a line, or why there is none.

    It is empty for a line that only says why the next one was rejected.
    """
    try:
        value = rubyjson.loads(text.encode("utf-8", "surrogateescape"))
    except rubyjson.Unreadable as error:
        return f"not JSON: {error}."
    if not isinstance(value, dict):
        return f"{kind_of(value)}, not an object."
    # Each name has a colon behind it, so only where there are more of these can one stand twice.
    if text.count('":') + text.count('" :') > len(value) and _has_duplicate_name(text):
        return "an object has a name twice."
    if ERROR in value:
        del value[ERROR]
        return value
    return value or "an empty object."


def _has_duplicate_name(text: str) -> bool:
    """Tell whether some object in this JSON names a member twice; also True for what is not JSON."""
    try:
        json.loads(text, object_pairs_hook=_require_once)
    except ValueError:
        return True
    return False


def _require_once(pairs: list[tuple[str, Json]]) -> None:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise ValueError
