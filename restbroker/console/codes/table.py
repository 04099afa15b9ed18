"""The form of the tables of codes; `tools.code_tables` writes them into their pages (`make reference`).

Always holds: nothing here uses attrs, which `explain-error` and Tab would import only for this (20 ms of CPU).
"""

from collections.abc import Mapping
from typing import NamedTuple


class Row(NamedTuple):
    """What a code means, or several that belong together, and what to do; Markdown, with links as from `docs`."""

    meaning: str
    hint: str


class Table(NamedTuple):
    """A table of codes: `what` they are codes of, the `page` and the `heading` under which it stands.

    `rows` has a row by code, or by several codes as `A, B`.
    """

    what: str
    page: str
    heading: str
    rows: Mapping[str, Row]
