"""The connector's own questions: can the server reach its database, and does an account exist. Pure.

Used by the connector and the check. Always holds: nothing here changes anything on the server.

`checkAuth` and `server.status` answer in milliseconds while the database is away. Only a query that reads the database
shows that it is away (measured with RDBMS): the number of a domain's users, which MongooseIM counts there.
"""

import re
from collections.abc import Mapping
from typing import Final

from restbroker.config.target import Basic, Target
from restbroker.job.command import Call
from restbroker.job.json_types import Json
from restbroker.servers.api.answer import Answer
from restbroker.servers.api.health import IF_NOT, Health, target_denied, target_down, target_up
from restbroker.servers.mongooseim import command_attributes
from restbroker.servers.mongooseim.answer import Problem, Result, answer_of, read, version_in
from restbroker.servers.mongooseim.options import Options
from restbroker.servers.mongooseim.outcomes import CHECK_HOST, CHECK_URL, CRASH
from restbroker.servers.mongooseim.request import question
from restbroker.transport.message import Request, Response

HEALTH_S: Final = 5.0
"""The most seconds that the question whether the server is well may take: a job waits for its answer."""
CHECK_LOGIN: Final = "Correct the target's login (Auth): Basic, with the listener's or the account's user and password."
_WAITS: Final = f"{IF_NOT}check MongooseIM's log and its database."

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
    """Return the request that asks who the login is, for the version, and for the number of users in a domain.

    Only an admin's schema tells the version. The number is left out with the schema of a user, or without a `domain`.
    Raise `ConfigError` if the login's secret cannot be used.
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
    """Return the account (user@domain) that a call of the operation `name` is about; None if it names none."""
    given = call.command.arguments
    if name == command_attributes.REMOVE:
        return _text(given.get("user"))
    user = _text(given.get("username"))
    domain = _text(given.get("domain", given.get("host", call.host)))
    return f"{user}@{domain}" if user and domain else None


def exists(target: Target, user: str) -> Request:
    """Return the request that asks whether an account exists; `user` is its JID.

    Raise `ConfigError` as `health` does.
    """
    return question(target, _USER, {"user": user}, min(HEALTH_S, target.timeout_s))


def read_exists(response: Response) -> bool | None:
    """Return whether the account exists, by the answer to `exists`; None if the answer does not say."""
    answer = read(response.body)
    found = answer.at(("account", "checkUser", "exist"))
    return found if isinstance(found, bool) and response.status == 200 else None


def domain_in(arguments: Mapping[str, Json]) -> str | None:
    """Return a domain that the arguments of a call name, for `health` to ask about; None if they name none."""
    for name in ("domain", "host", "user", "from", "caller", "to"):
        value = arguments.get(name)
        if isinstance(value, str) and value:
            return value.partition("/")[0].rpartition("@")[2]
    return None


def health_of(target: Target, response: Response) -> Health:
    """Judge the answer to `health`: whether the server is well, why not, and which version it is."""
    result, status = read(response.body), response.status
    answer = answer_of(response, result.problems[0] if result.problems else None)
    told = answer.sentence
    match status:
        case 200 if result.is_answer:
            return _answer_health(result, answer)
        case 401 | 403:
            return target_denied("LoginRefused", f"The login is refused. {told}", CHECK_LOGIN)
        case 404:
            return target_denied("NotTheApi", f"There is no API at this address and Host. {told}", CHECK_HOST)
        case 200 | 405 | 406 | 415:
            return target_denied("NotTheApi", f"This is not MongooseIM's API. {told}", CHECK_URL)
        case 400:
            kind = target.options_as(Options).schema
            hint = f"Check that the URL leads to the endpoint of the target's Schema, {kind}."
            return target_denied(
                "OtherSchema", f"The endpoint does not know a query that every endpoint of its kind knows. {told}", hint
            )
        case _ if 300 <= status < 400:
            return target_denied("Redirect", f"The server redirects (status {status}).", CHECK_URL)
        case 500 if target.options_as(Options).schema == "domain_admin":
            hint = f"{_WAITS} Logins of domain admins need service_domain_db, and a database."
            return target_down(f"The server does not work now. {told}", hint)
        case _:
            return target_down(f"The server does not work now. {told}", _WAITS)


def login_text(target: Target, response: Response) -> str:
    """Return who the login is, as words for people, by the answer to `health`; "" if that is not known."""
    return answer_of(response, None).masked_text.hide(_login_text(target, read(response.body)))


def _answer_health(result: Result, answer: Answer) -> Health:
    if result.at(("checkAuth", "authStatus")) == "UNAUTHORIZED":
        return target_denied("LoginRefused", "The login does not belong to an admin or user here.", CHECK_LOGIN)
    if any(problem.code == CRASH for problem in result.problems):
        return target_down("The server answers but cannot reach its database.", _WAITS, "DatabaseAway")
    if result.at(("server", "status", "statusCode")) not in (None, _RUNNING):
        return target_down("The Erlang node runs, but MongooseIM does not.", _WAITS)
    version = answer.masked_text.version(version_in(result))
    refused = [problem for problem in result.problems if not _is_expected(problem)]
    if refused and not result.data:
        return target_down(answer.sentence, _WAITS)
    server = f"MongooseIM {version}" if version else "MongooseIM"
    return target_up(f"{server} answers and accepts the login.", _plain(version))


def _is_expected(problem: Problem) -> bool:
    """Tell whether a server that is well may give this error: a closed category, or a domain that it does not serve."""
    return problem.code in ("category_disabled", "no_permissions", "domain_not_found")


def _login_text(target: Target, result: Result) -> str:
    match target.credentials, result.at(("checkAuth", "authType")):
        case Basic(user, _), str(kind):
            return f"{user} is {kind}"
        case Basic(user, _), _:
            return user
        case _, str(kind):
            return f"the login counts as {kind}"
        case _:
            return ""


def _plain(version: str | None) -> str | None:
    found = re.match(r"\d+\.\d+(?:\.\d+)?", version or "")
    return found[0] if found else None


def _text(value: Json) -> str | None:
    return value if isinstance(value, str) and value else None
