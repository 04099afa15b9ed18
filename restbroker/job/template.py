"""Texts with placeholders: `{name}` stands for a value that is filled in later. Pure.

`servers.http` makes requests of them, `job.event_command` the arguments of a command. Always holds: a broken one is
found when it is parsed. `{name?}` may be missing; `{{` and `}}` are braces.
"""

import re
from collections.abc import Callable
from functools import cached_property
from typing import Final

from restbroker.light import frozen

_TOKEN: Final = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_.-]{0,63})(\?)?\}|[{}]|[^{}]+")


class BadTemplate(ValueError):
    """A template is broken; the text says how, and completes a sentence that begins with its place."""


@frozen
class Placeholder:
    """The place of an argument in a text; if it is `optional`, a job need not give the argument."""

    name: str
    optional: bool


@frozen
class TemplateText:
    """A text with placeholders, or without."""

    parts: tuple[str | Placeholder, ...]

    @cached_property
    def placeholders(self) -> list[Placeholder]:
        """The placeholders in it, from left to right."""
        return [part for part in self.parts if isinstance(part, Placeholder)]

    @cached_property
    def lines(self) -> "list[TemplateText]":
        """Each of its lines."""
        lines: list[list[str | Placeholder]] = [[]]
        for part in self.parts:
            first, *rest = [part] if isinstance(part, Placeholder) else part.split("\n")
            lines[-1].append(first)
            lines += [[line] for line in rest]
        return [TemplateText(tuple(line)) for line in lines]

    def filled(self, value_of: Callable[[str], str]) -> str:
        """Return the text with the value of its name for each placeholder."""
        return "".join(part if isinstance(part, str) else value_of(part.name) for part in self.parts)

    @cached_property
    def whole(self) -> Placeholder | None:
        """The placeholder that is all of the text; None if there is more or none."""
        only = self.parts[0] if len(self.parts) == 1 else None
        return only if isinstance(only, Placeholder) else None


def parse_text(text: str) -> TemplateText:
    """Return the template in a text; raise `BadTemplate` if it is broken."""
    parts: list[str | Placeholder] = []
    for found in _TOKEN.finditer(text):
        token = found[0]
        if token in ("{", "}"):
            raise BadTemplate(f'has a "{token}" that belongs to no {{name}}; write "{token * 2}" for the brace itself.')
        literal = token[0] if token in ("{{", "}}") else token
        parts.append(Placeholder(found[1], found[2] is not None) if found[1] else literal)
    return TemplateText(tuple(parts))
