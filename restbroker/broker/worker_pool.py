"""What serves one target inside a process: its plan, and the state that its tasks share during one life.

`app` makes the `TargetPlan`, each life of the broker a new `WorkerPool` under a new identity. Always holds: what Redis
lists as this pool's is in `in_hand`, or is about to be adopted by a reconcile.
"""

import os
import secrets
import socket
from collections.abc import Callable, Mapping

import attrs
import trio

from restbroker.broker.ack_buffer import AckBuffer
from restbroker.broker.batch_size import BatchSize
from restbroker.broker.breaker import Breaker
from restbroker.broker.endpoints import Endpoints
from restbroker.broker.health import StoreHealth
from restbroker.broker.job_in_progress import JobInProgress, Worker
from restbroker.broker.lease import Lease
from restbroker.broker.marks import Marks
from restbroker.broker.ready_buffer import ReadyBuffer
from restbroker.broker.recently_settled import RecentlySettled
from restbroker.broker.replays import Replays
from restbroker.broker.slots import Slots
from restbroker.broker.tokens import Tokens
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
class TargetPlan:
    """What a pool is made of; the same for every life."""

    target: Target
    connector: Connector
    transport: Transport
    tokens: Tokens
    policy: Policy
    limits: Limits = attrs.field(factory=Limits)
    history_s: float | None = None
    """The seconds for which Redis keeps a record of finished jobs; None: it keeps none."""
    bug: Callable[[str, Exception], Reason] = lambda what, error: Reason("Bug", f"{what}: {type(error).__name__}.")
    """Returns what is reported of the connector's unforeseen error; `what` ("The probe") begins the sentence."""

    @property
    def workers(self) -> int:
        """The number of workers: those for slots are added to `concurrency`, so that slow commands do not take all."""
        return self.target.concurrency + sum(self.target.slots.values())


@attrs.define(eq=False)
class WorkerPool:
    """One life of a pool. `base` is the highest ticket number issued, `handed` the highest that a worker took."""

    plan: TargetPlan
    store: Connection
    health: StoreHealth
    lease: Lease
    breaker: Breaker
    report: Report
    identity: str
    quiet: trio.Event
    turn: trio.Lock = attrs.field(factory=trio.Lock)
    """Held by the committer and the fetcher for each of their calls: the one that waits takes along what came since."""
    in_hand: dict[str, JobInProgress] = attrs.field(factory=dict)
    ready: ReadyBuffer = attrs.field(factory=ReadyBuffer)
    finished: AckBuffer = attrs.field(factory=AckBuffer)
    pace: BatchSize = attrs.field(factory=BatchSize)
    fenced: trio.Event = attrs.field(factory=trio.Event)
    stopping: trio.Event = attrs.field(factory=trio.Event)
    retired: bool = False
    base: int = 0
    handed: int = 0
    slots: Slots = attrs.field(init=False)
    commands: Endpoints = attrs.field(init=False)
    settled: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)
    """Tasks that wait here are woken whenever a job is no longer in progress."""
    limited: str | None = None
    """Why the last fetch took nothing although there is room: paused, rate, in_flight, dead, or refused (by Redis).

    None: nothing kept it from taking jobs.
    """
    _marker: Marks = attrs.field(init=False)
    replays: Replays = attrs.field(init=False)
    recovered_version: int = 0
    recovered: Mapping[str, int] = attrs.field(factory=dict)
    warned: set[str] = attrs.field(factory=set)
    recent: RecentlySettled = attrs.field(factory=RecentlySettled)
    hands: set[Worker] = attrs.field(factory=set)
    """What each of the workers has."""
    refused: list[JobInProgress] = attrs.field(factory=list)
    """Jobs that Redis refuses to settle in any form. While there is one, nothing more is fetched."""

    def __attrs_post_init__(self) -> None:
        """Make the parts that need other parts of the pool."""
        self._marker = Marks(self.store, self.health, self.fence)
        self.replays = Replays(self.store, self.health)
        self.slots = Slots(self.plan.target.slots)
        self.commands = Endpoints(self.plan.target, self.plan.connector, self.slots)

    @property
    def high_water(self) -> int:
        """The highest ticket number that workers may start before the next call tells Redis of a higher one.

        It is as far beyond what has started as the pace needs, at least one for each worker: if it were lower, workers
        would wait for Redis; jobs up to it that have not started count as possibly run after a crash.
        """
        workers = self.plan.workers
        ahead = min(max(workers, self.pace.lead), workers + MOST_AHEAD)
        # What lies between the two is not in hand any more, and will never start.
        return max(self.handed, self.ready.first_number - 1) + ahead

    def told(self, mark: int, last: int) -> None:
        """Note that Redis confirmed the high-water mark `mark`, so that workers may start the jobs up to it.

        `last` is the highest ticket number that Redis had issued then: of later ones it noted nothing.
        """
        self.ready.allow(min(mark, last))

    def let_go(self, *tickets: str) -> None:
        """Note that the jobs with these tickets are no longer in progress here, and wake the tasks in `settled`."""
        for ticket in tickets:
            self.in_hand.pop(ticket, None)
        self.settled.unpark_all()

    async def mark(self, ticket: str) -> bool:
        """Record in Redis that a job is about to be sent; return False if it must not be, as it is not ours any more.

        Wait while Redis is away or refuses it. Safe to cancel.
        """
        while True:
            try:
                return await self._marker.mark(self.identity, ticket)
            except StoreRefused as error:
                self.complain("MarkRefused", error.message, error.cure)
                await trio.sleep(_REFUSED_WAIT_S)

    def cancel(self, item: JobInProgress) -> bool:
        """End the delivery of a job, so that its worker parks it; return False if no worker has it, or it is settled.

        A worker that has its answer already settles it as usual.
        """
        hand = next((one for one in self.hands if one.item is item), None)
        if hand is None or item.settlement is not None:
            return False
        hand.cancelled = item
        hand.scope.cancel()
        return True

    def fence(self) -> None:
        """End this life of the pool, since Redis no longer knows its identity; only the first call is reported."""
        if not self.fenced.is_set():
            self.report(IdentityFenced(self.identity))
            self.fenced.set()

    def complain(self, code: str, message: str, cure: str | None) -> None:
        """Report a warning, but each message only once per life of the pool."""
        if message not in self.warned:
            self.warned.add(message)
            self.report(Warned(code, message, cure))

    def stop(self) -> None:
        """End every wait of a worker for a job, for the breaker, or before another try."""
        self.stopping.set()
        self.ready.close()
        self.breaker.stop()


def new_name() -> str:
    """Return a name for a life that was never used before: `host:pid:nonce`.

    With `:target` behind it, it is a pool's identity.
    """
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(6)}"
