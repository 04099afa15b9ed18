"""The outcomes for refusals of the Chat API that concern logins or the whole API, not a single command. Pure.

`outcomes`, the logins and the check use it. Always holds: every refusal has an outcome; no text of an answer is shown
before its secrets are masked.
"""

from collections.abc import Iterable
from typing import Final

import attrs

from restbroker.job import hiding
from restbroker.job.outcome import Deferred, Denied, Outcome, Reason, Rejected
from restbroker.servers.api.answer import Answer, AnswerForm, read
from restbroker.servers.api.ladder import FAILED, Ladder, Rung, ladder, may_pass, standard
from restbroker.servers.api.texts import parse_json
from restbroker.servers.openfire.normal import LOGINS
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
        case 200:
            message = "Openfire answered a login with something that is not a stream id: this is not the Chat API."
            return Denied(Reason("NotTheApi", message, CHECK_URL, status))
        case _:
            message = f"Openfire answered a login with status {status}."
            return Denied(Reason("NotTheApi", message, CHECK_URL, status))


def _message(response: Response, text: str) -> tuple[str, str]:
    """Return the name of the exception in an answer, "" if there is none, and with it what the answer says.

    If `message` is no more than "Exception", the text may be in `ressource` (measured).
    """
    match parse_json(response.body):
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
