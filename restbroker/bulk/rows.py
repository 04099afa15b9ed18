"""Rows of a file with one job in each: CSV with a line that names its columns, or NDJSON. `enqueue --bulk` reads them.

Always holds: however long the file or a line of it is, little of it is in memory; each row has its number, even after
bad rows; nothing is guessed: what is not proper CSV (RFC 4180) or is not UTF-8 is a bad row, and behind a quotation
mark that is not closed nothing is read; where an object names a member twice, the last value counts; the text of a bad
row can be written to a rejects file in a form that can be corrected and read again, unless the row is longer than any
job may be.
"""

import csv
import errno
import hashlib
import io
import json
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeAlias

import attrs

from restbroker.errors import UsageError
from restbroker.job import rubyjson
from restbroker.job.argument_check import quote_name
from restbroker.job.endpoint import kind_of
from restbroker.job.json_types import Json
from restbroker.light import define, field, frozen, frozen_plain

STDIN: Final = "-"
ERROR: Final = "_error"
"""The column of a rejects file, or the member of its objects, that says why. It is left out when the file is read."""
LONGEST: Final = 1024 * 1024
"""No job may have more bytes, so no row has more characters."""
UNCLOSED: Final = "an unclosed quotation mark. Nothing after this line is read."
ODD_MARK: Final = "a quotation mark inside a cell: quote the whole cell, and double the mark in it."
_TOO_LONG: Final = "more than 1 MiB."
_NOT_UTF8: Final = "not UTF-8: save the whole file as UTF-8 (in a spreadsheet: CSV UTF-8)."
_FORMS: Final = "Give CSV, whose first line names the columns, or one JSON object in each line."
_HEADER: Final = "The first line names the columns, e.g. user,host,password."
_BOM: Final = "\ufeff"
_ENDS: Final = ("\n", "\r")
_SEPARATORS: Final = (",", ";", "\t", "|")
# An unquoted cell has no quotation mark; in a quoted one each stands twice (RFC 4180).
_CELL: Final = r'(?:"(?:[^"]|"")*+"|[^"{0}\r\n]*+)'


@frozen_plain
class FileRow:
    """One row that can be read. `values` are cells by their columns, or an object's members; `text` is as in `Bad`."""

    number: int
    line: int
    values: dict[str, Json]
    text: str


@frozen_plain
class Bad:
    """One row that cannot be used.

    `text`: its characters as they stand in the file, without an old reason; "" if it is longer than may be held.
    """

    number: int
    line: int
    why: str
    text: str


Read: TypeAlias = FileRow | Bad


@frozen
class RowFile:
    """A file whose beginning was read. `columns` and `separator` are those of a CSV file; NDJSON has none.

    `opening`: the text with which a rejects file of this table begins. `is_rejects`: this is such a file, of CSV.
    `rows`: they are read from the source, which nothing else may read meanwhile. `digest`: of all its bytes; None if
    they can be read once only, as is then the `size` (bytes). `position`: how many bytes were read.
    """

    rows: Iterator[Read]
    opening: str
    columns: tuple[str, ...] = ()
    separator: str = ""
    is_rejects: bool = False
    digest: str | None = None
    size: int | None = None
    position: Callable[[], int] = lambda: 0

    @property
    def is_csv(self) -> bool:
        """Whether the values of rows are cells, and not values of JSON."""
        return bool(self.columns)


@contextmanager
def open_table(file: Path) -> Iterator[RowFile]:
    """Yield the table in the file of this path, or in standard input for `-`. Raise `UsageError` if there is none."""
    is_stdin = str(file) == STDIN
    name = "standard input" if is_stdin else str(file)
    try:
        with open(0 if is_stdin else file, "rb", closefd=not is_stdin) as raw:
            began, digest, size = 0, None, None
            if stat.S_ISREG(os.fstat(raw.fileno()).st_mode):
                began = raw.tell()
                digest = hashlib.file_digest(raw, "sha256").hexdigest()
                size = raw.tell() - began
                raw.seek(began)
            # Bytes that are not UTF-8 cost their row only.
            source = io.TextIOWrapper(raw, encoding="utf-8", errors="surrogateescape", newline="")
            table = attrs.evolve(read_table(name, source), digest=digest, size=size)
            yield table if size is None else attrs.evolve(table, position=lambda: raw.tell() - began)
            source.detach()
    except OSError as error:
        if error.filename is None and is_stdin and error.errno != errno.EBADF:
            raise
        raise UsageError(f"{name} cannot be read: {error.strerror}.", "Name a file of CSV or NDJSON, or -.") from None


def read_table(name: str, source: io.TextIOWrapper) -> RowFile:
    """Return the table in a file of CSV, or of NDJSON if it begins with `{`. Raise `UsageError` if it is neither."""
    lines = _Lines(source)
    try:
        first = next((line for line in lines if line.strip(_BOM + " \t\r\n")), "")
    except _TooLong:
        raise UsageError(f"{name} begins with a line of more than 1 MiB.", _FORMS) from None
    mark = _BOM if lines.row_lines[:1] and lines.row_lines[0].startswith(_BOM) else ""
    first = first.removeprefix(_BOM)
    if first.startswith(("\udcff\udcfe", "\udcfe\udcff")) or "\0" in first:
        raise UsageError(f"{name} is UTF-16 or not text.", "Save it as UTF-8 (in a spreadsheet: CSV UTF-8).")
    if not first:
        raise UsageError(f"{name} is empty.", _FORMS)
    match first.lstrip()[0]:
        case "{":
            return RowFile(_ndjson_rows(first, lines), opening=mark)
        case "[":
            raise UsageError(f"{name} is a JSON list.", "Write one object in each line: jq -c '.[]' FILE")
        case _:
            return _csv_table(name, first, lines, mark)


def reject_text(table: RowFile, bad: Bad) -> str:
    """Return a bad row for the rejects file: the reason, in NDJSON in a line of its own, and the row's text."""
    why = f"line {bad.line}: {bad.why}"
    text = bad.text if bad.text.endswith(_ENDS) else f"{bad.text}\n"
    if not table.is_csv:
        return f"{json.dumps({ERROR: why}, ensure_ascii=False)}\n{text}"
    mark = table.separator
    if not table.is_rejects:  # The text of such a file is as it should be.
        # Once the mark is closed, the lines behind it are rows with an empty cell for the reason.
        text = re.sub("(?<=\n)(?=.)", mark, text) if bad.why == UNCLOSED else _guarded(text, mark)
    cell = why.replace('"', '""')
    return f'"{cell}"{mark}{text}'


class _TooLong(Exception):
    """A line has more characters than may be held."""


@define(eq=False)
class _Lines:
    """The lines of the source. Those of the present row are in `row_lines`: who begins another row clears them."""

    source: io.TextIOWrapper
    row_lines: list[str] = field(factory=list)
    number: int = 0

    def __iter__(self) -> Iterator[str]:
        """Return the iterator over all lines that are left."""
        return self

    def __next__(self) -> str:
        """Return one more line of the present row. Raise `_TooLong` behind a line that is longer than `LONGEST`."""
        line = self.source.readline(LONGEST)
        if not line:
            raise StopIteration
        self.row_lines.append(line)
        self.number += 1
        if len(line) < LONGEST:
            return line
        while line and not line.endswith(_ENDS):
            line = self.source.readline(LONGEST)
        raise _TooLong


def _ndjson_rows(text: str, lines: _Lines) -> Iterator[Read]:
    """Yield all rows as they are read, good and bad; `text` is the first, `lines` has the others."""
    number = 0
    while True:
        found = _members_of(text) if text.strip() else {}
        if found != {}:
            number += 1
            if isinstance(found, str):
                yield Bad(number, lines.number, found, text)
            else:
                yield FileRow(number, lines.number, found, text)
        lines.row_lines.clear()
        try:
            text = next(lines)
        except StopIteration:
            return
        except _TooLong:
            number, text = number + 1, ""
            yield Bad(number, lines.number, _TOO_LONG, text)


def _members_of(text: str) -> dict[str, Json] | str:
    """Return the object of a line, or why there is none.

    It is empty for a line that only says why the next one was rejected.
    """
    try:
        value = rubyjson.loads(text.encode("utf-8", "surrogateescape"))
    except rubyjson.Unreadable as error:
        return f"not JSON: {error}."
    if not isinstance(value, dict):
        return f"{kind_of(value)}, not an object."
    if len(value) == 1 and ERROR in value:
        return {}
    return value or "an empty object."


def _csv_table(name: str, first: str, lines: _Lines, mark: str) -> RowFile:
    """Return the CSV file that begins with the line `first`; `lines` has the others, and `mark` is its byte order mark.

    Raise `UsageError` if the line names no columns.
    """
    told = re.fullmatch(r"sep=(.)\s*", first)  # Excel's own way to say it.
    if told is not None:
        first = next(lines, "")
    # Names of arguments have none of these letters, so the one that is there stands between them.
    separator = told[1] if told is not None else next((sign for sign in _SEPARATORS if sign in first), ",")
    try:
        header = next(csv.reader([first], delimiter=separator, strict=True), [])
    except csv.Error as error:
        raise UsageError(f"{name} has a first line that is not CSV ({error}).", _HEADER) from None
    if "" in header:
        raise UsageError(f"{name} has a column without a name.", _HEADER)
    if twice := next((column for column in header if header.count(column) > 1), None):
        raise UsageError(f"{name} names the column {quote_name(twice)} twice.", _HEADER)
    is_rejects = header[:1] == [ERROR]
    opening = first if first.endswith(_ENDS) else f"{first}\n"
    if not is_rejects:
        opening = f"{ERROR}{separator}{opening}"
    opening = f"{mark}{told[0] if told else ''}{opening}"
    rows = _csv_rows(header, separator, lines, is_rejects=is_rejects)
    return RowFile(rows, opening, tuple(header), separator, is_rejects=is_rejects)


def _csv_rows(header: Sequence[str], separator: str, lines: _Lines, *, is_rejects: bool) -> Iterator[Read]:
    csv.field_size_limit(LONGEST)
    rows = csv.reader(lines, delimiter=separator, strict=True)
    proper = _row_pattern(separator)
    reason = re.compile(f"\\A{_CELL.format(mark := re.escape(separator))}{mark}" if is_rejects else "(?!)")
    number, width, taken = 0, len(header), lines.row_lines
    while True:
        taken.clear()
        why: str | None = None
        cells: Sequence[str] | None = []
        try:
            cells = next(rows, None)
        except _TooLong:
            why = _TOO_LONG if len(taken) == 1 else UNCLOSED
        except csv.Error as error:
            # Only behind an open mark a cell is longer than a line may be.
            why = ODD_MARK if "expected after" in str(error) else UNCLOSED
        if cells is None:
            return
        if why is None and not any(cells):
            continue
        number += 1
        line, text = lines.number - len(taken) + 1, "" if why == _TOO_LONG else "".join(taken)
        # Most rows are plain, and each look at one counts.
        if why is None and (len(cells) != width or '"' in text or "\0" in text or not text.isascii()):
            why = _wrong_row(cells, width, text, proper, is_rejects=is_rejects)
        text = reason.sub("", text) if is_rejects else text
        if why is not None:
            yield Bad(number, line, why, text)
        elif is_rejects:
            yield FileRow(number, line, dict(zip(header[1:], map(unguard, cells[1:]), strict=True)), text)
        else:
            yield FileRow(number, line, dict(zip(header, cells, strict=True)), text)
        if why == UNCLOSED:
            return


def _wrong_row(cells: Sequence[str], width: int, text: str, proper: re.Pattern[str], *, is_rejects: bool) -> str | None:
    if (count := len(cells)) != width:
        count, width = max(count - is_rejects, 0), width - is_rejects
        return f"{count} cell{'s' * (count != 1)} for {width} column{'s' * (width != 1)}."
    if '"' in text and any('"' in cell for cell in cells) and proper.fullmatch(text) is None:
        return ODD_MARK
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return _NOT_UTF8
    return "a NUL character in it." if "\0" in text else None


def _row_pattern(separator: str) -> re.Pattern[str]:
    """Return the pattern of a row whose quotation marks are as they should be."""
    mark = re.escape(separator)
    cell = _CELL.format(mark)
    return re.compile(f"{cell}(?:{mark}{cell})*+(?:\\r?\\n|\\r)?")


def _guarded(text: str, separator: str) -> str:
    """Return the row's text with its cells guarded as `guard` does; a text that is no proper row stays as it is."""
    if _row_pattern(separator).fullmatch(text) is None:
        return text
    mark = re.escape(separator)
    return re.sub(f"({_CELL.format(mark)})({mark}|\r?\n|\r|\\Z)", lambda found: _guard(found[1]) + found[2], text)


def _guard(cell: str) -> str:
    return f'"{guard(cell[1:])}' if cell.startswith('"') else guard(cell)


_RUNS: Final = re.compile(r"'*[\s\ufeff]*[=+\-@\t\r\n＝＋－＠]")
_GUARDED: Final = re.compile(r"'+[\s\ufeff]*[=+\-@\t\r\n＝＋－＠]")


def guard(cell: str) -> str:
    """Return the cell as it may stand in a file for spreadsheets.

    It has one more apostrophe before it if it would be a formula.
    """
    return f"'{cell}" if _RUNS.match(cell) else cell


def unguard(cell: str) -> str:
    """Return the cell that `guard` turned into this one."""
    return cell[1:] if _GUARDED.match(cell) else cell
