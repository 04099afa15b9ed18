"""Judges Prosody's answers: a status, and within a 200 the stanza that came back. Pure; the connector calls `judge`.

Always holds: every answer has an outcome, nothing here raises, and no message holds a secret argument's value.

mod_rest says 202 to what it passed on, and 200 with a stanza to what Prosody itself, or for an iq the addressee,
answered at once. An XMPP error comes in a 200, too (measured on 0.12.3 and 13.0.1): its type says whether it is worth
trying again (RFC 6120, 8.3.2).
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import attrs

from restbroker.job import redact
from restbroker.job.command import Call, CommandSpec
from restbroker.job.json_types import Json
from restbroker.job.outcome import Deferred, Delivered, Denied, Outcome, Reason, Rejected, Uncertain
from restbroker.servers.api.texts import parsed
from restbroker.servers.prosody import notes
from restbroker.servers.prosody.answer import Answer, read, stanza_in
from restbroker.servers.prosody.request import is_question
from restbroker.servers.prosody.ways import Api, Way
from restbroker.transport.message import Response
from restbroker.transport.retry_after import retry_after_s

BROKEN_ATTEMPTS: Final = 3
"""So often at most a stanza is sent that Prosody answers 500 to: one of its modules failed over it."""
CHECK_URL: Final = (
    "Check the target's URL, that the module is loaded, and that Domain or HostHeader names the VirtualHost or"
    " component that has it."
)
_GOES_ON: Final = "It goes on by itself."
_CHECK_ARGUMENTS: Final = "Correct the arguments."
_CHECK_LOG: Final = "See Prosody's log."
_CHECK_ADDRESS: Final = "Check the address."
# Of an iq that nobody answered in time, or that others drove out of Prosody's list (read in its core/moduleapi.lua).
_NOT_ANSWERED: Final = re.compile("timed out|evicted from iq")
_LOGIN: Final = re.compile("redential")

# By condition: the type that RFC 6120 gives it (8.3.3), for an answer that names none, and what to do.
_CONDITIONS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "bad-request": ("modify", _CHECK_ARGUMENTS),
        "conflict": ("cancel", "Look whether it is there already, or the name is taken."),
        "feature-not-implemented": ("cancel", "Whoever is addressed does not know that; ask it for disco."),
        "forbidden": ("auth", "Give the sender the right to do it, or send as another account."),
        "gone": ("cancel", "The address is no longer used; the text may name another."),
        "internal-server-error": ("cancel", _CHECK_LOG),
        "item-not-found": ("cancel", "Check the address and the names, or create what they name first."),
        "jid-malformed": ("modify", _CHECK_ADDRESS),
        "not-acceptable": ("modify", _CHECK_ARGUMENTS),
        "not-allowed": ("cancel", "Nobody may do that there."),
        "not-authorized": ("auth", "Give the sender the right to do it, or send as another account."),
        "policy-violation": ("modify", "Look at the server's rules, e.g. its limits and filters."),
        "recipient-unavailable": ("wait", _GOES_ON),
        "redirect": ("modify", "The text may name another address."),
        "registration-required": ("auth", "The sender must be registered there, or be a member."),
        "remote-server-not-found": ("cancel", "Check the address's domain; no server answers for it."),
        "remote-server-timeout": ("wait", _GOES_ON),
        "resource-constraint": ("wait", _GOES_ON),
        "service-unavailable": ("cancel", "Check that the account exists, and that it takes that when it is offline."),
        "subscription-required": ("auth", "The sender must be subscribed to it."),
        "unexpected-request": ("wait", _GOES_ON),
    }
)
_TIMED_OUT: Final = "remote-server-timeout"
_TYPES: Final = frozenset({"auth", "cancel", "continue", "modify", "wait"})


def judge(call: Call, way: Way, spec: CommandSpec, response: Response, now_s: float = 0.0) -> Outcome:
    """The outcome of this answer to this call. `now_s` (epoch seconds) is for a Retry-After that names a date."""
    status = response.status
    if 200 <= status < 300:
        return _success(call, way, spec, response)
    answer = _read(call, spec, response)
    if 300 <= status < 400:
        where = answer.shown.address() or "elsewhere"
        # Concerns every job of this API: the probe meets the same, and the lane pauses instead of parking them all.
        return _of_all(way.api, Reason("Redirected", f"The server redirects to {where}.", CHECK_URL, status), answer)
    if status in (408, 425, 429, 503):
        reason = Reason("ServerBusy", answer.says(status), _GOES_ON, status)
        wait_s = retry_after_s(response, now_s)
        return Deferred(reason, wait_s, counts=False, pause_target=True, text=answer.text)
    if 400 <= status < 500:
        outcome = _client_error(call, way, answer, status)
        if not isinstance(outcome, Delivered):
            return outcome
        # It had been done before: its producer gets the answer without the secrets alone.
        secrets = redact.secret_values(spec, call.command.arguments, with_texts=False)
        return attrs.evolve(outcome, text=read(response, secrets).text)
    if 500 <= status < 600:
        return _server_error(call, way, answer, response, now_s)
    return Rejected(Reason("OddAnswer", f"The server answered with status {status}.", CHECK_URL, status), answer.text)


def _success(call: Call, way: Way, spec: CommandSpec, response: Response) -> Outcome:
    status, body = response.status, parsed(response.body)
    # Nothing is masked here: the text is what the producer asked for.
    text = response.body.decode("utf-8", "replace")
    stanza = stanza_in(body) if way.api == "rest" and status == 200 else None
    if stanza is None and way.api == "rest" and status == 200 and not response.truncated:
        # mod_rest's 200 always has a stanza. If the probe meets the same, the whole target is wrong.
        message = "Status 200 with something that is no stanza: this is not mod_rest."
        return Denied(Reason("NotTheApi", message, CHECK_URL, status), _read(call, spec, response).text)
    if stanza is not None and stanza.get("type") == "error":
        answer = _read(call, spec, response)
        asks = way.kind != "iq" or is_question(way, call.command.arguments)
        outcome = _stanza_error(stanza, answer, status, asks=asks)
        return outcome or Delivered(text, body, status, note=f"warning: {answer.words}")
    match stanza:
        case {"command": {"note": {"type": "error", "text": str(words)}}}:
            return _failed(_read(call, spec, response), words, status)
        case {"command": {"note": {"type": "error"}}}:
            return _failed(_read(call, spec, response), "", status)
        case {"command": {"node": node, "note": {"text": str(words)}}} if notes.is_report(node):
            report = notes.read(words)
            if report.failed and not report.done:
                return _failed(_read(call, spec, response), words, status)
            return Delivered(text, body, status, note=_note(report))
        case _:
            return Delivered(text, body, status, note="answer truncated" if response.truncated else None)


def _read(call: Call, spec: CommandSpec, response: Response) -> Answer:
    return read(response, redact.secret_values(spec, call.command.arguments))


def _failed(answer: Answer, words: str, status: int) -> Rejected:
    """An ad-hoc command that failed, which says so in the note of its result (XEP-0050)."""
    says = f": {answer.shown.hide(words)}" if words.strip() else "."
    cure = "Correct the form that was sent; check that the accounts exist on the host that it was sent to."
    return Rejected(Reason("CommandFailed", f"The ad-hoc command failed{says}", cure, status), answer.text)


def _note(report: notes.Report) -> str | None:
    """What is to be known of a report that is no failure; None of one of successes alone."""
    if report.failed:
        return f"partly done: {report.failed} of {report.failed + report.done} failed"
    return None if report.done else "a note in unknown words: see the answer"


def _stanza_error(stanza: Mapping[str, Json], answer: Answer, status: int, *, asks: bool) -> Outcome | None:
    """The outcome of an XMPP error, None of one that is a warning. `asks`: no iq that may have changed something."""
    error = stanza.get("error")
    told: Mapping[str, Json] = error if isinstance(error, dict) else {}
    given, said = told.get("condition"), told.get("text")
    condition = given if isinstance(given, str) and given else "undefined-condition"
    usual, cure = _CONDITIONS.get(condition, ("cancel", _CHECK_ADDRESS))
    kind = told.get("type")
    kind = kind if isinstance(kind, str) and kind in _TYPES else usual
    words = f": {answer.shown.hide(said)}" if isinstance(said, str) and said else ""
    message = f"The answer is the error {answer.shown.hide(condition)} (type {kind}){words}"
    match kind:
        case "wait" if condition == _TIMED_OUT and not asks:
            return Uncertain(Reason("StanzaUnanswered", message, _CHECK_ADDRESS, status))
        case "wait":
            # Mostly of who is addressed: Prosody is as well as it was.
            return Deferred(Reason("StanzaPutOff", message, _GOES_ON, status), text=answer.text, of_job=True)
        case "continue":
            return None
        case _:
            cure = _CHECK_ADDRESS if cure == _GOES_ON else cure
            return Rejected(Reason("StanzaRefused", message, cure, status), answer.text)


def _client_error(call: Call, way: Way, answer: Answer, status: int) -> Outcome:
    says = answer.says(status)
    match status:
        case 401:
            return _of_all(way.api, Reason("LoginRefused", says, _login_cure(way.api), status), answer)
        case 403:
            # For a wrong login too, and for a `from` that is not the account's.
            code = "LoginRefused" if _LOGIN.search(answer.unmasked) else "CommandForbidden"
            return _of_all(way.api, Reason(code, says, _login_cure(way.api), status), answer)
        case 404 if way.api == "admin" and "{" in way.path:
            if call.maybe_run and way.repeat == "already_done":
                return Delivered(answer.text, None, status, note="already done")
            cure = f"Check the name; else: {CHECK_URL}"
            return Rejected(Reason("NotFound", says, cure, status), answer.text)
        case 404:
            return _of_all(way.api, Reason("WrongUrl", says, CHECK_URL, status), answer)
        case 400 | 422:
            return Rejected(Reason("BadArgument", says, _CHECK_ARGUMENTS, status), answer.text)
        case 413:
            cure = "The job is too large for Prosody (http_max_content_size): send less, or raise that."
            return Rejected(Reason("Refused", says, cure, status), answer.text)
        case _:
            return Rejected(Reason("Refused", says, _CHECK_ARGUMENTS, status), answer.text)


def _of_all(api: Api, reason: Reason, answer: Answer) -> Outcome:
    """What concerns every job of an API. The probe knows mod_rest alone, and jobs of the others must not hold it up."""
    return Denied(reason, answer.text) if api == "rest" else Rejected(reason, answer.text)


def _login_cure(api: Api) -> str:
    match api:
        case "rest":
            return (
                "Check the login (Auth): the account's local part and password, or a token; and `from`, if it is given."
            )
        case "admin":
            return "Check AdminToken: a token of an administrator, with its rights."
        case "msg":
            return "Check the login (Auth): the account with its domain, and its password."


def _server_error(call: Call, way: Way, answer: Answer, response: Response, now_s: float) -> Outcome:
    status = response.status
    asks = is_question(way, call.command.arguments)
    by_prosody = _NOT_ANSWERED.search(answer.unmasked) is not None
    if way.kind == "iq" and (by_prosody or status == 504):
        reason = Reason("StanzaUnanswered", answer.says(status), _CHECK_ADDRESS, status)
        return Deferred(reason, text=answer.text, of_job=by_prosody) if asks else Uncertain(reason)
    reason = Reason("ServerError", answer.says(status), _CHECK_LOG, status)
    if status == 504:
        cure = "Give the proxy in front of Prosody a longer time-out than restbroker's."
        return Uncertain(Reason("GatewayTimeout", f"{answer.says(status)} It may have run.", cure, status))
    attempts = BROKEN_ATTEMPTS if status == 500 else None
    wait_s = retry_after_s(response, now_s)
    return Deferred(reason, wait_s, max_attempts=attempts, pause_target=status == 502, text=answer.text)
