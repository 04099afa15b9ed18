"""Judges answers of the Chat API. Pure; the connector calls `judge`.

Always holds: every answer has an outcome, nothing here raises, and no message or text holds a stream's id, a secret
argument's value or the login.

Each failure in the plugin is 400, and its text is mostly lost (read): of an unknown stream, a room that the user is not
in, a wrong JID. What is 400 was not done; but many a 200 was not sent either: the plugin logs such errors and goes on.
"""

from typing import Final

import attrs
import orjson

from restbroker.job import hiding, redact
from restbroker.job.command import Call, CommandSpec
from restbroker.job.endpoint import quoted
from restbroker.job.json_types import Json
from restbroker.job.outcome import Delivered, Denied, Outcome, Reason, Rejected
from restbroker.servers.api.texts import parsed
from restbroker.servers.openfire.chat import ways
from restbroker.servers.openfire.chat.refusals import CHECK_URL, Said, refused_by_all, said
from restbroker.servers.openfire.chat.ways import Way
from restbroker.servers.openfire.normal import normal, without_logins
from restbroker.transport.message import Response

DONE_BEFORE: Final = "already done"
_CHECK_ARGUMENTS: Final = (
    "Openfire does not say why: check names and JIDs, that the user is in the room or the workgroup, and that what is"
    " named exists."
)
_CHECK_ROOM: Final = (
    "Nothing was said there. Openfire does not say why: check that the room admits him (members only, a ban, a"
    " password), that it tells everybody's presence (broadcastPresenceRoles), and that it was made by `create_room` or"
    " a client, and not by a join; then `update_room` it, or `add_room_member`."
)
_NO_SUCH_ROOM: Final = (
    "Create it (`create_room`), or correct its name. It was not joined: Openfire would have made one that nobody else"
    " could come into."
)
NOT_IN_ROOM: Final = Rejected(
    Reason(
        "NotInRoom",
        "The user is not known to be in the room: it refused him, he left it, or it may have had him leave. Openfire"
        " would answer 200, and say nothing there.",
        "Push a `join_room` first, or switch JoinRooms on.",
    )
)
_SEE_WORDS: Final = "Correct what Openfire names, or install and set up what it misses."
_OFFER_GONE: Final = "The offer was revoked or taken, or the user was logged in anew since: it is made again, or not."
_OFFER_TAKEN: Final = (
    "An earlier try may have done it, and its answer was lost: events tell (an invitation, or the next expert's offer)."
)
_OFFLINE: Final = Reason("WorkgroupOffline", "", "Nobody of the workgroup is available. Ask again when somebody is.")
_NO_WORKGROUP: Final = Reason("NoSuchWorkgroup", "", "Create the workgroup (create_workgroup), or correct its name.")
_NOBODY: Final = Reason(
    "NobodyAccepted", "", "No agent accepted in time. Ask again, or take it back (`ask_revoke`): it may still wait."
)
# The errors of XMPP are what came of each (measured); the sentences are in the plugin's source as well, which takes a
# workgroup that it never heard of for available, so that it has never said them.
_REFUSED_QUESTIONS: Final = (
    ("XMPPError: service-unavailable", _OFFLINE),
    ("XMPPError: not-authorized", _NO_WORKGROUP),
    ("Workgroup is offline", _OFFLINE),
    ("Workgroup is not configured", _NO_WORKGROUP),
    ("Timeout error", _NOBODY),
)
_PUSH_REFUSED: Final = (
    "Openfire says the same to a user without a subscription (`list_push_subscribers` tells who has one) and where the"
    " push service refuses the last of several, after the others."
)


def judge(call: Call, way: Way, spec: CommandSpec, response: Response, now_s: float, stream: str) -> Outcome:
    """The outcome of this answer to this call. `now_s` (epoch seconds) is for a Retry-After that names a date."""
    status = response.status
    if 200 <= status < 300:
        return _success(call, way, spec, response, stream)
    shown = _shown(call, spec, response, stream)
    may_run_twice = spec.repeat != "unsafe"
    refused = refused_by_all(response, now_s, shown, may_run_twice=may_run_twice)
    outcome = refused or _refused(call, way, response, shown)
    if not isinstance(outcome, Delivered):
        return outcome
    # It had been done before: its producer gets the answer without the secrets alone.
    return attrs.evolve(outcome, text=_shown(call, spec, response, stream, with_texts=False).text)


def offer_gone(outcome: Outcome, *, maybe_run: bool) -> Outcome:
    """The same, with what an offer's end may come from."""
    if not isinstance(outcome, Rejected):
        return outcome
    cure = _OFFER_TAKEN if maybe_run else _OFFER_GONE
    return Rejected(Reason("OfferGone", outcome.reason.message, cure, outcome.reason.status), outcome.text)


def join_refused(outcome: Outcome) -> Outcome:
    """The same, of a join that was refused: what was to follow it was not sent."""
    if not isinstance(outcome, Rejected):
        return outcome
    message = f"The room did not let the user in: {outcome.reason.message}"
    return Rejected(Reason("JoinRefused", message, _CHECK_ROOM, outcome.reason.status), outcome.text)


def no_such_room(response: Response, room: str) -> Rejected | None:
    """What a job gets whose room is not there; None of an answer that does not say so."""
    match parsed(response.body):
        case {"exception": str(kind)} if response.status == 404 and "RoomNotFound" in kind:
            return Rejected(Reason("NoSuchRoom", f"There is no room {quoted(room)}.", _NO_SUCH_ROOM, 404))
        case _:
            return None


def ended(status: int) -> Delivered:
    """What a user's stream was needed for ended with it."""
    return Delivered("", None, status, note=DONE_BEFORE)


def is_empty(body: Json) -> bool:
    """Whether a list has nothing in it, in any dialect."""
    return isinstance(body, dict) and not any(body.values())


def _shown(call: Call, spec: CommandSpec, response: Response, stream: str, *, with_texts: bool = True) -> Said:
    """The answer for people. It takes a while: for failures alone."""
    secrets = redact.secret_values(spec, call.command.arguments, with_texts=with_texts)
    return said(response, secrets | ({stream} if stream else frozenset()))


def _success(call: Call, way: Way, spec: CommandSpec, response: Response, stream: str) -> Outcome:
    status = response.status
    if "text/html" in response.headers.get("content-type", ""):
        message = f"Status {status} with a page: this is not the Chat API."
        return Denied(Reason("NotTheApi", message, CHECK_URL, status))
    # Nothing is masked here but ids of streams: the text is what the producer asked for.
    shown = without_logins(way.answer, response.body)
    text = shown.decode("utf-8", "replace")
    if stream and stream in text:
        text = text.replace(stream, hiding.MASK)
    came = parsed(text.encode() if stream else shown)
    body = normal(way.answer, came)
    if body != came:
        text = orjson.dumps(body).decode()
    match body:
        case {"id": ""} if way.name == ways.CALL:
            cure = "Check the user's telephone, and the destination."
            reason = Reason("CallFailed", "The call was not made: its id is empty.", cure, status)
            return Rejected(reason, _shown(call, spec, response, stream).text)
        case _ if way.name.startswith(ways.LEGACY) and "<error>" in text:
            cure = "The answer says why."
            reason = Reason("Refused", "The user service answered with an error.", cure, status)
            return Rejected(reason, _shown(call, spec, response, stream).text)
        case _:
            return Delivered(text, body, status, note="answer truncated" if response.truncated else None)


def _refused(call: Call, way: Way, response: Response, shown: Said) -> Outcome:
    status, says = response.status, shown.says(response.status)
    may_be_done = way.repeat == "already_done"
    match status:
        case 400 if may_be_done and (way.name == ways.LOGOFF or call.maybe_run):
            return Delivered(shown.text, None, status, note=DONE_BEFORE)
        case 400:
            return Rejected(_reason_of_400(way, response, shown), shown.text)
        case 404 if _is_of_command(way, response):
            if may_be_done and call.maybe_run:
                return Delivered(shown.text, None, status, note=DONE_BEFORE)
            return Rejected(Reason("NotFound", says, "Check the names, or create what they name.", status), shown.text)
        case 409 if may_be_done and (call.maybe_run or call.ok_if_exists):
            return Delivered(shown.text, None, status, note=DONE_BEFORE)
        case 409:
            return Rejected(Reason("AlreadyExists", says, "Choose another name, or update it.", status), shown.text)
        case 404 | 405 | 406 | 415:
            return Denied(Reason("NotTheApi", says, CHECK_URL, status), shown.text)
        case 413:
            cure = "The job is too large for the server, or for a proxy before it: send less, or raise their limit."
            return Rejected(Reason("Refused", says, cure, status), shown.text)
        case _:
            return Rejected(Reason("Refused", says, _CHECK_ARGUMENTS, status), shown.text)


def _is_of_command(way: Way, response: Response) -> bool:
    """Whether a 404 is about what the command names, and not about the whole API, which may not be up yet."""
    match parsed(response.body):
        case {"exception": str()}:
            return True
        case _:
            return 404 in way.errors and "text/html" not in response.headers.get("content-type", "")


def _reason_of_400(way: Way, response: Response, shown: Said) -> Reason:
    if way.name == ways.ASK:
        for words, reason in _REFUSED_QUESTIONS:
            if words.encode() in response.body:
                return attrs.evolve(reason, message=shown.says(400), status=400)
    if way.name == "send_push":
        return Reason("Refused", shown.says(400), _PUSH_REFUSED, 400)
    return Reason("Refused", shown.says(400), _SEE_WORDS if shown.explains else _CHECK_ARGUMENTS, 400)
