"""One table of columns for each list: what a terminal, a pipe and a program that reads JSON get of a row.

Used by the commands that show lists. Always holds: a pipe gets the columns that have a `value`, in their order, and new
ones come last; an unknown value is a dash; JSON has the row's own fields, under their names. On a terminal ids, times
and numbers are never cut or broken: a row that has no room for them is longer than the terminal is wide.
"""

import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, Generic, Literal, TypeVar

import attrs

from restbroker.console import output
from restbroker.light import frozen

if TYPE_CHECKING:
    from rich.table import Table

Row = TypeVar("Row")
Listed = TypeVar("Listed", bound=attrs.AttrsInstance)
_WHOLE: Final = frozenset({"JOB", "GROUP", "PROCESS", "WHEN", "SINCE", "DIED", "NEXT", "LAST EVENT"})
"""The titles of columns with ids and times: they are there to be copied."""
_FIRST: Final = 1000
"""The letters that stay of the first column of `rows`."""


@frozen
class Column(Generic[Row]):
    """A column. A pipe gets `value`, people get `text`, or the value if that is None.

    Without a `title` only programs get it, without a `value` only people. `numbers` are aligned right. `least`: the
    letters in a line that stay of it on a narrow terminal.
    """

    title: str
    value: Callable[[Row], object] | None = None
    text: Callable[[Row], str] | None = None
    numbers: bool = False
    least: int = 8


def cell(value: object, unit: str = "") -> str:
    """Return a value as a cell: a dash for what is unknown, names separated by commas, a fraction with one decimal."""
    match value:
        case None | "":
            return "-"
        case float():
            return f"{value:.1f}{unit}"
        case tuple() | list():
            return ",".join(value) or "-"
        case _:
            return f"{value}{unit}"


def show(
    columns: Sequence[Column[Listed]], found: Sequence[Listed], *, as_json: bool, empty: str | None = None
) -> None:
    """Print a list; on a terminal without any rows, say `empty`."""
    if as_json:
        output.as_json([attrs.asdict(row) for row in found])
    elif found or empty is None or not sys.stdout.isatty():
        write(columns, found)
    else:
        output.data(empty)


def write(columns: Sequence[Column[Row]], found: Sequence[Row], *, whole: bool = True) -> None:
    """Print the rows: as a table on a terminal, otherwise in lines for programs. `whole` is as in `draw`."""
    if not sys.stdout.isatty():
        for row in found:
            output.row(cells(columns, row))
    elif found:
        table(columns, found, whole=whole)


def cells(columns: Sequence[Column[Row]], row: Row) -> list[str]:
    """Return what a pipe gets of a row."""
    return [cell(column.value(row)) for column in columns if column.value is not None]


def table(columns: Sequence[Column[Row]], found: Sequence[Row], *, whole: bool = True) -> None:
    """Print the rows as a table on a terminal; `whole` is as in `draw`."""
    from rich.console import Console  # slow to import, and of no use in a pipe

    console, drawn = Console(), draw(columns, found, whole=whole)
    room = console.width - 2 * (len(drawn.columns) - 1)
    least = [column.min_width or 0 for column in drawn.columns]
    widths = [max(few, min(column.max_width or 0, room)) for column, few in zip(drawn.columns, least, strict=True)]
    while sum(widths) > room and widths != least:
        widest = max(range(len(widths)), key=lambda place: widths[place] - least[place])
        widths[widest] -= 1
    for column, width in zip(drawn.columns, widths, strict=True):
        column.width = width
    console.width += max(0, sum(widths) - room)
    console.print(drawn, crop=False)


def rows(header: Sequence[str], found: Iterable[Sequence[object]]) -> None:
    """Print rows of cells: as a table on a terminal, otherwise in lines for programs, without header.

    A header of empty texts is left out. `NO_COLOR` is respected (rich does it). A tab or line break inside a cell
    becomes a blank. The first column, what a row is about, is never broken.
    """
    if not sys.stdout.isatty():
        for row in found:
            output.row(row)
        return

    def at(place: int, row: Sequence[object]) -> str:
        return str(row[place])

    least = [_FIRST, *[8] * len(header)]
    drawn = [Column(name or " ", text=partial(at, place), least=least[place]) for place, name in enumerate(header)]
    table(drawn, [*found])


def draw(
    columns: Sequence[Column[Row]], found: Sequence[Row], *, whole: bool = True, styles: Sequence[str] = ()
) -> "Table":
    """Return the rows as a table for people, each in its style.

    A row that is not to be `whole` has one line, however long its texts are.
    """
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    shown = [column for column in columns if column.title]
    has_header = any(column.title.strip() for column in shown)
    drawn = Table(header_style="bold", box=None, pad_edge=False, show_header=has_header)
    overflow: Literal["fold", "ellipsis"] = "fold" if whole else "ellipsis"
    texts = [[output.one_line(_text(column, row)) for row in found] for column in shown]
    for column, cells_ in zip(shown, texts, strict=True):
        longest = max(map(cell_len, (column.title, *cells_)))
        firm = column.numbers or column.title in _WHOLE or longest <= column.least
        drawn.add_column(
            column.title,
            overflow=overflow,
            justify="right" if column.numbers else "left",
            no_wrap=firm,
            min_width=longest if firm else column.least,
            max_width=longest,
        )
    for place, line in enumerate(zip(*texts, strict=True)):
        row = (Text(text, no_wrap=not whole, overflow=overflow) for text in line)
        drawn.add_row(*row, style=styles[place] if styles else "")
    return drawn


def _text(column: Column[Row], row: Row) -> str:
    if column.text is not None:
        return column.text(row)
    return "" if column.value is None else cell(column.value(row))
