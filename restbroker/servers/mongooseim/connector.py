"""The connector for MongooseIM's GraphQL API: one command is one POST of one operation.

`app` opens it through the registry. Always holds: an operation is sent once per delivery; arguments with a name that it
does not have, or without one that it requires, are refused before anything is sent; the connector's own questions (the
probe, whether an account exists, whether the server is well) change nothing on the server.

`checkAuth` and `server.status` answer in milliseconds while the database is away. Only a query that reads the database
shows that it is away (measured with RDBMS): the number of a domain's users, which MongooseIM counts there.
"""

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import trio

from restbroker.config.target import Basic, Target
from restbroker.job.command import Call, Catalogue, CommandSpec
from restbroker.job.json_types import Json
from restbroker.job.outcome import Outcome, Probe, Reason, Rejected
from restbroker.light import define
from restbroker.servers.api.answer import Answer
from restbroker.servers.api.health import IF_NOT, Health, target_denied, target_down, target_up
from restbroker.servers.api.request import Headers, guard, kept, unsent
from restbroker.servers.contract import Connector, Link, Ports
from restbroker.servers.in_redis import SentMessagesInRedis
from restbroker.servers.mongooseim import catalogue
from restbroker.servers.mongooseim.answer import AnswerError, GraphqlResult, answer_of, read, version_in
from restbroker.servers.mongooseim.catalogue import Operation
from restbroker.servers.mongooseim.command_attributes import REGISTER, REMOVE
from restbroker.servers.mongooseim.emit import message_of
from restbroker.servers.mongooseim.options import Options
from restbroker.servers.mongooseim.outcomes import (
    CHECK_HOST,
    CHECK_URL,
    CRASH,
    NOTHING,
    FollowUp,
    classify,
    is_doubtful,
    question_after,
    unanswered_without_database,
    without_database,
)
from restbroker.servers.mongooseim.request import build, headers_of, question
from restbroker.transport.message import MaybeSent, NotSent, Request, Response

_WHO: Final = {"admin": "an admin", "domain_admin": "a domain admin", "user": "a user"}
_NO_OTHER: Final = "`restbroker commands --target {target}` lists them; see the target's Schema and ServerVersion."
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


@define
class MongooseimConnector:
    """The connector of one target, as `servers.contract.Connector` describes it.

    It holds the version that a probe found, and a domain for the probe to ask about.
    """

    _target: Target
    _now_s: Callable[[], float]
    _sent: SentMessagesInRedis | None
    _headers: Callable[[], Headers]
    _version: str | None = None
    _domain: str | None = None
    _known: Catalogue | None = None
    """The catalogue of the version that is known now."""

    stepwise = True

    @property
    def catalogue(self) -> Catalogue:
        """The commands of the configured or probed version; of the newest known one before the first probe."""
        if self._known is None:
            self._known = catalogue.for_target(self._target, self._version)
        return self._known

    def spec(self, endpoint: str) -> CommandSpec | None:
        """Return the command of an endpoint, `account.registerUser` or `account/registerUser`; None if there is none.

        A job with an unknown command is rejected.
        """
        known = self.catalogue
        return known.commands.get(known.name_in(endpoint))

    async def deliver(self, call: Call, link: Link) -> Outcome:
        """Send the call's operation and judge the answer, after further questions if the answer leaves something open.

        Raise `NotSent` or `MaybeSent`, also for a login whose secret cannot be read. When cancelled, only the link
        knows whether the operation was sent.
        """
        spec = self.spec(call.command.endpoint)
        if spec is None:
            return self._unknown_command(call.command.endpoint)
        operation = self._operation(spec.name)
        has_name = call.command.arguments.get("username") is not None
        if call.maybe_run and spec.name == REGISTER and not has_name:
            return _NO_SECOND
        request = guard(lambda: build(call, operation, self._target, self._headers()), self._target.name, spec.name)
        if isinstance(request, Rejected):
            return request
        if self._sent is not None and (message := message_of(spec.name, call.command.arguments, self._target)):
            await link.task()
            await self._sent.remember(*message)
        try:
            response = await link.send(request)
        except MaybeSent as problem:
            # As most commands meet a database that is away; nothing else tells of it while there is little to do.
            if problem.timed_out and await self._lacks_database(call, link):
                return unanswered_without_database()
            raise
        result = read(response.parsable)
        found = NOTHING
        if result.problems or response.status >= 500:
            found = await self._follow_up(call, operation, result, response=response, link=link)
        outcome = classify(call, operation, spec, result=result, response=response, found=found, now_s=self._now_s())
        if found.is_well is None and is_doubtful(call, outcome) and not await self._is_well(call, link):
            return without_database(response.status)
        return outcome

    async def probe(self, link: Link) -> Probe:
        """Ask who the login is, for the version, and for a number that only the database knows. Change nothing.

        The version is kept for the catalogue. Raise `NotSent` or `MaybeSent` if the server cannot be reached.
        """
        domain = self._target.default_host or self._domain
        request = unsent(lambda: health_request(self._target, domain, self._target.timeout_s))
        found = health_of(self._target, await link.ask(request)).probe
        if found.version is not None:
            self._version, self._known = found.version, None
        return found

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Sleep until cancelled: there is no background work."""
        task_status.started()
        await trio.sleep_forever()

    def _operation(self, name: str) -> Operation | None:
        return catalogue.operations(self._target.options_as(Options).schema, self.catalogue.version).get(name)

    def _unknown_command(self, endpoint: str) -> Rejected:
        everywhere = catalogue.for_version(None)
        name = everywhere.name_in(endpoint)
        if (spec := everywhere.commands.get(name)) is None:
            message = f"The target {self._target.name} has no command {name}."
        else:
            kind, version = self._target.options_as(Options).schema, self.catalogue.version
            who = _WHO[kind]
            message = f"MongooseIM {version} has no {name} for {who}; admins have it since {spec.since}."
        return Rejected(Reason("UnknownCommand", message, _NO_OTHER.format(target=self._target.name)))

    async def _follow_up(
        self, call: Call, operation: Operation | None, result: GraphqlResult, response: Response, link: Link
    ) -> FollowUp:
        """Ask what `question_after` says, and return what the server answers; `NOTHING` if nothing is open."""
        match question_after(operation, result, response):
            case "health":
                return FollowUp(is_well=await self._is_well(call, link))
            case "user" if operation is not None and (user := user_of(call, operation.name)) is not None:
                return FollowUp(user_exists=await self._exists(user, link))
            case _:
                return NOTHING

    async def _is_well(self, call: Call, link: Link) -> bool:
        health = await self._health(call, link)
        return health is not None and health.probe.ok

    async def _lacks_database(self, call: Call, link: Link) -> bool:
        """Tell whether the server says that its database is away; no answer, or a refusal, gives False."""
        health = await self._health(call, link)
        return health is not None and health.code == "DatabaseAway"

    async def _health(self, call: Call, link: Link) -> Health | None:
        """Ask the server for its health, and return it; None if no answer comes."""
        domain = self._target.default_host or domain_in(call.command.arguments) or self._domain
        # The next probes ask about it too, or they would find a server well that is not.
        self._domain = domain
        timeout_s = min(HEALTH_S, self._target.timeout_s)
        try:
            response = await link.ask(unsent(lambda: health_request(self._target, domain, timeout_s)))
        except (NotSent, MaybeSent):
            # Of the question, not of the job: it must not be taken for the job's own.
            return None
        return health_of(self._target, response)

    async def _exists(self, user: str, link: Link) -> bool | None:
        try:
            return read_exists(await link.ask(unsent(lambda: exists_request(self._target, user))))
        except (NotSent, MaybeSent):
            return None


def open_connector(target: Target, ports: Ports) -> Connector:
    """Return the connector of a target. Nothing is sent, but the catalogue file is read now, not at the first job."""
    catalogue.for_target(target, None)
    headers = kept(partial(headers_of, target), target.all_secrets)
    return MongooseimConnector(target, ports.now_s, ports.service(SentMessagesInRedis), headers)


_NO_SECOND: Final = Rejected(
    Reason(
        "Uncertain",
        "It may have run, and is not sent again: without a username each request creates another account.",
        "Check which accounts exist on the server; push the job with a username.",
    )
)


def health_request(target: Target, domain: str | None, timeout_s: float) -> Request:
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
    if name == REMOVE:
        return _text(given.get("user"))
    user = _text(given.get("username"))
    domain = _text(given.get("domain", given.get("host", call.host)))
    return f"{user}@{domain}" if user and domain else None


def exists_request(target: Target, user: str) -> Request:
    """Return the request that asks whether an account exists; `user` is its JID.

    Raise `ConfigError` as `health` does.
    """
    return question(target, _USER, {"user": user}, min(HEALTH_S, target.timeout_s))


def read_exists(response: Response) -> bool | None:
    """Return whether the account exists, by the answer to `exists`; None if the answer does not say."""
    answer = read(response.parsable)
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
    result, status = read(response.parsable), response.status
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
    return answer_of(response, None).masked_text.hide(_login_text(target, read(response.parsable)))


def _answer_health(result: GraphqlResult, answer: Answer) -> Health:
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


def _is_expected(problem: AnswerError) -> bool:
    """Tell whether a server that is well may give this error: a closed category, or a domain that it does not serve."""
    return problem.code in ("category_disabled", "no_permissions", "domain_not_found")


def _login_text(target: Target, result: GraphqlResult) -> str:
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
