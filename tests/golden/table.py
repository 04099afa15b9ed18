"""How the table of fates is written: a person reads what a decision changes as a few lines of a diff.

    = "nothing"                                     the bodies that are judged alike
      409      Delivered, already done → ack        what most classes get at these statuses
               ∙ Rejected AlreadyExists → dead      what others get, and which
                   all -

Behind a class stand the calls that this is about: `-` the plain one, `m` one that may have run, `e` one with
`ok_if_exists`, `me` both. `all`: every class. Pure. Always holds: `parsed` gives back what `text` was made of.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Final, TypeAlias

Table: TypeAlias = dict[str, dict[str, dict[str, str]]]
"""The fate by body, label of the call, and status (or kind of silence)."""
Spans: TypeAlias = list[tuple[str, str]]
"""Statuses as written, and the fate there."""

FLAGS: Final = ("-", "e", "m", "me")
_EVERY: Final = "all"
_OTHER: Final = "∙ "
_CLASSES: Final = "# classes: "


def label_of(name: str, flags: str) -> str:
    """A call of a class."""
    return f"{name} {flags or '-'}"


def text(table: Table) -> str:
    """The table as it is kept."""
    bodies: dict[tuple[str, ...], list[str]] = {}
    for name, by_label in table.items():
        bodies.setdefault(tuple(_block(by_label)), []).append(name)
    names = dict.fromkeys(label.rpartition(" ")[0] for label in next(iter(table.values())))
    blocks = ["\n".join([*(f"= {json.dumps(body, ensure_ascii=False)}" for body in alike), *block])
              for block, alike in bodies.items()]  # fmt: skip
    return "\n\n".join([f"{_CLASSES}{'; '.join(names)}", *blocks]) + "\n"


@cache
def parsed(written: str) -> dict[str, dict[str, Spans]]:
    """By body and label, the spans of such a text."""
    head, *blocks = written.rstrip("\n").split("\n\n")
    classes = head.removeprefix(_CLASSES).split("; ")
    found: dict[str, dict[str, Spans]] = {}
    for block in blocks:
        lines = block.splitlines()
        names = [json.loads(line[2:]) for line in lines if line.startswith("= ")]
        spans = _spans(lines[len(names) :], classes)
        found.update(dict.fromkeys(names, spans))
    return found


def _spans(lines: Sequence[str], classes: Sequence[str]) -> dict[str, Spans]:
    every = [label_of(name, flags) for name in classes for flags in FLAGS]
    found: dict[str, Spans] = {label: [] for label in every}
    span = fate = ""
    for line in lines:
        indent, said = len(line) - len(line.lstrip()), line.strip()
        if indent == 2:
            span, _, fate = said.partition("  ")
            for label in every:
                found[label].append((span, fate.strip()))
        elif said.startswith(_OTHER):
            fate = said.removeprefix(_OTHER)
        else:
            for label in _long(said, classes):
                found[label][-1] = (span, fate)
    return found


def _long(said: str, classes: Sequence[str]) -> Iterator[str]:
    """The labels that `_short` wrote."""
    for part in said.split("; "):
        name, _, flags = part.rpartition(" ")
        if part in classes:
            yield from (label_of(part, flag) for flag in FLAGS)
        elif name == _EVERY:
            yield from (label_of(name, flags) for name in classes)
        else:
            yield from (label_of(name, flag) for flag in flags.split(","))


def statuses_of(span: str) -> Sequence[str]:
    """What is meant by `400`, `400-404` or `no answer, not sent`."""
    first, dash, last = span.partition("-")
    if dash and first.isdigit():
        return [str(status) for status in range(int(first), int(last) + 1)]
    return span.split(", ")


def _block(by_label: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    columns: list[tuple[list[str], dict[str, str]]] = []
    for at in next(iter(by_label.values())):
        column = {label: row[at] for label, row in by_label.items()}
        if columns and columns[-1][1] == column:
            columns[-1][0].append(at)
        else:
            columns.append(([at], column))
    for statuses, column in columns:
        yield from _lines(_span(statuses), column)


def _lines(span: str, column: Mapping[str, str]) -> Iterator[str]:
    alike: dict[str, list[str]] = {}
    for label, fate in column.items():
        alike.setdefault(fate, []).append(label)
    most = max(alike, key=lambda fate: len(alike[fate]))
    yield f"  {span:7}  {most}"
    for fate, labels in alike.items():
        if fate != most:
            yield f"           {_OTHER}{fate}"
            yield f"               {'; '.join(_short(labels, list(column)))}"


def _short(labels: Sequence[str], every: Sequence[str]) -> Iterator[str]:
    """These labels, those of a class together."""
    names = list(dict.fromkeys(label.rpartition(" ")[0] for label in every))
    for flags in FLAGS:
        if all(f"{name} {flags}" in labels for name in names):
            yield f"{_EVERY} {flags}"
            labels = [label for label in labels if not label.endswith(f" {flags}")]
    for name in names:
        if own := [flags for flags in FLAGS if f"{name} {flags}" in labels]:
            yield name if len(own) == len(FLAGS) else f"{name} {','.join(own)}"


def _span(statuses: Sequence[str]) -> str:
    if not statuses[0].isdigit():
        return ", ".join(statuses)
    return statuses[0] if len(statuses) == 1 else f"{statuses[0]}-{statuses[-1]}"
