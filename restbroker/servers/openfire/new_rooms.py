"""The outcome of a job that creates a room if the room exists, or may be half made; and a lock for each room.

Both kinds use it. Always holds: an existing room is not touched, since both plugins would reset all of it, its members
too, and answer 201 (measured on REST API 1.2.5, 1.3.10 and 1.10.2). It counts as made by a job that may have run
before, as a 409 does elsewhere; but not if the server answered with 500, which may leave a room half made. Of the jobs
of one process, one at a time looks for a room and creates it.
"""

from collections.abc import AsyncIterator
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from typing import Final

import attrs
import trio

from restbroker.job.command import Call
from restbroker.job.outcome import Deferred, Delivered, Outcome, Reason, Rejected
from restbroker.servers.api.ladder import EXISTS

DEFAULT_SERVICE: Final = "conference"
"""The service that the plugins mean if a request names none (read)."""
AFTER_A_RETRY: Final = "already exists after a retry"
"""The note of a delivered job whose object an earlier try may have created."""
_REPLACES: Final = "update_room replaces all settings of the existing room."
_EXISTS_HINT: Final = f"{EXISTS} If an earlier try failed with 500, the room may be half made. {_REPLACES}"
_HALF_MADE: Final = "Check the room (owners, members), then complete it with update_room, or delete_room and retry."


def existing_room(call: Call, status: int, room: str = "room") -> Delivered | Rejected:
    """Return the outcome of a call whose room exists, which `room` names for people.

    `status`: of the answer that says so.
    """
    if call.ok_if_exists:
        return Delivered("", None, status, note="already done")
    if call.maybe_run:
        return Delivered("", None, status, note=AFTER_A_RETRY)
    return Rejected(Reason("AlreadyExists", f"The {room} exists already.", _EXISTS_HINT))


def after_failure(call: Call, failed: Deferred, *, there: bool | None, room: str = "room") -> Outcome:
    """Return the outcome of a call that was answered with 500, which may have left a room half made.

    `there`: whether the room exists now, None if the server does not say. A half-made room must not count as done: a
    later try rejects the call, since the room exists; where it would count that as done, the call is rejected now.
    """
    if there:
        message = f"Status 500, and the {room} exists: it may be half made by this try or an earlier one."
    elif there is None and (call.maybe_run or call.ok_if_exists):
        message = f"Status 500, and the server does not say whether the {room} exists: it may be half made."
    else:
        return attrs.evolve(failed, ran="unlikely")
    return Rejected(Reason("ServerError", message, _HALF_MADE, 500), failed.text)


@attrs.define
class RoomLocks:
    """Locks by room, so that of this process' jobs only one at a time looks for a room and creates it."""

    _busy: set[str] = attrs.field(factory=set)
    _freed: trio.Event = attrs.field(factory=trio.Event)

    @asynccontextmanager
    async def hold(self, rooms: AbstractSet[str]) -> AsyncIterator[None]:
        """Wait until no other job holds any of these rooms, then hold them all until the block ends. Safe to cancel."""
        while not self._busy.isdisjoint(rooms):
            await self._freed.wait()
        self._busy |= rooms
        try:
            yield
        finally:
            self._busy -= rooms
            self._freed.set()
            self._freed = trio.Event()
