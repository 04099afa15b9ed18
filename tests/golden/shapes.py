"""The shape of a value: its members and their types, without what is in them. Pure.

Names that are different each time, such as a process' or a date, have a word in their place.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

_NAMES: Final = (
    (re.compile(r"[A-Za-z0-9._-]+:\d+:[0-9a-f]{8,}"), "PROCESS"),
    (re.compile(r"\b\d{4}-\d{2}-\d{2}\b|(?<=:)2\d{7}\b"), "DATE"),
    (re.compile(r"\|\d{6,8}\|[\d:]+"), "|MINUTE"),
    (re.compile(r"\b\d{1,2}-\d{1,2}:\d{1,2}\b"), "MINUTE"),
    (re.compile(r"\b[0-9a-f]{16,64}\b"), "HEX"),
    (re.compile(r"\b\d+:\d+\b"), "TICKET"),
    (re.compile(r"127\.0\.0\.1:\d+"), "ADDRESS"),
    (re.compile(r"\bofchat-?\d+"), "STREAM"),
)
_LATENCY: Final = re.compile(r"p\d\d_ms|change_per_s|empty_in_s")
_WIDE: Final = 118


def named(text: str) -> str:
    """The text with words for what differs."""
    for pattern, word in _NAMES:
        text = pattern.sub(word, text)
    return text


def parsed(text: str) -> Any:
    """The object, list or number that this is as JSON; else the text."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, dict | list | int | float) else text


def of(*values: Any) -> str:
    """The one shape that these values have together: a member that not all objects have has a `?`."""
    plain = {_plain(value) for value in values if not isinstance(value, dict | list)}
    objects = [value for value in values if isinstance(value, dict)]
    lists = [value for value in values if isinstance(value, list)]
    found = sorted(plain)
    if lists:
        found.append(f"[{of(*(inner for items in lists for inner in items))}]")
    if objects:
        found.append(f"{{{', '.join(_members(objects))}}}")
    return " | ".join(found)


def _members(objects: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    inside: dict[str, list[Any]] = {}
    having: Counter[str] = Counter()
    for member in objects:
        having.update({named(name) for name in member})
        for name, value in member.items():
            inside.setdefault(named(name), []).append(value)
            if _LATENCY.fullmatch(name):  # of the last minute: a slow machine has none
                inside[name] += [None, 1.5]
            elif name == "outcomes":  # of the last minute too
                inside[name][-1] = {"OUTCOME": 1}
            elif name in (
                "numbers",
                "troubles",
                "queue_changes_per_s",
            ):  # of a minute: of what was up, or down, at its end
                inside[name][-1] = {"SUBJECT": 1}
    for name in sorted(inside):
        yield f"{name}{'' if having[name] == len(objects) else '?'}: {of(*inside[name])}"


def _plain(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case _:
            return "text"


def lines(text: str, indent: str = "  ") -> Iterator[str]:
    """The shape over several lines where it is long: a line of a diff is then about one member."""
    opened = text.find("{")
    if len(indent) + len(text) <= _WIDE or opened < 0:
        yield indent + text
        return
    parts, depth, end = [""], 0, opened + 1
    while depth >= 0:
        letter = text[end]
        depth += (letter in "{[") - (letter in "}]")
        if letter == "," and depth == 0:
            parts.append("")
        elif depth >= 0:
            parts[-1] += letter
        end += 1
    yield indent + text[: opened + 1]
    for part in parts:
        yield from lines(part.strip(), f"{indent}  ")
    yield from lines(text[end - 1 :], indent)
