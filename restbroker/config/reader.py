"""Reads JSON into a class of keys: by their names first, then by the one converter.

Called by `config.load` for the file's keys and by `config.check_targets` for a target's options. Always holds: a value
that its key does not take becomes a problem that says where it is, what is wanted and what was found; a secret's value
is not said.
"""

from collections.abc import Mapping
from typing import TypeVar

import attrs

from restbroker.config.converter import CONVERTER, problems_in
from restbroker.config.names import canonical_members, fold, refuse_doubles
from restbroker.config.review import Review, at
from restbroker.job.json_types import Json

T = TypeVar("T", bound=attrs.AttrsInstance)


def read(members: type[T], document: Mapping[str, Json], place: str, review: Review) -> T | None:
    """The object that stands at `place`; None, and problems in `review`, where some of it cannot be read."""
    folded = fold(members, document, place, review)
    refuse_doubles(members, folded, place, review)
    return read_folded(members, folded, place, review)


def read_folded(members: type[T], folded: Mapping[str, Json], place: str, review: Review) -> T | None:
    """As `read`, for an object whose own names are proper."""
    try:
        return CONVERTER.structure(canonical_members(members, folded, place, review), members)
    except ExceptionGroup as wrong:
        for problem in problems_in(wrong):
            review.refuse(at(place, problem.where), str(problem))
    return None
