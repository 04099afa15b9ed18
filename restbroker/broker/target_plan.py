"""The parts that serve one target. `app` builds them from a configuration; all its generations share them."""

from collections.abc import Callable
from typing import Protocol

import attrs
import trio

from restbroker.broker.tokens import Tokens
from restbroker.config.target import Target
from restbroker.job.order import Order, drain_text
from restbroker.job.policy import Policy
from restbroker.job.reason import Reason
from restbroker.servers.contract import Connector
from restbroker.store.jobs import Limits
from restbroker.transport.message import Transport


class Closable(Protocol):
    """An object with connections of its own."""

    async def aclose(self) -> None:
        """Close its connections."""
        ...


@attrs.define(eq=False)
class TargetPlan:
    """The parts that a worker pool is made of, and what it does with jobs of one key now."""

    target: Target
    connector: Connector
    transport: Transport
    tokens: Tokens
    policy: Policy
    limits: Limits = attrs.field(factory=Limits)
    history_s: float | None = None
    """The seconds for which Redis keeps a record of finished jobs; None: it keeps none."""
    services: tuple[Closable, ...] = ()
    """What else the connector uses; closed with the transport."""
    shows_bodies: bool = False
    """Whether the reasons of refusals may hold message texts of jobs."""
    bug: Callable[[str, Exception], Reason] = lambda what, error: Reason("Bug", f"{what}: {type(error).__name__}.")
    """Returns what is reported of the connector's unforeseen error; `what` ("The probe") begins the sentence."""

    is_ours: bool = True
    """Whether the connector is one of restbroker's own kinds."""

    event_commands: frozenset[str] = frozenset()
    """The commands that events become, whose dead jobs are counted by themselves."""

    order: Order | None = attrs.field(init=False)
    """How jobs of one key are done one after the other; None: they are not."""
    fairness: str = attrs.field(init=False)
    """What the target says of its fairness or its order, as the store takes it; "": nothing."""
    kept_elsewhere: trio.Event = attrs.field(factory=trio.Event, init=False)
    """Set while it has no `OrderBy` and another process does its jobs in order, so that none is taken here."""

    def __attrs_post_init__(self) -> None:
        """Begin as the target says."""
        self.end_drain()

    def drain(self) -> None:
        """Note that keys are held of an old order, though the target has none: only their jobs are handed out."""
        self.order, self.fairness = Order(), drain_text(Order().text, self.target.lines_text)

    def end_drain(self) -> None:
        """Note that no key of an old order is held any more."""
        self.order, self.fairness = self.target.order, self.target.lines_text

    def give_way(self, *, is_kept_elsewhere: bool) -> None:
        """Note whether another process does its jobs in order."""
        if is_kept_elsewhere:
            self.kept_elsewhere.set()
        elif self.kept_elsewhere.is_set():
            self.kept_elsewhere = trio.Event()

    @property
    def workers(self) -> int:
        """The number of workers: those for slots are added to `concurrency`, so that slow commands do not take all."""
        return self.target.concurrency + sum(self.target.slots.values())
