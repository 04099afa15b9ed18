"""The type of any JSON value, as Python's parsers return it, and which of the values some are."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

Json: TypeAlias = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]


def as_text(value: object) -> str | None:
    """Return the value if it is a text, else None."""
    return value if isinstance(value, str) else None


def as_count(value: object) -> int:
    """Return the value if it is a whole number above 0, else 0."""
    return int(value) if isinstance(value, int) and value > 0 else 0


def are_texts(value: object) -> bool:
    """Tell whether the value is a list of texts."""
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
