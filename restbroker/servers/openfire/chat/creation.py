"""Creates a room after asking whether it exists, since the plugin would reset an existing room.

The connector uses it; `new_rooms` has the outcomes for a room that exists. Always holds: nothing is sent if the
server does not say that the room is not there. A service that is not there gets 500 (read), as does a server that is
unhealthy; it counts as missing only if the same question in the usual service shows that the server is well.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Final

import attrs

from restbroker.config.target import Target
from restbroker.job.command import Call, CommandSpec
from restbroker.job.outcome import Deferred, Denied, Outcome, Reason
from restbroker.job.settle import before_sending
from restbroker.servers.api.request import unsent
from restbroker.servers.api.texts import parse_json
from restbroker.servers.contract import Link
from restbroker.servers.openfire.chat.catalogue import for_target
from restbroker.servers.openfire.chat.entry import Entry
from restbroker.servers.openfire.chat.error_table import CHECK_URL
from restbroker.servers.openfire.chat.options import Options
from restbroker.servers.openfire.chat.outcomes import classify, no_such_room
from restbroker.servers.openfire.chat.request import LOOK_AT_ROOM, ChatRequest, named_room, room_of, room_question
from restbroker.servers.openfire.chat.rooms import Rooms
from restbroker.servers.openfire.chat.table import table
from restbroker.servers.openfire.new_rooms import (
    DEFAULT_SERVICE,
    RoomLocks,
    after_failure,
    existing_room,
)
from restbroker.transport.errors import MaybeSent, NotSent
from restbroker.transport.message import Response

CREATE: Final = "create_room"


@attrs.frozen
class Creation:
    """Creates the rooms of one target."""

    _target: Target
    _rooms: Rooms
    _now_s: Callable[[], float]
    _locks: RoomLocks = attrs.field(factory=RoomLocks)

    async def do(self, call: Call, entry: Entry, spec: CommandSpec, request: ChatRequest, link: Link) -> Outcome:
        """Create the room unless it exists; return the call's outcome. Raise the same as a connector's `deliver`."""
        async with self._locks.hold({room_of(request)}):
            there = await self._outcome_unsent(call, request, link)
            if there is not None:
                return there
            response = await self._rooms.expel(entry, request, link)
            outcome = classify(call, entry, spec, response=response, now_s=self._now_s(), stream="")
            if response.status != 500 or not isinstance(outcome, Deferred):
                return outcome
            answer = None
            with suppress(NotSent, MaybeSent):
                answer = await self._ask(call, request, link)
            is_there = None if answer is None else _is_there(answer, request)
            return after_failure(call, outcome, there=is_there)

    async def _outcome_unsent(self, call: Call, request: ChatRequest, link: Link) -> Outcome | None:
        """Ask for the room; return the outcome of a call that must not be sent, None if it may be sent."""
        response = await self._ask(call, request, link)
        match _is_there(response, request):
            case True:
                return existing_room(call, response.status)
            case False:
                return None
        service = room_of(request).rpartition("@")[2]
        if response.status == 500 and service != DEFAULT_SERVICE:
            usual = await self._ask(call, request, link, DEFAULT_SERVICE)
            if _is_there(usual, request) is not None:
                return None
        if 200 <= response.status < 300:
            message = f"Status {response.status}, but the answer is not the requested room."
            return Denied(Reason("NotTheApi", message, CHECK_URL, response.status))
        entry = table(self._target.options_as(Options).paths)[LOOK_AT_ROOM]
        spec = for_target(self._target, None).commands[LOOK_AT_ROOM]
        return before_sending(classify(call, entry, spec, response=response, now_s=self._now_s(), stream=""))

    async def _ask(self, call: Call, request: ChatRequest, link: Link, service: str | None = None) -> Response:
        return await link.ask(unsent(lambda: room_question(call, request, self._target, service)))


def _is_there(response: Response, request: ChatRequest) -> bool | None:
    """Tell by the answer to the question for the room whether it exists; None if the answer does not say."""
    if no_such_room(response, named_room(request)) is not None:
        return False
    if response.status != 200:
        return None
    wanted = room_of(request).rpartition("@")[0]
    match parse_json(response.body):
        case {"roomName": str(name)} if name.casefold() == wanted.casefold():
            return True
        case None if response.truncated:
            return True
        case _:
            return None
