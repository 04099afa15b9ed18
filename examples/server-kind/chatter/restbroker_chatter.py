"""Chatter: its users, and messages to them, through its HTTP API."""

from collections.abc import Mapping
from typing import ClassVar

import attrs

from restbroker.config.key import key
from restbroker.config.kind import At, Defaults, note_no_login
from restbroker.config.problems import Problems
from restbroker.config.target import Bearer, Target
from restbroker.job.command import Call
from restbroker.job.json_types import Json
from restbroker.job.outcome import Outcome
from restbroker.servers.api.answer import Answer
from restbroker.servers.api.health import Health, target_up
from restbroker.servers.api.kind import Row, TableKind
from restbroker.servers.api.ladder import Rung
from restbroker.servers.api.table import NAME, TEXT, Argument, may, needs
from restbroker.servers.api.texts import parse_json
from restbroker.transport.message import Response

CONTRACT_VERSION = 1


@attrs.frozen
class Options:
    """`notify`: messages ring at their receivers."""

    DEFAULTS: ClassVar = Defaults(concurrency=8, url="http://127.0.0.1:8200")

    notify: bool = key("Notify", default=True)
    """Whether messages ring at their receivers."""

    def check(self, target: Target, at: At, problems: Problems) -> Target:
        """Return the target as it is to be used; problems go to `problems`."""
        match target.credentials:
            case Bearer():
                pass
            case None:
                note_no_login(target, f"Give {at('Auth')} with Bearer.", problems)
            case _:
                problems.refuse(at("Auth"), "must be Bearer: Chatter takes tokens alone.")
        return target


USER = needs(user=NAME)
PASSWORD = Argument("password", TEXT, required=True, secret=True)
COMMANDS = (
    Row("create_user", "POST /v1/users", "already_done", (*USER, PASSWORD, *may(full_name=TEXT))),
    Row("delete_user", "DELETE /v1/users/{user}", "already_done", USER),
    Row("get_user", "GET /v1/users/{user}", "safe", USER),
    Row("send_message", "POST /v1/messages", "unsafe", needs(to=NAME, text=TEXT)),
)


def body(row: Row, given: Mapping[str, Json], target: Target) -> Mapping[str, Json]:
    """Return the members of the body."""
    more = {"notify": target.options_as(Options).notify} if row.name == "send_message" else {}
    return row.members(given) | more


def error(_response: Response, text: str) -> tuple[str, str]:
    """Return Chatter's name of the error in an answer, and its words."""
    match parse_json(text.encode()):
        case {"error": {"code": str(code), "message": str(words)}}:
            return code, words
        case _:
            return "", text


def classify(call: Call, row: Row, answer: Answer) -> Outcome | None:
    """Return what an answer that is no success means for the job; None: its status says it."""
    match answer.status, answer.code:
        case 409, "exists" if call.maybe_run or call.ok_if_exists:
            return answer.deliver_already_done(call, row.spec)
        case 404, "no_user" if call.maybe_run and row.repeat == "already_done":
            return answer.deliver_already_done(call, row.spec)
        case 404, "no_user":
            return answer.reject("NotFound", "Check the user's name.")
        case _:
            return None


def health(answer: Answer) -> Health | None:
    """Return what the answer to the probe means, if it is Chatter's version."""
    match answer.status, parse_json(answer.response.parsable):
        case 200, {"version": str(version)}:
            shown = answer.masked_text
            return target_up(f"Chatter {shown.hide(version)} answers.", shown.version(version))
        case _:
            return None


KIND = TableKind(
    server="Chatter",
    version="2",
    commands=COMMANDS,
    probe="/v1/version",
    check_url="Correct the target's URL: it is Chatter's address, without /v1.",
    check_login="Make a new token at Chatter, and write it into the file that Auth names.",
    check_log="See Chatter's log.",
    error=error,
    health=health,
    classify=classify,
    rungs={409: Rung("rejected", "AlreadyExists", 'Push it with "ok_if_exists": true if that is fine.')},
    body=body,
)
for_version, open_connector = KIND.for_version, KIND.open_connector
