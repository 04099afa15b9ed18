"""Creates rooms, and says what becomes of a job whose room exists, or may be half made.

Both kinds use it. Always holds: an existing room is not touched, since both plugins would reset all of it, its members
too, and answer 201 (measured on REST API 1.2.5, 1.3.10 and 1.10.2). It counts as made by a job that may have run
before, as a 409 does elsewhere; but not if the server answered with 500, which may leave a room half made. No room is
created if the server does not say that it is not there. Of the jobs of one process, one at a time looks for a room and
creates it.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager, suppress
from itertools import compress
from typing import Final, TypeAlias

import attrs
import trio

from restbroker.job.command import Call
from restbroker.job.outcome import Deferred, Delivered, Outcome, Reason, Rejected
from restbroker.light import define, field, frozen
from restbroker.servers.api.ladder import EXISTS
from restbroker.transport.message import MaybeSent, NotSent

DEFAULT_SERVICE: Final = "conference"
"""The service that the plugins mean if a request names none (read)."""
AFTER_A_RETRY: Final = "already exists after a retry"
"""The note of a delivered job whose object an earlier try may have created."""
_REPLACES: Final = "update_room replaces all settings of the existing room."
_EXISTS_HINT: Final = f"{EXISTS} If an earlier try failed with 500, the room may be half made. {_REPLACES}"
_HALF_MADE: Final = "Check the room (owners, members), then complete it with update_room, or delete_room and retry."

Found: TypeAlias = bool | Outcome
"""Whether a room exists; if the server does not say, the outcome of a job that must know it."""


@frozen
class NewRoom:
    """One room that a call creates. `text` names it for people.

    `key`: its name and service, folded. `look` asks the server for it; it may raise `NotSent` and `MaybeSent`.
    """

    key: str
    look: Callable[[], Awaitable[Found]]
    text: str = "room"


@define
class RoomCreator:
    """Creates the rooms of one target."""

    _busy: set[str] = field(factory=set)
    _freed: trio.Event = field(factory=trio.Event)

    async def create(
        self, call: Call, rooms: Sequence[NewRoom], send: Callable[[Sequence[bool]], Awaitable[Outcome]]
    ) -> Outcome:
        """Create those rooms of this call that are not there, and return its outcome, also if nothing was sent.

        `send` sends the call and returns the outcome of its answer; it is given which of the rooms are to be created.
        Raise what it raises, and `NotSent` and `MaybeSent`.
        """
        async with self._hold({room.key for room in rooms}):
            kept, outcome = [], None
            for room in rooms:
                found = await room.look()
                kept.append(found is False)
                if found is not False:
                    outcome = _existing(call, room.text) if found is True else found
                    if not isinstance(outcome, Delivered):
                        return outcome
            if outcome is not None and not any(kept):
                return outcome
            outcome = await send(kept)
            if isinstance(outcome, Deferred) and outcome.reason.status == 500:
                return await _after_failure(call, outcome, [*compress(rooms, kept)])
            if isinstance(outcome, Delivered) and not all(kept):
                counted = f"already done: {kept.count(False)} of {len(kept)}"
                return attrs.evolve(outcome, note=f"{outcome.note}; {counted}" if outcome.note else counted)
            return outcome

    @asynccontextmanager
    async def _hold(self, rooms: AbstractSet[str]) -> AsyncIterator[None]:
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


def _existing(call: Call, room: str) -> Delivered | Rejected:
    """Return the outcome of a call whose room exists, which `room` names for people."""
    if call.ok_if_exists:
        return Delivered("", None, 200, note="already done")
    if call.maybe_run:
        return Delivered("", None, 200, note=AFTER_A_RETRY)
    return Rejected(Reason("AlreadyExists", f"The {room} exists already.", _EXISTS_HINT))


async def _after_failure(call: Call, failed: Deferred, rooms: Sequence[NewRoom]) -> Outcome:
    """Return the outcome of a call that was answered with 500, which may have left each of these rooms half made.

    A half-made room must not count as done: a later try rejects the call, since the room exists; where it would count
    that as done, the call is rejected now.
    """
    for room in rooms:
        found: Found | None = None
        with suppress(NotSent, MaybeSent):
            found = await room.look()
        if found is True:
            message = f"Status 500, and the {room.text} exists: it may be half made by this try or an earlier one."
        elif found is not False and (call.maybe_run or call.ok_if_exists):
            message = f"Status 500, and the server does not say whether the {room.text} exists: it may be half made."
        else:
            continue
        return Rejected(Reason("ServerError", message, _HALF_MADE, 500), failed.text)
    return attrs.evolve(failed, ran="unlikely")
