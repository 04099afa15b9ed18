"""Finds out whether rooms exist before a job creates them, since the plugin would reset an existing room. Pure.

Called by the connector; what becomes of an existing room is `new_rooms`' to say. Always holds: each room of a bulk is
asked for by itself, since the plugin resets those as well (read), and a list of all rooms may be cut off.
"""

from collections.abc import Sequence
from itertools import compress
from typing import Final

import attrs

from restbroker.job.command import Call, Command, CommandSpec
from restbroker.job.endpoint import quote
from restbroker.job.json_types import Json
from restbroker.job.outcome import Deferred, Delivered, Outcome, Reason, Rejected
from restbroker.servers.openfire import new_rooms
from restbroker.servers.openfire.new_rooms import DEFAULT_SERVICE
from restbroker.servers.openfire.rest.outcomes import classify_question, is_named, other_answer
from restbroker.transport.message import Response

_GET_ROOM: Final = "get_room"
_CREATE: Final = "create_room"
_BULK: Final = "create_rooms_bulk"


def needs_lookup(call: Call) -> bool:
    """Tell whether the server must be asked for the rooms of this call before it may be sent."""
    return call.command.endpoint in (_CREATE, _BULK)


def each(call: Call) -> list[Call]:
    """Return a call for each room that `call` creates, in its order; its arguments are known to be valid."""
    if call.command.endpoint == _CREATE:
        return [call]
    service = call.command.arguments.get("servicename")
    return [attrs.evolve(call, command=Command(_CREATE, {**room, "servicename": service})) for room in _listed(call)]


def only(call: Call, kept: Sequence[bool]) -> Call:
    """Return the call with those of its rooms that are kept, which are some."""
    if call.command.endpoint == _CREATE or all(kept):
        return call
    rooms: list[Json] = list(compress(_listed(call), kept))
    return attrs.evolve(call, command=Command(_BULK, {**call.command.arguments, "chatRooms": rooms}))


def key_of(one: Call) -> str:
    """Return the room that one call creates, with its service, folded."""
    given = one.command.arguments
    return f"{given['roomName']}@{given.get('servicename') or DEFAULT_SERVICE}".casefold()


def question(one: Call) -> Call:
    """Return the call that asks for the room of one call."""
    given = one.command.arguments
    # Up to 1.8 `create_room` folds a name, and `get_room` does not (read).
    asked = {"roomName": str(given["roomName"]).lower(), "servicename": given.get("servicename")}
    return attrs.evolve(one, command=Command(_GET_ROOM, asked))


def well_question(one: Call) -> Call | None:
    """Return the call that shows whether a server is well that answered 500 to `question`; None if nothing can.

    It asks for the same name in the service that a job without `servicename` means.
    """
    given = one.command.arguments
    service = given.get("servicename")
    if service is None or str(service).lower() == DEFAULT_SERVICE:
        return None
    return attrs.evolve(one, command=Command(_GET_ROOM, {"roomName": str(given["roomName"]).lower()}))


def service_is_missing(one: Call, spec: CommandSpec, response: Response, now_s: float) -> bool:
    """Tell by the answer to `well_question` whether the 500 before it says that the service is not there.

    Before 1.8.1 such a service gets 500 (read), as does a server that is unhealthy. A room makes it (measured on 1.2.5
    and 1.3.10).
    """
    match classify_question(one, _GET_ROOM, spec, response=response, now_s=now_s):
        case Delivered(body=body):
            return response.truncated or is_named(body, "roomName", one.command.arguments["roomName"])
        case Rejected(Reason(code="NotFound")):
            return True
        case _:
            return False


def outcome_of(one: Call, spec: CommandSpec, response: Response, now_s: float, *, in_bulk: bool) -> Outcome | None:
    """Return the outcome of one call that must not be sent; None if it may be sent.

    `response` answers the question for the room, `spec` is the question's command; `now_s`: epoch seconds.
    """
    name = one.command.arguments["roomName"]
    match classify_question(one, _GET_ROOM, spec, response=response, now_s=now_s):
        case Delivered(body=body) if not response.truncated and not is_named(body, "roomName", name):
            return other_answer("room", response)
        case Delivered():
            return new_rooms.existing_room(one, response.status, _room_text(one, in_bulk=in_bulk))
        case Rejected(Reason(code="NotFound")):
            return None
        case outcome:
            return outcome


def after_failure(
    one: Call, spec: CommandSpec, failed: Deferred, response: Response | None, now_s: float, *, in_bulk: bool
) -> Outcome:
    """Return the outcome of one call that was answered with 500.

    `response` answers the question for the room behind it, None if there is no answer.
    """
    answer = None if response is None else classify_question(one, _GET_ROOM, spec, response=response, now_s=now_s)
    match answer:
        case Rejected(Reason(code="NotFound")):
            there: bool | None = False
        case Delivered():
            there = True
        case _:
            there = None
    return new_rooms.after_failure(one, failed, there=there, room=_room_text(one, in_bulk=in_bulk))


def with_existing(outcome: Outcome, kept: Sequence[bool]) -> Outcome:
    """Return the outcome of a bulk whose other rooms existed, with how many of them there were."""
    existed = len(kept) - sum(kept)
    if not existed or not isinstance(outcome, Delivered):
        return outcome
    counted = f"already done: {existed} of {len(kept)}"
    return attrs.evolve(outcome, note=counted if outcome.note is None else f"{outcome.note}; {counted}")


def _room_text(one: Call, *, in_bulk: bool) -> str:
    return f"room {quote(str(one.command.arguments['roomName']))}" if in_bulk else "room"


def _listed(call: Call) -> list[dict[str, Json]]:
    rooms = call.command.arguments["chatRooms"]
    return [room for room in rooms if isinstance(room, dict)] if isinstance(rooms, list) else []
