"""Cells of CSV that a spreadsheet opens as text and never as a formula. Pure.

Called where CSV is written for people and where such files are read back. Always holds: `unguard(guard(x)) == x`. A
spreadsheet runs a cell that begins with one of `= + - @`, also in their full width, a tab, a carriage return or a line
feed as a formula; with an apostrophe before it, it shows the text (OWASP, "CSV Injection"). Some spreadsheets strip
blanks before they look.
"""

import re
from typing import Final

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
