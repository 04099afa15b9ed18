"""Finds out whether a room exists before a job creates it, since the plugin would reset an existing room. Pure.

The plugin answers 201 if the room exists already, and resets all of it, its members too (measured on 1.2.5, 1.3.10 and
1.10.2). Called by the connector. Always holds: an existing room is not touched. It counts as made by a job that may
have run before, as a 409 does elsewhere; but not if the server answered with 500, which may leave a room half made.
"""

from typing import Final

import attrs

from restbroker.job.command import Call, Command, CommandSpec
from restbroker.job.outcome import Deferred, Delivered, Outcome, Reason, Rejected
from restbroker.servers.api.ladder import EXISTS
from restbroker.servers.openfire.rest.outcomes import AFTER_A_RETRY, is_named, judge_question, other_answer
from restbroker.transport.message import Response

_GET_ROOM: Final = "get_room"
_DEFAULT_SERVICE: Final = "conference"
"""The service that the plugin means if a request names none (read)."""
_REPLACES: Final = "update_room replaces all settings of the existing room."
_EXISTS_HINT: Final = f"{EXISTS} If an earlier try failed with 500, the room may be half made. {_REPLACES}"
_HALF_MADE: Final = "Check the room (owners, members), then complete it with update_room, or delete_room and retry."


def needs_lookup(call: Call) -> bool:
    """Tell whether the server must be asked for the room before this call may be sent."""
    return call.command.endpoint == "create_room"


def question(call: Call) -> Call:
    """Return the call that asks for the room of `call`, whose arguments are known to be valid."""
    given = call.command.arguments
    # Up to 1.8 `create_room` folds a name, and `get_room` does not (read).
    asked = {"roomName": str(given["roomName"]).lower(), "servicename": given.get("servicename")}
    return attrs.evolve(call, command=Command(_GET_ROOM, asked))


def well_question(call: Call) -> Call | None:
    """Return the call that shows whether a server is well that answered 500 to `question`; None if nothing can.

    It asks for the same name in the service that a job without `servicename` means.
    """
    given = call.command.arguments
    service = given.get("servicename")
    if service is None or str(service).lower() == _DEFAULT_SERVICE:
        return None
    return attrs.evolve(call, command=Command(_GET_ROOM, {"roomName": str(given["roomName"]).lower()}))


def service_is_missing(call: Call, spec: CommandSpec, response: Response, now_s: float) -> bool:
    """Tell by the answer to `well_question` whether the 500 before it says that the service is not there.

    Before 1.8.1 such a service gets 500 (read), as does a server that is unwell. A room makes it (measured on 1.2.5 and
    1.3.10).
    """
    match judge_question(call, _GET_ROOM, spec, response=response, now_s=now_s):
        case Delivered(body=body):
            return response.truncated or is_named(body, "roomName", call.command.arguments["roomName"])
        case Rejected(Reason(code="NotFound")):
            return True
        case _:
            return False


def after_failure(call: Call, spec: CommandSpec, failed: Deferred, response: Response | None, now_s: float) -> Outcome:
    """Return the outcome of a call that was answered with 500, which may have left the room half made.

    `response` answers the question for the room behind it, None if there is no answer. No later try takes the room for
    whole: it is rejected as one that exists, or already here if a later try would count it as done.
    """
    tried = attrs.evolve(failed, maybe_run=False)
    there = None if response is None else judge_question(call, _GET_ROOM, spec, response=response, now_s=now_s)
    match there:
        case Rejected(Reason(code="NotFound")):
            return tried
        case Delivered():
            message = "Status 500, and the room exists: it may be half made by this try or an earlier one."
            return Rejected(Reason("ServerError", message, _HALF_MADE, 500), failed.text)
        case _ if call.maybe_run or call.ok_if_exists:
            message = "Status 500, and the server does not say whether the room exists: it may be half made."
            return Rejected(Reason("ServerError", message, _HALF_MADE, 500), failed.text)
        case _:
            return tried


def outcome_of(call: Call, spec: CommandSpec, response: Response, now_s: float) -> Outcome | None:
    """Return the outcome of a call that must not be sent; None if it may be sent.

    `response` answers the question for the room, `spec` is the question's command; `now_s`: epoch seconds.
    """
    name = call.command.arguments["roomName"]
    match judge_question(call, _GET_ROOM, spec, response=response, now_s=now_s):
        case Delivered(body=body) if not response.truncated and not is_named(body, "roomName", name):
            return other_answer("room", response)
        case Delivered() if call.ok_if_exists:
            return Delivered("", None, response.status, note="already done")
        case Delivered() if call.maybe_run:
            return Delivered("", None, response.status, note=AFTER_A_RETRY)
        case Delivered():
            return Rejected(Reason("AlreadyExists", "The room exists already.", _EXISTS_HINT))
        case Rejected(Reason(code="NotFound")):
            return None
        case outcome:
            return outcome
