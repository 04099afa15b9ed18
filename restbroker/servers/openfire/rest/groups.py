"""Completes a job that updates a group, since the plugin replaces the whole group. Pure.

Called by the connector. Always holds: what the job leaves out is sent as the server has it. Since 1.8.1 the plugin
removes everyone who is not listed, and a group is shared only if the request says so (read in the sources of 1.8.1 to
1.12.0; a request without the lists gets 500, measured on 1.10.2). An empty list is sent only if the job or the server
has one.
"""

from typing import Final

import attrs

from restbroker.job.command import Call, Command, CommandSpec
from restbroker.job.outcome import Delivered, Outcome, Reason, Rejected
from restbroker.servers.api.texts import parse_json
from restbroker.servers.openfire.normal import normalise
from restbroker.servers.openfire.rest.outcomes import classify_question, is_named, other_answer
from restbroker.transport.message import Response

_GET_GROUP: Final = "get_group"
_REPLACED: Final = ("admins", "members", "shared")
_GIVE_ALL: Final = "Give admins, members and shared in the job, so that restbroker need not read the group."


def is_incomplete(call: Call) -> bool:
    """Tell whether the group must be read before this call may be sent."""
    given = call.command.arguments
    return call.command.endpoint == "update_group" and any(given.get(name) is None for name in _REPLACED)


def question(call: Call) -> Call:
    """Return the call that reads the group of `call`, whose arguments are known to be valid."""
    return attrs.evolve(call, command=Command(_GET_GROUP, {"groupName": call.command.arguments["groupName"]}))


def complete(call: Call, spec: CommandSpec, response: Response, now_s: float) -> Call | Outcome:
    """Return the call with what it leaves out, or an outcome if the group could not be read.

    `response` answers the question for the group, `spec` is the question's command; `now_s`: epoch seconds.
    """
    outcome = classify_question(call, _GET_GROUP, spec, response=response, now_s=now_s)
    match outcome:
        case Delivered() if response.truncated:
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
    raw = parse_json(response.body)
    group = normalise("GroupEntity", raw)
    if not isinstance(raw, dict) or not isinstance(group, dict):
        return call
    kept = {name: group[name] for name in _REPLACED if raw.get(name) is not None}
    written = {name: value for name, value in call.command.arguments.items() if value is not None}
    return attrs.evolve(call, command=Command(call.command.endpoint, {**kept, **written}))
