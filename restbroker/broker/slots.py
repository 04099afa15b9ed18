"""How many jobs of one command are in delivery at once, so that slow ones do not take all workers.

The worker enters a slot before it delivers and leaves it afterwards. Always holds: a job is in a slot, in its waiting
room, or in neither; both are bounded, and a job that finds them full is deferred without using up a try.
"""

from collections import deque
from collections.abc import Container, Mapping
from fnmatch import fnmatchcase
from typing import Literal

import attrs

from restbroker.broker.job_in_progress import JobInProgress

_ROOM_PER_PLACE = 4
_LEAST_ROOM = 20


@attrs.define(eq=False)
class Slot:
    """The jobs of one pattern of commands: `places` of them may be in delivery at once, and `taken` are."""

    places: int
    taken: int = 0
    waiting: deque[JobInProgress] = attrs.field(factory=deque)

    @property
    def room(self) -> int:
        """How many jobs may wait for a place."""
        return max(_LEAST_ROOM, _ROOM_PER_PLACE * self.places)


@attrs.define(eq=False)
class Slots:
    """The slots of one pool. `_limits`: {pattern of commands: jobs at once}; the first pattern that matches counts."""

    _limits: Mapping[str, int]
    _slots: dict[str, Slot] = attrs.field(factory=dict)

    def of(self, command: str) -> Slot | None:
        """Return the slot of this command; None if nothing limits it."""
        pattern = next((pattern for pattern in self._limits if fnmatchcase(command, pattern)), None)
        if pattern is None:
            return None
        return self._slots.setdefault(pattern, Slot(self._limits[pattern]))

    def enter(self, slot: Slot, item: JobInProgress) -> Literal["in", "waiting", "full"]:
        """Take a place ("in"), or else a seat in the waiting room ("waiting"); "full": there is neither."""
        if slot.taken < slot.places:
            slot.taken += 1
            return "in"
        if len(slot.waiting) < slot.room:
            slot.waiting.append(item)
            return "waiting"
        return "full"

    def leave(self, slot: Slot) -> JobInProgress | None:
        """Free a place; return the job that waited longest for one, to be handed to a worker again, or None."""
        slot.taken -= 1
        return slot.waiting.popleft() if slot.waiting else None

    def waiting(self) -> frozenset[str]:
        """Return the tickets of the jobs that wait for a place."""
        return frozenset(item.ticket for slot in self._slots.values() for item in slot.waiting)

    def drop_unless(self, known: Container[str]) -> None:
        """Drop the waiting jobs whose tickets are not in `known`."""
        for slot in self._slots.values():
            slot.waiting = deque(item for item in slot.waiting if item.ticket in known)
