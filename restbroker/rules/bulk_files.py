"""Rows of a file with one job in each: CSV with a line that names its columns, or NDJSON. `enqueue --bulk` reads them.

Always holds: at most `LONGEST` letters are held at a time, however long the file or a line of it is; each row has its
number, whatever becomes of the rows before it; what cannot be read is a `Bad` row with the line in which it begins and
its very text, and never a guess: where a quotation mark is not closed, nothing behind it is taken for a row.
"""

import csv
import io
import json
import re
from collections.abc import Iterator
from typing import Final, Literal, Protocol, TypeAlias

import attrs

from restbroker.light import light
from restbroker.rules import rubyjson
from restbroker.rules.endpoint import kind_of
from restbroker.rules.json_types import Json

Form = Literal["csv", "ndjson"]
ERROR: Final = "_error"
"""The column of a rejects file, or the key of its objects, that says why. It is left out when the file is read."""
LONGEST: Final = 1024 * 1024
"""No job may have more bytes, so no row has more letters."""
_SEPARATORS: Final = (",", ";", "\t", "|")
# An unquoted cell has no quotation mark; in a quoted one each stands twice (RFC 4180).
_CELL: Final = r'(?:"(?:[^"]|"")*+"|[^"{0}\r\n]*+)'
_BOM: Final = "\ufeff"
_ENDS: Final = ("\n", "\r")
_UNCLOSED: Final = "a quotation mark that is not closed."
_ODD_MARK: Final = "a quotation mark inside of a cell: put the whole cell into quotes, and double the mark in it."


class BadFile(ValueError):
    """Nothing of the file can be read. `why` completes "the file …"."""

    def __init__(self, why: str, cure: str = "") -> None:
        super().__init__(why)
        self.why = why
        self.cure = cure


class Source(Protocol):
    """Where the letters come from: `io.TextIOWrapper` of UTF-8 with `surrogateescape` and `newline=""`."""

    def readline(self, size: int = -1, /) -> str: ...  # noqa: D102  as there


@light
class Row:
    """One row that can be read. `values` are cells by their columns, or an object's members."""

    number: int
    line: int
    values: dict[str, Json]
    text: str


@light
class Bad:
    """One that cannot. `text`: its letters as they stand in the file. `more`: no row of its own, but more of the last.

    `is_open`: it has a quotation mark that is not closed, so other rows may be among its lines.
    """

    number: int
    line: int
    why: str
    text: str
    more: bool = False
    is_open: bool = False


Read: TypeAlias = Row | Bad


@attrs.frozen
class Table:
    """A file whose beginning was read. `columns` are those of a CSV file.

    `opening` is what a rejects file begins with.
    """

    form: Form
    columns: tuple[str, ...]
    separator: str
    opening: str
    rows: Iterator[Read]
    """Nothing else may read the source meanwhile."""


class _TooLong(Exception):
    """A row has more letters than may be held."""


@attrs.define(eq=False)
class _Lines:
    """The lines of the source, those of the row in hand kept until `begin`."""

    source: Source
    taken: list[str] = attrs.field(factory=list)
    number: int = 0
    size: int = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self.source.readline(LONGEST)
        if not line:
            raise StopIteration
        self.taken.append(line)
        self.number += 1
        self.size += len(line)
        if self.size >= LONGEST:
            raise _TooLong
        return line

    def begin(self) -> None:
        """A new row."""
        self.taken.clear()
        self.size = 0

    def text(self) -> str:
        """The row in hand."""
        taken = self.taken
        return taken[0] if len(taken) == 1 else "".join(taken)

    def first(self) -> int:
        """The line in which it begins."""
        return self.number - len(self.taken) + 1

    def rest(self, *, of_file: bool) -> Iterator[str]:
        """What is left of the line, or of the file, in pieces."""
        piece = self.taken[-1] if self.taken else ""
        while of_file or not piece.endswith(_ENDS):
            piece = self.source.readline(LONGEST)
            if not piece:
                return
            yield piece


def opened(source: Source) -> Table:
    """The file, with its form told by its first letter. Raises `BadFile`, also while its rows are read."""
    lines = _Lines(source)
    try:
        first = next((line for line in lines if line.strip(_BOM + " \t\r\n")), "")
    except _TooLong:
        raise BadFile("begins with a line of more than 1 MiB", "Give CSV, or one JSON object in each line.") from None
    mark = _BOM if lines.taken[:1] and lines.taken[0].startswith(_BOM) else ""
    first = first.removeprefix(_BOM)
    if first.startswith(("\udcff\udcfe", "\udcfe\udcff")) or "\0" in first:
        raise BadFile("is UTF-16, or no text", "Save it as UTF-8 (in a spreadsheet: CSV UTF-8).")
    if not first:
        raise BadFile("is empty", "Its first line names the columns, e.g. user,host,password.")
    match first.lstrip()[0]:
        case "{":
            lines.taken[:] = [first]
            return Table("ndjson", (), "", mark, _read_ndjson(lines))
        case "[":
            raise BadFile("is a JSON list", "Write one object in each line: jq -c '.[]' FILE")
        case _:
            return _csv(first, lines, mark)


def rejected(table: Table, bad: Bad) -> str:
    """What stands for the row in a rejects file, which can be corrected and read again."""
    if bad.more:
        return f"{table.separator}{bad.text}" if bad.is_open else bad.text
    why = f"line {bad.line}: {bad.why}"
    text = bad.text if bad.text.endswith(_ENDS) or len(bad.text) >= LONGEST else f"{bad.text}\n"
    if table.form == "csv":
        cell = why.replace('"', '""')
        if bad.is_open:  # Once it is closed, the lines behind it are rows with an empty cell there.
            text = re.sub("(?<=\n)(?=.)", table.separator, text)
        return f'"{cell}"{table.separator}{text}'
    document = rubyjson.object_of(text.encode("utf-8", "surrogateescape"))
    if document is None or _stands_twice(text):  # What cannot be read, or would lose something.
        return f"{json.dumps({ERROR: why}, ensure_ascii=False)}\n{text}"
    document.pop(ERROR, None)
    return rubyjson.dumps({**document, ERROR: why}).decode() + "\n"


def _csv(first: str, lines: _Lines, mark: str) -> Table:
    told = re.fullmatch(r"sep=(.)\s*", first)  # Excel's own way to say it.
    if told is not None:
        lines.begin()
        first = next(lines, "")
    # Names of arguments have none of these letters, so the one that is there stands between them.
    separator = told[1] if told is not None else next((one for one in _SEPARATORS if one in first), ",")
    try:
        header = next(csv.reader([first], delimiter=separator, strict=True), [])
    except csv.Error as error:
        raise BadFile(f"has a first line that is not CSV ({error})", "It names the columns.") from None
    if wrong := _wrong_in(header):
        raise BadFile(wrong, "The first line names the columns, e.g. user,host,password.")
    errors = header.index(ERROR) if ERROR in header else None
    row = _Form(separator, tuple(header), errors)
    said = row.without_error(first if first.endswith(_ENDS) else f"{first}\n")
    opening = f"{mark}{told[0] if told else ''}{ERROR}{separator}{said}"
    return Table("csv", tuple(header), separator, opening, _read_csv(row, lines))


def _wrong_in(header: list[str]) -> str | None:
    if any("\ud800" <= c <= "\udfff" for name in header for c in name):
        return "is not UTF-8 in its first line"
    if "" in header:
        return "has a column without a name"
    if twice := next((name for name in header if header.count(name) > 1), None):
        return f"names the column {twice[:40]!r} twice"
    if padded := next((name for name in header if name != name.strip()), None):
        return f"has blanks around the name of its column {padded.strip()[:40]!r}"
    return None


@attrs.frozen
class _Form:
    """How the rows of a CSV file are written. `errors`: which column a rejects file had before all others."""

    separator: str
    header: tuple[str, ...]
    errors: int | None

    def without_error(self, text: str, *, is_open: bool = False) -> str:
        """The row's letters without the cell that said why it was rejected; `is_open`: as in `Bad`."""
        if self.errors is None:
            return text
        if self.errors == 0:
            mark = re.escape(self.separator)
            text = re.sub(f"{_CELL.format(mark)}{mark}", "", text, count=1)
            return re.sub(f"(?<=\n){mark}", "", text) if is_open else text
        try:
            (cells,) = csv.reader(io.StringIO(text, newline=""), delimiter=self.separator, strict=True)
        except (csv.Error, ValueError):
            return text
        written = io.StringIO(newline="")
        kept = [cell for place, cell in enumerate(cells) if place != self.errors]
        csv.writer(written, delimiter=self.separator, lineterminator="\n").writerow(kept)
        return written.getvalue()

    def proper(self) -> re.Pattern[str]:
        """What a row looks like whose quotation marks are as they should be."""
        mark = re.escape(self.separator)
        cell = _CELL.format(mark)
        return re.compile(f"{cell}(?:{mark}{cell})*+(?:\\r?\\n|\\r)?")


def _read_csv(form: _Form, lines: _Lines) -> Iterator[Read]:
    csv.field_size_limit(2 * LONGEST)
    rows = csv.reader(lines, delimiter=form.separator, strict=True)
    proper, header, errors = form.proper(), form.header, form.errors
    number = 0
    while True:
        lines.begin()
        why: str | None = None
        try:
            cells = next(rows, None)
        except _TooLong:
            number += 1
            yield from _too_long(number, lines, form)
            continue
        except csv.Error as error:
            why, cells = _UNCLOSED if "unexpected end" in str(error) else _ODD_MARK, []
        if cells is None:
            return
        if why is None and not any(cells):
            continue
        number += 1
        text = lines.text()
        if why is None:
            why = _wrong_row(cells, form, text, proper)
        if why is not None:
            is_open = why == _UNCLOSED
            yield Bad(number, lines.first(), why, form.without_error(text, is_open=is_open), is_open=is_open)
            continue
        values: dict[str, Json] = dict(zip(header, cells, strict=True))
        if errors is not None:
            del values[ERROR]
        yield Row(number, lines.first(), values, text)


def _wrong_row(cells: list[str], form: _Form, text: str, proper: re.Pattern[str]) -> str | None:
    if len(cells) != len(form.header):
        own = form.errors is not None
        return f"{_counted(max(len(cells) - own, 0), 'cell')} for {_counted(len(form.header) - own, 'column')}."
    if '"' in text and any('"' in cell for cell in cells) and proper.fullmatch(text) is None:
        return _ODD_MARK
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return "not UTF-8."
    return "a NUL in it." if "\0" in text else None


def _too_long(number: int, lines: _Lines, form: _Form | None = None) -> Iterator[Read]:
    line, text = lines.first(), lines.text()
    if form is not None and any(piece.endswith(_ENDS) for piece in lines.taken[:-1]):
        why = f"{_UNCLOSED} Nor is anything after this line taken."
        yield Bad(number, line, why, form.without_error(text, is_open=True), is_open=True)
        for piece in lines.rest(of_file=True):
            kept = piece.removeprefix(form.separator) if form.errors == 0 else piece
            yield Bad(number, line, "", kept, more=True, is_open=True)
        return
    lines.number = line  # Pieces of it were counted.
    yield Bad(number, line, "more than 1 MiB.", text if form is None else form.without_error(text))
    yield from (Bad(number, line, "", piece, more=True) for piece in lines.rest(of_file=False))


def _read_ndjson(lines: _Lines) -> Iterator[Read]:
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
        except _TooLong:
            number += 1
            yield from _too_long(number, lines)
            lines.taken[:] = [""]


def _member_of(text: str) -> dict[str, Json] | str:
    """The object of a line, nothing for one that only says why the next was rejected; or why there is none."""
    try:
        value = rubyjson.loads(text.encode("utf-8", "surrogateescape"))
    except rubyjson.Unreadable as error:
        return f"not JSON: {error}."
    if not isinstance(value, dict):
        return f"{kind_of(value)}, not an object."
    # Each name has a colon behind it, so only where there are more of these can one stand twice.
    if text.count('":') + text.count('" :') > len(value) and _stands_twice(text):
        return "a name stands twice in one object."
    if ERROR in value:
        del value[ERROR]
        return value
    return value or "an object without members."


def _stands_twice(text: str) -> bool:
    try:
        json.loads(text, object_pairs_hook=_require_once)
    except ValueError:
        return True
    return False


def _require_once(pairs: list[tuple[str, Json]]) -> None:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise ValueError


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
