"""The interface between the broker and a server's connector: what each may use of the other.

Public: packages of others are written to it (docs/write-a-server-kind.md). A change here or in anything
else that the page lets a package import goes into CHANGELOG.md. If an older kind can go on without the
change, only the version of restbroker rises: a kind that uses the change names that version among its dependencies. If
every kind has to follow, `CONTRACT_VERSION` in `servers.packages` rises: a kind that was written for another version is
refused, with what to do about it.

`broker/life` calls `deliver` for a job, and `probe` for the target's prober; `app` opens connectors through the
registry. Always holds: a connector touches Redis only through its `Ports`, tells people something only by
`Ports.report`, and lets `NotSent` and `MaybeSent` pass unless it knows better.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Protocol, TypeVar, cast, runtime_checkable

import trio

from restbroker.job.command import Call, Catalogue, CommandSpec
from restbroker.job.json_types import Json
from restbroker.job.outcome import Delivered, Outcome, Probe
from restbroker.light import frozen
from restbroker.telemetry.events import Report
from restbroker.transport.message import Request, Response, Transport

T = TypeVar("T")


class Link(Protocol):
    """Sends the requests of one delivery to the target, one after the other. The worker makes one for each."""

    async def ask(self, request: Request) -> Response:
        """Send a request that prepares the delivery, such as a login or a look-up, and return the answer.

        It must be harmless to repeat. Any failure leaves the job unsent.
        """
        ...

    async def send(self, request: Request) -> Response:
        """Send the request that has the command's effect, and return the answer; raise `NotSent` or `MaybeSent`.

        A request that is sent after another one whose answer was a success says that the other took effect: from then
        on the job's calls have `maybe_run`, even if this request fails.
        """
        ...

    async def task(self) -> None:
        """Go on in a task of its own, in which a connector that is `stepwise` may await all that Trio has."""
        ...


@frozen
class DirectLink:
    """A `Link` without a job behind it, for requests that change nothing, and for tests."""

    http: Transport

    async def ask(self, request: Request) -> Response:
        """Send the request over `http`, and return the answer; raise `NotSent` or `MaybeSent`."""
        return await self.http.send(request)

    async def send(self, request: Request) -> Response:
        """Send the request over `http`, and return the answer; raise `NotSent` or `MaybeSent`."""
        return await self.http.send(request)

    async def task(self) -> None:
        """Do nothing: the caller has a task."""


class NotYet(Exception):
    """The job is not to be sent yet: `deliver` raises it before anything of the job was sent.

    The job is delivered again after `wait_s` seconds. Until then it takes no worker, uses up no try, and goes back to
    its queue if the process stops.
    """

    def __init__(self, wait_s: float) -> None:
        super().__init__(f"The job is to wait {wait_s:.3f} s.")
        self.wait_s = wait_s


class Connector(Protocol):
    """Delivers commands to one target, in its server's dialect; a process has one for each target.

    XML can hold all texts of a command, or `broker.admission` refuses it, unless the kind's module says `XMPP = False`.

    It may have an attribute `stepwise`, which is true if `deliver` is an `async def` that awaits nothing but its link,
    or awaits `link.task()` first: then most of its deliveries need no task, and cost half as much.
    """

    @property
    def catalogue(self) -> Catalogue:
        """The commands of the server's version, as far as it is known; of the newest version before the first probe."""
        ...

    def spec(self, endpoint: str) -> CommandSpec | None:
        """Return the command of this endpoint; None if it is not in the catalogue.

        `deliver` then passes it on as it is, or refuses it.
        """
        ...

    async def deliver(self, call: Call, link: Link) -> Outcome:
        """Send one command, and return the outcome of its answer; raise `NotSent` or `MaybeSent` if there is none.

        Raise `NotYet` if it is to wait. Safe to cancel: the link knows whether it was sent.
        """
        ...

    async def probe(self, link: Link) -> Probe:
        """Send a harmless request, and return whether the target works.

        Raise `NotSent` or `MaybeSent` if there was no answer.
        """
        ...

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Do background work while the connector is in use; without any, call `task_status.started()` and sleep."""
        ...


@frozen
class Plan:
    """How to deliver the plain calls of one endpoint, exactly as `deliver` would.

    `request`: method, path, query and headers of each. `body` returns the body of a call with these arguments; None for
    a call that `deliver` would send otherwise, refuse, or send more than one request for. `outcome` returns the outcome
    of an answer with this status and whole body; None if `deliver` would need more than these, or find another outcome
    than `Delivered`. `on_outcome` is called after each answer that has an outcome.
    """

    request: Request
    body: Callable[[Mapping[str, Json]], bytes | None]
    outcome: Callable[[int, bytes], Delivered | None]
    on_outcome: Callable[[], None] = lambda: None


@runtime_checkable
class Planner(Protocol):
    """A stepwise connector whose plain calls the broker makes by a plan, which is cheaper than `deliver`.

    An answer that the plan does not understand goes to `deliver`, as that to the request that it would send.
    """

    def plan(self, endpoint: str) -> Plan | None:
        """Return the plan for this endpoint; the same object until it changes. None: each call goes to `deliver`.

        The broker calls it for each job. A plain call is one without an earlier sending that may have run, of a token
        that may make it, without a `traceparent`; to all of these, `deliver` must do exactly what the plan says.
        """
        ...


@frozen
class Ports:
    """All that a connector may use besides its arguments.

    `report` reports an event or a warning. `now_s` returns the time in epoch seconds. `http` sends requests to the
    target that belong to no single job. `_services`: by its class, each object that a kind of restbroker's own needs
    besides; a kind of another package has none.
    """

    report: Report
    now_s: Callable[[], float]
    http: Transport | None = None
    _services: Mapping[type, object] = MappingProxyType({})

    def service(self, wanted: type[T]) -> T | None:
        """Return the object of this class; None if nothing of it was made for the target."""
        found = self._services.get(wanted)
        return cast("T | None", found)
