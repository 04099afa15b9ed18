"""The connector for Openfire's Chat API: a command is one request, mostly as a user on the stream of their login.

`app` opens it through the registry. Always holds: a command is sent again within a delivery only after a 400, which
means that it was not done, and twice at most; a list of contacts that comes back empty is asked for once more on a new
stream; the id of a stream leaves this folder in no answer, note or message.
"""

from collections.abc import Callable
from typing import Final

import attrs
import trio

from restbroker.config.target import Basic, Target
from restbroker.errors import ConfigError, StoreRefused
from restbroker.job.command import Call, Catalogue, CommandSpec
from restbroker.job.outcome import Deferred, Delivered, Outcome, Probe, Reason, Rejected
from restbroker.job.settle import before_sending
from restbroker.servers.api.health import IF_NOT, Health, target_denied, target_down, target_up
from restbroker.servers.api.jid import is_local
from restbroker.servers.api.request import guard, lookup, unsent
from restbroker.servers.api.texts import parse_json
from restbroker.servers.contract import Connector, Link, Ports
from restbroker.servers.in_redis import LoginsInRedis
from restbroker.servers.openfire.chat import catalogue
from restbroker.servers.openfire.chat.catalogue import FROM, Entry, table
from restbroker.servers.openfire.chat.logins import LogoffResult, SharedLogins, shared_logins
from restbroker.servers.openfire.chat.options import Options
from restbroker.servers.openfire.chat.outcomes import (
    CHECK_ENABLED,
    CHECK_LOGIN,
    CHECK_URL,
    as_offer_refusal,
    classify,
    is_empty,
)
from restbroker.servers.openfire.chat.request import ChatRequest, build, question
from restbroker.servers.openfire.chat.rooms import CREATE, Rooms
from restbroker.servers.openfire.chat.sessions import NoLogin, as_unsent
from restbroker.store.logins import AskingOnly, LoggedOff
from restbroker.transport.errors import NotSent
from restbroker.transport.message import Request, Response

_MAY_BE_DONE: Final = (404, 500, 504)
"""Statuses of a command that ends a session after which the session may be over.

An earlier try may have deleted the user, or this one may have before it failed.
"""


@attrs.frozen
class ChatConnector:
    """The connector of one target, as `servers.contract.Connector` describes it.

    `_rooms` is None where no job is delivered.
    """

    _target: Target
    _now_s: Callable[[], float]
    _rooms: Rooms | None

    @property
    def catalogue(self) -> Catalogue:
        """The commands of ofchat."""
        return catalogue.for_target(self._target, None)

    def spec(self, endpoint: str) -> CommandSpec | None:
        """Return the command of this name; None if there is none, and a job with it is rejected."""
        return self.catalogue.commands.get(endpoint)

    async def deliver(self, call: Call, link: Link) -> Outcome:
        """Send the command, logging its user in first if that is needed, and judge the answer.

        Raise `NotSent` or `MaybeSent`. When cancelled, only the link knows whether the command was sent.
        """
        entries, name = table(self._target.options_as(Options).paths), self._target.name
        entry = lookup(entries, call.command, name, {})
        if isinstance(entry, Rejected):
            return entry
        request = guard(lambda: build(call, entry, self._target), name, entry.name)
        if isinstance(request, Rejected):
            return request
        try:
            return await self._do(call, entry, self.catalogue.commands[entry.name], request=request, link=link)
        except NoLogin as refused:
            return before_sending(refused.outcome)
        except StoreRefused as error:
            return Deferred(Reason("LoginNotShared", error.message, error.hint), of_job=True)
        except ConfigError as error:
            # A secret's file may be gone in the middle: as unsent, the job waits until it is back.
            raise NotSent(str(error)) from error

    async def probe(self, link: Link) -> Probe:
        """Ask for the number of sessions; change nothing.

        Raise `NotSent` or `MaybeSent` if the server cannot be reached.
        """
        return health_of(await link.ask(probe_request(self._target))).probe

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Sleep until cancelled, then close the logins; there is no background work."""
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            if self._rooms is not None:
                with trio.CancelScope(shield=True):
                    await self._rooms.logins.aclose()

    async def _do(self, call: Call, entry: Entry, spec: CommandSpec, request: ChatRequest, link: Link) -> Outcome:
        if entry.effect == "logs_in":
            return await self._log_in(request)
        if entry.effect == "logs_off":
            return await self._log_off(call, entry, spec, request=request, link=link)
        if not request.user:
            return await self._without_stream(call, entry, spec, request=request, link=link)
        if entry.effect in ("joins", "leaves", "speaks"):
            return await self._require_rooms().deliver(call, entry, spec, request=request, link=link)
        stream = await as_unsent(self._shared_logins().stream, request.user)
        response = await link.send(request.of(stream))
        if response.status == 400:
            return await self._send_again(
                call, entry, spec, request=request, link=link, stale=stream, response=response
            )
        if entry.effect == "lists_contacts" and response.status == 200 and is_empty(parse_json(response.body)):
            # As for an unknown stream, which is no error there (read).
            fresh = await as_unsent(self._shared_logins().renew, request.user, stream)
            if fresh != stream:
                stream, response = fresh, await link.send(request.of(fresh))
        return classify(call, entry, spec, response=response, now_s=self._now_s(), stream=stream)

    async def _without_stream(
        self, call: Call, entry: Entry, spec: CommandSpec, request: ChatRequest, link: Link
    ) -> Outcome:
        if entry.name == CREATE:
            return await self._require_rooms().create(call, entry, spec, request=request, link=link)
        name, without = _session_user(entry, request), request.of("")
        if entry.effect in ("expels", "sets_room"):
            response = await self._require_rooms().expel(entry, request, link)
        elif not name:
            response = await link.send(without)
        elif entry.effect == "kicks":
            response = await self._send_kick(name, without, link)
        else:
            response = await self._send_question(entry, name, without, link)
        return classify(call, entry, spec, response=response, now_s=self._now_s(), stream="")

    async def _send_kick(self, name: str, request: Request, link: Link) -> Response:
        """Send a command that ends a user's session, and have the user's stream logged off if it may have ended.

        That holds for a command without an answer, too.
        """
        may_be_done = True
        try:
            response = await self._shared_logins().send_alone(lambda: link.send(request))
            may_be_done = 200 <= response.status < 300 or response.status in _MAY_BE_DONE
        except (NotSent, StoreRefused):
            may_be_done = False
            raise
        finally:
            if may_be_done:
                await self._shared_logins().note_kicked(name)
        return response

    async def _send_question(self, entry: Entry, name: str, request: Request, link: Link) -> Response:
        """Send a question, or a command that ends one, and note in Redis whether its name asks one.

        A question that may have begun counts as begun.
        """
        logins = self._shared_logins()
        if entry.effect == "asks":
            asks = await as_unsent(logins.ask, name)
            try:
                return await logins.send_question(name, asks, lambda: link.send(request))
            except NotSent:
                await logins.end(name, asks)
                raise
        known = await logins.read_state(name)
        response = await logins.send_alone(lambda: link.send(request))
        # Where no one can be asked later whether it is over, a 400 says so: there was none.
        can_look = isinstance(self._target.credentials, Basic)
        is_over = 200 <= response.status < 300 or (response.status == 400 and not can_look)
        if is_over and isinstance(known, AskingOnly):
            await logins.end_question(name, known)
        return response

    async def _send_again(
        self,
        call: Call,
        entry: Entry,
        spec: CommandSpec,
        request: ChatRequest,
        link: Link,
        stale: str,
        response: Response,
    ) -> Outcome:
        """Send the command again on the user's present stream, after a 400, which an unknown stream gets, too.

        It is sent twice more at most, since what another process left in Redis may be older than the server's last
        start.
        """
        for _ in range(2):
            fresh = await as_unsent(self._shared_logins().renew, request.user, stale)
            if fresh == stale:
                break
            stale = fresh
            # Also of an offer: the other stream may be known to the server for long, and to us not yet.
            response = await link.send(request.of(fresh))
            if response.status != 400:
                break
        return self._refusal(call, entry, spec, response=response, stream=stale)

    def _refusal(self, call: Call, entry: Entry, spec: CommandSpec, response: Response, stream: str) -> Outcome:
        """Return the outcome of the last answer; for an answer to an offer, with why the offer may be gone."""
        outcome = classify(call, entry, spec, response=response, now_s=self._now_s(), stream=stream)
        return as_offer_refusal(outcome, maybe_run=call.maybe_run) if entry.effect == "answers_offer" else outcome

    async def _log_in(self, request: ChatRequest) -> Outcome:
        password = request.arguments.get("password")
        # An empty one is none: the target's login logs the user in.
        given = str(password) if password else None
        await as_unsent(self._shared_logins().login, str(request.arguments[FROM]), given)
        return Delivered("", None, 200)

    async def _log_off(self, call: Call, entry: Entry, spec: CommandSpec, request: ChatRequest, link: Link) -> Outcome:
        logins = self._shared_logins()
        while True:
            match await logins.log_off(request.user, lambda stream: link.send(request.of(stream))):
                case LogoffResult(stream, response):
                    return classify(call, entry, spec, response=response, now_s=self._now_s(), stream=stream)
                case LoggedOff():
                    return Delivered("", None, 200, note="already done", by_us=True)
                case None:
                    # They may have a stream that was forgotten here: a login gives its id.
                    await as_unsent(logins.stream, request.user)

    def _require_rooms(self) -> Rooms:
        if self._rooms is None:
            raise ConfigError(f"The target {self._target.name} needs logins in Redis.", "Please report this.")
        return self._rooms

    def _shared_logins(self) -> SharedLogins:
        return self._require_rooms().logins


def _session_user(entry: Entry, request: ChatRequest) -> str:
    """Return the name whose session the command ends, or that asks; "" if there is none that a login could have."""
    if entry.effect == "kicks":
        return str(request.arguments["username"])
    if entry.effect not in ("asks", "revokes"):
        return ""
    name = str(request.arguments.get("userID", request.arguments.get("userId", "")))
    return name if is_local(name) else ""


def probe_request(target: Target) -> Request:
    """Return the probe's request. Raise `NotSent` in place of `ConfigError`."""
    return unsent(lambda: question(target))


def health_of(response: Response) -> Health:
    """Judge the answer to the probe: whether the server is well, and why not."""
    status = response.status
    match status:
        case 200 if isinstance(parse_json(response.body), dict):
            return target_up("The Chat API answers and accepts the login.")
        case 401:
            return target_denied("LoginRefused", f"The login is refused (status {status}).", CHECK_LOGIN)
        case 403:
            return target_denied("PluginDisabled", f"The plugin is switched off (status {status}).", CHECK_ENABLED)
        case _ if status in (200, 404, 405) or 300 <= status < 400:
            # While Openfire starts, its plugins are not there yet: it may be that.
            about = f"The Chat API is not there (status {status}): Openfire is starting, or the URL is wrong."
            return target_down(about, CHECK_URL, "NotTheApi")
        case _:
            code = "NotTheApi" if status < 500 else "Unwell"
            return target_down(f"The server does not work now (status {status}).", f"{IF_NOT}see Openfire's log.", code)


def open_connector(target: Target, ports: Ports) -> Connector:
    """Return the connector of this target; nothing is sent yet."""
    book = ports.service(LoginsInRedis)
    if book is None or ports.http is None:
        return ChatConnector(target, ports.now_s, None)
    return ChatConnector(target, ports.now_s, Rooms(target, book, shared_logins(target, ports), ports.now_s))
