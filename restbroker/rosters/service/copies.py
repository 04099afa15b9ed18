"""The rosters that were read last, to answer with while Redis is away, and who got one of them.

`rosters.service.reader` keeps and uses them.

Always holds: together they take no more than `most_bytes`, and none is used that was read longer than `longest_s` ago.
Those that were read first go first. They are in this process's memory, and nowhere else but in the file of
`rosters.service.copies_file`, if there is one.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Final

import attrs
import trio

_OVERHEAD_BYTES: Final = 400
"""The bytes that Python needs for a copy beside its text."""


@attrs.frozen
class Copy:
    """A roster as it was answered, and when it was read, on Trio's clock."""

    body: bytes
    read_s: float


@attrs.frozen(eq=False)
class StaleAnswer:
    """An answer with a copy that was read at `read_s`, on Trio's clock."""

    read_s: float


@attrs.define(eq=False)
class Copies:
    """The copies, by user. `longest_s` 0: none are kept. `changes` counts what was kept, and who was refreshed.

    `stale_answers`: by user, the last answer with a copy, of all who are to be refreshed. `has_stale_answers`
    is set while there are any; `has_new_answer` is set by each new one, and replaced by the task that waited for it.
    """

    longest_s: float
    most_bytes: int
    size_bytes: int = 0
    changes: int = 0
    stale_answers: dict[str, StaleAnswer] = attrs.field(factory=dict)
    has_stale_answers: trio.Event = attrs.field(factory=trio.Event)
    has_new_answer: trio.Event = attrs.field(factory=trio.Event)
    _copies: OrderedDict[str, Copy] = attrs.field(factory=OrderedDict)

    def __len__(self) -> int:
        return len(self._copies)

    def keep(self, user: str, copy: Copy) -> None:
        """Keep this copy of the user's roster, unless the one that is kept was read later."""
        before = self._copies.get(user)
        if not self.longest_s or (before is not None and before.read_s > copy.read_s):
            return
        if before is not None:
            self._forget(user)
        self._copies[user] = copy
        self.changes += 1
        self.size_bytes += _size(user, copy)
        while self.size_bytes > self.most_bytes:
            self._forget(next(iter(self._copies)))

    def of(self, user: str, now_s: float) -> Copy | None:
        """Return the user's copy, or None if there is none that may be used at `now_s`; those that are too old go."""
        while self._copies:
            oldest, copy = next(iter(self._copies.items()))
            if copy.read_s + self.longest_s > now_s:
                break
            self._forget(oldest)
        copy_of_user = self._copies.get(user)
        fits = copy_of_user is not None and copy_of_user.read_s + self.longest_s > now_s
        return copy_of_user if fits else None

    def all(self) -> Sequence[tuple[str, Copy]]:
        """Return users with their copies, those that were read first in front."""
        return tuple(self._copies.items())

    def note_stale(self, user: str, read_s: float) -> None:
        """Note that the user got a copy that was read at `read_s`, on Trio's clock."""
        self.stale_answers[user] = StaleAnswer(read_s)
        self.has_stale_answers.set()
        self.has_new_answer.set()

    def forget_stale(self, refreshed: Mapping[str, StaleAnswer]) -> None:
        """Remove the stale answers of users who are refreshed, except where a user got another copy meanwhile."""
        for user, given in refreshed.items():
            if self.stale_answers[user] is given:
                del self.stale_answers[user]
        self.changes += 1
        if not self.stale_answers:
            self.has_stale_answers = trio.Event()

    def _forget(self, user: str) -> None:
        self.size_bytes -= _size(user, self._copies.pop(user))


def _size(user: str, copy: Copy) -> int:
    return len(user) + len(copy.body) + _OVERHEAD_BYTES
