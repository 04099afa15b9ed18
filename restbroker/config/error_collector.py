"""Read a list or object part by part, so that every wrong part is reported and the others are used.

Used by `config.converter` and `config.forms`. Always holds: each error in a part is raised once, with its place.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import attrs

from restbroker.config.problems import at
from restbroker.config.values import BadValue

T = TypeVar("T")


class BadValues(Exception):
    """All wrong values in a list or object; `partial` is the value without them, or None if none can be made."""

    def __init__(self, problems: Sequence[BadValue], partial: object) -> None:
        super().__init__(problems)
        self.problems = problems
        self.partial = partial


@attrs.frozen
class ErrorCollector:
    """Collects the wrong values in the parts of a list or object."""

    _problems: list[BadValue] = attrs.field(factory=list)

    def part(self, place: str, read: Callable[[], object], *, secret: bool | None = None) -> Any:  # noqa: ANN401  of any type
        """Return `read()`; if it raises `BadValue` or `BadValues`, keep these; return the part without wrong values.

        That may be None. `place` is the part's place in the list or object. `secret` is set on each `BadValue` that
        does not yet say whether its value must be hidden.
        """
        problems: Sequence[BadValue]
        try:
            return read()
        except BadValue as bad:
            problems, made = [bad], None
        except BadValues as several:
            problems, made = several.problems, several.partial
        for problem in problems:
            problem.where = at(place, problem.where)
            problem.secret = secret if problem.secret is None else problem.secret
        self._problems.extend(problems)
        return made

    def whole(self, made: T | None) -> T:
        """Return `made`, the value of all parts; raise `BadValues` if a part was wrong or `made` is None."""
        if self._problems or made is None:
            raise BadValues(self._problems, made)
        return made
