"""Reads a whole part by part, so that each part that is wrong is told, and the others count.

Used by `config.converter` and `config.forms`. Always holds: what is wrong in a part is raised once, with its place.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import attrs

from restbroker.config.problems import at
from restbroker.config.values import BadValue

T = TypeVar("T")


class BadValues(Exception):
    """Each value that is wrong in a whole. `made`: what the whole is without them; None: nothing."""

    def __init__(self, problems: Sequence[BadValue], made: object) -> None:
        super().__init__(problems)
        self.problems = problems
        self.made = made


@attrs.frozen
class Reading:
    """What is wrong so far."""

    _problems: list[BadValue] = attrs.field(factory=list)

    def part(self, place: str, read: Callable[[], object], *, secret: bool | None = None) -> Any:  # noqa: ANN401  of any type
        """What is read; None where nothing can be made of it. `secret`: as that of `BadValue`."""
        problems: Sequence[BadValue]
        try:
            return read()
        except BadValue as bad:
            problems, made = [bad], None
        except BadValues as several:
            problems, made = several.problems, several.made
        for problem in problems:
            problem.where = at(place, problem.where)
            problem.secret = secret if problem.secret is None else problem.secret
        self._problems.extend(problems)
        return made

    def whole(self, made: T | None) -> T:
        """What was made of the parts. Raises `BadValues` if any was wrong."""
        if self._problems or made is None:
            raise BadValues(self._problems, made)
        return made
