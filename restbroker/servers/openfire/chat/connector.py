"""The connector for Openfire's Chat API: a command is one request, mostly as a user on the stream of their login.

`app` opens it through the registry. Always holds: a command is sent again within a delivery only after a 400, which
means that it was not done, and twice at most; a list of contacts that comes back empty is asked for once more on a new
stream; the id of a stream leaves this folder in no answer, note or message.
"""

from collections.abc import Callable
from typing import Final

import attrs

from restbroker.config.target import Basic, Target
from restbroker.errors import ConfigError, StoreRefused
from restbroker.job.outcome import Deferred, Delivered, Outcome, Reason
from restbroker.job.settle import before_sending
from restbroker.light import frozen
from restbroker.servers.api.answer import read
from restbroker.servers.api.connector import TableConnector, ask_once
from restbroker.servers.api.health import Health, standard_health, target_denied, target_down, target_up
from restbroker.servers.api.jid import is_local
from restbroker.servers.api.texts import parse_json
from restbroker.servers.contract import Connector, Link, Ports
from restbroker.servers.openfire.chat import catalogue
from restbroker.servers.openfire.chat.catalogue import FROM, ChatEntry, table
from restbroker.servers.openfire.chat.logins import LogoffResult, SharedLogins, shared_logins
from restbroker.servers.openfire.chat.options import Options
from restbroker.servers.openfire.chat.outcomes import (
    CHECK_ENABLED,
    CHECK_LOGIN,
    CHECK_URL,
    DONE_BEFORE,
    as_join_refusal,
    as_offer_refusal,
    classify,
    form_of,
    is_empty,
)
from restbroker.servers.openfire.chat.request import ChatRequest, build, question
from restbroker.servers.openfire.chat.rooms import TRIES, Job, NoRoom, RoomAnswer, Rooms
from restbroker.servers.openfire.chat.sessions import NoLogin, as_unsent
from restbroker.store.logins import AskingOnly, LoggedOff
from restbroker.transport.message import NotSent, Request, Response

_MAY_BE_DONE: Final = (404, 500, 504)
"""Statuses of a command that ends a session after which the session may be over.

An earlier try may have deleted the user, or this one may have before it failed.
"""


_CREATE: Final = "create_room"


@frozen
class ChatSender:
    """Sends the commands of one target. All its methods raise what a connector's `deliver` does."""

    _target: Target
    _now_s: Callable[[], float]
    _logins: SharedLogins
    _rooms: Rooms

    async def send(self, job: Job) -> Outcome:
        """Send the command, logging its user in first if that is needed, and judge the answer."""
        try:
            return await self._do(job)
        except (NoLogin, NoRoom) as refused:
            return before_sending(refused.outcome)
        except StoreRefused as error:
            return Deferred(Reason("LoginNotShared", error.message, error.hint), of_job=True)
        except ConfigError as error:
            # A secret's file may be gone in the middle: as unsent, the job waits until it is back.
            raise NotSent(str(error)) from error

    async def _do(self, job: Job) -> Outcome:
        entry, request, link = job.entry, job.request, job.link
        match entry.effect:
            case "logs_in":
                return await self._log_in(request)
            case "logs_off":
                return await self._log_off(job)
            case _ if request.user:
                return await self._act(job)
            case _ if entry.name == _CREATE:
                return await self._rooms.create(job)
            case "expels" | "sets_room":
                response = await self._rooms.expel(job)
            case "kicks":
                response = await self._send_kick(str(request.arguments["username"]), request.for_stream(""), link)
            case "asks" | "revokes" if is_local(asker := _asker(request)):
                response = await self._send_question(entry, asker, request.for_stream(""), link)
            case _:
                response = await link.send(request.for_stream(""))
        return self._classify(job, response)

    async def _act(self, job: Job) -> Outcome:
        """Send a command on its user's stream, and again on their present one if the server may not know that stream.

        It is sent twice more at most, since what another process left in Redis may be older than the server's last
        start, too.
        """
        user, is_renewed = job.request.user, False
        wanted = need = self._rooms.need(job.entry)
        stream = await as_unsent(self._logins.stream, user)
        for others in reversed(range(TRIES)):
            if job.entry.effect in ("joins", "leaves", "speaks"):
                answer = await self._rooms.send(job, stream, need)
            else:
                answer = RoomAnswer(await job.link.send(job.request.for_stream(stream)))
            if not others or not _is_doubtful(job, answer.response, is_renewed=is_renewed):
                break
            # Also of an offer: the other stream may be known to the server for long, and to us not yet.
            fresh = await as_unsent(self._logins.renew, user, stream)
            is_new = fresh != stream
            if not is_new and (need != "need" or answer.is_join or answer.has_joined):
                break
            # On a stream that lives, it is the server that does not know them to be in the room.
            need = wanted if is_new else "again"
            stream, is_renewed = fresh, is_renewed or is_new
        return self._outcome(job, answer, stream, is_renewed=is_renewed)

    def _outcome(self, job: Job, answer: RoomAnswer, stream: str, *, is_renewed: bool) -> Outcome:
        is_refused, effect = answer.response.status == 400, job.entry.effect
        if is_renewed and is_refused and effect == "leaves":
            return Delivered("", None, 400, note=DONE_BEFORE)
        if answer.is_join:
            # A join may be sent again; what was to follow it was not sent.
            job = attrs.evolve(job, spec=attrs.evolve(job.spec, repeat="safe"))
        outcome = self._classify(job, answer.response, stream)
        if answer.is_join:
            outcome = before_sending(outcome)
        if is_refused and (answer.is_join or effect == "joins"):
            return as_join_refusal(outcome)
        is_of_offer = is_refused and effect == "answers_offer"
        return as_offer_refusal(outcome, maybe_run=job.call.maybe_run) if is_of_offer else outcome

    def _classify(self, job: Job, response: Response, stream: str = "") -> Outcome:
        return classify(job.call, job.entry, job.spec, response=response, now_s=self._now_s(), stream=stream)

    async def _send_kick(self, name: str, request: Request, link: Link) -> Response:
        """Send a command that ends a user's session, and have the user's stream logged off if it may have ended.

        That holds for a command without an answer, too.
        """
        may_be_done = True
        try:
            response = await self._logins.send_alone(lambda: link.send(request))
            may_be_done = 200 <= response.status < 300 or response.status in _MAY_BE_DONE
        except (NotSent, StoreRefused):
            may_be_done = False
            raise
        finally:
            if may_be_done:
                await self._logins.log_off_kicked(name)
        return response

    async def _send_question(self, entry: ChatEntry, name: str, request: Request, link: Link) -> Response:
        """Send a question, or a command that ends one, and note in Redis whether its name asks one.

        A question that may have begun counts as begun.
        """
        logins = self._logins
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

    async def _log_in(self, request: ChatRequest) -> Outcome:
        password = request.arguments.get("password")
        # An empty one is none: the target's login logs the user in.
        given = str(password) if password else None
        await as_unsent(self._logins.login, str(request.arguments[FROM]), given)
        return Delivered("", None, 200)

    async def _log_off(self, job: Job) -> Outcome:
        while True:
            match await self._logins.log_off(
                job.request.user, lambda stream: job.link.send(job.request.for_stream(stream))
            ):
                case LogoffResult(stream, response):
                    return self._classify(job, response, stream)
                case LoggedOff():
                    return Delivered("", None, 200, note=DONE_BEFORE, by_us=True)
                case None:
                    # They may have a stream that was forgotten here: a login gives its id.
                    await as_unsent(self._logins.stream, job.request.user)


def _asker(request: ChatRequest) -> str:
    return str(request.arguments.get("userID", request.arguments.get("userId", "")))


def _is_doubtful(job: Job, response: Response, *, is_renewed: bool) -> bool:
    """Tell whether an unknown stream may have got this answer; none that is an error if it lists contacts (read)."""
    is_list = response.status == 200 and job.entry.effect == "lists_contacts" and not is_renewed
    return response.status == 400 or (is_list and is_empty(parse_json(response.parsable)))


def health_of(response: Response) -> Health:
    """Judge the answer to the probe: whether the server is well, and why not."""
    status = response.status
    match status:
        case 200 if isinstance(parse_json(response.parsable), dict):
            return target_up("The Chat API answers and accepts the login.")
        case 403:
            return target_denied("PluginDisabled", f"The plugin is switched off (status {status}).", CHECK_ENABLED)
        case _ if status in (200, 404, 405) or 300 <= status < 400:
            # While Openfire starts, its plugins are not there yet: it may be that.
            about = f"The Chat API is not there (status {status}): Openfire is starting, or the URL is wrong."
            return target_down(about, CHECK_URL, "NotTheApi")
        case _:
            return standard_health(read(form_of(), response), "the Chat API", CHECK_LOGIN, CHECK_URL)


def open_connector(target: Target, ports: Ports) -> Connector:
    """Return the connector of this target; nothing is sent yet. Raise `ConfigError` without logins in Redis."""
    logins = shared_logins(target, ports)
    sender = ChatSender(target, ports.now_s, logins, Rooms(target, logins.store, ports.now_s))
    return TableConnector(
        target,
        catalogue.for_target(target, None),
        table(target.options_as(Options).paths),
        request=lambda call, entry: build(call, entry, target),
        send=sender.send,
        probe=ask_once(lambda: question(target), health_of),
    )
