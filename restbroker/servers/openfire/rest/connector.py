"""The connector for Openfire's REST API plugin: a command is a request. The probe tells dialect and version, too.

`app` opens it through the registry; the check judges the same questions. Always holds: a command is sent once per
delivery; what Openfire was seen to answer 500 to is refused before anything is sent; a redirect is never followed,
since it would end at a page with 200; no question changes anything on the server.
"""

import re
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Literal

import attrs
import trio

from restbroker.config.target import Target
from restbroker.job.command import Call, Catalogue, CommandSpec
from restbroker.job.outcome import Deferred, Delivered, Outcome, Probe, Rejected
from restbroker.servers.api.answer import read
from restbroker.servers.api.health import IF_NOT, Health, target_denied, target_down, target_up
from restbroker.servers.api.request import guard, lookup, unsent
from restbroker.servers.api.texts import parse_json
from restbroker.servers.contract import Connector, Link, Ports
from restbroker.servers.openfire.new_rooms import RoomLocks
from restbroker.servers.openfire.rest import catalogue, lookups
from restbroker.servers.openfire.rest.catalogue import TABLE, Entry
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
from restbroker.transport.errors import MaybeSent, NotSent
from restbroker.transport.message import Request, Response

Dialect = Literal["1.2", "1.3"]
"""How the plugin writes JSON: `1.2` as versions up to 1.2.x do, `1.3` as newer ones do."""
_VERSION: Final = re.compile(rb"^  version: *[\"']?([0-9][\w.-]{0,30})", re.MULTILINE)
_WAITS: Final = f"{IF_NOT}see Openfire's log."


def dialect_in(response: Response) -> Dialect | None:
    """Return the dialect by the answer for the number of sessions: a text up to 1.2, else a number; None if neither."""
    body = parse_json(response.body)
    match body.get("localSessions") if isinstance(body, dict) else None:
        case str():
            return "1.2"
        case int():
            return "1.3"
        case _:
            return None


def is_starting(response: Response) -> bool:
    """Tell whether this answer to the question for readiness says no.

    Any other answer means that the question was not understood: 404 before 1.8.0, and 1.10 is broken on Openfire 4.8
    (read).
    """
    return response.status == 503


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


def target_starting() -> Health:
    """Return the health of a server that says that it is starting or stopping."""
    return target_down("Openfire answers but is not ready: it is starting or stopping.", _WAITS)


def health_of(response: Response) -> Health:
    """Judge the answer to the question for the number of sessions: whether the server is well, and why not."""
    status, dialect, answer = response.status, dialect_in(response), read(FORM, response)
    match status:
        case 200 if dialect is not None:
            about = "up to 1.2" if dialect == "1.2" else "1.3 or newer"
            return target_up(f"The REST API plugin answers, and accepts the login; its JSON is that of {about}.")
        case 401:
            return target_denied("LoginRefused", f"The login is refused ({answer.summary}).", CHECK_LOGIN)
        case 403:
            return target_denied("PluginDisabled", f"The plugin is switched off ({answer.summary}).", CHECK_ENABLED)
        case _ if 300 <= status < 400:
            where = answer.masked_text.address() or "elsewhere"
            return target_down(REDIRECTS.format(location=where), BARRED, "Redirected")
        case _ if status < 500:
            return target_denied("NotTheApi", f"This is not the REST API plugin ({answer.summary}).", CHECK_URL)
        case _:
            return target_down(f"The server does not work now ({answer.summary}).", _WAITS)


@attrs.define
class OpenfireConnector:
    """The connector of one target, as `servers.contract.Connector` describes it.

    It holds the session that the server keeps for restbroker.
    """

    _target: Target
    catalogue: Catalogue
    _now_s: Callable[[], float]
    _session: str | None = None
    """The session's id, to send as a cookie: without one the server makes a session for each request (measured)."""
    _locks: RoomLocks = attrs.field(factory=RoomLocks)

    def spec(self, endpoint: str) -> CommandSpec | None:
        """Return the command of this name; None if there is none, and a job with it is rejected."""
        return self.catalogue.commands.get(endpoint)

    async def deliver(self, call: Call, link: Link) -> Outcome:
        """Send the command and judge the answer, after asking for the group or the room if that is needed.

        Raise `NotSent` or `MaybeSent`. When cancelled, only the link knows whether the command was sent.
        """
        entry = lookup(TABLE, call.command, self._target.name, self.catalogue.unavailable)
        if isinstance(entry, Rejected):
            return entry
        request = self._request(call, entry)
        if isinstance(request, Request) and lookups.is_incomplete_group(call):
            whole = await self._complete(call, link)
            if not isinstance(whole, Call):
                return whole
            request = self._request(whole, entry)
        if isinstance(request, Rejected):
            return request
        if lookups.needs_lookup(call):
            return await self._create(call, entry, link)
        return await self._send(call, entry, request, link)

    async def probe(self, link: Link) -> Probe:
        """Ask whether the server is ready (if it can tell), for the number of sessions, and for its version.

        Nothing changes on the server. Raise `NotSent` or `MaybeSent` if it cannot be reached.
        """
        ready = await link.ask(unsent(lambda: question(self._target, READY)))
        if is_starting(ready):
            return target_starting().probe
        response = await link.ask(unsent(lambda: question(self._target, STATISTICS, self._session)))
        self._remember(response)
        dialect = dialect_in(response) if response.status == 200 else None
        probe, described = health_of(response).probe, None
        if dialect == "1.3":
            described = await link.ask(unsent(lambda: question(self._target, DESCRIPTION, self._session, accept=YAML)))
        return attrs.evolve(probe, version=version_of(dialect, ready, described))

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Sleep until cancelled; there is no background work."""
        task_status.started()
        await trio.sleep_forever()

    def _request(self, call: Call, entry: Entry) -> Request | Rejected:
        return guard(lambda: build(call, entry, self._target, self._session), self._target.name, entry.name)

    async def _complete(self, call: Call, link: Link) -> Call | Outcome:
        """Read the group that this call replaces, and return the completed call.

        If the group cannot be read, return an outcome; then nothing is to be sent.
        """
        response, spec = await self._ask(lookups.group_question(call), link)
        return lookups.complete_group(call, spec, response, self._now_s())

    async def _send(self, call: Call, entry: Entry, request: Request, link: Link) -> Outcome:
        response = await link.send(request)
        self._remember(response)
        return classify(call, entry, self.catalogue.commands[entry.name], response=response, now_s=self._now_s())

    async def _create(self, call: Call, entry: Entry, link: Link) -> Outcome:
        """Create those rooms of this call that are not there; return its outcome, also if nothing was sent."""
        each = lookups.each(call)
        async with self._locks.hold({lookups.key_of(one) for one in each}):
            kept, outcome = [], None
            for one in each:
                outcome = await self._look_for_room(one, link, in_bulk=one is not call)
                if outcome is not None and not isinstance(outcome, Delivered):
                    return outcome
                kept.append(outcome is None)
            if outcome is not None and not any(kept):
                return outcome
            missing = lookups.only(call, kept)
            request = self._request(missing, entry)
            if isinstance(request, Rejected):
                return request
            outcome = await self._send(missing, entry, request, link)
            if isinstance(outcome, Deferred) and outcome.reason.status == 500:
                return await self._classify_creation(missing, outcome, link)
            return lookups.with_existing(outcome, kept)

    async def _look_for_room(self, one: Call, link: Link, *, in_bulk: bool) -> Outcome | None:
        """Ask for the room that one call creates; return the call's outcome if it must not be sent, else None."""
        response, spec = await self._ask(lookups.room_question(one), link)
        outcome = lookups.outcome_of(one, spec, response, self._now_s(), in_bulk=in_bulk)
        if response.status == 500 and (other := lookups.well_question(one)) is not None:
            response, spec = await self._ask(other, link)
            return None if lookups.service_is_missing(one, spec, response, self._now_s()) else outcome
        return outcome

    async def _classify_creation(self, call: Call, failed: Deferred, link: Link) -> Outcome:
        """Ask which rooms are there whose creation was answered with 500, and return the call's outcome."""
        outcome: Outcome = failed
        for one in lookups.each(call):
            spec, response = self.catalogue.commands["get_room"], None
            with suppress(NotSent, MaybeSent):
                response, spec = await self._ask(lookups.room_question(one), link)
            outcome = lookups.after_failure(
                one, spec, failed, response=response, now_s=self._now_s(), in_bulk=one is not call
            )
            if isinstance(outcome, Rejected):
                break
        return outcome

    async def _ask(self, question: Call, link: Link) -> tuple[Response, CommandSpec]:
        name = question.command.endpoint
        response = await link.ask(unsent(lambda: build(question, TABLE[name], self._target, self._session)))
        self._remember(response)
        return response, self.catalogue.commands[name]

    def _remember(self, response: Response) -> None:
        if (session := session_in(response)) is not None:
            self._session = session


def open_connector(target: Target, ports: Ports) -> Connector:
    """Return the connector of this target; nothing is sent yet."""
    return OpenfireConnector(target, catalogue.for_target(target, None), ports.now_s)
