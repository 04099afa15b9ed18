"""Judges what Openfire answers by its status and the exception that it names, if any. The connector calls `classify`.

Always holds: pure; every answer has an outcome, nothing here raises, and no message holds a secret argument's value.

Success is an empty 201 or 200. A 500 has no body, and means bad input as often as a fault (measured on 1.2.5 and
1.3.10); something may have been done before it. The console redirects to its login page while the plugin is not there
yet and, since Openfire 4.7.5, for as long as its settings bar the plugin (read in its issues).
"""

import re
from typing import Final

import attrs
import orjson

from restbroker.job.command import Call, Command, CommandSpec
from restbroker.job.json_types import Json
from restbroker.job.outcome import Delivered, Denied, Outcome, Reason
from restbroker.job.settle import before_sending
from restbroker.light import frozen_plain
from restbroker.servers.api.answer import Answer, read_for
from restbroker.servers.api.ladder import CHECK_ARGUMENTS, EXISTS, Ladder, Rung, apply, ladder, standard
from restbroker.servers.api.texts import parse_json
from restbroker.servers.openfire.new_rooms import AFTER_A_RETRY
from restbroker.servers.openfire.normal import normalise, without_logins
from restbroker.servers.openfire.rest.catalogue import NEW_NAME, TABLE, RestEntry
from restbroker.servers.openfire.rest.options import BASE
from restbroker.servers.openfire.rest.request import FORM
from restbroker.transport.message import Response, text_of

BROKEN_ATTEMPTS: Final = 3
"""The most times that a job is sent to which Openfire answers 500."""
REDIRECTED_ATTEMPTS: Final = 5
"""The most times that a job is sent that is answered with the login page.

The first waits are long enough for a server that starts.
"""
BARRED: Final = (
    "This is normal while Openfire starts. If it persists, set its system property "
    "adminConsole.access.allow-wildcards-in-excludes to true (Openfire 4.7.5 and newer), and check that the "
    "plugin is loaded."
)
CHECK_URL: Final = f"Check the target's URL: it ends with {BASE}, on the port of Openfire's console (9090, 9091)."
CHECK_LOGIN: Final = (
    "Check the login against the plugin's settings: Auth with an administrator's name and password, or "
    "Options.Secret for its shared secret; each excludes the other. An address outside its allowed IPs gets "
    "the same answer, and so do accounts that Openfire cannot look up at the moment."
)
CHECK_ENABLED: Final = "Switch the plugin on: its system property plugin.restapi.enabled."
_BAD_INPUT: Final = (
    "Openfire also answers this to bad input (a missing room or user, an invalid value): check the arguments, "
    "then its log."
)
_EXISTS: Final = re.compile("AlreadyExists")
REDIRECTS: Final = "The server redirects to {location}: the plugin is not loaded yet, or not accessible."
_RUNGS: Final[Ladder] = standard("Openfire", check_url=CHECK_URL, check_log="See Openfire's log.") | {
    "3xx": Rung("deferred", "Redirected", BARRED, REDIRECTS, how={"max_attempts": REDIRECTED_ATTEMPTS}),
    400: Rung("rejected", "BadArgument", CHECK_ARGUMENTS),
    401: Rung("denied", "LoginRefused", CHECK_LOGIN),
    403: Rung("denied", "PluginDisabled", CHECK_ENABLED),
    404: Rung("denied", "WrongUrl", CHECK_URL),
    405: Rung("denied", "NotTheApi", CHECK_URL),
    406: Rung("denied", "NotTheApi", CHECK_URL),
    500: Rung("deferred", "ServerError", _BAD_INPUT, how={"max_attempts": BROKEN_ATTEMPTS, "ran": "maybe"}),
}


@frozen_plain
class _RestCase:
    """One answer to one call."""

    call: Call
    entry: RestEntry
    spec: CommandSpec
    response: Response
    now_s: float

    def read(self) -> Answer:
        """Return the answer for people. It is slow: use it for failures alone."""
        return read_for(FORM, self.call, self.spec, response=self.response, now_s=self.now_s)


def classify(call: Call, entry: RestEntry, spec: CommandSpec, response: Response, now_s: float = 0.0) -> Outcome:
    """Return the outcome of this answer to this call.

    `now_s` (epoch seconds) is for a Retry-After that names a date.
    """
    case, status = _RestCase(call, entry, spec, response=response, now_s=now_s), response.status
    if 200 <= status < 300:
        return _success(case)
    answer = case.read()
    match status:
        case 503 if entry.is_question:
            # The status is the answer; what else it says may be a proxy's words, which repeat the request.
            return Delivered(answer.text, parse_json(answer.text.encode()), status, negative=True)
        case 401 if not entry.logs_in and entry.since is not None:
            # Sent without a login, for which only older versions ask (measured on 1.2.5 and 1.3.10).
            return _too_old(entry, answer)
        case 404 | 405 if not (status == 404 and answer.code) and entry.since is not None:
            return _too_old(entry, answer)
        case 403 if answer.code:
            return answer.reject("CommandForbidden", "Openfire allows no one to do that. Its log and settings say why.")
        case 404 if answer.code:
            return _classify_missing(case, answer)
        case 409:
            return _conflict(case, answer)
        case 500 if answer.is_own and spec.repeat == "unsafe":
            # Something may have been done before it (measured).
            return answer.uncertain("ServerError", _BAD_INPUT)
        case 500 if answer.is_own and entry.bad_input:
            return apply(attrs.evolve(_RUNGS[500], hint=f"{entry.bad_input} {_BAD_INPUT}"), answer)
        case _:
            return ladder(answer, _RUNGS)


def classify_question(call: Call, question_name: str, spec: CommandSpec, response: Response, now_s: float) -> Outcome:
    """Return the outcome of the answer to a command that changes nothing and is sent before the call itself.

    `question_name` is its name, `spec` that of the call's command. No outcome says that the call may have run.
    """
    # With all that the job gives: what is secret of it is so in this answer, too.
    question = attrs.evolve(call, command=Command(question_name, call.command.arguments))
    return before_sending(classify(question, TABLE[question_name], spec, response=response, now_s=now_s))


def is_named(body: Json, member: str, wanted: Json) -> bool:
    """Tell whether the answer's `member` is the name that was asked for, ignoring case, as Openfire may."""
    name = body.get(member) if isinstance(body, dict) else None
    return isinstance(name, str) and isinstance(wanted, str) and name.casefold() == wanted.casefold()


def other_answer(what: str, response: Response) -> Denied:
    """Return the outcome of a job if the server answers the look-up before it with something unexpected.

    `what` names what was asked for: "group" or "room".
    """
    message = f"Status {response.status}, but the answer is not the requested {what}."
    return Denied(Reason("NotTheApi", message, CHECK_URL, response.status))


def _success(case: _RestCase) -> Outcome:
    entry, response, status = case.entry, case.response, case.response.status
    shown = without_logins(entry.answer, response.body)
    text, note = text_of(shown), response.note
    if "text/html" in response.headers.get("content-type", ""):
        return _not_the_api(case)
    if entry.answer in ("", "xml", "yaml"):
        # Nothing is masked here: the text is what the producer asked for.
        return Delivered(text, None, status, note=note)
    body = None if response.note else parse_json(shown)
    if body is None and not response.note:
        return _not_the_api(case)
    found = normalise(_answer(case), body)
    if found != body:
        text = orjson.dumps(found).decode()
    if entry.answer == "RoomCreationResultEntities" and isinstance(found, dict):
        return _bulk(case, text, found)
    return Delivered(text, found, status, note=note)


def _answer(case: _RestCase) -> str:
    """Return what the answer is, in the plugin's words; of a room's affiliations, which (such as `owners`)."""
    if case.entry.answer != "AffiliatedEntities":
        return case.entry.answer
    return str(case.call.command.arguments.get("affiliation"))


def _not_the_api(case: _RestCase) -> Outcome:
    # If the probe meets the same, the whole target is wrong, not this job.
    message = f"Status {case.response.status} with something that is not an answer of the REST API plugin."
    return case.read().deny("NotTheApi", CHECK_URL, message)


def _bulk(case: _RestCase, text: str, body: dict[str, Json]) -> Outcome:
    """Judge the creation of rooms, each of which succeeds or fails by itself."""
    failed, made = [*_results(body.get("failure")), *_results(body.get("other"))], _results(body.get("success"))
    if not failed:
        return Delivered(text, body, case.response.status)
    count = f"{len(failed)} of {len(failed) + len(made)} failed"
    if made:
        return Delivered(text, body, case.response.status, note=f"partly done: {count}")
    answer = case.read()
    shown = "; ".join(f"{item.get('roomName')}: {item.get('message')}" for item in failed if isinstance(item, dict))
    return answer.reject("CommandFailed", CHECK_ARGUMENTS, f"{count}: {answer.masked_text.hide(shown)}")


def _results(listed: Json) -> list[Json]:
    """Return the entries of a list, or of the list inside an object."""
    if isinstance(listed, dict):
        listed = next((value for value in listed.values() if isinstance(value, list)), [listed] if listed else [])
    return listed if isinstance(listed, list) else []


def _classify_missing(case: _RestCase, answer: Answer) -> Outcome:
    call = case.call
    if case.entry.effect == "removes" and call.maybe_run:
        return answer.deliver_already_done(call, case.spec)
    if call.maybe_run and NEW_NAME in call.command.arguments:
        message = f"{answer.sentence}; an earlier try may have renamed the account, or only part of it."
        return answer.reject("NotFound", "Check that the new name exists and the old one is gone.", message)
    return answer.reject("NotFound", "Check the name, or create it first.")


def _too_old(entry: RestEntry, answer: Answer) -> Outcome:
    about = f"Status {answer.status} and no text"
    message = f"{about}: this REST API plugin has no {entry.name}, which came with {entry.since}."
    return answer.deny("UnknownCommand", "Update the plugin.", message)


def _conflict(case: _RestCase, answer: Answer) -> Outcome:
    is_there = not answer.code or _EXISTS.search(answer.code) is not None
    if case.entry.effect != "creates" or not is_there:
        hint = "The current state forbids it, e.g. a room's last owner, or a list that cannot be changed."
        return answer.reject("Refused", hint)
    if case.call.ok_if_exists:
        return answer.deliver_already_done(case.call, case.spec)
    if case.call.maybe_run:
        return answer.deliver_already_done(case.call, case.spec, AFTER_A_RETRY)
    return answer.reject("AlreadyExists", EXISTS)
