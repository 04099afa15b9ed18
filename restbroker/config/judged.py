"""What a kind of target has to say of one that is configured. `config.build_targets` asks the kind's options.

Always holds: options without such a say take the target as it is. A kind whose servers need other defaults than most
gives its options a `DEFAULTS`.
"""

from collections.abc import Callable
from typing import Protocol, TypeAlias, runtime_checkable

import attrs

from restbroker.config.key import Members
from restbroker.config.review import Review
from restbroker.config.target import Target

At: TypeAlias = Callable[[str], str]
"""Names the place of a target's member, such as `URL`, as the operator wrote it."""


@attrs.frozen
class Defaults:
    """What counts where the target does not say: `Concurrency` and `RequestTimeout`."""

    concurrency: int = 20
    timeout_s: float = 10.0


def defaults_of(options: Members) -> Defaults:
    """Those of the kind with these options."""
    found: Defaults = getattr(options, "DEFAULTS", Defaults())
    return found


@runtime_checkable
class Judging(Protocol):
    """Options that judge their target."""

    def judged(self, target: Target, at: At, review: Review) -> Target:
        """The target as it is to be used. What is wrong or odd about it becomes a problem or a note in `review`."""
        ...
