"""Rows as they are read from a file of jobs, good and bad, and the lines that they are made of.

`bulk.csv` and `bulk.files` read them. Always holds: at most about `LONGEST` characters are
held at a time.
"""

from collections.abc import Callable, Iterator
from typing import Final, Literal, Protocol, TypeAlias

import attrs

from restbroker.job.json_types import Json
from restbroker.light import light

Form = Literal["csv", "ndjson"]
ERROR: Final = "_error"
"""The column of a rejects file, or the key of its objects, that says why. It is left out when the file is read."""
LONGEST: Final = 1024 * 1024
"""No job may have more bytes, so no row has more characters."""
BOM: Final = "\ufeff"
ENDS: Final = ("\n", "\r")
UNCLOSED: Final = "an unclosed quotation mark."


class BadFile(ValueError):
    """Raised if nothing of the file can be read. `why` completes "the file …"."""

    def __init__(self, why: str, hint: str = "") -> None:
        super().__init__(why)
        self.why = why
        self.hint = hint


class Source(Protocol):
    """The source of the text: an `io.TextIOWrapper` of UTF-8 with `surrogateescape` and `newline=""`."""

    def readline(self, size: int = -1, /) -> str:
        """Return the next line, at most `size` characters of it; "" at the end."""


@light
class Row:
    """One row that can be read. `values` are cells by their columns, or an object's members."""

    number: int
    line: int
    values: dict[str, Json]
    text: str


@light
class Bad:
    """One row that cannot be read. `text`: its characters as they stand in the file.

    `more`: it is no row of its own, but a further piece of the one before. `is_open`: it has a quotation mark that is
    not closed, so other rows may be among its lines.
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

    `opening`: the text with which a rejects file of this table begins. `is_rejects`: this is such a file, of CSV.
    """

    form: Form
    columns: tuple[str, ...]
    separator: str
    opening: str
    rows: Iterator[Read]
    """The rows, which are read from the source: nothing else may read it meanwhile."""
    is_rejects: bool = False


class TooLong(Exception):
    """A row has more characters than may be held."""


@attrs.define(eq=False)
class Lines:
    """The lines of the source; those of the present row are kept until `begin`."""

    source: Source
    row_lines: list[str] = attrs.field(factory=list)
    number: int = 0
    size: int = 0

    def __iter__(self) -> Iterator[str]:
        """Return the iterator over all lines that are left."""
        return self

    def __next__(self) -> str:
        """Return one more line of the present row. Raise `TooLong` if the row is longer than `LONGEST`."""
        line = self.source.readline(LONGEST)
        if not line:
            raise StopIteration
        self.row_lines.append(line)
        self.number += 1
        self.size += len(line)
        if self.size >= LONGEST:
            raise TooLong
        return line

    def begin(self) -> None:
        """Forget the lines of the present row: the next line begins a new one."""
        self.row_lines.clear()
        self.size = 0

    def text(self) -> str:
        """Return the text of the present row."""
        taken = self.row_lines
        return taken[0] if len(taken) == 1 else "".join(taken)

    def first(self) -> int:
        """Return the number of the line in which the present row begins."""
        return self.number - len(self.row_lines) + 1

    def rest(self, *, of_file: bool) -> Iterator[str]:
        """Read the rest of the line, or with `of_file` of the file, and yield it in pieces, which are not kept."""
        piece = self.row_lines[-1] if self.row_lines else ""
        while of_file or not piece.endswith(ENDS):
            piece = self.source.readline(LONGEST)
            if not piece:
                return
            yield piece


def too_long(
    number: int, lines: Lines, own: Callable[[str], str] | None = None, more: Callable[[str], str] | None = None
) -> Iterator[Read]:
    """Yield row `number`, which has more characters than may be held, as a bad row and all further pieces of its text.

    `own` and `more` are for CSV, whose rows may have several lines: they return the row's first line and its other
    lines without the error column that a rejects file has.
    """
    line, text = lines.first(), lines.text()
    if own is not None and more is not None and any(piece.endswith(ENDS) for piece in lines.row_lines[:-1]):
        first, *others = lines.row_lines
        yield Bad(number, line, f"{UNCLOSED} Nothing after this line is read.", own(first), is_open=True)
        for piece in (*others, *lines.rest(of_file=True)):
            yield Bad(number, line, "", more(piece), more=True, is_open=True)
        return
    lines.number = line  # Pieces of it were counted.
    yield Bad(number, line, "more than 1 MiB.", text if own is None else own(text))
    yield from (Bad(number, line, "", piece, more=True) for piece in lines.rest(of_file=False))
