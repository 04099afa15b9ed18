"""Reads ejabberd's answers, and judges them: status, code and words to an outcome. Pure.

The connector calls `classify`; session, probe and check `read`. Always holds: every answer has an outcome, nothing here
raises, and no message holds a secret argument's value or the login.

HTTP's classes do not fit ejabberd: it answers 500 to a wrong host name, 400 while it stops, and 200 when it failed.
Measured on 23.01 and 24.12 unless said otherwise.
"""

import re
from collections.abc import Iterable
from typing import Final

import attrs
import orjson

from restbroker.job import hiding, redact
from restbroker.job.command import Call, CommandSpec
from restbroker.job.endpoint import quote
from restbroker.job.json_types import Json
from restbroker.job.outcome import Deferred, Delivered, Denied, Outcome, Reason, Rejected
from restbroker.servers.api import answer as api_answer
from restbroker.servers.api.answer import Answer, AnswerForm, deliver_as_is
from restbroker.servers.api.ladder import EXISTS, Ladder, Rung, ladder, standard
from restbroker.servers.api.texts import page_heading
from restbroker.servers.ejabberd.catalogue import ALREADY_BY_RESULT, ATTRIBUTES, FAIL_BY_RESULT, STANZA, UNTOLD
from restbroker.transport.message import Response, text_of

INTERNAL_ERROR_ATTEMPTS: Final = 3
_STOPPING: Final = "ServerStopping"
_FORBIDDEN: Final = "CommandForbidden"
_SURE: Final = frozenset({"AlreadyExists", "BadArgument", "UnknownCommand"})
"""Refusals that ejabberd makes before it checks anything that could be stopping, or that only a living one makes."""
_ANSWER_BY_CODE: Final = FAIL_BY_RESULT.union(ATTRIBUTES.questions)

CHECK_URL: Final = "Check the target's URL (or RestURL): it must lead to mod_http_api, e.g. http://127.0.0.1:5281/api."
CHECK_LOGIN: Final = (
    "Check the target's login (Auth, or RestUser with RestPass or RestToken): the user is a whole JID, "
    "admin@example.org."
)
CHECK_ARGUMENTS: Final = (
    "Correct the arguments: their names (`restbroker dead edit` with `--rename OLD=NEW`), their types, and what is "
    "missing."
)
_SEE_WORDS: Final = (
    "Do what the server's words say; if they name an argument, correct it (`restbroker dead edit`, for its name with "
    "`--rename OLD=NEW`)."
)
_CHECK_LOG: Final = "See ejabberd's log."
_CRASHED: Final = (
    "This often means a wrong argument; otherwise see ejabberd's log. "
    f"The job is tried at most {INTERNAL_ERROR_ATTEMPTS} times."
)
_BYTE_LIST: Final = re.compile(r"<<([0-9]{1,3}(?:,\s*[0-9]{1,3})*)>>")
_RUNNING: Final = re.compile(r"ejabberd (\d+\.\d++)\S* is running")
_UNKNOWN: Final = ("40", "44")
_FAILED: Final = ("0", "10001")
"""The codes of a command that said itself that it failed: a proof that it did not run."""
CHECK_OBJECT: Final = "Check the name, or create it first."
_CHECK_PATH: Final = "Check the path: it is on the server's machine, and ejabberd must have access."
CHECK_NAME: Final = "Check the command's name, the server's version, and that its module is loaded."

_FOREIGN: Final = (
    "ejabberd 26.07 and newer accept a host of another server, such as a contact's, only from a login by address."
)

# What a refusal says, its code, and what to do. The first row that is found counts.
_REFUSALS: Final[tuple[tuple[re.Pattern[str], str, str], ...]] = (
    (re.compile("nknown virtual host|nknown_host"), "UnknownHost", "Correct the host, or add it to ejabberd's hosts."),
    (
        re.compile(
            "missing argument|unknown argument|duplicate|is not in format|alformed|unacceptable|invalid_|Bad value|"
            "unclosed token|bad_jid",
            re.IGNORECASE,
        ),
        "BadArgument",
        CHECK_ARGUMENTS,
    ),
    (re.compile("already exists"), "AlreadyExists", "Nothing to do, unless you meant another one."),
    (re.compile("unknown_user|not_found|doesn't exist|no_session|error_no_", re.IGNORECASE), "NotFound", CHECK_OBJECT),
    (re.compile("^Can't (store|load|restore|install|import) "), "Refused", _CHECK_PATH),
    (re.compile("Missing command name"), "UnknownCommand", CHECK_NAME),
)
# Failures of the database behind a code that otherwise means "never".
_PASSING: Final = re.compile("atabase failure|db_failure|timeout|try again", re.IGNORECASE)


_SHARED: Final = standard("ejabberd", check_url=CHECK_URL, check_log=_CHECK_LOG)
_RUNGS: Final[Ladder] = _SHARED | {
    401: Rung("denied", "LoginRefused", CHECK_LOGIN),
    # No answer of the API. If the probe meets the same, the whole target is wrong, not this job.
    404: Rung("denied", "WrongUrl", CHECK_URL),
    "4xx": attrs.evolve(_SHARED["4xx"], hint=CHECK_ARGUMENTS),
}


def _parse(body: bytes) -> tuple[Json, bool]:
    """Return a body as JSON, and whether it is any."""
    try:
        return orjson.loads(body), True
    except ValueError:
        return None, False


def _error(response: Response, text: str) -> tuple[str, str]:
    # Of the whole body: a message may be long, and is cut only once it is masked.
    body = _parse(response.parsable)[0]
    code, message = (body.get("code"), body.get("message")) if isinstance(body, dict) else (None, body)
    words = message if isinstance(message, str) else page_heading(text)
    return str(code) if isinstance(code, int) else "", render(words)


_FORM: Final = AnswerForm(_error, prefix="The server says: ", is_own=lambda response: _parse(response.parsable)[1])


def read(response: Response, secrets: Iterable[hiding.Secret] = (), now_s: float = 0.0) -> Answer:
    """Return the answer in this response, with these secrets and the login masked wherever the server echoes them.

    Its `body` is parsed and not masked, its `code` ejabberd's number; `is_own` if it is JSON, which ejabberd's API
    always sends.
    """
    return api_answer.read(_FORM, response, secrets, now_s, _parse(response.parsable)[0])


def _read_for(call: Call, spec: CommandSpec | None, response: Response, now_s: float) -> Answer:
    return read(response, redact.secret_values(spec, call.command.arguments), now_s)


def version_in(answer: Answer) -> str | None:
    """Return the version in a running ejabberd's answer to `status`; None for every other answer."""
    found = _RUNNING.search(answer.raw_message)
    return found[1] if found else None


def hosts_in(response: Response) -> list[str] | None:
    """Return the virtual hosts in an answer to `registered_vhosts`, not masked; None if it has no such list."""
    hosts = _parse(response.parsable)[0]
    return [str(host) for host in hosts] if response.status == 200 and isinstance(hosts, list) else None


def is_stopped(answer: Answer) -> bool:
    """Tell whether, by this answer to `status`, the Erlang node runs but ejabberd in it does not."""
    return answer.raw_message.startswith("The node") and version_in(answer) is None


def render(text: str) -> str:
    """Return the text with Erlang's byte lists as text: `Arg <<51,48>> is not in format integer` speaks of "30"."""
    return _BYTE_LIST.sub(_characters, text)


def _characters(found: re.Match[str]) -> str:
    numbers = [int(number) for number in found[1].split(",")]
    if any(number > 255 for number in numbers):
        return found[0]
    return '"' + bytes(numbers).decode("utf-8", "replace") + '"'


def classify(call: Call, spec: CommandSpec | None, response: Response, now_s: float = 0.0) -> Outcome:
    """Return the outcome of this answer to this call; `now_s` (epoch seconds) is for a Retry-After with a date."""
    status = response.status
    if 200 <= status < 300:
        return _success(call, spec, response)
    answer = _read_for(call, spec, response, now_s)
    match status:
        case 400:
            return _bad_request(call, spec, answer)
        case 403:
            hint = f"Allow {_command(call)} for restbroker's account or address in ejabberd's api_permissions."
            if _command(call) == STANZA:
                hint += " A `send_message` with `id` or `receipts` is sent as one."
            return answer.deny(_FORBIDDEN, hint)
        case 404 if answer.code in _UNKNOWN:
            return unknown_command(answer.message, 404)
        case 404 if answer.is_own:
            return answer.reject("NotFound", CHECK_OBJECT)
        case 409:
            return _conflict(call, spec, answer)
        # ejabberd itself sends no other 5xx (read in its source): they come from what is in front of it.
        case 500 if answer.is_own:
            return _server_error(call, answer)
        case _:
            return ladder(answer, _RUNGS)


def plain_outcome(endpoint: str, spec: CommandSpec | None, status: int, body: bytes) -> Delivered | None:
    """Return the outcome that `classify` gives a whole answer to any call of this endpoint.

    None if that may depend on the call, or is not `Delivered`. It depends on these four values alone, so that it may be
    cached.
    """
    if not 200 <= status < 300:
        return None
    parsed, is_json = _parse(body)
    if not is_json or (_result(parsed) == 1 and _answers_by_code(endpoint, spec)):
        return None
    return Delivered(text_of(body), parsed, status)


def is_unknown_command(response: Response) -> bool:
    """Tell whether ejabberd knows the word but has no such command now: module not loaded, or the server stopping."""
    return response.status == 400 and read(response).raw_message == "unknown_command"


def could_be_stopping(outcome: Outcome) -> bool:
    """Tell whether the answer with this outcome may come from a server that is stopping.

    A stopping 23.01 refuses good jobs in many ways: 400 "unknown_command" and "Invalid 'service'", 500
    "internal_error", 200 with 1 (measured, under load). It answers 403 to a command that goes away between two steps:
    it is found, then its rights are read again without it (ejabberd_access_permissions:get_definitions/1).
    """
    match outcome:
        case Denied(reason):
            return reason.code == _FORBIDDEN
        case Rejected(reason):
            return reason.code not in _SURE
        case Deferred(reason, _, _, max_attempts, _, _):
            return max_attempts is not None or reason.code == _STOPPING
        case _:
            return False


def stopping_outcome(status: int) -> Deferred:
    """Return the outcome of a refusal while the session manager is gone: deferred, since the server stops or starts."""
    hint = "It continues by itself."
    reason = Reason(_STOPPING, "ejabberd is stopping or starting, so its answers are not reliable.", hint, status)
    return Deferred(reason, counts=False, pause_target=True)


def on_host(
    denied: Denied, host: str, response: Response | None, secrets: frozenset[hiding.Secret]
) -> Denied | Rejected:
    """Return the outcome if ejabberd 26.07 or newer forbids an account a command with this host.

    `denied` is the outcome so far. `response` is the answer to `registered_vhosts`; None: that could not be asked.
    `secrets` are those of the call.

    The server says the same of a host that it does not serve, also for a name in capitals, and of one of which the
    account is no administrator: it checks that before anything else.
    """
    reason, name = denied.reason, quote(host)
    served = None if response is None else hosts_in(response)
    if response is not None and served is not None and host not in served:
        has = read(response, secrets).masked_text.hide(", ".join(served[:5]))
        message = f"The server has no virtual host {name}. It has {has}."
        hint = f"Correct the host, or add it to ejabberd's hosts. {_FOREIGN}"
        return Rejected(Reason("UnknownHost", message, hint, reason.status), denied.text)
    also = f"The account must also be an administrator of {name} (access rule configure)"
    also += (
        "."
        if served is not None
        else (", and the server must have it: allow registered_vhosts to let restbroker check this.")
    )
    return attrs.evolve(denied, reason=attrs.evolve(reason, hint=f"{reason.hint} {also}"))


def unknown_command(answer_text: str, status: int) -> Rejected:
    """Return the outcome of a command that this server does not have; `answer_text` is what it said."""
    return Rejected(Reason("UnknownCommand", f"The server says: {answer_text}", CHECK_NAME, status), answer_text)


def _success(call: Call, spec: CommandSpec | None, response: Response) -> Outcome:
    # Nothing is masked here: the text is what the producer asked for.
    text = text_of(response.body)
    body, is_json = _parse(response.parsable)
    if not is_json and not response.note:
        # ejabberd answers every command with JSON. If the probe meets the same, the whole target is wrong.
        found = "a page that is not JSON" if text.strip() else "nothing in it"
        message = f"Status {response.status} with {found}: this is not ejabberd's API."
        return _read_for(call, spec, response, 0.0).deny("NotTheApi", CHECK_URL, message)
    if _result(body) == 1 and _answers_by_code(call.command.endpoint, spec):
        return _said_one(call, spec, response, text=text, body=body)
    return deliver_as_is(response, body)


def _answers_by_code(endpoint: str, spec: CommandSpec | None) -> bool:
    return (spec is not None and spec.result == "rescode") or endpoint.partition("/")[0] in _ANSWER_BY_CODE


def _said_one(call: Call, spec: CommandSpec | None, response: Response, text: str, body: Json) -> Outcome:
    name, status = _command(call), response.status
    if name in ATTRIBUTES.questions:
        return Delivered(text, body, status, negative=True)
    if name in ALREADY_BY_RESULT and call.maybe_run:
        return Delivered(text, body, status, note="already done")
    hint = "Check the arguments and ejabberd's log. ejabberd gives clients no reason."
    answer = _read_for(call, spec, response, 0.0)
    return answer.reject("CommandFailed", hint, f"ejabberd answered 1 to {name}: it failed.")


def _result(body: Json) -> int | None:
    if isinstance(body, dict) and len(body) == 1:
        # Interface version 0 wraps scalars: {"res": 1}.
        body = next(iter(body.values()))
    return body if isinstance(body, int) and not isinstance(body, bool) else None


def _bad_request(call: Call, spec: CommandSpec | None, answer: Answer) -> Outcome:
    if answer.raw_message == "unknown_command":
        if spec is None:
            return unknown_command(answer.message, 400)
        # For about 1 s of each graceful stop, open connections get this for commands that exist.
        return stopping_outcome(400)
    if answer.raw_message == "400 Bad Request":
        # 24.12 says this also after a command has run, when it cannot encode the result (interface version 0).
        message = 'ejabberd answered only "400 Bad Request"; the command may or may not have run.'
        hint = "Check on the server whether it ran. With ejabberd 24.12, use a newer interface version than v0."
        return answer.reject("BadRequest", hint, message)
    if _was_done(call, answer):
        return answer.deliver_already_done(call, spec)
    return _permanent(answer)


def _was_done(call: Call, answer: Answer) -> bool:
    name = _command(call)
    words = ATTRIBUTES.already.get(name)
    wanted = call.maybe_run or (call.ok_if_exists and name in ATTRIBUTES.creates)
    return wanted and words is not None and words in answer.raw_message


def _conflict(call: Call, spec: CommandSpec | None, answer: Answer) -> Outcome:
    if call.maybe_run or call.ok_if_exists:
        return answer.deliver_already_done(call, spec)
    return answer.reject("AlreadyExists", EXISTS)


def _server_error(call: Call, answer: Answer) -> Outcome:
    if answer.code in _FAILED:
        is_passing = _PASSING.search(answer.raw_message) is not None
        return answer.defer("ServerError", _CHECK_LOG, waits=True) if is_passing else _permanent(answer)
    if answer.raw_message == "internal_error":
        name = _command(call)
        if name in UNTOLD:
            hint = f"Correct the arguments; `ejabberdctl {name}` on ejabberd's machine says what is wrong with them."
            return answer.reject("Refused", hint)
        # A crash through bad arguments and a busy room's time-out look the same.
        return answer.defer("ServerError", _CRASHED, max_attempts=INTERNAL_ERROR_ATTEMPTS, ran="maybe")
    return ladder(answer, _RUNGS)


def _permanent(answer: Answer) -> Rejected:
    for pattern, code, hint in _REFUSALS:
        if pattern.search(answer.raw_message):
            return answer.reject(code, hint)
    return answer.reject("Refused", _SEE_WORDS)


def _command(call: Call) -> str:
    return call.command.endpoint.partition("/")[0]
