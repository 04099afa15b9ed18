"""What the connector asks by itself: whether a server is well with its database, and whether an account exists. Pure.

Used by the connector and the check. Always holds: nothing here changes anything on the server.

`checkAuth` and `server.status` answer in milliseconds while the database is away; only what looks into it tells that
(measured with RDBMS): the number of a domain's users, which MongooseIM counts there.
"""

import re
from collections.abc import Mapping
from typing import Final

import attrs

from restbroker.config.target import Basic, Target
from restbroker.job.command import Call
from restbroker.job.json_types import Json
from restbroker.job.outcome import Probe
from restbroker.servers.api.shown import Shown, show
from restbroker.servers.mongooseim import knowledge
from restbroker.servers.mongooseim.answer import Answer, Problem, read, says, version_in
from restbroker.servers.mongooseim.options import Options
from restbroker.servers.mongooseim.outcomes import CHECK_HOST, CHECK_URL, CRASH
from restbroker.servers.mongooseim.request import question
from restbroker.transport.message import Request, Response

HEALTH_S: Final = 5.0
"""So long at most an answer may take that tells whether the server is well: it is asked while a job waits."""
CHECK_LOGIN: Final = "Correct the target's login (Auth): Basic, with the listener's or the account's user and password."
CHECK_LOG: Final = "Jobs wait in Redis until it does. If it does not come back, see MongooseIM's log, and its database."

_AUTH: Final[Mapping[str, str]] = {
    "admin": "checkAuth{authStatus authType domain}",
    "domain_admin": "checkAuth{authStatus authType domain}",
    "user": "checkAuth{authStatus username}",
}
_VERSION: Final = "server{status{statusCode version}}"
_COUNT: Final = "account{countUsers(domain:$domain)}"
_USER: Final = "query($user:JID!){account{checkUser(user:$user){exist}}}"
_RUNNING: Final = "RUNNING"


def health(target: Target, domain: str | None, timeout_s: float) -> Request:
    """Who we are, and what the schema tells: the version, and the number of users in a domain, where one is known.

    Raises `ConfigError`.
    """
    kind = target.options_as(Options).schema
    parts = [_AUTH[kind]]
    if kind == "admin":
        parts.append(_VERSION)
    if kind == "user" or domain is None:
        return question(target, f"query{{{' '.join(parts)}}}", {}, timeout_s)
    parts.append(_COUNT)
    text = f"query($domain:DomainName!){{{' '.join(parts)}}}"
    return question(target, text, {"domain": domain}, timeout_s)


def user_of(call: Call, name: str) -> str | None:
    """The account that such a call is about; None where it names none."""
    given = call.command.arguments
    if name == knowledge.REMOVE:
        return _text(given.get("user"))
    user = _text(given.get("username"))
    domain = _text(given.get("domain", given.get("host", call.host)))
    return f"{user}@{domain}" if user and domain else None


def exists(target: Target, user: str) -> Request:
    """Whether this account exists. Raises `ConfigError`."""
    return question(target, _USER, {"user": user}, min(HEALTH_S, target.timeout_s))


def judge_exists(response: Response) -> bool | None:
    """What the answer to `exists` says; None: nothing."""
    answer = read(response.body)
    found = answer.at(("account", "checkUser", "exist"))
    return found if isinstance(found, bool) and response.status == 200 else None


def domain_in(arguments: Mapping[str, Json]) -> str | None:
    """A domain that a call names, to ask about; None if it names none."""
    for name in ("domain", "host", "user", "from", "caller", "to"):
        value = arguments.get(name)
        if isinstance(value, str) and value:
            return value.partition("/")[0].rpartition("@")[2]
    return None


@attrs.frozen
class Health:
    """What an answer to `health` tells: `probe` as the broker wants it, `who` the login is, `code` what is wrong."""

    probe: Probe
    who: str = ""
    code: str = ""


def judge_health(target: Target, response: Response) -> Health:
    """What the answer to `health` means."""
    answer, status = read(response.body), response.status
    first = answer.problems[0] if answer.problems else None
    shown = show(response, frozenset())
    told = says(shown, status, first)
    match status:
        case 200 if answer.is_answer:
            return _answered(target, answer, shown, told)
        case 401 | 403:
            return _denied("LoginRefused", f"The login is refused. {told}", CHECK_LOGIN)
        case 404:
            return _denied("NotTheApi", f"There is no API under this address and this Host. {told}", CHECK_HOST)
        case 200 | 405 | 406 | 415:
            return _denied("NotTheApi", f"This is not MongooseIM's API. {told}", CHECK_URL)
        case 400:
            kind = target.options_as(Options).schema
            cure = f"Check that the URL leads to the endpoint of the target's Schema, {kind}."
            return _denied("OtherSchema", f"The endpoint does not know what every one of its kind knows. {told}", cure)
        case _ if 300 <= status < 400:
            return _denied("Redirect", f"The server redirects (status {status}).", CHECK_URL)
        case 500 if target.options_as(Options).schema == "domain_admin":
            cure = f"{CHECK_LOG} Logins of domain admins need service_domain_db, and a database."
            return _unwell(f"The server does not work now. {told}", cure)
        case _:
            return _unwell(f"The server does not work now. {told}", CHECK_LOG)


def _answered(target: Target, answer: Answer, shown: Shown, told: str) -> Health:
    if answer.at(("checkAuth", "authStatus")) == "UNAUTHORIZED":
        return _denied("LoginRefused", "The login is not that of an admin or user here.", CHECK_LOGIN)
    crashed = [problem for problem in answer.problems if problem.code == CRASH]
    if crashed:
        return _unwell("The server answers, and cannot reach its database.", CHECK_LOG, "DatabaseAway")
    if answer.at(("server", "status", "statusCode")) not in (None, _RUNNING):
        return _unwell("The Erlang node runs, and MongooseIM in it does not.", CHECK_LOG)
    version = shown.version(version_in(answer))
    refused = [problem for problem in answer.problems if not _is_expected(problem)]
    if refused and not answer.data:
        return _unwell(told, CHECK_LOG)
    server = f"MongooseIM {version}" if version else "MongooseIM"
    detail = f"{server} answers, and takes the login."
    who = shown.hide(_who(target, answer))
    return Health(Probe(ok=True, denied=False, version=_plain(version), detail=detail), who)


def _is_expected(problem: Problem) -> bool:
    """What a server that is well may say of a single part: a category that is closed, a domain that it has not."""
    return problem.code in ("category_disabled", "no_permissions", "domain_not_found")


def _who(target: Target, answer: Answer) -> str:
    match target.credentials, answer.at(("checkAuth", "authType")):
        case Basic(user, _), str(kind):
            return f"{user} is {kind}"
        case Basic(user, _), _:
            return user
        case _, str(kind):
            return f"whoever asks is {kind}"
        case _:
            return ""


def _plain(version: str | None) -> str | None:
    found = re.match(r"\d+\.\d+(?:\.\d+)?", version or "")
    return found[0] if found else None


def _text(value: Json) -> str | None:
    return value if isinstance(value, str) and value else None


def _unwell(detail: str, cure: str, code: str = "Unwell") -> Health:
    return Health(Probe(ok=False, denied=False, version=None, detail=detail, cure=cure), code=code)


def _denied(code: str, detail: str, cure: str) -> Health:
    # Only secret files are read again while it runs.
    wait = "Jobs wait in Redis. It goes on by itself after a change on the server or in a secret's own file;"
    wait += " a change in env.json needs a reload (SIGHUP) or a restart."
    return Health(Probe(ok=False, denied=True, version=None, detail=detail, cure=f"{cure} {wait}"), code=code)
