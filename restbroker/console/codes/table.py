"""The form of the tables of codes. `tools.code_tables` writes them into their pages (`make reference`).

Always holds: nothing here is of attrs, which `explain-error` and Tab would import for this alone (20 ms of CPU).
"""

from collections.abc import Mapping
from typing import NamedTuple


class Row(NamedTuple):
    """What one code means, or several that belong together, and what to do; in Markdown, with links as from `docs`."""

    meaning: str
    cure: str


class Table(NamedTuple):
    """`what` its codes are codes of; the `page` that has it, behind which `heading`; `rows` by code, or `A, B`."""

    what: str
    page: str
    heading: str
    rows: Mapping[str, Row]
