"""One table of columns for each list: what a terminal, a pipe and a program that reads JSON get of a row.

Used by the commands that show lists. Always holds: a pipe gets the columns that have a `value`, in their order, and new
ones come last; an unknown value is a dash; JSON has the row's own fields, under their names. On a terminal ids, times
and numbers are never cut or broken: a row that has no room for them is longer than the terminal is wide. No word is
broken, and a name only between its parts. Where there is no room, what all rows say is said once.
"""

import re
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
_WORD: Final = 24
"""What has more letters, such as an address, is no word that stays whole."""
_BLANKS: Final = re.compile(r"(?<= )")
_PARTS: Final = re.compile(r"(?<=[ _,/.:@=-])|(?<=[a-z])(?=[A-Z])")
"""Where words end, and where parts of names do."""
_NOTHING: Final = frozenset({"", "-"})
ALARM: Final = {True: "bold red", False: "yellow"}
"""The style of what is wrong: grave, or only worth knowing."""


@frozen
class Column(Generic[Row]):
    """A column. A pipe gets `value`, people get `text`, or the value if that is None.

    Without a `title` only programs get it, without a `value` only people. `numbers` are aligned right. `least`: the
    letters in a line that stay of it on a narrow terminal; `spare`: it is left out there.
    """

    title: str
    value: Callable[[Row], object] | None = None
    text: Callable[[Row], str] | None = None
    numbers: bool = False
    least: int = 8
    spare: bool = False


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

    console, once = Console(), list[str]()
    shown = {column: _texts(column, found) for column in columns if column.title}
    widths = {one: _least(one, texts, _BLANKS) if whole else _longest(one, texts) for one, texts in shown.items()}
    for column in sorted(shown, key=lambda one: one.spare)[::-1]:
        said = {*shown[column]} if column.title.strip() not in {"", *_WHOLE} else set()
        is_same = len(said) == 1 and (len(found) > 1 or said <= _NOTHING)
        if (is_same or column.spare) and sum(widths.values()) + 2 * (len(widths) - 1) > console.width:
            once[:0] = [f"{column.title} {text}" for text in said if is_same and text not in _NOTHING]
            del shown[column], widths[column]
    drawn = draw([*shown], found, width=console.width, whole=whole)
    console.width = max(console.width, sum(column.width or 0 for column in drawn.columns) + 2 * (len(shown) - 1))
    console.print(drawn, crop=False)
    if once:
        output.data(f"Each row: {', '.join(once)}")


def line(text: str, style: str) -> None:
    """Print a line on a terminal, in this style where that has colours."""
    from rich.console import Console
    from rich.text import Text

    Console().print(Text(output.one_line(text), style), soft_wrap=True)


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
    columns: Sequence[Column[Row]], found: Sequence[Row], *, width: int, whole: bool = True, styles: Sequence[str] = ()
) -> "Table":
    """Return the rows as a table for people, each in its style, at most `width` letters wide if that is possible.

    A row that is not to be `whole` has one line, however long its texts are.
    """
    from rich.table import Table
    from rich.text import Text

    shown = {column: _texts(column, found) for column in columns if column.title}
    has_header = any(column.title.strip() for column in shown)
    drawn = Table(header_style="bold", box=None, pad_edge=False, show_header=has_header)
    overflow: Literal["fold", "ellipsis"] = "fold" if whole else "ellipsis"
    room = width - 2 * (len(shown) - 1)
    for ends in (_BLANKS, _PARTS, None):
        # A text that is cut loses its end; a name would lose itself.
        least = [_least(*one, ends if whole or " " not in "".join(one[1]) else None) for one in shown.items()]
        if sum(least) <= room:
            break
    widths = [max(few, min(_longest(*one), room)) for one, few in zip(shown.items(), least, strict=True)]
    while sum(widths) > room and widths != least:
        widest = max(range(len(widths)), key=lambda place: widths[place] - least[place])
        widths[widest] -= 1
    for column, letters in zip(shown, widths, strict=True):
        drawn.add_column(column.title, overflow=overflow, no_wrap=column.title in _WHOLE, width=letters)
        drawn.columns[-1].justify = "right" if column.numbers else "left"
    for place, row in enumerate(zip(*shown.values(), strict=True)):
        texts = (_fold(text, letters) if whole else text for text, letters in zip(row, widths, strict=True))
        cells_ = (Text(text, no_wrap=not whole, overflow=overflow) for text in texts)
        drawn.add_row(*cells_, style=styles[place] if styles else "")
    return drawn


def _texts(column: Column[Row], found: Sequence[Row]) -> list[str]:
    return [output.one_line(_text(column, row)) for row in found]


def _longest(column: Column[Row], texts: Sequence[str]) -> int:
    from rich.cells import cell_len

    return max(map(cell_len, (column.title, *texts)))


def _least(column: Column[Row], texts: Sequence[str], ends: re.Pattern[str] | None) -> int:
    """Return how narrow the column may be if its texts are broken at these `ends` alone, or anywhere (None)."""
    longest = _longest(column, texts)
    if column.numbers or column.title in _WHOLE or longest <= column.least:
        return longest
    parts = [] if ends is None else [part.rstrip() for text in texts for part in ends.split(text)]
    return max(column.least, min(longest, _WORD, _longest(column, parts)))


def _fold(text: str, width: int) -> str:
    """Return the text in lines of whole words, and of a word that is longer in whole parts, as far as they fit."""
    from rich.cells import cell_len

    lines: list[str] = []
    for word in _BLANKS.split(text):
        for part in [word] if cell_len(word.rstrip()) <= width else _PARTS.split(word):
            if lines and cell_len((lines[-1] + part).rstrip()) <= width:
                lines[-1] += part
            else:
                lines.append(part)
    return "\n".join(map(str.rstrip, lines))


def _text(column: Column[Row], row: Row) -> str:
    if column.text is not None:
        return column.text(row)
    value = None if column.value is None else column.value(row)
    if value and isinstance(value, tuple | list):
        return ", ".join(value)
    return "" if column.value is None else cell(value)
