"""Judges a target's first answer: is it ejabberd's API, and does it take our login? Pure.

Called by `check`. Always holds: each way in which a RestURL or a login can be wrong has its own hint.
"""

import shlex

import attrs

from restbroker.config.target import Bearer, IssuedLogin, Target
from restbroker.config.values import without_logins
from restbroker.servers.api.answer import Answer
from restbroker.servers.ejabberd.answer import is_stopped, read, version_in
from restbroker.servers.findings import Finding, ok
from restbroker.transport.message import Response


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
            why = "ejabberd does not refuse like this: a proxy or firewall in front does."
            hint = "Check the proxy or firewall, and that it lets this machine through."
            return Entry(
                Finding(
                    "problem", target.name, "Refused", message=f"Refused ({says}).", why=why, hint=hint, cause="refused"
                )
            )
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
    message = f"The server at {target.url} does not work now ({says})."
    hint = "Try again in some seconds; then check the server's log."
    return Entry(Finding("problem", target.name, "Unwell", message=message, why=why, hint=hint, cause="target"))


def _not_the_api(target: Target, says: str) -> Entry:
    message = f"The server at {target.url} does not answer as ejabberd's API does ({says})."
    why = "RestURL must lead to mod_http_api, with the path of its request handler, e.g. /api."
    hint = "Correct RestURL; see below."
    return Entry(
        Finding("problem", target.name, "NotTheApi", message=message, why=why, hint=hint, cause="target"),
        elsewhere=True,
    )


def _redirect(target: Target, answer: Answer) -> Entry:
    where = answer.masked_text.address()
    url = where.removesuffix("/").removesuffix("/status")
    hint = (
        f'"RestURL": "{url}"' if url.startswith(("http://", "https://")) else "Write the address that it redirects to."
    )
    message = f"The server at {target.url} redirects to {where or 'nowhere'}."
    why = "restbroker does not follow redirects: it might send the login, or a command twice, to another server."
    return Entry(
        Finding("problem", target.name, "Redirect", message=message, why=why, hint=hint, cause="target"), elsewhere=True
    )


def _login_refused(target: Target, says: str) -> Entry:
    login = target.credentials.login if isinstance(target.credentials, IssuedLogin) else target.credentials
    if login is None or isinstance(login, Bearer):
        why = "A bearer token expires, and needs the Erlang application oauth2 (Debian: erlang-p1-oauth2)."
        hint = "Make a new token (ejabberdctl oauth_issue_token USER@HOST 31536000 ejabberd:admin), or use RestUser."
    elif "@" not in login.user:
        why = "ejabberd requires the whole address of an account, but RestUser has no @."
        hint = f'"RestUser": "{login.user}@{target.default_host or "example.org"}"'
    else:
        path = login.password.path
        password = "the password (RestPass)" if path is None else f"the password in {without_logins(str(path))}"
        why = f"The account does not exist on that server, or {password} is wrong."
        user, _, host = login.user.rpartition("@")
        asked = shlex.join(["ejabberdctl", "check_account", user, host])
        hint = f"On the server, `{asked}` ends with 0 if the account exists: then correct {password}, or set another "
        hint += "one with `ejabberdctl change_password`. Otherwise make the account with `ejabberdctl register`."
    message = f"ejabberd does not accept the login ({says})."
    return Entry(Finding("problem", target.name, "LoginRefused", message=message, why=why, hint=hint, cause="refused"))
