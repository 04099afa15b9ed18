"""The connector for Openfire's REST API plugin: a command is a request. The probe tells dialect and version, too.

`app` opens it through the registry; the check judges the same questions. Always holds: a command is sent once per
delivery; what Openfire was seen to answer 500 to is refused before anything is sent; a redirect is never followed,
since it would end at a page with 200; no question changes anything on the server.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, Literal

import attrs

from restbroker.config.target import Target
from restbroker.job.command import Call, CommandSpec
from restbroker.job.outcome import Outcome, Probe, Rejected
from restbroker.light import define, field
from restbroker.servers.api.answer import read
from restbroker.servers.api.connector import PreparedCall, TableConnector
from restbroker.servers.api.health import IF_NOT, Health, standard_health, target_denied, target_down, target_up
from restbroker.servers.api.request import Headers, guard, kept, unsent
from restbroker.servers.api.texts import parse_json
from restbroker.servers.contract import Connector, Link, Ports
from restbroker.servers.openfire.access import login_header
from restbroker.servers.openfire.new_rooms import Found, NewRoom, RoomCreator
from restbroker.servers.openfire.rest import catalogue, lookups
from restbroker.servers.openfire.rest.catalogue import TABLE, RestEntry
from restbroker.servers.openfire.rest.options import Options
from restbroker.servers.openfire.rest.outcomes import BARRED, CHECK_ENABLED, CHECK_LOGIN, CHECK_URL, REDIRECTS, classify
from restbroker.servers.openfire.rest.request import (
    DESCRIPTION,
    FORM,
    READY,
    STATISTICS,
    YAML,
    build,
    question,
    session_in,
)
from restbroker.transport.message import Request, Response

Dialect = Literal["1.2", "1.3"]
"""How the plugin writes JSON: `1.2` as versions up to 1.2.x do, `1.3` as newer ones do."""
_VERSION: Final = re.compile(rb"^  version: *[\"']?([0-9][\w.-]{0,30})", re.MULTILINE)


def dialect_in(response: Response) -> Dialect | None:
    """Return the dialect by the answer for the number of sessions: a text up to 1.2, else a number; None if neither."""
    body = parse_json(response.parsable)
    match body.get("localSessions") if isinstance(body, dict) else None:
        case str():
            return "1.2"
        case int():
            return "1.3"
        case _:
            return None


def version_of(dialect: Dialect | None, ready: Response, described: Response | None) -> str | None:
    """Return the plugin's version, or a range such as "1.3 to 1.6"; None if it cannot be told.

    The plugin describes itself since 1.7.0, and answers the question for readiness (`ready`) since 1.8.0 (read).
    `described` is the answer to the question for its description, which is not sent to a server with the old dialect.
    """
    if dialect == "1.2":
        return "up to 1.2"
    if described is None or dialect is None:
        return None
    if described.status == 200 and (found := _VERSION.search(described.body)):
        return found[1].decode()
    # Someone may have built a newer one without its description (measured on 1.10.2).
    return "1.3 to 1.6" if ready.status == described.status == 404 else None


def health_of(response: Response) -> Health:
    """Judge the answer to the question for the number of sessions: whether the server is well, and why not."""
    status, dialect, answer = response.status, dialect_in(response), read(FORM, response)
    match status:
        case 200 if dialect is not None:
            about = "up to 1.2" if dialect == "1.2" else "1.3 or newer"
            return target_up(f"The REST API plugin answers, and accepts the login; its JSON is that of {about}.")
        case 403:
            return target_denied("PluginDisabled", f"The plugin is switched off ({answer.summary}).", CHECK_ENABLED)
        case _ if 300 <= status < 400:
            where = answer.masked_text.address() or "elsewhere"
            return target_down(REDIRECTS.format(location=where), BARRED, "Redirected")
        case _:
            return standard_health(answer, "the REST API plugin", CHECK_LOGIN, CHECK_URL)


@define(eq=False)
class RestSender:
    """Sends the calls of one target, in the session that the server keeps for restbroker.

    Its methods raise `NotSent` and `MaybeSent`. When one is cancelled, only the link knows whether the call was sent.
    """

    _target: Target
    _commands: Mapping[str, CommandSpec]
    _now_s: Callable[[], float]
    _session: str | None = None
    """The session's id, to send as a cookie: without one the server makes a session for each request (measured)."""
    _rooms: RoomCreator = field(factory=RoomCreator)
    _login: Callable[[], Headers] = field(init=False)

    @_login.default
    def _keep_login(self) -> Callable[[], Headers]:
        secret = self._target.options_as(Options).secret
        return kept(partial(login_header, self._target, secret), self._target.all_secrets)

    def request(self, call: Call, entry: RestEntry) -> Request:
        """Return the request of a call. Raise the same as `build`."""
        return build(call, entry, self._target, self._login, self._session)

    async def send(self, one: PreparedCall[RestEntry, Request]) -> Outcome:
        """Send the call and judge the answer, after asking for the group or the rooms if that is needed."""
        call, name = one.call, one.entry.name
        if lookups.needs_lookup(call):
            return await self._create(one)
        if not lookups.is_incomplete_group(call):
            return await self._send(one)
        response, spec = await self._ask(lookups.group_question(call), one.link)
        whole = lookups.complete_group(call, spec, response, self._now_s())
        if not isinstance(whole, Call):
            return whole
        request = guard(lambda: self.request(whole, one.entry), self._target.name, name)
        if isinstance(request, Rejected):
            return request
        return await self._send(attrs.evolve(one, call=whole, request=request))

    async def probe(self, link: Link) -> Probe:
        """Return what `look` finds."""
        return (await self.look(link)).probe

    async def look(self, link: Link) -> Health:
        """Ask whether the server is ready (if it can tell), for the number of sessions, and for its version.

        Nothing changes on the server.
        """
        ready = await link.ask(unsent(lambda: question(self._target, READY)))
        # Any other answer means that the question was not understood: 404 before 1.8.0, and 1.10 is broken on
        # Openfire 4.8 (read).
        if ready.status == 503:
            starting = "Openfire answers but is not ready: it is starting or stopping."
            return target_down(starting, f"{IF_NOT}see Openfire's log.")
        response = await link.ask(unsent(lambda: question(self._target, STATISTICS, self._session)))
        self._remember(response)
        dialect, described = dialect_in(response) if response.status == 200 else None, None
        health = health_of(response)
        if dialect == "1.3":
            described = await link.ask(unsent(lambda: question(self._target, DESCRIPTION, self._session, accept=YAML)))
        return attrs.evolve(health, probe=attrs.evolve(health.probe, version=version_of(dialect, ready, described)))

    async def _send(self, one: PreparedCall[RestEntry, Request]) -> Outcome:
        response = await one.link.send(one.request)
        self._remember(response)
        return classify(one.call, one.entry, one.spec, response=response, now_s=self._now_s())

    async def _create(self, one: PreparedCall[RestEntry, Request]) -> Outcome:
        """Create those rooms of this call that are not there; return its outcome, also if nothing was sent."""

        async def send(kept: Sequence[bool]) -> Outcome:
            missing = lookups.only(one.call, kept)
            request = unsent(lambda: self.request(missing, one.entry))
            return await self._send(attrs.evolve(one, call=missing, request=request))

        rooms = [
            NewRoom(lookups.key_of(each), partial(self._look_for_room, each, one.link), lookups.text_of(each, one.call))
            for each in lookups.each(one.call)
        ]
        await one.link.task()
        return await self._rooms.create(one.call, rooms, send)

    async def _look_for_room(self, one: Call, link: Link) -> Found:
        """Ask for the room that one call creates; one of a service that is not there is not there."""
        response, spec = await self._ask(lookups.room_question(one), link)
        if response.status == 500 and (other := lookups.well_question(one)) is not None:
            usual, spec = await self._ask(other, link)
            if isinstance(lookups.find_room(one, spec, usual, self._now_s()), bool):
                return False
        return lookups.find_room(one, spec, response, self._now_s())

    async def _ask(self, question: Call, link: Link) -> tuple[Response, CommandSpec]:
        name = question.command.endpoint
        response = await link.ask(unsent(lambda: self.request(question, TABLE[name])))
        self._remember(response)
        return response, self._commands[name]

    def _remember(self, response: Response) -> None:
        if (session := session_in(response)) is not None:
            self._session = session


def open_connector(target: Target, ports: Ports) -> Connector:
    """Return the connector of this target; nothing is sent yet."""
    known = catalogue.for_version(None)
    sender = RestSender(target, known.commands, ports.now_s)
    return TableConnector(
        target, known, TABLE, request=sender.request, send=sender.send, probe=sender.probe, stepwise=True
    )
