"""One table of columns for each list: what a terminal, a pipe and a program that reads JSON get of a row.

Used by the commands that show lists. Always holds: a pipe gets the columns that have a `value`, in their order, and new
ones come last; an unknown value is a dash; JSON has the row's own fields, under their names.
"""

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

import attrs

from restbroker.console import output

if TYPE_CHECKING:
    from rich.table import Table

Row = TypeVar("Row")
Listed = TypeVar("Listed", bound=attrs.AttrsInstance)


@attrs.frozen
class Column(Generic[Row]):
    """A column. A pipe gets `value`, people get `text`, or the value if that is None.

    Without a `title` only programs get it, without a `value` only people. `numbers` are aligned right.
    """

    title: str
    value: Callable[[Row], object] | None = None
    text: Callable[[Row], str] | None = None
    numbers: bool = False


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

    Console().print(draw(columns, found, whole=whole))


def draw(
    columns: Sequence[Column[Row]], found: Sequence[Row], *, whole: bool = True, styles: Sequence[str] = ()
) -> "Table":
    """Return the rows as a table for people, each in its style.

    A row that is not to be `whole` has one line, however long its texts are.
    """
    from rich.table import Table
    from rich.text import Text

    drawn = Table(header_style="bold", box=None, pad_edge=False)
    overflow: Literal["fold", "ellipsis"] = "fold" if whole else "ellipsis"
    shown = [column for column in columns if column.title]
    for column in shown:
        # Of a number no digit may be cut off, and an id is there to be copied.
        justify: Literal["left", "right"] = "right" if column.numbers else "left"
        drawn.add_column(
            column.title, overflow=overflow, justify=justify, no_wrap=column.numbers or column.title == "JOB"
        )
    for place, row in enumerate(found):
        texts = (output.one_line(_text(column, row)) for column in shown)
        line = (Text(text, no_wrap=not whole, overflow=overflow) for text in texts)
        drawn.add_row(*line, style=styles[place] if styles else "")
    return drawn


def _text(column: Column[Row], row: Row) -> str:
    if column.text is not None:
        return column.text(row)
    return "" if column.value is None else cell(column.value(row))
