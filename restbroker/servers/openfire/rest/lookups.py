"""Looks at what a job would replace before it is sent: the group of `update_group`, the rooms of a creation. Pure.

The connector sends the questions; `new_rooms` says what becomes of a room that exists. Always holds: what a job
leaves out of a group is sent as the server has it. Since 1.8.1 the plugin removes everyone who is not listed, and a
group is shared only if the request says so (read in the sources of 1.8.1 to 1.12.0; a request without the lists gets
500, measured on 1.10.2). An empty list is sent only if the job or the server has one. Each room of a bulk is asked for
by itself, since the plugin resets those as well (read), and a list of all rooms may be cut off.
"""

from collections.abc import Sequence
from itertools import compress
from typing import Final

import attrs

from restbroker.job.command import Call, Command, CommandSpec
from restbroker.job.endpoint import quote
from restbroker.job.json_types import Json
from restbroker.job.outcome import Delivered, Outcome, Reason, Rejected
from restbroker.servers.api.texts import parse_json
from restbroker.servers.openfire.new_rooms import DEFAULT_SERVICE, Found
from restbroker.servers.openfire.normal import normalise
from restbroker.servers.openfire.rest.outcomes import classify_question, is_named, other_answer
from restbroker.transport.message import Response

_GET_GROUP: Final = "get_group"
_REPLACED: Final = ("admins", "members", "shared")
_GIVE_ALL: Final = "Give admins, members and shared in the job, so that restbroker need not read the group."
_GET_ROOM: Final = "get_room"
_CREATE: Final = "create_room"
_BULK: Final = "create_rooms_bulk"


def is_incomplete_group(call: Call) -> bool:
    """Tell whether the group must be read before this call may be sent."""
    given = call.command.arguments
    return call.command.endpoint == "update_group" and any(given.get(name) is None for name in _REPLACED)


def group_question(call: Call) -> Call:
    """Return the call that reads the group of `call`, whose arguments are known to be valid."""
    return attrs.evolve(call, command=Command(_GET_GROUP, {"groupName": call.command.arguments["groupName"]}))


def complete_group(call: Call, spec: CommandSpec, response: Response, now_s: float) -> Call | Outcome:
    """Return the call with what it leaves out, or an outcome if the group could not be read.

    `response` answers the question for the group, `spec` is the question's command; `now_s`: epoch seconds.
    """
    outcome = classify_question(call, _GET_GROUP, spec, response=response, now_s=now_s)
    match outcome:
        case Delivered() if response.note:
            message = "The group is too large to read, and unlisted members would be removed."
            return Rejected(Reason("CommandFailed", message, _GIVE_ALL, response.status))
        case Delivered(body=body) if is_named(body, "name", call.command.arguments["groupName"]):
            return _fill_in(call, response)
        case Delivered():
            return other_answer("group", response)
        case _:
            return outcome


def _fill_in(call: Call, response: Response) -> Call:
    """Return the call with the group's values for what it leaves out.

    What the answer does not have stays out: a version that does not write a member does not read it either.
    """
    raw = parse_json(response.parsable)
    group = normalise("GroupEntity", raw)
    if not isinstance(raw, dict) or not isinstance(group, dict):
        return call
    kept = {name: group[name] for name in _REPLACED if raw.get(name) is not None}
    written = {name: value for name, value in call.command.arguments.items() if value is not None}
    return attrs.evolve(call, command=Command(call.command.endpoint, {**kept, **written}))


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


def room_question(one: Call) -> Call:
    """Return the call that asks for the room of one call."""
    given = one.command.arguments
    # Up to 1.8 `create_room` folds a name, and `get_room` does not (read).
    asked = {"roomName": str(given["roomName"]).lower(), "servicename": given.get("servicename")}
    return attrs.evolve(one, command=Command(_GET_ROOM, asked))


def well_question(one: Call) -> Call | None:
    """Return the call that shows whether a server is well that answered 500 to `room_question`; None if nothing can.

    It asks for the same name in the service that a job without `servicename` means. Before 1.8.1 a service that is not
    there gets 500 (read), as does a server that is unhealthy. A room makes it (measured on 1.2.5 and 1.3.10).
    """
    given = one.command.arguments
    service = given.get("servicename")
    if service is None or str(service).lower() == DEFAULT_SERVICE:
        return None
    return attrs.evolve(one, command=Command(_GET_ROOM, {"roomName": str(given["roomName"]).lower()}))


def find_room(one: Call, spec: CommandSpec, response: Response, now_s: float) -> Found:
    """Return whether the room of one call exists, as far as this answer to the question for it says it.

    `spec` is the question's command; `now_s`: epoch seconds.
    """
    match classify_question(one, _GET_ROOM, spec, response=response, now_s=now_s):
        case Delivered(body=body):
            is_it = response.note is not None or is_named(body, "roomName", one.command.arguments["roomName"])
            return is_it or other_answer("room", response)
        case Rejected(Reason(code="NotFound")):
            return False
        case outcome:
            return outcome


def text_of(one: Call, call: Call) -> str:
    """Return how people read of the room of one of the calls that `call` consists of."""
    return "room" if one is call else f"room {quote(str(one.command.arguments['roomName']))}"


def _listed(call: Call) -> list[dict[str, Json]]:
    rooms = call.command.arguments["chatRooms"]
    return [room for room in rooms if isinstance(room, dict)] if isinstance(rooms, list) else []
