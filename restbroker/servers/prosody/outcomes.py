"""Reads and judges Prosody's answers: a status, and within a 200 the stanza that came back. Pure.

The connector calls `classify`; the probe and the check use `FORM`. Always holds: every answer has an outcome, nothing
here raises, and no message holds a secret argument's value.

mod_rest answers 202 if it passed a stanza on, and 200 with a stanza if Prosody itself, or for an iq the addressee,
replied at once. An XMPP error comes in a 200, too (measured on 0.12.3 and 13.0.1): its type says whether to try again
(RFC 6120, 8.3.2).

A failure in a note of type `info`, which mod_admin_adhoc puts into the answer to an ad-hoc command, is found; a JID in
it never counts as a heading. A note on several accounts has two lists, of which either may be missing (the same texts
on 0.12.3 and 13.0.1, recorded): "The following accounts were successfully deleted:" and "The following accounts could
not be deleted:".
"""

import re
from collections.abc import Mapping
from html import unescape
from typing import Final, get_args

import attrs

from restbroker.job.command import Call, CommandSpec
from restbroker.job.json_types import Json
from restbroker.job.outcome import Delivered, Outcome
from restbroker.light import frozen
from restbroker.servers.api.ad_hoc import ADMIN
from restbroker.servers.api.answer import Answer, AnswerForm, deliver_as_is, is_of_api, read_for
from restbroker.servers.api.ladder import CHECK_ARGUMENTS, EXISTS, GOES_ON, Fate, Ladder, Rung, apply, ladder, standard
from restbroker.servers.api.texts import page_heading, parse_json, read_toml
from restbroker.servers.prosody import xml_stanza
from restbroker.servers.prosody.catalogue import ProsodyEntry
from restbroker.servers.prosody.options import Api
from restbroker.servers.prosody.request import is_question
from restbroker.transport.message import Response

_HEAD_LIMIT: Final = 4096
"""How many characters of a page are searched; Prosody's own pages, with their style, have 1 KiB."""
# Prosody's pages say what is wrong in their last paragraph, and the name of the status in the heading.
_SAID: Final = re.compile(r'<p class="extra">([^<]*)</p>')
_OWN_PAGE: Final = re.compile(rb'p\.extra\{|<p class="extra">')
"""What each of Prosody's own pages has: the style of that paragraph, or one (recorded on 0.12.3 and 13.0.1)."""
_WORDS: Final = re.compile(r"<text\b[^<>]*>([^<]*)</text>")
"""The text of an error that mod_rest sends as XML."""
_REPORTS: Final = frozenset({"delete-user", "end-user-session", "disable-user", "reenable-user"})
"""The commands that report on several accounts, by the end of their nodes."""
_HEADING: Final = re.compile(r"The following accounts (were successfully|could not be) \w+:")
_CODES: Final = (
    ("AlreadyExists", re.compile("Account already exists")),
    ("NotFound", re.compile("User does not exist|The following accounts could not be (deleted|disconnected):")),
)
_JID: Final = re.compile(r"[^\s@/]+([@/].*)?")
"""What may stand under a heading: only behind its first @ or / a JID may have spaces."""
BROKEN_ATTEMPTS: Final = 3
"""So often at most a stanza is sent that Prosody answers with 500: one of its modules failed over it."""
CHECK_URL: Final = (
    "Check the target's URL, that the module is loaded, and that Domain or HostHeader names the VirtualHost or"
    " component that has it."
)
_CHECK_LOG: Final = "See Prosody's log."
CHECK_ACCOUNT: Final = "Check that the login's account exists on a host of this Prosody; if so, check Prosody's log."
"""The hint for a page with status 500, which may come of a wrong account.

mod_auth_internal_plain crashes over an account that does not exist, and mod_post_msg over a host that it does not
serve: both become such a page, as any other crash (measured on 0.12.3 and 13.0.1).
"""
_CHECK_ADDRESS: Final = "Check the address."
# Of an iq that no one answered in time, or that others drove out of Prosody's list (read in its core/moduleapi.lua).
_NOT_ANSWERED: Final = re.compile("timed out|evicted from iq")
_LOGIN: Final = re.compile("redential")
_FROM: Final = re.compile("requested 'from'")
_CHECK_FROM: Final = (
    "Let `from` be the login's account, with or without a resource; another account needs its own target."
)

_CONDITIONS: Final[Mapping[str, Mapping[str, str]]] = read_toml(__file__, "conditions.toml")
_TIMED_OUT: Final = "remote-server-timeout"
_TYPES: Final = frozenset({"auth", "cancel", "continue", "modify", "wait"})

CHECK_LOGIN: Final[Mapping[Api, str]] = {
    "rest": "Check the login (Auth): the account's local part and password, or a token; and `from`, if it is given.",
    "admin": "Check AdminToken: a token of an administrator, with its rights.",
    "msg": "Check the login (Auth): the account with its domain, and its password.",
}
_TOO_LARGE: Final = "The job is too large for Prosody (http_max_content_size): send less, or raise the limit."


_BROKEN: Final = Rung(
    "deferred", "ServerError", _CHECK_LOG, waits=True, how={"max_attempts": BROKEN_ATTEMPTS, "ran": "maybe"}
)
_NO_GROUP: Final = attrs.evolve(_BROKEN, hint="Check the group's id: it may not exist; else check Prosody's log.")
"""For a 500 to a group's members, and to a chat without a host for rooms (measured on 0.12.3 and 13.0.1)."""
_CRASHED: Final[Mapping[Api, Rung]] = {
    # The probe finds out whether it is the login, which concerns all jobs.
    "rest": attrs.evolve(_BROKEN, hint=CHECK_ACCOUNT, how={**_BROKEN.how, "pause_target": True}),
    "admin": _BROKEN,
    "msg": attrs.evolve(_BROKEN, hint=CHECK_ACCOUNT),
}


def _rungs(api: Api) -> Ladder:
    # The probe knows mod_rest alone, and jobs of the others must not hold it up.
    of_all: Fate = "denied" if api == "rest" else "rejected"
    bad = Rung("rejected", "BadArgument", CHECK_ARGUMENTS)
    shared = standard("Prosody", check_url=CHECK_URL, check_log=_CHECK_LOG)
    return shared | {
        "3xx": attrs.evolve(shared["3xx"], fate=of_all),
        400: bad,
        401: Rung(of_all, "LoginRefused", CHECK_LOGIN[api]),
        403: Rung(of_all, "CommandForbidden", CHECK_LOGIN[api]),
        404: Rung(of_all, "WrongUrl", CHECK_URL),
        413: attrs.evolve(shared[413], hint=_TOO_LARGE),
        422: bad,
    }


_LADDERS: Final[Mapping[Api, Ladder]] = {api: _rungs(api) for api in get_args(Api)}


def stanza_in(body: Json) -> Mapping[str, Json] | None:
    """Return the stanza in an answer of mod_rest, the last of several (an archive's); None if there is none."""
    if isinstance(body, dict) and isinstance(several := body.get("xmpp"), list):
        body = several[-1] if several else None
    return body if isinstance(body, dict) else None


def version_in(body: Json) -> str:
    """Return the version in Prosody's answer to an iq asking for it; "" if it tells none, or a bot's host answered."""
    match stanza_in(body):
        case {"version": {"name": "Prosody", "version": str(version)}}:
            return version  # "0.12.3", "13.0.1", and for nightly builds words behind it
        case _:
            return ""


def _is_xml(response: Response) -> bool:
    return response.headers.get("content-type", "").startswith("application/xmpp+xml")


def is_page(response: Response) -> bool:
    """Tell whether the body is a page; Prosody answers 500 with one if any of its modules crashed.

    The answers of mod_rest itself in XML, errors too, have another content type (0.12.3 and 13.0.1, recorded).
    """
    return not _is_xml(response) and response.body.lstrip().startswith(b"<")


def _error(response: Response, text: str) -> tuple[str, str]:
    if _is_xml(response) and (words := _WORDS.search(text)) is not None:
        return "", unescape(words[1])
    if not is_page(response):
        return "", _in_json(parse_json(text.encode()), text)
    found = _SAID.search(text[:_HEAD_LIMIT])
    return "", unescape(found[1]).strip() if found else page_heading(text)


def _in_json(body: Json, text: str) -> str:
    """Return what an error says, in a stanza or in the body of a status (the same on 0.12.3 and 13.0.1, recorded)."""
    match body:
        case {"error": {"text": str(words)}} | {"error": {"condition": str(words)}}:
            return words
        case {"type": "error", "code": int()}:
            return ""  # of the status alone
        case _:
            return text


def _is_own(response: Response) -> bool:
    return is_of_api(response) or _OWN_PAGE.search(response.body[:_HEAD_LIMIT]) is not None


FORM: Final = AnswerForm(_error, is_own=_is_own)
"""How Prosody answers; it has names of errors in stanzas alone."""


@frozen
class _Report:
    """For how many accounts the command was done, and for how many it failed; both 0 if the note's text is unknown."""

    done: int
    failed: int


def _is_report(node: Json) -> bool:
    """Tell whether a command of this node reports on several accounts."""
    return isinstance(node, str) and node.removeprefix(f"{ADMIN}#") in _REPORTS


def _read_report(text: str) -> _Report:
    """Return the numbers of accounts in a note on several accounts."""
    counts = {"were successfully": 0, "could not be": 0}
    part = ""
    for line in text.splitlines():
        if heading := _HEADING.fullmatch(line):
            part = heading[1]
        elif part and _JID.fullmatch(line):
            counts[part] += 1
        elif line:
            return _Report(0, 0)
    return _Report(counts["were successfully"], counts["could not be"])


def _code_of(text: str) -> str:
    """Return our code for the failure in a note's text about one account; "CommandFailed" for an unknown text."""
    return next((code for code, words in _CODES if words.match(text)), "CommandFailed")


def classify(call: Call, entry: ProsodyEntry, spec: CommandSpec, response: Response, now_s: float = 0.0) -> Outcome:
    """Return the outcome of this answer to this call; `now_s` (epoch seconds) is for a Retry-After with a date."""
    status, rungs = response.status, _LADDERS[entry.api]
    read = xml_stanza.as_json if xml_stanza.is_given(call.command.arguments) else parse_json
    body = read(response.parsable) if 200 <= status < 300 else None
    if 200 <= status < 300 and (status != 200 or entry.api != "rest"):
        return deliver_as_is(response, body)
    if status == 200 and _is_plain(body, response):
        return deliver_as_is(response, body)
    answer = read_for(FORM, call, spec, response=response, now_s=now_s)
    is_unanswered = entry.stanza == "iq" and answer.is_own and (status == 504 or _is_timeout(answer))
    match status:
        case 200:
            return _classify_stanza(call, entry, spec, body=body, answer=answer)
        case 403 if _LOGIN.search(answer.raw_message):
            # Else it may be a `from` that is not the account's.
            return apply(rungs[401], answer)
        case 403 if _FROM.search(answer.raw_message):
            return answer.deny("CommandForbidden", _CHECK_FROM)
        case 404 if entry.api == "admin" and "{" in entry.path:
            if call.maybe_run and entry.repeat == "already_done":
                return answer.deliver_already_done(call, spec)
            return answer.reject("NotFound", f"Check the name; else: {CHECK_URL}")
        case 500 | 504 if is_unanswered:
            return _no_answer(call, entry, answer)
        case 500 if answer.is_own:
            return apply(_failure_rung(entry, response), answer)
        case _:
            return ladder(answer, rungs)


def _failure_rung(entry: ProsodyEntry, response: Response) -> Rung:
    if entry.path.startswith("groups/"):
        return _NO_GROUP
    return _CRASHED[entry.api] if is_page(response) else _BROKEN


def _is_plain(body: Json, response: Response) -> bool:
    """Tell whether a 200 of mod_rest, which always has a stanza, holds one that reports no failure."""
    match stanza_in(body):
        case None:
            return response.note is not None
        case {"type": "error"} | {"command": {"note": {"type": "error"}}}:
            return False
        case {"command": {"node": node, "note": {"text": str()}}}:
            return not _is_report(node)
        case _:
            return True


def _classify_stanza(call: Call, entry: ProsodyEntry, spec: CommandSpec, body: Json, answer: Answer) -> Outcome:
    text = answer.response.body.decode("utf-8", "replace")
    match stanza_in(body):
        case None:
            # If the probe meets the same, the whole target is wrong.
            message = "Status 200 with something that is not a stanza: this is not mod_rest."
            return answer.deny("NotTheApi", CHECK_URL, message)
        case {"type": "error"} as stanza:
            asks = entry.stanza != "iq" or is_question(entry, call.command.arguments)
            is_command = entry.ad_hoc is not None or "command" in call.command.arguments
            of_command = {name: row["of_command"] for name, row in _CONDITIONS.items() if "of_command" in row}
            hints = of_command if is_command else {}
            if entry.since is not None:
                needs = f"It needs Prosody {entry.since}, and mod_admin_adhoc on that host."
                hints = {**hints, "service-unavailable": needs}
            outcome = _stanza_error(stanza, answer, hints, asks=asks)
            return outcome or Delivered(text, body, answer.status, note=f"warning: {answer.message}")
        case {"command": {"note": {"type": "error", "text": str(words)}}}:
            return _failed_command(call, entry, spec, answer=answer, words=words)
        case {"command": {"note": {"type": "error"}}}:
            return _failed_command(call, entry, spec, answer=answer, words="")
        case {"command": {"note": {"text": str(words)}}} if (report := _read_report(words)).failed and not report.done:
            return _failed_command(call, entry, spec, answer=answer, words=words)
        case {"command": {"note": {"text": str(words)}}}:
            return Delivered(text, body, answer.status, note=_note(_read_report(words)))
        case _:
            return deliver_as_is(answer.response, body)


def _failed_command(call: Call, entry: ProsodyEntry, spec: CommandSpec, answer: Answer, words: str) -> Outcome:
    """Return the outcome of an ad-hoc command that failed, which the note of its result says (XEP-0050)."""
    says = f": {answer.masked_text.hide(words)}" if words.strip() else "."
    message = f"The ad-hoc command failed{says}"
    code = "CommandFailed" if entry.ad_hoc is None else _code_of(words)
    match code:
        case "AlreadyExists" if call.maybe_run or call.ok_if_exists:
            return answer.deliver_already_done(call, spec)
        case "AlreadyExists":
            return answer.reject(code, EXISTS, message)
        case "NotFound" if call.maybe_run and entry.repeat == "already_done":
            return answer.deliver_already_done(call, spec)
        case "NotFound":
            return answer.reject(code, "Check the account's name and host.", message)
        case _:
            hint = "Correct the form; check that the accounts exist on its host."
            return answer.reject(code, hint, message)


def _note(report: _Report) -> str | None:
    """Return what to note of a report that is no failure; None if it tells of successes alone."""
    if report.failed:
        return f"partly done: {report.failed} of {report.failed + report.done} failed"
    return None if report.done else "an unknown note: see the answer"


def _stanza_error(
    stanza: Mapping[str, Json], answer: Answer, hints: Mapping[str, str], *, asks: bool
) -> Outcome | None:
    """Return the outcome of an XMPP error, None for one that is a warning.

    `asks`: it does not answer an iq that may have changed something. `hints`: by condition, where they are not as
    usual.
    """
    error = stanza.get("error")
    told: Mapping[str, Json] = error if isinstance(error, dict) else {}
    given, said = told.get("condition"), told.get("text")
    condition = given if isinstance(given, str) and given else "undefined-condition"
    usual = _CONDITIONS.get(condition, {"type": "cancel"})
    kind = told.get("type")
    kind = kind if isinstance(kind, str) and kind in _TYPES else usual["type"]
    words = f": {answer.masked_text.hide(said)}" if isinstance(said, str) and said else ""
    known = condition if condition in _CONDITIONS else answer.masked_text.hide(condition)
    message = f"The answer is the error {known} (type {kind}){words}"
    match kind:
        case "wait" if condition == _TIMED_OUT and not asks:
            return answer.uncertain("StanzaUnanswered", _CHECK_ADDRESS, message)
        case "wait":
            # Mostly of who is addressed: Prosody is as well as it was.
            return answer.defer("StanzaPutOff", GOES_ON, message, of_job=True)
        case "continue":
            return None
        case _:
            return answer.reject("StanzaRefused", hints.get(condition) or usual.get("hint", _CHECK_ADDRESS), message)


def _no_answer(call: Call, entry: ProsodyEntry, answer: Answer) -> Outcome:
    if is_question(entry, call.command.arguments):
        return answer.defer("StanzaUnanswered", _CHECK_ADDRESS, of_job=_is_timeout(answer), ran="unlikely")
    return answer.uncertain("StanzaUnanswered", _CHECK_ADDRESS, answer.sentence)


def _is_timeout(answer: Answer) -> bool:
    return _NOT_ANSWERED.search(answer.raw_message) is not None
