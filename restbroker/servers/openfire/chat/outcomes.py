"""Judges answers of the Chat API: to a command, to a login, to a probe. Pure; the connector calls `classify`.

The logins and the check use the outcomes of refusals that concern logins or the whole API. Always holds: every answer
has an outcome, nothing here raises, and no message or text holds a stream's id, a secret argument's value or the login.

Each failure in the plugin is 400, and its text is mostly lost (read): an unknown stream, a room that the user is not
in, a wrong JID. What gets 400 was not done; but not all that gets 200 was sent: the plugin logs such errors and goes
on.
"""

from collections.abc import Iterable
from typing import Final

import attrs
import orjson

from restbroker.job import hiding
from restbroker.job.command import Call, CommandSpec
from restbroker.job.endpoint import quote
from restbroker.job.json_types import Json
from restbroker.job.outcome import Deferred, Delivered, Denied, Outcome, Reason, Rejected
from restbroker.servers.api.answer import Answer, AnswerForm, read, read_for
from restbroker.servers.api.ladder import FAILED, Ladder, Rung, ladder, may_pass, standard
from restbroker.servers.api.texts import parse_json
from restbroker.servers.openfire.chat.catalogue import ChatEntry
from restbroker.servers.openfire.normal import LOGINS, normalise, without_logins
from restbroker.transport.message import Response

BROKEN_ATTEMPTS: Final = 3
"""The most times that a job is sent to which the server answers 500: mostly it means bad input, which lasts."""

CHECK_URL: Final = (
    "Check the target's URL: the Chat API is on the port of http-bind, http://HOST:7070/rest/api, not on that "
    "of the admin console (9090); and that the plugin ofchat is installed and enabled."
)
CHECK_LOGIN: Final = (
    "Check the target's Auth (an administrator's name and password) or Secret (plugin.ofchat.secret), and the "
    "plugin's allowedIPs. If Openfire's users are in a directory that is down, it recovers by itself."
)
CHECK_ENABLED: Final = "Switch the plugin on: its system property plugin.ofchat.enabled."
_CHECK_USER: Final = "Check that the user exists, and their password (PasswordsFile, or the job's own)."
_WORDLESS: Final = ("", "Error", "Exception")
"""What stands in the place of words that were lost on the way."""
NO_PASSWORD: Final = Rejected(
    Reason(
        "UserLoginRefused",
        "The user cannot log in: the target has a Secret instead of an administrator's login, and no password "
        "for this user.",
        "Put their password into Options.PasswordsFile or the job, or give Auth with an administrator's name "
        "and password.",
    )
)
_TWICE: Final = (
    "Openfire would open a second connection for one name, and then give no one a new stream of events until "
    "it restarts. "
)
LOGGED_IN: Final = Rejected(
    Reason(
        "UserLoggedIn",
        "This name is already logged in, here or in another program; the command needs one that is not. "
        "Nothing was sent.",
        f"{_TWICE}Use another name, or log the user off first (chat_logoff).",
    )
)
ASKS: Final = Rejected(
    Reason(
        "UserAsks",
        "This name has an open question, and must not log in meanwhile. Nothing was sent.",
        f"{_TWICE}Use another name, or withdraw the question first (ask_revoke).",
    )
)
SHARED: Final = Deferred(
    Reason(
        "UserLoginShared",
        "Openfire logs this user in on a stream that is another user's. Nothing was sent: it would go out under the "
        "other's name.",
        "Restart Openfire. Other programs must not log users in at the same moment as restbroker.",
    ),
    of_job=True,
)
_SEE_LOG: Final = "Check Openfire's log (error.log). A 500 often means bad input: check the job's arguments too."
_SHARED: Final = standard("Openfire", check_url=CHECK_URL, check_log=_SEE_LOG)
RUNGS: Final[Ladder] = _SHARED | {
    "3xx": attrs.evolve(_SHARED["3xx"], message="The server redirects (status {status})."),
    401: Rung("denied", "LoginRefused", CHECK_LOGIN),
    403: Rung("denied", "PluginDisabled", CHECK_ENABLED),
    500: Rung("deferred", "ServerError", _SEE_LOG, how={"max_attempts": BROKEN_ATTEMPTS, "ran": "maybe"}),
}
DONE_BEFORE: Final = "already done"
_CHECK_ARGUMENTS: Final = (
    "Openfire gives no reason: check names and JIDs, that the user is in the room or the workgroup, and that "
    "everything named exists."
)
_CHECK_ROOM: Final = (
    "No message was sent. Openfire gives no reason: check that the room admits the user (members only, a ban, "
    "a password), that it broadcasts everyone's presence (broadcastPresenceRoles), and that `create_room` or a "
    "client created it, not a join; then use `update_room` or `add_room_member`."
)
_NO_SUCH_ROOM: Final = (
    "Create it (`create_room`), or correct its name. It was not joined: Openfire would create one that no one "
    "else can enter."
)
NOT_IN_ROOM: Final = Rejected(
    Reason(
        "NotInRoom",
        "The user may not be in the room: it refused or removed them, or they left. Openfire would answer 200 "
        "and send nothing.",
        "Push a `join_room` first, or switch JoinRooms on.",
    )
)
_SEE_WORDS: Final = "Correct what Openfire names, or install and set up what is missing."
_OFFER_GONE: Final = "The offer was revoked or taken, or the user has logged in again: it may or may not be made again."
_OFFER_TAKEN: Final = (
    "An earlier try may have done it and its answer was lost: events show it (an invitation, or the next "
    "expert's offer)."
)
_OFFLINE: Final = Reason("WorkgroupOffline", "", "No one in the workgroup is available. Ask again when someone is.")
_NO_WORKGROUP: Final = Reason("NoSuchWorkgroup", "", "Create the workgroup (create_workgroup), or correct its name.")
_NOBODY: Final = Reason(
    "NobodyAccepted",
    "",
    "No agent accepted in time. Ask again, or withdraw it (`ask_revoke`): it may still be waiting.",
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


def form_of(stream: str = "") -> AnswerForm:
    """Return the `AnswerForm` of the Chat API; it masks the ids of all streams, and `stream` in any spelling."""
    return AnswerForm(_message, LOGINS | hiding.spellings_of([stream] if stream else []))


def explains(answer: Answer) -> bool:
    """Tell whether the answer has a message for people, and not only the name of an exception."""
    return answer.raw_message != answer.code


def common_refusal(answer: Answer, *, may_run_twice: bool) -> Outcome | None:
    """Return the outcome of an answer that concerns every command; None if it is about this one (400, 404, 409, …)."""
    status = answer.status
    if status < 300 or (400 <= status < 500 and status not in (401, 403) and not may_pass(status)):
        return None
    if status == FAILED and answer.is_own and not may_run_twice:
        return answer.uncertain("ServerError", _SEE_LOG)
    return ladder(answer, RUNGS)


def classify_login(response: Response, now_s: float, secrets: Iterable[hiding.Secret]) -> Outcome:
    """Return the outcome of a job whose user could not be logged in.

    Only the answer of a 400 is shown, without these secrets: another one may be a stream's id. `now_s`: epoch seconds.
    """
    status, form = response.status, form_of()
    silent = attrs.evolve(read(form, attrs.evolve(response, body=b""), (), now_s), is_own=form.is_own(response))
    if (of_all := common_refusal(silent, may_run_twice=True)) is not None:
        return of_all
    match status:
        case 400:
            answer = read(form, response, secrets)
            why = f"Openfire says: {answer.message}" if explains(answer) else "Openfire gives no reason."
            message = f"The user could not log in (status 400). {why}"
            return Rejected(Reason("UserLoginRefused", message, _CHECK_USER, status))
        case _:
            what = (
                "something that is not a stream id: this is not the Chat API" if status == 200 else f"status {status}"
            )
            return Denied(Reason("NotTheApi", f"Openfire answered a login with {what}.", CHECK_URL, status))


def _message(response: Response, text: str) -> tuple[str, str]:
    """Return the name of the exception in an answer, "" if there is none, and with it what the answer says.

    If `message` is no more than "Exception", the text may be in `ressource` (measured).
    """
    match parse_json(response.parsable):
        case {"exception": str(kind), **rest}:
            parts = [rest.get(name) for name in ("message", "ressource", "resource")]
            said = ", ".join(part for part in parts if isinstance(part, str) and part not in _WORDLESS)
            return kind, ": ".join(part for part in (kind, said) if part)
        case str(words):
            return "", words
        case None if not text.lstrip().startswith("<"):
            return "", text
        case _:
            return "", ""


def classify(call: Call, entry: ChatEntry, spec: CommandSpec, response: Response, now_s: float, stream: str) -> Outcome:
    """Return the outcome of this answer to this call.

    `stream`: the id that the call was sent with, to be masked; "" if there is none. `now_s` (epoch seconds) is for a
    Retry-After that names a date.
    """
    status = response.status
    if 200 <= status < 300:
        return _success(entry, response, stream)
    answer = read_for(form_of(stream), call, spec, response=response, now_s=now_s)
    refused = common_refusal(answer, may_run_twice=spec.repeat != "unsafe")
    return refused or _refusal(call, entry, spec, answer)


def as_offer_refusal(outcome: Outcome, *, maybe_run: bool) -> Outcome:
    """Return the refusal of a job that answers an offer as `OfferGone`, with the likely reason; else `outcome`."""
    return _renamed(outcome, "OfferGone", _OFFER_TAKEN if maybe_run else _OFFER_GONE)


def as_join_refusal(outcome: Outcome) -> Outcome:
    """Return the refusal of a join as `JoinRefused`: the command that needed the join was not sent; else `outcome`."""
    return _renamed(outcome, "JoinRefused", _CHECK_ROOM, "The room did not let the user in: ")


def _renamed(outcome: Outcome, code: str, hint: str, before: str = "") -> Outcome:
    if not isinstance(outcome, Rejected):
        return outcome
    reason = outcome.reason
    return Rejected(Reason(code, before + reason.message, hint, reason.status), outcome.text)


def no_such_room(response: Response, room: str) -> Rejected | None:
    """Return the outcome of a job whose room is not there; None if the answer does not say so."""
    match parse_json(response.parsable):
        case {"exception": str(kind)} if response.status == 404 and "RoomNotFound" in kind:
            return Rejected(Reason("NoSuchRoom", f"There is no room {quote(room)}.", _NO_SUCH_ROOM, 404))
        case _:
            return None


def is_empty(body: Json) -> bool:
    """Tell whether an answer's list has nothing in it, in any dialect."""
    return isinstance(body, dict) and not any(body.values())


def _success(entry: ChatEntry, response: Response, stream: str) -> Outcome:
    status = response.status
    if "text/html" in response.headers.get("content-type", ""):
        message = f"Status {status} with a page: this is not the Chat API."
        return Denied(Reason("NotTheApi", message, CHECK_URL, status))
    # Nothing is masked here but ids of streams: the text is what the producer asked for.
    shown = without_logins(entry.answer, response.body)
    text = shown.decode("utf-8", "replace")
    if stream and stream in text:
        text = text.replace(stream, hiding.MASK)
    came = None if response.note else parse_json(text.encode() if stream else shown)
    body = normalise(entry.answer, came)
    if body != came:
        text = orjson.dumps(body).decode()
    return Delivered(text, body, status, note=response.note)


def _refusal(call: Call, entry: ChatEntry, spec: CommandSpec, answer: Answer) -> Outcome:
    may_be_done = entry.repeat == "already_done"
    match answer.status:
        case 400 if may_be_done and (entry.effect == "logs_off" or call.maybe_run):
            return answer.deliver_already_done(call, spec, DONE_BEFORE)
        case 400:
            return _bad_request(entry, answer)
        case 404 if _is_of_command(entry, answer.response):
            if may_be_done and call.maybe_run:
                return answer.deliver_already_done(call, spec, DONE_BEFORE)
            return answer.reject("NotFound", "Check the names, or create them.")
        case 409 if may_be_done and (call.maybe_run or call.ok_if_exists):
            return answer.deliver_already_done(call, spec, DONE_BEFORE)
        case 409:
            return answer.reject("AlreadyExists", "Choose another name, or update it.")
        case 404 | 405 | 406 | 415:
            return answer.deny("NotTheApi", CHECK_URL)
        case 413:
            return ladder(answer, RUNGS)
        case _:
            return answer.reject("Refused", _CHECK_ARGUMENTS)


def _is_of_command(entry: ChatEntry, response: Response) -> bool:
    """Tell whether a 404 is about what the command names, and not about the whole API, which may not be up yet."""
    match parse_json(response.parsable):
        case {"exception": str()}:
            return True
        case _:
            return entry.answers_404 and "text/html" not in response.headers.get("content-type", "")


def _bad_request(entry: ChatEntry, answer: Answer) -> Rejected:
    if entry.effect == "asks":
        for words, reason in _REFUSED_QUESTIONS:
            if words.encode() in answer.response.body:
                return answer.reject(reason.code, reason.hint or "")
    return answer.reject("Refused", _SEE_WORDS if explains(answer) else _CHECK_ARGUMENTS)
