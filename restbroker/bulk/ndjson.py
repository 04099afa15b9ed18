"""Rows of NDJSON: an object in each line. `bulk.files` calls `rows_of`.

Always holds: no member of an object is lost: one that names a member twice is a bad row.
"""

import json
from collections.abc import Iterator

from restbroker.bulk.read import ERROR, Bad, Lines, Read, Row, TooLong, too_long
from restbroker.job import rubyjson
from restbroker.job.endpoint import kind_of
from restbroker.job.json_types import Json


def rows_of(lines: Lines) -> Iterator[Read]:
    """Yield all rows as they are read, good and bad; `lines` has the first line already."""
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
        except TooLong:
            number += 1
            yield from too_long(number, lines)
            lines.row_lines[:] = [""]


def _member_of(text: str) -> dict[str, Json] | str:
    """Return the object of a line, or why there is none.

    It is empty for a line that only says why the next one was rejected.
    """
    try:
        value = rubyjson.loads(text.encode("utf-8", "surrogateescape"))
    except rubyjson.Unreadable as error:
        return f"not JSON: {error}."
    if not isinstance(value, dict):
        return f"{kind_of(value)}, not an object."
    # Each name has a colon behind it, so only where there are more of these can one stand twice.
    if text.count('":') + text.count('" :') > len(value) and has_duplicate_name(text):
        return "an object has a name twice."
    if ERROR in value:
        del value[ERROR]
        return value
    return value or "an empty object."


def has_duplicate_name(text: str) -> bool:
    """Tell whether some object in this JSON names a member twice; also True for what is not JSON."""
    try:
        json.loads(text, object_pairs_hook=_require_once)
    except ValueError:
        return True
    return False


def _require_once(pairs: list[tuple[str, Json]]) -> None:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise ValueError
