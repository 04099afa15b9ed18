"""Judges what Openfire answers: status and, where there is one, the exception that it names. Pure; the connector calls
`judge`.

Always holds: every answer has an outcome, nothing here raises, and no message holds a secret argument's value.

An empty 201 or 200 is what success looks like. A 500 has no body, and is bad input as often as a fault (measured on
1.2.5 and 1.3.10); something may have been done before it. A redirect to the login page is what the console answers
while the plugin is not there yet, and since Openfire 4.7.5 for as long as its settings bar the plugin (read in its
issues).
"""

import re
from typing import Final

import attrs
import orjson

from restbroker.job import redact
from restbroker.job.command import Call, CommandSpec
from restbroker.job.json_types import Json
from restbroker.job.outcome import Deferred, Delivered, Denied, Outcome, Reason, Rejected, Uncertain
from restbroker.servers.api.texts import parsed
from restbroker.servers.openfire.normal import normal, without_logins
from restbroker.servers.openfire.rest.answer import Answer, read
from restbroker.servers.openfire.rest.options import BASE
from restbroker.servers.openfire.rest.ways import BULK, CREATES, NEW_NAME, REMOVES, Way
from restbroker.transport.message import Response
from restbroker.transport.retry_after import retry_after_s

BROKEN_ATTEMPTS: Final = 3
"""So often at most a job is sent that Openfire answers 500 to."""
REDIRECTED_ATTEMPTS: Final = 5
"""So often at most one that is answered with the login page; the first waits are enough for a server that starts."""
BARRED: Final = (
    "It is so while Openfire starts. If it stays, set its system property"
    " adminConsole.access.allow-wildcards-in-excludes to true (Openfire 4.7.5 and newer), and look whether the plugin"
    " is loaded."
)
CHECK_URL: Final = f"Check the target's URL: it ends with {BASE}, on the port of Openfire's console (9090, 9091)."
CHECK_LOGIN: Final = (
    "Check the login against the plugin's settings: Auth with an administrator's name and password, or Options.Secret"
    " where its shared secret counts; one excludes the other. An address beyond its allowed IPs, and accounts that"
    " Openfire cannot look up just now, get the same answer."
)
CHECK_ENABLED: Final = "Switch the plugin on: its system property plugin.restapi.enabled."
_GOES_ON: Final = "It goes on by itself."
_CHECK_ARGUMENTS: Final = "Correct the arguments."
_BAD_INPUT: Final = (
    "Openfire answers so to bad input as well (a room or user that does not exist, a value that it does not take):"
    " check the arguments, then its log."
)
_EXISTS: Final = re.compile("AlreadyExists")
_LEGACY_CURES: Final = {
    "RequestNotAuthorised": "Give Options.Secret, the plugin's shared secret, and look at its allowed IPs.",
    "UserServiceDisabled": CHECK_ENABLED,
}
_LEGACY: Final = re.compile(r"<error>([^<]*)</error>")


@attrs.frozen
class _Case:
    """One answer to one call."""

    call: Call
    way: Way
    spec: CommandSpec
    response: Response

    def read(self) -> Answer:
        """The answer for people. It takes a while: for failures alone."""
        return read(self.response, redact.secret_values(self.spec, self.call.command.arguments))

    def done_before(self, note: str = "already done") -> Delivered:
        """The outcome of what had been done before: its producer gets the answer without the secrets alone."""
        secrets = redact.secret_values(self.spec, self.call.command.arguments, with_texts=False)
        return Delivered(read(self.response, secrets).text, None, self.response.status, note=note)


def judge(call: Call, way: Way, spec: CommandSpec, response: Response, now_s: float = 0.0) -> Outcome:
    """The outcome of this answer to this call. `now_s` (epoch seconds) is for a Retry-After that names a date."""
    case, status = _Case(call, way, spec, response), response.status
    if 200 <= status < 300:
        return _success(case)
    answer = case.read()
    if status == 503 and way.is_question:
        # The answer to the question is the status; what else it says may be a proxy's words, which repeat the request.
        return Delivered(answer.text, parsed(answer.text.encode()), status, negative=True)
    if 300 <= status < 400:
        return _redirected(response, answer)
    if status in (408, 425, 429, 503):
        reason = Reason("ServerBusy", answer.says(status), _GOES_ON, status)
        return Deferred(reason, retry_after_s(response, now_s), counts=False, pause_target=True, text=answer.text)
    if 400 <= status < 500:
        return _client_error(case, answer, status)
    if 500 <= status < 600:
        return _server_error(case, answer, now_s)
    return Rejected(Reason("OddAnswer", f"The server answered with status {status}.", CHECK_URL, status), answer.text)


def redirects(answer: Answer) -> str:
    """What a redirect means, as a sentence."""
    where = answer.shown.address() or "elsewhere"
    return f"The server redirects to {where}: the plugin is not there yet, or barred."


def _redirected(response: Response, answer: Answer) -> Outcome:
    reason = Reason("Redirected", redirects(answer), BARRED, response.status)
    return Deferred(reason, max_attempts=REDIRECTED_ATTEMPTS, text=answer.text)


def _success(case: _Case) -> Outcome:
    way, response, status = case.way, case.response, case.response.status
    shown = without_logins(way.answer, response.body)
    text, note = shown.decode("utf-8", "replace"), "answer truncated" if response.truncated else None
    if way.is_legacy:
        return _legacy(case, text)
    if "text/html" in response.headers.get("content-type", ""):
        return _not_the_api(case)
    if way.answer in ("", "xml", "yaml"):
        # Nothing is masked here: the text is what the producer asked for.
        return Delivered(text, None, status, note=note)
    body = parsed(shown)
    if body is None and not response.truncated:
        return _not_the_api(case)
    found = normal(_answer(case), body)
    if found != body:
        text = orjson.dumps(found).decode()
    if case.spec.name == BULK and isinstance(found, dict):
        return _bulk(case, text, found)
    return Delivered(text, found, status, note=note)


def _answer(case: _Case) -> str:
    """What the answer is; of a room's affiliations, which."""
    if case.way.answer != "AffiliatedEntities":
        return case.way.answer
    return str(case.call.command.arguments.get("affiliation"))


def _not_the_api(case: _Case) -> Outcome:
    # If the probe meets the same, the whole target is wrong, not this job.
    status = case.response.status
    message = f"Status {status} with something that is no answer of the REST API plugin."
    return Denied(Reason("NotTheApi", message, CHECK_URL, status), case.read().text)


def _bulk(case: _Case, text: str, body: dict[str, Json]) -> Outcome:
    """Of rooms, each for itself: one that was there counts as made (read)."""
    failed, made = [*_results(body.get("failure")), *_results(body.get("other"))], _results(body.get("success"))
    if not failed:
        return Delivered(text, body, case.response.status)
    count = f"{len(failed)} of {len(failed) + len(made)} failed"
    if made:
        return Delivered(text, body, case.response.status, note=f"partly done: {count}")
    answer = case.read()
    shown = "; ".join(f"{one.get('roomName')}: {one.get('message')}" for one in failed if isinstance(one, dict))
    reason = Reason("CommandFailed", f"{count}: {answer.shown.hide(shown)}", _CHECK_ARGUMENTS, case.response.status)
    return Rejected(reason, answer.text)


def _results(listed: Json) -> list[Json]:
    """Of a list, or of one in an object."""
    if isinstance(listed, dict):
        listed = next((value for value in listed.values() if isinstance(value, list)), [listed] if listed else [])
    return listed if isinstance(listed, list) else []


def _legacy(case: _Case, text: str) -> Outcome:
    """Of the old user service, which says 200 to everything (read)."""
    found, kind = _LEGACY.search(text), case.call.command.arguments.get("type")
    if found is None and "<result>" in text:
        return Delivered(text, None, case.response.status)
    answer = case.read()
    if found is None:
        cure = "Check `type`: add, update, delete, enable, disable, add_roster and the like."
        return Rejected(Reason("CommandFailed", "The user service did not say what it did.", cure, 200), answer.text)
    error = found[1].strip()
    done = {"UserAlreadyExistsException": "add", "UserNotFoundException": "delete"}
    if case.call.maybe_run and done.get(error) == kind:
        return case.done_before()
    codes = {"UserAlreadyExistsException": "AlreadyExists", "UserNotFoundException": "NotFound"}
    code = codes.get(error, "CommandFailed")
    message = f"The user service says: {answer.words}"
    return Rejected(Reason(code, message, _LEGACY_CURES.get(error, _CHECK_ARGUMENTS), 200), answer.text)


def _client_error(case: _Case, answer: Answer, status: int) -> Outcome:
    says = answer.says(status)
    match status:
        case 401:
            return _login_refused(case, answer, says)
        case 403 if not answer.exception:
            return Denied(Reason("PluginDisabled", says, CHECK_ENABLED, status), answer.text)
        case 403:
            cure = "Openfire lets nobody do that there; its log and settings say why."
            return Rejected(Reason("CommandForbidden", says, cure, status), answer.text)
        case 404:
            return _not_found(case, answer)
        case 405 if case.way.since is not None:
            return _too_old(case.way, answer, status)
        case 405 | 406:
            return Denied(Reason("NotTheApi", says, CHECK_URL, status), answer.text)
        case 409:
            return _conflict(case, answer)
        case 400:
            return Rejected(Reason("BadArgument", says, _CHECK_ARGUMENTS, status), answer.text)
        case 413:
            cure = "The job is too large for the server, or for a proxy before it: send less, or raise their limit."
            return Rejected(Reason("Refused", says, cure, status), answer.text)
        case _:
            return Rejected(Reason("Refused", says, _CHECK_ARGUMENTS, status), answer.text)


def _login_refused(case: _Case, answer: Answer, says: str) -> Outcome:
    if case.way.login == "none" and case.way.since is not None:
        # Sent without a login, for which only older versions ask (measured on 1.2.5 and 1.3.10).
        return _too_old(case.way, answer, 401)
    return Denied(Reason("LoginRefused", says, CHECK_LOGIN, 401), answer.text)


def _not_found(case: _Case, answer: Answer) -> Outcome:
    name = case.way.name
    if not answer.exception:
        if case.way.since is not None:
            return _too_old(case.way, answer, 404)
        # A path that nobody knows. If the probe meets the same, the URL is wrong.
        return Denied(Reason("WrongUrl", answer.says(404), CHECK_URL, 404), answer.text)
    if name in REMOVES and case.call.maybe_run:
        return case.done_before()
    if case.call.maybe_run and NEW_NAME in case.call.command.arguments:
        message = f"{answer.says(404)}; an earlier try may have renamed the account, or half of it."
        cure = "Look whether the new name is there, and the old one gone."
        return Rejected(Reason("NotFound", message, cure, 404), answer.text)
    cure = "Check the name, or create what it names first."
    return Rejected(Reason("NotFound", answer.says(404), cure, 404), answer.text)


def _too_old(way: Way, answer: Answer, status: int) -> Outcome:
    message = f"Status {status} without a word: this REST API plugin has no {way.name}, which came with {way.since}."
    return Denied(Reason("UnknownCommand", message, "Update the plugin.", status), answer.text)


def _conflict(case: _Case, answer: Answer) -> Outcome:
    name, says = case.way.name, answer.says(409)
    is_there = not answer.exception or _EXISTS.search(answer.exception) is not None
    if name not in CREATES or not is_there:
        cure = "What is there forbids it: a room's last owner, say, or a list that cannot be changed."
        return Rejected(Reason("Refused", says, cure, 409), answer.text)
    if case.call.ok_if_exists:
        return case.done_before()
    if case.call.maybe_run:
        return case.done_before("already exists after a retry")
    cure = 'Nothing to do, unless another one was meant; "ok_if_exists": true in the job makes this count as done.'
    return Rejected(Reason("AlreadyExists", says, cure, 409), answer.text)


def _server_error(case: _Case, answer: Answer, now_s: float) -> Outcome:
    status, says = case.response.status, answer.says(case.response.status)
    if status == 504:
        cure = "Give the proxy in front of Openfire a longer time-out than restbroker's."
        return Uncertain(Reason("GatewayTimeout", f"{says} It may have run.", cure, status))
    if status != 500:
        wait_s = retry_after_s(case.response, now_s)
        reason = Reason("ServerError", says, "See Openfire's log.", status)
        return Deferred(reason, wait_s, pause_target=status == 502, text=answer.text)
    if case.spec.repeat == "unsafe":
        # Something may have been done before it (measured).
        return Uncertain(Reason("ServerError", f"{says} It may have run.", _BAD_INPUT, status))
    reason = Reason("ServerError", says, _BAD_INPUT, status)
    return Deferred(reason, max_attempts=BROKEN_ATTEMPTS, text=answer.text, maybe_run=True)
