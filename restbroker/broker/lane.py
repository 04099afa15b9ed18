"""What serves one target inside a process: its plan, and the state that its tasks share during one life.

`app` makes the `LanePlan`, each life of the broker a fresh `Lane` under a new identity. Always holds: what Redis
lists as this lane's is in `in_hand`, or is about to be adopted by a reconcile.
"""

import os
import secrets
import socket
from collections.abc import Callable, Mapping

import attrs
import trio

from restbroker.broker.delivery.commands import Commands
from restbroker.broker.delivery.gate import Gate
from restbroker.broker.delivery.marker import Marker
from restbroker.broker.delivery.replays import Replays
from restbroker.broker.delivery.slots import Slots
from restbroker.broker.delivery.tokens import Tokens
from restbroker.broker.health import StoreHealth
from restbroker.broker.intake.handover import HandOver
from restbroker.broker.intake.pace import Pace
from restbroker.broker.item import Hand, Item
from restbroker.broker.lease import Lease
from restbroker.broker.settling.finished import Finished
from restbroker.broker.settling.recent import Recent
from restbroker.config.target import Target
from restbroker.errors import StoreRefused
from restbroker.job.policy import Policy
from restbroker.job.reason import Reason
from restbroker.servers.contract import Connector
from restbroker.store.connection import Connection
from restbroker.store.jobs import Limits
from restbroker.telemetry.events import IdentityFenced, Report, Warned
from restbroker.transport.message import Transport

MOST_AHEAD = 100
_REFUSED_WAIT_S = 1.0


@attrs.frozen
class LanePlan:
    """What a lane is made of; the same for every life."""

    target: Target
    connector: Connector
    transport: Transport
    tokens: Tokens
    policy: Policy
    limits: Limits = attrs.field(factory=Limits)
    history_s: float | None = None
    """For how long it is kept in Redis finished jobs; None: it is not."""
    bug: Callable[[str, Exception], Reason] = lambda what, error: Reason("Bug", f"{what}: {type(error).__name__}.")
    """What is told of an error of the connector's that nobody foresaw: `what` of it failed, as a sentence begins."""

    @property
    def workers(self) -> int:
        """How many workers it takes: those in slots come on top, so that slow commands do not take all of them."""
        return self.target.concurrency + sum(self.target.slots.values())


@attrs.define(eq=False)
class Lane:
    """One life of a lane. `base` is the highest ticket number issued, `handed` the highest that a worker took."""

    plan: LanePlan
    store: Connection
    health: StoreHealth
    lease: Lease
    gate: Gate
    report: Report
    identity: str
    quiet: trio.Event
    turn: trio.Lock = attrs.field(factory=trio.Lock)
    """Held by the committer and the fetcher for each of their calls: who waits for it takes along what came since."""
    in_hand: dict[str, Item] = attrs.field(factory=dict)
    handover: HandOver = attrs.field(factory=HandOver)
    finished: Finished = attrs.field(factory=Finished)
    pace: Pace = attrs.field(factory=Pace)
    fenced: trio.Event = attrs.field(factory=trio.Event)
    stopping: trio.Event = attrs.field(factory=trio.Event)
    retired: bool = False
    base: int = 0
    handed: int = 0
    slots: Slots = attrs.field(init=False)
    commands: Commands = attrs.field(init=False)
    settled: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)
    """Who waits here is woken whenever a job is no longer in progress."""
    limited: str | None = None
    """Why the last fetch took nothing although there is room: paused, rate, in_flight, dead, or refused (by Redis)."""
    _marker: Marker = attrs.field(init=False)
    replays: Replays = attrs.field(init=False)
    recovered_version: int = 0
    recovered: Mapping[str, int] = attrs.field(factory=dict)
    warned: set[str] = attrs.field(factory=set)
    recent: Recent = attrs.field(factory=Recent)
    hands: set[Hand] = attrs.field(factory=set)
    """Those of the workers."""
    refused: list[Item] = attrs.field(factory=list)
    """What Redis refuses to settle in any form. While there is any, nothing more is fetched."""

    def __attrs_post_init__(self) -> None:
        """Makes what needs the lane's own parts."""
        self._marker = Marker(self.store, self.health, self.fence)
        self.replays = Replays(self.store, self.health)
        self.slots = Slots(self.plan.target.slots)
        self.commands = Commands(self.plan.target, self.plan.connector, self.slots)

    @property
    def high_water(self) -> int:
        """The highest ticket that workers may have started before Redis hears from us again.

        As many beyond those that have one as the pace needs: were it fewer, workers would wait for Redis; what it is
        more counts as possibly run after a crash.
        """
        workers = self.plan.workers
        ahead = min(max(workers, self.pace.lead), workers + MOST_AHEAD)
        # What lies between the two is not in hand any more, and will never start.
        return max(self.handed, self.handover.first_number - 1) + ahead

    def told(self, mark: int, last: int) -> None:
        """Notes that Redis confirmed this mark; of tickets beyond the `last` that it knew it noted nothing."""
        self.handover.allow(min(mark, last))

    def let_go(self, *tickets: str) -> None:
        """Notes that jobs are no longer in progress."""
        for ticket in tickets:
            self.in_hand.pop(ticket, None)
        self.settled.unpark_all()

    async def mark(self, ticket: str) -> bool:
        """Writes down that a job is about to be sent; False if it must not be, since it is not ours any more.

        Waits while Redis is away or refuses it; safe to cancel.
        """
        while True:
            try:
                return await self._marker.mark(self.identity, ticket)
            except StoreRefused as error:
                self.complain("MarkRefused", error.message, error.cure)
                await trio.sleep(_REFUSED_WAIT_S)

    def cancel(self, item: Item) -> bool:
        """Ends the delivery of a job, wherever it is on its way; its worker parks it. False: none has it now.

        A worker that has its answer already settles it as ever.
        """
        hand = next((one for one in self.hands if one.item is item), None)
        if hand is None or item.settlement is not None:
            return False
        hand.cancelled = item
        hand.scope.cancel()
        return True

    def fence(self) -> None:
        """Ends this life of the lane, since Redis does not know its identity any more; told once, whoever finds out."""
        if not self.fenced.is_set():
            self.report(IdentityFenced(self.identity))
            self.fenced.set()

    def complain(self, code: str, message: str, cure: str | None) -> None:
        """Tells an operator, once per life of the lane."""
        if message not in self.warned:
            self.warned.add(message)
            self.report(Warned(code, message, cure))

    def stop(self) -> None:
        """Ends every wait of a worker for a job or for the gate."""
        self.stopping.set()
        self.handover.close()
        self.gate.stop()


def new_life() -> str:
    """`host:pid:nonce`, never used before; with `:target` behind it, it is a lane's identity."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(6)}"
