"""How many jobs of one command are in delivery at once, so that slow ones do not take all workers.

The processor enters a slot before it delivers and leaves it afterwards. Always holds: a job is in a slot, in its
waiting room, or in neither; both are bounded, and a job that finds them full is deferred without using up a try.
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
    """The jobs of one pattern of commands: `places` of them may be in delivery at once, and `in_use` are."""

    limit: int
    in_use: int = 0
    waiting: deque[JobInProgress] = attrs.field(factory=deque)

    @property
    def waiting_limit(self) -> int:
        """How many jobs may wait for a place."""
        return max(_LEAST_ROOM, _ROOM_PER_PLACE * self.limit)

    def enter(self, job: JobInProgress) -> Literal["in", "waiting", "full"]:
        """Give the job a place ("in"), or let it wait for one ("waiting"), or do neither if all are taken ("full")."""
        if self.in_use < self.limit:
            self.in_use += 1
            job.in_slot = True
            return "in"
        if len(self.waiting) < self.waiting_limit:
            self.waiting.append(job)
            return "waiting"
        return "full"

    def leave(self, job: JobInProgress) -> JobInProgress | None:
        """Free the job's place; return the job that waited longest, for the caller to give to a worker, or None."""
        job.in_slot = False
        self.in_use -= 1
        return self.waiting.popleft() if self.waiting else None

    def drop_unless(self, known: Container[str]) -> None:
        """Drop the waiting jobs whose tickets are not in `known`."""
        self.waiting = deque(job for job in self.waiting if job.ticket in known)


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

    def waiting_tickets(self) -> frozenset[str]:
        """Return the tickets of the jobs that wait for a place."""
        return frozenset(job.ticket for slot in self._slots.values() for job in slot.waiting)

    def drop_unless(self, known: Container[str]) -> None:
        """Drop the waiting jobs whose tickets are not in `known`."""
        for slot in self._slots.values():
            slot.drop_unless(known)
