"""The connector of a kind whose commands are rows of a table: made of the kind's data and functions, for one target.

Each `open_connector` makes one. Always holds: a command that the table lacks, and arguments that make no request, are
refused before anything is sent; a secret that cannot be read leaves the job unsent.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, TypeAlias, TypeVar

import trio

from restbroker.config.target import Target
from restbroker.errors import ConfigError
from restbroker.job.command import Call, Catalogue, CommandSpec
from restbroker.job.outcome import Outcome, Probe, Rejected
from restbroker.light import frozen, frozen_plain
from restbroker.servers.api.health import Health
from restbroker.servers.api.request import lookup, refused, unsent
from restbroker.servers.api.table import InvalidArguments
from restbroker.servers.contract import Link
from restbroker.transport.message import Request, Response

E = TypeVar("E")
"""A row of the kind's table."""
R = TypeVar("R")
"""What the kind makes of a call: a `Request`, or what `send` needs to make one."""
Classify: TypeAlias = Callable[[Call, E, CommandSpec, Response, float], Outcome]
"""A function `(call, entry, spec, response, now_s)` → the outcome of the answer; `now_s` is in epoch seconds."""


@frozen_plain
class PreparedCall(Generic[E, R]):
    """One call before it is sent: its row, its specification, what was made of it, and the link to send it over."""

    call: Call
    entry: E
    spec: CommandSpec
    request: R
    link: Link


@frozen
class TableConnector(Generic[E, R]):
    """The connector of one target, as `servers.contract.Connector` describes it; it holds nothing that changes.

    `_request` makes the request of a call and its row; it may raise `InvalidArguments` and `ConfigError`.

    `_send` is given each call whose request could be made, and returns its outcome: for most kinds that of `send_once`.
    A kind that must look at the server first (a room before it is created, a login) gives a function of its own, mostly
    a method of an object that holds what it remembers. It asks over `delivery.link.ask`, which leaves the job unsent if
    it fails, returns an outcome if nothing is to be sent, and else sends over `delivery.link.send`, itself or by
    `send_once`, under the locks that it needs. It may evolve the `PreparedCall`, with the request of a completed call.

    `_probe` is `ask_once` for most kinds. `_unknown`: the hint for a job whose command is not in the table.
    """

    _target: Target
    catalogue: Catalogue
    _table: Mapping[str, E]
    _request: Callable[[Call, E], R]
    _send: Callable[[PreparedCall[E, R]], Awaitable[Outcome]]
    _probe: Callable[[Link], Awaitable[Probe]]
    _unknown: str = ""
    stepwise: bool = False
    """Whether `_send` awaits nothing but the link, or `link.task()` first."""

    def spec(self, endpoint: str) -> CommandSpec | None:
        """Return the command of this name; None if there is none, and a job with it is rejected."""
        return self.catalogue.commands.get(endpoint)

    async def deliver(self, call: Call, link: Link) -> Outcome:
        """Send the command, and return the outcome of its answer; raise `NotSent` or `MaybeSent` without one.

        When cancelled, only the link knows whether it was sent.
        """
        name = call.command.endpoint
        entry = lookup(self._table, call.command, self._target.name, self.catalogue.unavailable, self._unknown)
        if isinstance(entry, Rejected):
            return entry
        try:
            request = self._request(call, entry)
        except (InvalidArguments, ConfigError) as error:
            return refused(error, self._target.name, name)
        return await self._send(PreparedCall(call, entry, self.catalogue.commands[name], request, link))

    async def probe(self, link: Link) -> Probe:
        """Ask the server how it is, changing nothing there; raise `NotSent` or `MaybeSent` without an answer."""
        return await self._probe(link)

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Sleep until cancelled: there is no background work."""
        task_status.started()
        await trio.sleep_forever()


def send_once(
    classify: Classify[E], now_s: Callable[[], float]
) -> Callable[[PreparedCall[E, Request]], Awaitable[Outcome]]:
    """Return the function that sends the request as it was made, and judges its answer by `classify`."""

    async def send(one: PreparedCall[E, Request]) -> Outcome:
        response = await one.link.send(one.request)
        return classify(one.call, one.entry, one.spec, response, now_s())

    return send


def ask_once(
    question: Callable[[], Request], health: Callable[[Response], Health]
) -> Callable[[Link], Awaitable[Probe]]:
    """Return the probe that asks one question, which may raise `ConfigError`, and judges the answer by `health`."""

    async def probe(link: Link) -> Probe:
        return health(await link.ask(unsent(question))).probe

    return probe
