"""What refusals of the Chat API mean that are not about one command: of logins, of the whole API. Pure.

The judge, the logins and the check use it. Always holds: every refusal has an outcome; no words of an answer are shown
before its secrets are taken out.
"""

from collections.abc import Iterable
from typing import Final

import attrs

from restbroker.job import hiding
from restbroker.job.outcome import Deferred, Denied, Outcome, Reason, Rejected, Uncertain
from restbroker.servers.api.shown import show
from restbroker.servers.api.texts import parsed
from restbroker.servers.openfire.normal import LOGINS
from restbroker.transport.message import Response
from restbroker.transport.retry_after import retry_after_s

BROKEN_ATTEMPTS: Final = 3
"""So often at most a job is sent to which the server says 500: mostly it means bad input, which lasts."""

CHECK_URL: Final = (
    "Check the target's URL: the Chat API is on the port of http-bind, http://HOST:7070/rest/api, not on that of the"
    " admin console (9090); and that the plugin ofchat is there and enabled."
)
CHECK_LOGIN: Final = (
    "Check the target's Auth (an administrator's name and password) or Secret (plugin.ofchat.secret), and the plugin's"
    " allowedIPs. Where Openfire's users are in a directory that is away just now, it goes on by itself."
)
CHECK_ENABLED: Final = "Switch the plugin on: its system property plugin.ofchat.enabled."
_CHECK_USER: Final = (
    "Check that the user exists, their password (PasswordsFile, or the job's own), and their one-time password, if they"
    " have one."
)
_WORDLESS: Final = ("", "Error", "Exception")
"""What stands in the place of words that were lost on the way."""
NO_PASSWORD: Final = Rejected(
    Reason(
        "UserLoginRefused",
        "The user cannot be logged in: the target has a Secret in the place of an administrator's login, and no"
        " password of this user.",
        "Put his password into Options.PasswordsFile or the job, or give Auth with an administrator's name and"
        " password.",
    )
)
_TWICE: Final = (
    "Openfire would make a second connection of one name, and after that give no new stream of events to anyone until"
    " its restart. "
)
LOGGED_IN: Final = Rejected(
    Reason(
        "UserLoggedIn",
        "The name is logged in, here or by another program, and who asks must not be. Nothing was sent.",
        f"{_TWICE}Ask under another name, or log the user off first (chat_logoff).",
    )
)
ASKS: Final = Rejected(
    Reason(
        "UserAsks",
        "The name asks a question, or asked for an upload: it must not be logged in. Nothing was sent.",
        f"{_TWICE}Use another name, or take the question back first (ask_revoke).",
    )
)
_GOES_ON: Final = "It goes on by itself."
_SEE_LOG: Final = "See Openfire's log (error.log). A 500 often means bad input: check the job's arguments, too."


@attrs.frozen
class Said:
    """`text`: the body, masked and cut. `words`: what it says to people; empty where it says nothing. `explains`: that
    is more than the name of an exception.
    """

    text: str
    words: str
    explains: bool

    def says(self, status: int) -> str:
        """A sentence."""
        if self.words:
            return f"Status {status}: {self.words}"
        return f"Openfire answered with status {status} and no words."


def said(response: Response, secrets: Iterable[hiding.Secret] = ()) -> Said:
    """The answer as people may see it, with these secrets and the login masked wherever the server echoes them."""
    shown = show(response, hiding.spelled(secrets) | LOGINS)
    kind, words = _words(response, shown.text)
    return Said(shown.text, shown.hide(": ".join(part for part in (kind, words) if part)), bool(words))


def refused_by_all(response: Response, now_s: float, shown: Said, *, may_run_twice: bool) -> Outcome | None:
    """The outcome of what concerns every command; None of an answer that is about this one (400, 404, 409, …)."""
    status = response.status
    if 300 <= status < 400:
        return Denied(Reason("Redirected", f"The server redirects (status {status}).", CHECK_URL, status), shown.text)
    match status:
        case 401:
            return Denied(Reason("LoginRefused", shown.says(status), CHECK_LOGIN, status), shown.text)
        case 403:
            return Denied(Reason("PluginDisabled", shown.says(status), CHECK_ENABLED, status), shown.text)
        case 408 | 425 | 429 | 502 | 503:
            reason = Reason("ServerBusy", shown.says(status), _GOES_ON, status)
            wait_s = retry_after_s(response, now_s)
            return Deferred(reason, wait_s, counts=False, pause_target=True, text=shown.text)
        case 504:
            cure = "Give the proxy in front of Openfire a longer time-out than restbroker's."
            return Uncertain(Reason("GatewayTimeout", f"{shown.says(status)} It may have run.", cure, status))
        case _ if status >= 500 and not may_run_twice:
            return Uncertain(Reason("ServerError", f"{shown.says(status)} It may have run.", _SEE_LOG, status))
        case _ if status >= 500:
            reason = Reason("ServerError", shown.says(status), _SEE_LOG, status)
            return Deferred(reason, max_attempts=BROKEN_ATTEMPTS, text=shown.text)
        case _:
            return None


def judge_login(response: Response, now_s: float, secrets: Iterable[hiding.Secret]) -> Outcome:
    """The outcome of a job whose user could not be logged in. Of the answers only a 400's is shown, without these
    secrets: another one may be a stream's id.
    """
    status, silent = response.status, Said("", "", explains=False)
    if (of_all := refused_by_all(response, now_s, silent, may_run_twice=True)) is not None:
        return of_all
    match status:
        case 400:
            shown = said(response, secrets)
            why = f"Openfire says: {shown.words}" if shown.explains else "Openfire does not say why."
            message = f"The user could not be logged in (status 400). {why}"
            return Rejected(Reason("UserLoginRefused", message, _CHECK_USER, status))
        case 200:
            message = "Openfire answered a login with something that is no stream's id: this is not the Chat API."
            return Denied(Reason("NotTheApi", message, CHECK_URL, status))
        case _:
            message = f"Openfire answered a login with status {status}."
            return Denied(Reason("NotTheApi", message, CHECK_URL, status))


def _words(response: Response, masked: str) -> tuple[str, str]:
    """The name of the exception, and what is said of it: where `message` is no more than "Exception", the text may be
    in `ressource` (measured).

    `masked`: the body without secrets. What is cut must be: where it is cut, the beginning of one would be left.
    """
    match parsed(response.body):
        case {"exception": str(kind), **rest}:
            parts = [rest.get(name) for name in ("message", "ressource", "resource")]
            return kind, ", ".join(part for part in parts if isinstance(part, str) and part not in _WORDLESS)
        case str(text):
            return "", text
        case None if not masked.lstrip().startswith("<"):
            return "", " ".join(masked.split())
        case _:
            return "", ""
