"""Rows of CSV, as spreadsheets and scripts write it. `bulk.files` calls `table_of`.

Always holds: a row that is not proper CSV is a bad row, and nothing is guessed: behind a quotation mark that is not
closed, nothing is taken for a row.
"""

import csv
import io
import re
from collections.abc import Iterator
from typing import Final

import attrs

from restbroker.bulk.read import (
    ENDS,
    ERROR,
    LONGEST,
    UNCLOSED,
    Bad,
    BadFile,
    Lines,
    Read,
    Row,
    Table,
    TooLong,
    too_long,
)
from restbroker.job.argument_check import quote_name
from restbroker.job.cells import guard, unguard
from restbroker.job.json_types import Json

_SEPARATORS: Final = (",", ";", "\t", "|")
# An unquoted cell has no quotation mark; in a quoted one each stands twice (RFC 4180).
_CELL: Final = r'(?:"(?:[^"]|"")*+"|[^"{0}\r\n]*+)'
ODD_MARK: Final = "a quotation mark inside a cell: quote the whole cell, and double the mark in it."


def table_of(first: str, lines: Lines, mark: str) -> Table:
    """Return the CSV file that begins with the line `first`; `lines` has the others, and `mark` is its byte order mark.

    `mark` is "" without one. Raise `BadFile` if the line names no columns.
    """
    told = re.fullmatch(r"sep=(.)\s*", first)  # Excel's own way to say it.
    if told is not None:
        lines.begin()
        first = next(lines, "")
    # Names of arguments have none of these letters, so the one that is there stands between them.
    separator = told[1] if told is not None else next((one for one in _SEPARATORS if one in first), ",")
    try:
        header = next(csv.reader([first], delimiter=separator, strict=True), [])
    except csv.Error as error:
        raise BadFile(f"has a first line that is not CSV ({error})", "The first line names the columns.") from None
    if wrong := _header_problem(header):
        raise BadFile(wrong, "The first line names the columns, e.g. user,host,password.")
    errors = header.index(ERROR) if ERROR in header else None
    row = _Form(separator, tuple(header), errors)
    said = row.without_error(first if first.endswith(ENDS) else f"{first}\n")
    opening = f"{mark}{told[0] if told else ''}{ERROR}{separator}{said}"
    return Table(
        "csv", tuple(header), separator, opening=opening, rows=_rows_of(row, lines), is_rejects=errors is not None
    )


def guarded_row(text: str, separator: str) -> str:
    """Return the row's text with its cells guarded (`job.cells`); a text that is no proper row stays as it is."""
    form = _Form(separator, (), None)
    if form.row_pattern().fullmatch(text) is None:
        return text
    mark = re.escape(separator)
    return re.sub(f"({_CELL.format(mark)})({mark}|\r?\n|\r|\\Z)", lambda found: _guard(found[1]) + found[2], text)


def _guard(cell: str) -> str:
    return f'"{guard(cell[1:])}' if cell.startswith('"') else guard(cell)


def _header_problem(header: list[str]) -> str | None:
    if any("\ud800" <= c <= "\udfff" for name in header for c in name):
        return "is not UTF-8 in its first line"
    if "" in header:
        return "has a column without a name"
    if twice := next((name for name in header if header.count(name) > 1), None):
        return f"names the column {quote_name(twice)} twice"
    if padded := next((name for name in header if name != name.strip()), None):
        return f"has blanks around the name of its column {quote_name(padded.strip())}"
    return None


@attrs.frozen
class _Form:
    """How the rows of a CSV file are written.

    `errors`: the index of the column that a rejects file adds; None: it has none.
    """

    separator: str
    header: tuple[str, ...]
    errors: int | None

    def without_error(self, text: str, *, is_open: bool = False) -> str:
        """Return the row's text without the cell that said why it was rejected; `is_open`: as in `Bad`."""
        if self.errors is None:
            return text
        if self.errors == 0:
            mark = re.escape(self.separator)
            found = re.match(f"{_CELL.format(mark)}{mark}", text)
            text = text if found is None else text[found.end() :]
            return re.sub(f"(?<=\n){mark}", "", text) if is_open else text
        try:
            (cells,) = csv.reader(io.StringIO(text, newline=""), delimiter=self.separator, strict=True)
        except (csv.Error, ValueError):
            return text
        written = io.StringIO(newline="")
        kept = [cell for place, cell in enumerate(cells) if place != self.errors]
        csv.writer(written, delimiter=self.separator, lineterminator="\n").writerow(kept)
        return written.getvalue()

    def without_first_cell(self, piece: str) -> str:
        """Return a later line of such a row without the empty cell that a rejects file has there."""
        return piece.removeprefix(self.separator) if self.errors == 0 else piece

    def row_pattern(self) -> re.Pattern[str]:
        """Return the pattern of a row whose quotation marks are as they should be."""
        mark = re.escape(self.separator)
        cell = _CELL.format(mark)
        return re.compile(f"{cell}(?:{mark}{cell})*+(?:\\r?\\n|\\r)?")


def _rows_of(form: _Form, lines: Lines) -> Iterator[Read]:
    csv.field_size_limit(2 * LONGEST)
    rows = csv.reader(lines, delimiter=form.separator, strict=True)
    proper, header, errors = form.row_pattern(), form.header, form.errors
    number, width, taken = 0, len(header), lines.row_lines
    while True:
        lines.begin()
        why: str | None = None
        try:
            cells = next(rows, None)
        except TooLong:
            number += 1
            yield from too_long(number, lines, form.without_error, form.without_first_cell)
            continue
        except csv.Error as error:
            why, cells = UNCLOSED if "unexpected end" in str(error) else ODD_MARK, []
        if cells is None:
            return
        if why is None and not any(cells):
            continue
        number += 1
        text = taken[0] if len(taken) == 1 else "".join(taken)
        # Most rows are plain, and each look at one counts.
        if why is None and (len(cells) != width or '"' in text or "\0" in text or not text.isascii()):
            why = _wrong_row(cells, form, text, proper)
        if why is not None:
            is_open = why == UNCLOSED
            yield Bad(number, lines.first(), why, form.without_error(text, is_open=is_open), is_open=is_open)
            continue
        values: dict[str, Json]
        if errors is None:
            values = dict(zip(header, cells, strict=True))
        else:
            values = {name: unguard(cell) for name, cell in zip(header, cells, strict=True)}
            del values[ERROR]
        yield Row(number, lines.number - len(taken) + 1, values, form.without_error(text))


def _wrong_row(cells: list[str], form: _Form, text: str, proper: re.Pattern[str]) -> str | None:
    if len(cells) != len(form.header):
        own = form.errors is not None
        return f"{_count_text(max(len(cells) - own, 0), 'cell')} for {_count_text(len(form.header) - own, 'column')}."
    if '"' in text and any('"' in cell for cell in cells) and proper.fullmatch(text) is None:
        return ODD_MARK
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return "not UTF-8: save the whole file as UTF-8 (in a spreadsheet: CSV UTF-8)."
    return "a NUL character in it." if "\0" in text else None


def _count_text(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
