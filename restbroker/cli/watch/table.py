"""Columns that fit: into a width by leaving out the least important, into a height by saying how many more there are.

Used by `screen` and `stats_terminal`. Always holds: no line is wider than requested, and none has a control character.
"""

from collections.abc import Sequence

import attrs
from rich.cells import cell_len, set_cell_size
from rich.text import Text

from restbroker.console.output import one_line

_GAP = 2
_LEAST = 8
"""The least width of a text that may be cut; a narrower one is of no use."""


@attrs.frozen
class Column:
    """A column; `numbers` are aligned right. The one with the lowest `leave` is dropped first, one with 0 never.

    `stretches`: it takes what the others leave over. `whole`: its texts are never cut.
    """

    title: str
    numbers: bool = False
    leave: int = 0
    stretches: bool = False
    whole: bool = False


@attrs.frozen
class Row:
    """The cells of a line, and its style."""

    cells: Sequence[str]
    style: str = ""


def table(columns: Sequence[Column], rows: Sequence[Row], width: int, height: int) -> list[Text]:
    """Return a header and the first rows that fit; nothing if there is no room for two lines, or no row.

    The last line says how many rows did not fit.
    """
    if height < 2 or not rows:
        return []
    room = height - 1
    shown = rows if len(rows) <= room else rows[: room - 1]
    cells = [[one_line(cell) for cell in row.cells] for row in shown]
    widths = _widths(columns, cells, width)
    header = _line(columns, [column.title for column in columns], widths)
    lines = [Text(truncate(header, width), "bold")]
    lines += [
        Text(truncate(_line(columns, texts, widths), width), row.style) for texts, row in zip(cells, shown, strict=True)
    ]
    if len(shown) < len(rows):
        lines.append(more(len(rows) - len(shown), width))
    return lines


def more(count: int, width: int) -> Text:
    """Return the last line, which says how many rows did not fit (`count`)."""
    return Text(truncate(f"… and {count} more", width), "dim")


def truncate(text: str, width: int) -> str:
    """Return the text in at most `width` columns, with … at its end if it was longer."""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, width - 1) + "…" if width > 1 else "…"[:width]


def _widths(columns: Sequence[Column], cells: Sequence[Sequence[str]], width: int) -> dict[int, int]:
    """Return the width of each column that is shown, by its place."""
    natural = [
        max([cell_len(column.title), *(cell_len(row[place]) for row in cells)]) for place, column in enumerate(columns)
    ]
    # A text may be cut, a number may not.
    least = [
        wide if column.numbers or column.whole else min(wide, _LEAST * 2 if column.leave == 0 else _LEAST)
        for wide, column in zip(natural, columns, strict=True)
    ]
    # A column without a word in it says nothing.
    kept = [place for place in range(len(columns)) if any(row[place] for row in cells)]
    leaving = sorted((place for place in kept if columns[place].leave), key=lambda place: columns[place].leave)
    while leaving and sum(least[place] + _GAP for place in kept) - _GAP > width:
        kept.remove(leaving.pop(0))
    left = width + _GAP - sum(least[place] + _GAP for place in kept)
    widths = {place: least[place] for place in kept}
    # What is left over goes to the names first, to what stretches last.
    for place in sorted(kept, key=lambda place: columns[place].stretches):
        more_wide = max(0, min(left, natural[place] - widths[place]))
        widths[place] += more_wide
        left -= more_wide
    if left < 0 and kept:
        widths[kept[0]] = max(1, widths[kept[0]] + left)
    return widths


def _line(columns: Sequence[Column], cells: Sequence[str], widths: dict[int, int]) -> str:
    parts = []
    for place, wide in widths.items():
        text = truncate(cells[place], wide)
        blanks = " " * (wide - cell_len(text))
        parts.append(blanks + text if columns[place].numbers else text + blanks)
    return (" " * _GAP).join(parts).rstrip()
