"""What the broker asks of a server's connector, and what a connector may ask of the broker.

`broker/delivery` calls `deliver` for a job, and `probe` as the target's prober does; assembly opens connectors through
the registry. Always holds: a connector never touches Redis, tells people something only by `Ports.report`, and lets
`NotSent` and `MaybeSent` pass unless it knows better.
"""

from collections.abc import Callable
from typing import Protocol

import attrs
import trio

from restbroker.rules.command import Call, Catalogue, CommandSpec
from restbroker.rules.outcome import Outcome, Probe
from restbroker.telemetry.events import Report
from restbroker.transport.message import Request, Response


class Link(Protocol):
    """The way to the target for one delivery. Made by the worker."""

    async def ask(self, request: Request) -> Response:
        """Preparation (a login, a look-up): must be harmless to repeat. Any failure leaves the job unsent."""
        ...

    async def send(self, request: Request) -> Response:
        """The effect. Raises `NotSent` or `MaybeSent`."""
        ...


class Connector(Protocol):
    """Speaks one server's dialect. One per target and process."""

    @property
    def catalogue(self) -> Catalogue:
        """The commands of the server's version as far as known; the newest before the first probe."""
        ...

    def spec(self, endpoint: str) -> CommandSpec | None:
        """The command of this endpoint; None for one outside the catalogue (it is passed through)."""
        ...

    async def deliver(self, call: Call, link: Link) -> Outcome:
        """Sends one command and judges the answer. Safe to cancel: the link knows whether it was sent."""
        ...

    async def probe(self, link: Link) -> Probe:
        """Asks the target something harmless. Raises `NotSent` or `MaybeSent` when it cannot be reached."""
        ...

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Background work for as long as the lane lives; may just start and sleep."""
        ...


@attrs.frozen
class Ports:
    """What a connector may use of the outside."""

    report: Report
    now_s: Callable[[], float]
