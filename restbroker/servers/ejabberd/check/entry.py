"""Judges a target's first answer, or that it gave none: is it ejabberd's API, and does it take our login? Pure.

Called by `check.server`. Always holds: each way in which a RestURL or a login can be wrong has its own hint.
"""

import shlex
from typing import Final

import attrs

from restbroker.config.target import Bearer, IssuedLogin, Target
from restbroker.config.values import duration_text, without_logins
from restbroker.errors import ConfigError
from restbroker.servers.api.answer import Answer
from restbroker.servers.ejabberd.answer import is_stopped, read, version_in
from restbroker.servers.findings import Finding, Texts, ok
from restbroker.transport.errors import MaybeSent, NotSent
from restbroker.transport.message import Response

TEXTS: Final = Texts.beside(__file__)
"""The texts of all checks of this folder."""


@attrs.frozen
class Entry:
    """The finding about the first answer; only if it is "ok", the check goes on.

    `elsewhere`: the API may be at another address. `version`: the server's; None if `status` is forbidden.
    """

    finding: Finding
    elsewhere: bool = False
    version: str | None = None


def classify_entry(target: Target, response: Response) -> Entry:
    """Return the finding about the answer to `status`."""
    answer = read(response)
    says = answer.summary
    match response.status:
        case 200 if answer.is_own and isinstance(answer.body, str):
            return _running(target, answer)
        case 301 | 302 | 303 | 307 | 308:
            return _redirect(target, answer)
        case 401:
            return _login_refused(target, says)
        case 403 if answer.code == "32":
            return Entry(ok(target.name, "Reachable", f"ejabberd's API answers at {target.url}."))
        case 403:
            return Entry(TEXTS.finding(target.name, "Refused", says=says))
        case 400 if answer.raw_message == "unknown_command":
            return _target_down(target, says, "It is starting or stopping.")
        case 408 | 425 | 429:
            return _target_down(target, says, "ejabberd never says this: a proxy in front limits requests.")
        case status if status >= 500:
            return _target_down(target, says, "ejabberd, or the proxy in front of it, does not work now.")
        case _:
            return _not_the_api(target, says)


def _running(target: Target, answer: Answer) -> Entry:
    version = version_in(answer)
    if version is not None:
        first = ok(target.name, "Reachable", f"ejabberd's API answers at {target.url} and accepts the login.")
        return Entry(first, version=version)
    if is_stopped(answer):
        return _target_down(target, answer.message, "The Erlang node runs, but ejabberd does not.")
    return _not_the_api(target, f"status 200: {answer.message}")


def _target_down(target: Target, says: str, why: str) -> Entry:
    return Entry(TEXTS.finding(target.name, "Unwell", url=target.url, says=says, why=why))


def _not_the_api(target: Target, says: str) -> Entry:
    return Entry(TEXTS.finding(target.name, "NotTheApi", url=target.url, says=says), elsewhere=True)


def _redirect(target: Target, answer: Answer) -> Entry:
    where = answer.masked_text.address()
    url = where.removesuffix("/").removesuffix("/status")
    hint = (
        f'"RestURL": "{url}"' if url.startswith(("http://", "https://")) else "Write the address that it redirects to."
    )
    finding = TEXTS.finding(target.name, "Redirect", url=target.url, where=where or "nowhere", hint=hint)
    return Entry(finding, elsewhere=True)


def _login_refused(target: Target, says: str) -> Entry:
    login = target.credentials.login if isinstance(target.credentials, IssuedLogin) else target.credentials
    if login is None or isinstance(login, Bearer):
        return Entry(TEXTS.finding(target.name, "LoginRefused-token", says=says))
    user, _, host = login.user.rpartition("@")
    if "@" not in login.user:
        host = target.default_host or "example.org"
        return Entry(TEXTS.finding(target.name, "LoginRefused-no-host", says=says, user=login.user, host=host))
    path = login.password.path
    password = "the password (RestPass)" if path is None else f"the password in {without_logins(str(path))}"
    asked = shlex.join(["ejabberdctl", "check_account", user, host])
    return Entry(TEXTS.finding(target.name, "LoginRefused", says=says, password=password, asked=asked))


def unusable_login(target: Target, error: ConfigError) -> Finding:
    """Return the finding of credentials that cannot even be sent."""
    return TEXTS.finding(target.name, "BadLogin", message=error.message, hint=error.hint)


def unreachable(target: Target, error: NotSent | MaybeSent) -> Finding:
    """Return the finding of a request that got no answer."""
    name, message = target.name, error.message
    if isinstance(error, NotSent) and error.tls:
        # A plain ejabberd hangs up in the middle of the handshake, other servers answer with words (measured).
        if "CERTIFICATE" not in message.upper():
            url = str(target.url).replace("https:", "http:", 1)
            return TEXTS.finding(name, "TlsFailed-plain", message=message, url=url)
        return TEXTS.finding(name, "TlsFailed", message=message, hint=error.tls_hint)
    if is_silent(error):
        return TEXTS.finding(name, "Silent", message=message)
    return TEXTS.finding(name, "HangsUp" if isinstance(error, MaybeSent) else "Unreachable", message=message)


def is_silent(error: NotSent | MaybeSent) -> bool:
    """Tell whether the request was sent over a connection, but no answer came in time."""
    return isinstance(error, MaybeSent) and error.timed_out


def lost_connection(target: Target, error: NotSent | MaybeSent) -> Finding:
    """Return the finding of a server that answered before, but does not any more."""
    case = "Unreachable-silent" if is_silent(error) else "Unreachable-now"
    return TEXTS.finding(target.name, case, message=error.message)


def out_of_time(target: Target, limit_s: float, *, answered: bool) -> Finding:
    """Return the finding of a check whose own time was up; `answered`: there were findings by then."""
    limit = duration_text(limit_s)
    if not answered:
        return unreachable(target, MaybeSent(f"No answer from {target.url} within {limit}.", timed_out=True))
    return TEXTS.finding(target.name, "Unfinished", limit=limit)
