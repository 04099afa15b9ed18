"""How many jobs of one command are in delivery at once, so that slow ones do not take all workers.

The worker enters a slot before it delivers and leaves it afterwards. Always holds: a job is in a slot, in its waiting
room, or in neither; both are bounded, and what finds them full is put off without using up a try.
"""

from collections import deque
from collections.abc import Container, Mapping
from fnmatch import fnmatchcase
from typing import Literal

import attrs

from restbroker.broker.item import Item

_ROOM_PER_PLACE = 4
_LEAST_ROOM = 20


@attrs.define(eq=False)
class Slot:
    """One pattern of commands. `places` may be in delivery at once."""

    places: int
    taken: int = 0
    waiting: deque[Item] = attrs.field(factory=deque)

    @property
    def room(self) -> int:
        """How many may wait for a place."""
        return max(_LEAST_ROOM, _ROOM_PER_PLACE * self.places)


@attrs.define(eq=False)
class Slots:
    """Per lane. `_limits`: pattern of commands → jobs at once; the first pattern that matches counts."""

    _limits: Mapping[str, int]
    _slots: dict[str, Slot] = attrs.field(factory=dict)

    def of(self, command: str) -> Slot | None:
        """The slot of this command; None if nothing limits it."""
        pattern = next((pattern for pattern in self._limits if fnmatchcase(command, pattern)), None)
        if pattern is None:
            return None
        return self._slots.setdefault(pattern, Slot(self._limits[pattern]))

    def enter(self, slot: Slot, item: Item) -> Literal["in", "waiting", "full"]:
        """Takes a place, or else a seat in the waiting room, if there is one."""
        if slot.taken < slot.places:
            slot.taken += 1
            return "in"
        if len(slot.waiting) < slot.room:
            slot.waiting.append(item)
            return "waiting"
        return "full"

    def leave(self, slot: Slot) -> Item | None:
        """Frees a place; returns who waited longest for one, to be handed to a worker again."""
        slot.taken -= 1
        return slot.waiting.popleft() if slot.waiting else None

    def waiting(self) -> frozenset[str]:
        """The tickets of those that wait for a place."""
        return frozenset(item.ticket for slot in self._slots.values() for item in slot.waiting)

    def drop_unless(self, known: Container[str]) -> None:
        """Drops waiting jobs whose tickets are not `known`."""
        for slot in self._slots.values():
            slot.waiting = deque(item for item in slot.waiting if item.ticket in known)
