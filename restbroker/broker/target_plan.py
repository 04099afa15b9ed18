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


@attrs.define(eq=False)
class OldOrder:
    """What a target without `OrderBy` says while keys are held of an old one; "": there are none.

    `kept_elsewhere` is set while another process does its jobs in order, so that none is taken here.
    """

    text: str = ""
    kept_elsewhere: trio.Event = attrs.field(factory=trio.Event)

    def drain(self, after: str) -> None:
        """Note that keys are held: only their jobs are handed out. `after`: what the target says then."""
        self.text = drain_text(Order().text, after)

    def forget(self) -> None:
        """Note that no key is held any more."""
        self.text = ""

    def give_way(self, *, is_kept_elsewhere: bool) -> None:
        """Note whether another process does its jobs in order."""
        if is_kept_elsewhere:
            self.kept_elsewhere.set()
        elif self.kept_elsewhere.is_set():
            self.kept_elsewhere = trio.Event()


class Closable(Protocol):
    """An object with connections of its own."""

    async def aclose(self) -> None:
        """Close its connections."""
        ...


@attrs.frozen
class TargetPlan:
    """The parts that a worker pool is made of."""

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

    old_order: OldOrder = attrs.field(factory=OldOrder, eq=False)
    """What is left of an order that the target does not have any more."""
    _order: Order | None = attrs.field(init=False)
    _lines_text: str = attrs.field(init=False)

    @_order.default
    def _find_order(self) -> Order | None:
        return self.target.order

    @_lines_text.default
    def _find_lines_text(self) -> str:
        return self.target.lines_text

    is_ours: bool = True
    """Whether the connector is one of restbroker's own kinds."""

    event_commands: frozenset[str] = frozenset()
    """The commands that events become, whose dead jobs are counted by themselves."""

    @property
    def fairness(self) -> str:
        """What the target says of its fairness or its order, as the store takes it; "": nothing."""
        return self.old_order.text or self._lines_text

    @property
    def order(self) -> Order | None:
        """How jobs of one key are done one after the other; None: they are not."""
        return Order() if self.old_order.text else self._order

    @property
    def workers(self) -> int:
        """The number of workers: those for slots are added to `concurrency`, so that slow commands do not take all."""
        return self.target.concurrency + sum(self.target.slots.values())
