"""Looks for a room before one is created: the plugin answers 201 where it is there already, and resets all of it, its
members too (measured on 1.2.5, 1.3.10 and 1.10.2). Pure.

Called by the connector. Always holds: a room that is there is not touched. Where an earlier try may have made it, it is
sent again without a look, which sets the same, also what a 500 left half made.
"""

from typing import Final

import attrs

from restbroker.job.command import Call, Command, CommandSpec
from restbroker.job.outcome import Deferred, Delivered, Outcome, Reason, Rejected
from restbroker.servers.openfire.rest.outcomes import is_named, judge_question, other_answer
from restbroker.transport.message import Response

_GET_ROOM: Final = "get_room"
_EXISTS_HINT: Final = (
    'Nothing, unless you meant another one: "ok_if_exists": true in the job makes this count as done; '
    "update_room replaces all settings of the existing room."
)


def must_look(call: Call) -> bool:
    """Whether the server must be asked for the room before this call may be sent."""
    return call.command.endpoint == "create_room" and not call.maybe_run


def question(call: Call) -> Call:
    """The call that asks for the room; `call` has passed as a request."""
    given = call.command.arguments
    # Up to 1.8 `create_room` folds a name, and `get_room` does not (read).
    asked = {"roomName": str(given["roomName"]).lower(), "servicename": given.get("servicename")}
    return attrs.evolve(call, command=Command(_GET_ROOM, asked))


def outcome_of(call: Call, spec: CommandSpec, response: Response, now_s: float) -> Outcome | None:
    """What the call ends as unsent; None: it may be sent. `spec` is that of the question, `response` its answer."""
    given = call.command.arguments
    match judge_question(call, _GET_ROOM, spec, response=response, now_s=now_s):
        case Delivered(body=body) if not response.truncated and not is_named(body, "roomName", given["roomName"]):
            return other_answer("room", response)
        case Delivered() if call.ok_if_exists:
            return Delivered("", None, response.status, note="already done")
        case Delivered():
            return Rejected(Reason("AlreadyExists", "The room exists already.", _EXISTS_HINT))
        case Rejected(Reason(code="NotFound")):
            return None
        case Deferred(Reason(status=500)) if given.get("servicename") is not None:
            # Before 1.8.1 from a service that is not there (read); a room makes it (measured on 1.2.5 and 1.3.10).
            return None
        case outcome:
            return outcome
