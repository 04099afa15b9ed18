"""The connector for ejabberd's `mod_http_api`: one command is one POST.

`app` opens it through the registry. Always holds: a command is sent once per delivery, and again, twice at most,
only where the server refused it for its token, before it looked at it; what the connector asks besides (a token, the
probe, whether the server is stopping) changes nothing else on the server.
"""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final

import trio

from restbroker.config.target import Basic, Login, Target
from restbroker.job import redact
from restbroker.job.command import Call, Catalogue, Command, CommandSpec
from restbroker.job.json_types import Json
from restbroker.job.outcome import Deferred, Denied, Outcome, Probe, Reason, Rejected
from restbroker.light import define, field
from restbroker.servers.api.health import IF_NOT, Health, standard_health, target_denied, target_down, target_up
from restbroker.servers.api.request import Headers, guard, json_body, unsent
from restbroker.servers.contract import Connector, Link, Plan, Ports
from restbroker.servers.ejabberd import catalogue
from restbroker.servers.ejabberd.catalogue import MESSAGE, STANZA
from restbroker.servers.ejabberd.emit import messages_of
from restbroker.servers.ejabberd.options import Options
from restbroker.servers.ejabberd.outcomes import (
    CHECK_LOGIN,
    CHECK_URL,
    classify,
    could_be_stopping,
    is_stopped,
    is_unknown_command,
    on_host,
    plain_outcome,
    read,
    stopping_outcome,
    unknown_command,
    version_in,
)
from restbroker.servers.ejabberd.request import (
    RECEIPTS,
    EndpointRequest,
    as_stanza,
    build,
    headers_of,
    host_of,
    is_own_stanza,
    question,
    route,
    with_host,
)
from restbroker.servers.ejabberd.session import NoToken, Session
from restbroker.servers.in_redis import SentMessagesInRedis
from restbroker.transport.message import MaybeSent, NotSent, Request, Response

FORBIDDEN_IN_A_ROW: Final = 20
"""So many refusals without a success between them mean that the account lost its rights, not that one is missing."""
FORBIDDEN_AT_FIRST: Final = 3
"""The same for an account that nothing has worked for yet: an account may be allowed to call one command only."""

_ROUTES_LIMIT: Final = 500
"""How many routes are kept at most: producers can invent endpoints."""

_WAITS: Final = f"{IF_NOT}see ejabberd's log."
_ALLOW_STATUS: Final = (
    "Allow `status` for restbroker's account or address in ejabberd's api_permissions, for tokens under `oauth`: "
    "`restbroker check --suggest` prints the lines."
)


@define
class EjabberdConnector:
    """The connector of one target. It holds the server's version, the login session, and how often it was forbidden."""

    _target: Target
    _now_s: Callable[[], float]
    _session: Session
    _sent: SentMessagesInRedis | None = None
    """Where messages are recorded that a component would be told of; None: no source drops them."""
    _version: str | None = None
    _worked: bool = False
    _forbidden: int = 0
    _routes: dict[str, EndpointRequest] = field(factory=dict)
    """Routes by endpoint, for the version that is known now."""
    _plans: dict[str, Plan | None] = field(factory=dict)
    """Plans by endpoint, likewise, and for these headers."""
    _plan_headers: Headers | None = field(default=None, repr=False)

    stepwise = True

    @property
    def catalogue(self) -> Catalogue:
        """The commands of the configured or probed version; of the newest before the first probe."""
        return catalogue.for_target(self._target, self._version)

    def spec(self, endpoint: str) -> CommandSpec | None:
        """Return the command of an endpoint such as `register` or `register/v1`; None outside the catalogue."""
        return (self._routes.get(endpoint) or self._find(endpoint)).spec

    def plan(self, endpoint: str) -> Plan | None:
        """Return the plan for an endpoint whose requests differ in their bodies alone; None while no login is known."""
        headers = self._session.fixed_headers or self._session.current_headers()
        if headers is not self._plan_headers:
            self._plan_headers = headers
            self._plans.clear()
        if headers is None:
            return None
        try:
            return self._plans[endpoint]
        except KeyError:
            found = self._plan(endpoint, headers)
            if len(self._plans) >= _ROUTES_LIMIT:
                self._plans.clear()
            self._plans[endpoint] = found
            return found

    async def deliver(self, call: Call, link: Link) -> Outcome:
        """Send the command, and return the outcome of its answer; raise `NotSent` or `MaybeSent` without one.

        When cancelled, only the link knows whether it was sent.
        """
        given = call
        if is_own_stanza(call.command.endpoint, call.command.arguments):
            made = guard(partial(as_stanza, call), self._target.name, MESSAGE)
            if isinstance(made, Rejected):
                return made
            call = made
        await self._remember(given, call.identity, link)
        endpoint = call.command.endpoint
        way = self._routes.get(endpoint) or self._find(endpoint)
        if not self._session.is_issued and (headers := self._session.current_headers()) is not None:
            response = await link.send(build(call, way, headers))
        else:
            found = await self._exchange(lambda login: build(call, way, headers_of(login)), link.send, link)
            if isinstance(found, NoToken):
                return _no_token(found)
            response = found
        outcome = classify(call, way.spec, response, self._now_s())
        if isinstance(outcome, Denied) and outcome.reason.code == "CommandForbidden":
            outcome = await self._look_at_host(outcome, call, way, link)
        if way.spec is not None and could_be_stopping(outcome):
            has_sessions = await self._has_sessions(link)
            # Where it is not known, a refusal proves itself that the command did not run; a failure proves nothing.
            if has_sessions is False or (has_sessions is None and not isinstance(outcome, Deferred)):
                outcome = stopping_outcome(response.status)
            elif has_sessions and is_unknown_command(response):
                outcome = unknown_command("unknown_command, although the server is up", response.status)
        self._learn(outcome, response.status)
        return outcome

    async def probe(self, link: Link) -> Probe:
        """Ask for `status`, or if that is forbidden for `connected_users_number`; judge the answer. Changes nothing.

        Raise `NotSent` or `MaybeSent` without an answer.
        """
        response = await self._ask("status", link)
        if not isinstance(response, NoToken) and response.status == 403:
            response = await self._ask("connected_users_number", link)
        if isinstance(response, NoToken):
            return without_token(response).probe
        if response.status == 403 and self._forbidden < (FORBIDDEN_IN_A_ROW if self._worked else FORBIDDEN_AT_FIRST):
            return target_up("The account may not call status, but may call other commands.", self._version).probe
        probe = health_of(self._target, response, self._version).probe
        if probe.version not in (None, self._version):
            self._version = probe.version
            self._routes.clear()
            self._plans.clear()
        if probe.ok:
            await self._session.warn_if_slow(link, response.duration_s)
        return probe

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Sleep until cancelled: there is no background work."""
        task_status.started()
        await trio.sleep_forever()

    async def _remember(self, call: Call, number: str, link: Link) -> None:
        """Record what the call sends before it is sent, where a component would be told of it, or of its receipts.

        `number`: the id of a message that is sent as a stanza.
        """
        if self._sent is not None and (messages := messages_of(call.command)):
            await link.task()
            for message in messages:
                await self._sent.remember(*message)
            given, receiver = call.command.arguments, messages[0][1]
            if str(given.get(RECEIPTS)).lower() == "true":
                # All in a room may answer, and in their own name what came from a nickname.
                is_one = given.get("type") != "groupchat" and "/" not in receiver
                await self._sent.remember_asking(call.identity, number, receiver if is_one else "")

    def _plan(self, endpoint: str, headers: Headers) -> Plan | None:
        way = self._routes.get(endpoint) or self._find(endpoint)
        if way.path_by_jid is not None:
            return None
        if self._sent is not None and endpoint.partition("/")[0] in (MESSAGE, STANZA):
            return None
        is_message, host = endpoint.partition("/")[0] == MESSAGE, self._target.default_host

        def plain_body(given: Mapping[str, Json]) -> bytes | None:
            if is_message and is_own_stanza(endpoint, given):
                return None
            return json_body(given if host is None or "host" in given else with_host(given, way.host_names, host))

        return Plan(
            build(Call(Command(endpoint, {})), way, headers),
            plain_body,
            partial(plain_outcome, endpoint, way.spec),
            self._record_success,
        )

    def _record_success(self) -> None:
        self._worked, self._forbidden = True, 0

    def _learn(self, outcome: Outcome, status: int) -> None:
        if 200 <= status < 300:
            self._record_success()
        elif status == 403 and isinstance(outcome, Denied):
            self._forbidden += 1

    async def _look_at_host(self, denied: Denied, call: Call, way: EndpointRequest, link: Link) -> Denied | Rejected:
        """Return the refusal, told apart from that of a host which the server lacks: it says the same of both."""
        host, version = host_of(call, way), self._version or self._target.options_as(Options).server_version
        if host is None or self._target.credentials is None or not catalogue.checks_hosts(version):
            return denied
        try:
            response = await self._ask("registered_vhosts", link)
        except (NotSent, MaybeSent):
            return denied  # the command itself was answered
        told = None if isinstance(response, NoToken) else response
        return on_host(denied, host, told, redact.secret_values(way.spec, call.command.arguments))

    async def _ask(self, command: str, link: Link) -> Response | NoToken:
        return await self._exchange(lambda login: question(self._target, command, login=login), link.ask, link)

    async def _exchange(
        self, make: Callable[[Login], Request], send: Callable[[Request], Awaitable[Response]], link: Link
    ) -> Response | NoToken:
        """Send a request with the login that counts now, and again with another one if a token is refused."""
        login = await self._session.login(link)
        if isinstance(login, NoToken):
            return login
        response = await send(unsent(partial(make, login)))
        for first in (True, False):
            if response.status not in (401, 403):
                break
            other = await self._session.next_login(login, response.status, link, first=first)
            if other is None:
                break
            refused, login = response.status, other
            response = await send(unsent(partial(make, login)))
            if isinstance(login, Basic):
                self._session.compare(refused, response.status)
        self._session.record_answer(login, response.status)
        return response

    def _find(self, endpoint: str) -> EndpointRequest:
        known = catalogue.for_target(self._target, self._version, endpoint)
        if len(self._routes) >= _ROUTES_LIMIT:
            self._routes.clear()
        spec = known.commands.get(endpoint.partition("/")[0])
        found = self._routes[endpoint] = route(endpoint, spec, self._target)
        return found

    async def _has_sessions(self, link: Link) -> bool | None:
        """Tell whether the session manager is up; None if no one but a gateway says anything.

        It is the first to go when ejabberd stops (measured, 23.01 and 24.12), so a command that is refused while it is
        up is refused for good.
        """
        try:
            response = await self._ask("connected_users_number", link)
        except (NotSent, MaybeSent):
            # The command itself was answered, so this failure must not be taken for its own.
            return None
        if isinstance(response, NoToken):
            return None
        if response.status in (200, 403):
            return True
        # ejabberd says so in JSON, and with no status above 500.
        return False if response.status <= 500 and read(response).body is not None else None


def _no_token(why: NoToken) -> Denied | Deferred:
    # Without the status: it is no answer to the command, and a 403 would be taken for one.
    reason = Reason("NoToken", why.message, why.hint)
    return Denied(reason) if why.denied else Deferred(reason, counts=False, pause_target=True)


def without_token(why: NoToken) -> Health:
    """Return the health of a target for which ejabberd issues no token, and without one nothing is sent."""
    if why.denied:
        return target_denied("NoToken", why.message, why.hint)
    return target_down(why.message, _WAITS)


def health_of(target: Target, response: Response, known: str | None = None) -> Health:
    """Return the health that the answer to `status` shows, or where that is forbidden to `connected_users_number`.

    `known` is the server's version by an earlier answer.
    """
    answer = read(response)
    match response.status:
        case 200 if answer.is_own:
            version = version_in(answer) or known
            if (why := catalogue.too_old(target, version)) is not None:
                return target_denied("NoApiVersions", why, catalogue.NO_API_VERSION)
            if is_stopped(answer):
                return target_down(answer.message, _WAITS)
            # 23.01 leaves out what should stand between these words.
            return target_up(answer.message.replace("startedejabberd", "started ejabberd"), version)
        case 403 if answer.is_own:
            about = f"The account may not call any command tried so far ({answer.summary})."
            return target_denied("CommandForbidden", about, _ALLOW_STATUS)
        case 403:
            hint = "ejabberd does not refuse like this: have the proxy or firewall before it let this machine through."
            return target_denied("Refused", f"A proxy or firewall refuses ({answer.summary}).", hint)
        case 400 if answer.raw_message == "unknown_command":
            # Of a server that stops; of 24.12 also at a path below the API's.
            return target_down(f"ejabberd does not know `status` now ({answer.summary}).", f"{_WAITS} {CHECK_URL}")
        case 400:
            return target_denied("NotTheApi", f"This is not ejabberd's API ({answer.summary}).", CHECK_URL)
        case _:
            return standard_health(answer, "ejabberd's API", CHECK_LOGIN, CHECK_URL)


def open_connector(target: Target, ports: Ports) -> Connector:
    """Return the connector of this target; nothing is sent yet.

    The catalogue is read now, as the store's scripts are.
    """
    catalogue.for_target(target, None)
    return EjabberdConnector(target, ports.now_s, Session(target, ports.report), ports.service(SentMessagesInRedis))
