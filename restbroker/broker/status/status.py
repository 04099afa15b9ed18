"""How the broker is, for what asks from outside: the readiness page, the stats page and the process record.

`broker.run` fills it, across all lives; services read it. Always holds: reading it costs no I/O and changes nothing,
and what comes out (`view`) is a copy; `cancel`, which the record calls for a person, is all that acts.
"""

from collections.abc import Iterator, Sequence

import attrs
import trio

from restbroker.broker.health import StoreHealth
from restbroker.broker.item import Item
from restbroker.broker.lane import Lane
from restbroker.broker.lease import Lease
from restbroker.broker.signals import Control
from restbroker.broker.status.view import Phase, Running, Serving, View
from restbroker.job.job import spare_jid


@attrs.define(eq=False)
class Status:
    """How this process is. Empty until `broker.run` begins."""

    served: trio.Event = attrs.field(factory=trio.Event)
    """Set once the first life takes jobs."""
    _serving: tuple[Serving, ...] = ()
    _control: Control | None = None
    _health: StoreHealth | None = None
    _lanes: Sequence[Lane] = ()
    _lease: Lease = attrs.field(factory=Lease)
    _finishing: list[Sequence[Lane]] = attrs.field(factory=list)

    def begin(self, control: Control, health: StoreHealth) -> None:
        """Note that the process has begun."""
        self._control, self._health = control, health

    def serve(self, lanes: Sequence[Lane], lease: Lease) -> None:
        """Note that a life takes jobs from now on; the one before it, if it still lives, finishes what it has."""
        if self._lanes:
            self._finishing.append(self._lanes)
        self._lanes, self._lease = lanes, lease
        plans = [(lane.plan.target, lane.plan.workers) for lane in lanes]
        self._serving = tuple(Serving(one.name, one.queues, workers, one.weights) for one, workers in plans)
        self.served.set()

    def rest(self, lanes: Sequence[Lane]) -> None:
        """Note that the life with these lanes has ended."""
        if lanes is self._lanes:
            self._lanes = ()
        self._finishing = [one for one in self._finishing if one is not lanes]

    def view(self) -> View:
        """Return how the broker is now."""
        closed = {lane.plan.target.name: lane.gate.reason.code for lane in self._lanes if lane.gate.reason is not None}
        store_up = self._health is not None and self._health.is_up
        reason = None if self._health is None else self._health.reason
        finishing = sum(len(lane.in_hand) for lanes in self._finishing for lane in lanes)
        refused = any(lane.refused or lane.limited == "refused" for lane in self._lanes)
        return View(self._phase(), store_up, self._lease.is_fresh, closed, finishing, refused, reason)

    @property
    def lanes(self) -> Sequence[Lane]:
        """The lanes of the newest life."""
        return self._lanes

    @property
    def beat_age_s(self) -> float | None:
        """Seconds since the last confirmed beat of the newest life was sent; None: none was confirmed yet."""
        return self._lease.age_s

    def running(self) -> list[Running]:
        """Return the jobs in delivery in this process; in each lane the oldest first."""
        return [running for lanes in (*self._finishing, self._lanes) for lane in lanes for running in _running(lane)]

    def cancel(self, thread: str) -> bool:
        """End the delivery of the job that is shown under this thread's name; return False if there is none now."""
        for lanes in (*self._finishing, self._lanes):
            for lane in lanes:
                for item in list(lane.in_hand.values()):
                    if _thread(lane, item) == thread:
                        return lane.cancel(item)
        return False

    def serving(self) -> Sequence[Serving]:
        """Return the targets of the newest life, also between two lives and while it ends."""
        return self._serving

    def _phase(self) -> Phase:
        if self._control is not None and self._control.stop.is_set():
            return "stopping"
        if self._control is None or not self._lanes:
            return "starting"
        return "quiet" if self._control.quiet.is_set() else "serving"


def _running(lane: Lane) -> Iterator[Running]:
    waiting, secrets = lane.slots.waiting(), lane.plan.tokens.values
    for item in lane.in_hand.values():
        if item.job is None or item.started_at_s is None or item.settlement is not None or item.ticket in waiting:
            continue
        thread, spec = _thread(lane, item), lane.plan.connector.spec(item.command)
        yield Running(item.job, item.queue, item.started_at_s, item.command, thread, secrets, spec)


def _thread(lane: Lane, item: Item) -> str:
    return spare_jid(lane.identity, item.ticket)[:10]
