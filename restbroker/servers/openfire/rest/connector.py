"""The connector for Openfire's REST API plugin: a command is a request.

`app` opens it through the registry. Always holds: a command is sent once per delivery; what Openfire was seen to answer
500 to is refused before anything is sent; a redirect is never followed, since it would end at a page with 200.
"""

from collections.abc import Callable
from contextlib import suppress

import attrs
import trio

from restbroker.config.target import Target
from restbroker.job.command import Call, Catalogue, CommandSpec
from restbroker.job.outcome import Deferred, Delivered, Outcome, Probe, Rejected
from restbroker.servers.api.request import guard, lookup, unsent
from restbroker.servers.contract import Connector, Link, Ports
from restbroker.servers.openfire.new_rooms import RoomLocks
from restbroker.servers.openfire.rest import catalogue, groups, health, rooms
from restbroker.servers.openfire.rest.answer import session_in
from restbroker.servers.openfire.rest.outcomes import classify
from restbroker.servers.openfire.rest.request import DESCRIPTION, READY, STATISTICS, YAML, build, question
from restbroker.servers.openfire.rest.table import TABLE, Entry
from restbroker.transport.errors import MaybeSent, NotSent
from restbroker.transport.message import Request, Response


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
        if isinstance(request, Request) and groups.is_incomplete(call):
            whole = await self._complete(call, link)
            if not isinstance(whole, Call):
                return whole
            request = self._request(whole, entry)
        if isinstance(request, Rejected):
            return request
        if rooms.needs_lookup(call):
            return await self._create(call, entry, link)
        return await self._send(call, entry, request, link)

    async def probe(self, link: Link) -> Probe:
        """Ask whether the server is ready (if it can tell), for the number of sessions, and for its version.

        Nothing changes on the server. Raise `NotSent` or `MaybeSent` if it cannot be reached.
        """
        ready = await link.ask(unsent(lambda: question(self._target, READY)))
        if health.is_starting(ready):
            return health.target_starting().probe
        response = await link.ask(unsent(lambda: question(self._target, STATISTICS, self._session)))
        self._remember(response)
        dialect = health.dialect_in(response) if response.status == 200 else None
        probe, described = health.health_of(response).probe, None
        if dialect == "1.3":
            described = await link.ask(unsent(lambda: question(self._target, DESCRIPTION, self._session, accept=YAML)))
        return attrs.evolve(probe, version=health.version_of(dialect, ready, described))

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
        response, spec = await self._ask(groups.question(call), link)
        return groups.complete(call, spec, response, self._now_s())

    async def _send(self, call: Call, entry: Entry, request: Request, link: Link) -> Outcome:
        response = await link.send(request)
        self._remember(response)
        return classify(call, entry, self.catalogue.commands[entry.name], response=response, now_s=self._now_s())

    async def _create(self, call: Call, entry: Entry, link: Link) -> Outcome:
        """Create those rooms of this call that are not there; return its outcome, also if nothing was sent."""
        each = rooms.each(call)
        async with self._locks.hold({rooms.key_of(one) for one in each}):
            kept, outcome = [], None
            for one in each:
                outcome = await self._look_for_room(one, link, in_bulk=one is not call)
                if outcome is not None and not isinstance(outcome, Delivered):
                    return outcome
                kept.append(outcome is None)
            if outcome is not None and not any(kept):
                return outcome
            missing = rooms.only(call, kept)
            request = self._request(missing, entry)
            if isinstance(request, Rejected):
                return request
            outcome = await self._send(missing, entry, request, link)
            if isinstance(outcome, Deferred) and outcome.reason.status == 500:
                return await self._classify_creation(missing, outcome, link)
            return rooms.with_existing(outcome, kept)

    async def _look_for_room(self, one: Call, link: Link, *, in_bulk: bool) -> Outcome | None:
        """Ask for the room that one call creates; return the call's outcome if it must not be sent, else None."""
        response, spec = await self._ask(rooms.question(one), link)
        outcome = rooms.outcome_of(one, spec, response, self._now_s(), in_bulk=in_bulk)
        if response.status == 500 and (other := rooms.well_question(one)) is not None:
            response, spec = await self._ask(other, link)
            return None if rooms.service_is_missing(one, spec, response, self._now_s()) else outcome
        return outcome

    async def _classify_creation(self, call: Call, failed: Deferred, link: Link) -> Outcome:
        """Ask which rooms are there whose creation was answered with 500, and return the call's outcome."""
        outcome: Outcome = failed
        for one in rooms.each(call):
            spec, response = self.catalogue.commands["get_room"], None
            with suppress(NotSent, MaybeSent):
                response, spec = await self._ask(rooms.question(one), link)
            outcome = rooms.after_failure(
                one, spec, failed, response=response, now_s=self._now_s(), in_bulk=one is not call
            )
            if isinstance(outcome, Rejected):
                break
        return outcome

    async def _ask(self, question: Call, link: Link) -> tuple[Response, CommandSpec]:
        name = question.command.endpoint
        asked = unsent(lambda: build(question, TABLE[name], self._target, self._session))
        response = await link.ask(asked)
        self._remember(response)
        return response, self.catalogue.commands[name]

    def _remember(self, response: Response) -> None:
        if (session := session_in(response)) is not None:
            self._session = session


def open_connector(target: Target, ports: Ports) -> Connector:
    """Return the connector of this target; nothing is sent yet."""
    return OpenfireConnector(target, catalogue.for_target(target, None), ports.now_s)
