"""The connector for MongooseIM's GraphQL API: one command is one POST of one operation.

`app` opens it through the registry. Always holds: an operation is sent once per delivery; arguments with a name that it
does not have, or without one that it requires, are refused before anything is sent; the connector's own questions (the
probe, whether an account exists, whether the server is well) change nothing on the server.
"""

from collections.abc import Callable
from typing import Final

import attrs
import trio

from restbroker.config.target import Target
from restbroker.job.command import Call, Catalogue, CommandSpec
from restbroker.job.outcome import Outcome, Probe, Reason, Rejected
from restbroker.servers.api.health import Health
from restbroker.servers.api.request import guard, unsent
from restbroker.servers.contract import Connector, Link, Ports, SentMessages
from restbroker.servers.mongooseim import catalogue, command_attributes, questions, schema
from restbroker.servers.mongooseim.answer import Result, read
from restbroker.servers.mongooseim.echo import message_of
from restbroker.servers.mongooseim.options import Options
from restbroker.servers.mongooseim.outcomes import (
    NOTHING,
    FollowUp,
    classify,
    is_doubtful,
    question_after,
    unanswered_without_database,
    without_database,
)
from restbroker.servers.mongooseim.request import build
from restbroker.servers.mongooseim.schema import Operation
from restbroker.transport.errors import MaybeSent, NotSent
from restbroker.transport.message import Response

_WHO: Final = {"admin": "an admin", "domain_admin": "a domain admin", "user": "a user"}
_NO_OTHER: Final = "`restbroker commands --target {target}` lists them; see the target's Schema and ServerVersion."


@attrs.define
class MongooseimConnector:
    """The connector of one target, as `servers.contract.Connector` describes it.

    It holds the version that a probe found, and a domain for the probe to ask about.
    """

    _target: Target
    _now_s: Callable[[], float]
    _sent: SentMessages | None
    _version: str | None = None
    _domain: str | None = None

    @property
    def catalogue(self) -> Catalogue:
        """The commands of the configured or probed version; of the newest known one before the first probe."""
        return catalogue.for_target(self._target, self._version)

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
        if call.maybe_run and spec.name == command_attributes.REGISTER and not has_name:
            return _NO_SECOND
        request = guard(lambda: build(call, operation, self._target), self._target.name, spec.name)
        if isinstance(request, Rejected):
            return request
        if self._sent is not None and (message := message_of(spec.name, call.command.arguments, self._target)):
            await self._sent.remember(*message)
        try:
            response = await link.send(request)
        except MaybeSent as problem:
            # As most commands meet a database that is away; nothing else tells of it while there is little to do.
            if problem.timed_out and await self._lacks_database(call, link):
                return unanswered_without_database()
            raise
        result = read(response.body)
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
        request = unsent(lambda: questions.health(self._target, domain, self._target.timeout_s))
        found = questions.health_of(self._target, await link.ask(request)).probe
        if found.version is not None:
            self._version = found.version
        return found

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Sleep until cancelled, then close the memory of sent messages; there is no background work."""
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            if self._sent is not None:
                with trio.CancelScope(shield=True):
                    await self._sent.aclose()

    def _operation(self, name: str) -> Operation | None:
        return schema.operations(self._target.options_as(Options).schema, self.catalogue.version).get(name)

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
        self, call: Call, operation: Operation | None, result: Result, response: Response, link: Link
    ) -> FollowUp:
        """Ask what `question_after` says, and return what the server answers; `NOTHING` if nothing is open."""
        match question_after(operation, result, response):
            case "health":
                return FollowUp(is_well=await self._is_well(call, link))
            case "user" if operation is not None and (user := questions.user_of(call, operation.name)) is not None:
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
        domain = self._target.default_host or questions.domain_in(call.command.arguments) or self._domain
        # The next probes ask about it too, or they would find a server well that is not.
        self._domain = domain
        timeout_s = min(questions.HEALTH_S, self._target.timeout_s)
        try:
            response = await link.ask(unsent(lambda: questions.health(self._target, domain, timeout_s)))
        except (NotSent, MaybeSent):
            # Of the question, not of the job: it must not be taken for the job's own.
            return None
        return questions.health_of(self._target, response)

    async def _exists(self, user: str, link: Link) -> bool | None:
        try:
            return questions.read_exists(await link.ask(unsent(lambda: questions.exists(self._target, user))))
        except (NotSent, MaybeSent):
            return None


def open_connector(target: Target, ports: Ports) -> Connector:
    """Return the connector of a target. Nothing is sent, but the catalogue file is read now, not at the first job."""
    catalogue.for_target(target, None)
    return MongooseimConnector(target, ports.now_s, ports.sent_messages)


_NO_SECOND: Final = Rejected(
    Reason(
        "Uncertain",
        "It may have run, and is not sent again: without a username each request creates another account.",
        "Check which accounts exist on the server; push the job with a username.",
    )
)
