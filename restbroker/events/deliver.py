"""Has Redis take events: what comes together goes together, in one call. Every event source calls `Deliverer.deliver`.

`app` makes one for a process and runs it beside the sources. Always holds: who is told "accepted" has a job in
Redis; after `PATIENCE_S`, or the source's own time, no push is begun for him, and one that is on its way then is
bounded by its connection; what nobody waits for any more is not pushed. A push whose answer was lost is made again
while somebody waits; Redis knows by then what it has.
"""

import math
from collections import deque
from collections.abc import Callable, Sequence
from secrets import token_hex
from typing import Final

import attrs
import trio

from restbroker.config.events import EventSource
from restbroker.config.values import duration_text
from restbroker.errors import ConnectionEnded, RestbrokerError, StoreRefused, StoreUnavailable
from restbroker.events.jobs import incoming_event
from restbroker.job.event import ServerEvent
from restbroker.servers.event_contract import Verdict
from restbroker.store import events as store
from restbroker.store.connection import Connection
from restbroker.store.events import Heard, IncomingEvent

PATIENCE_S: Final = 2.0
_AT_ONCE: Final = 200
"""Events that go to Redis in one call."""
_AT_ONCE_BYTES: Final = 4 * 1024 * 1024
_GAP_S: Final = 0.003
"""Between the beginnings of two calls: what comes meanwhile shares the next. A call costs as much as many events do."""
_PAUSE_S: Final = 0.1
"""Before Redis is asked again, …"""
_PATIENT_PAUSE_S: Final = 1.0
"""… and by whom nobody waits for."""


@attrs.define(eq=False)
class _Waiting:
    """An event whose sender waits, until then at least. `left`: he does not any more."""

    arrival: IncomingEvent
    until_s: float
    done: trio.Event = attrs.field(factory=trio.Event)
    heard: Heard | None = None
    error: RestbrokerError | None = None
    is_on_its_way: bool = False
    left: bool = False


@attrs.define(eq=False)
class Deliverer:
    """One for a process; `run` has to be running."""

    connection: Connection
    patience_s: float = PATIENCE_S
    new_jid: Callable[[], str] = lambda: token_hex(12)
    _waiting: deque[_Waiting] = attrs.field(factory=deque)
    _came: trio.Event = attrs.field(factory=trio.Event)
    _stopping: trio.Event = attrs.field(factory=trio.Event)

    async def deliver(self, source: EventSource, event: ServerEvent, /) -> Verdict:
        """Returns when Redis has its job. Raises `StoreUnavailable` or `StoreRefused`: perhaps it has."""
        patience_s = self.patience_s if source.patience_s is None else source.patience_s
        what = incoming_event(source, event, self.new_jid())
        if what is None:
            return "ignored"
        one = _Waiting(what, trio.current_time() + patience_s)
        self._waiting.append(one)
        self._came.set()
        try:
            with trio.move_on_at(one.until_s):
                await one.done.wait()
            if one.is_on_its_way:
                # "Not taken" would be wrong as soon as it arrives.
                await one.done.wait()
        finally:
            one.left = True
        match _verdict(one):
            case str(verdict):
                return verdict
            case None:
                raise StoreUnavailable(f"Redis did not accept an event within {duration_text(patience_s)}.")
            case error:
                raise error

    def offer(self, source: EventSource, events: Sequence[ServerEvent]) -> "EventOffer":
        """As `inlet.Inlet` has it."""
        # All are made before one waits: of events that no JSON can hold, none is pushed.
        waiting = [self._make(source, event) for event in events]
        self._waiting.extend(one for one in waiting if one is not None)
        self._came.set()
        return EventOffer(waiting)

    def _make(self, source: EventSource, event: ServerEvent) -> _Waiting | None:
        what = incoming_event(source, event, self.new_jid())
        return None if what is None else _Waiting(what, math.inf)

    async def park(self, jobs: Sequence[bytes]) -> None:
        """As `inlet.Inlet` has it."""
        while True:
            try:
                await self.connection.call(store.park, jobs)
            except (StoreUnavailable, StoreRefused):
                await trio.sleep(_PATIENT_PAUSE_S)
            else:
                return

    def hurry(self) -> None:
        """The process stops: Redis is not asked again after it failed."""
        self._stopping.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Pushes what waits, until cancelled; the call that is on its way then ends first."""
        task_status.started()
        while True:
            await self._came.wait()
            batch = self._next()
            if not batch:
                self._came = trio.Event()
                continue
            next_s = trio.current_time() + _GAP_S
            if not await self._push(batch):
                with trio.move_on_after(_PAUSE_S):
                    await self._stopping.wait()
            await trio.sleep_until(next_s)

    def _next(self) -> list[_Waiting]:
        """Those that came first, of whom somebody waits."""
        batch: list[_Waiting] = []
        size = 0
        while self._waiting and len(batch) < _AT_ONCE and size < _AT_ONCE_BYTES:
            one = self._waiting.popleft()
            if not one.left:
                batch.append(one)
                size += len(one.arrival.payload)
        return batch

    async def _push(self, batch: list[_Waiting]) -> bool:
        """False: Redis could not be asked, and those with patience wait again."""
        for one in batch:
            one.is_on_its_way = True
        try:
            heard = await self._push_group([one.arrival for one in batch])
        except StoreRefused as error:
            _give_up(batch, error)
            return True
        except StoreUnavailable as error:
            now_s = math.inf if self._stopping.is_set() else trio.current_time()
            _give_up([one for one in batch if one.left or one.until_s <= now_s], error)
            patient = [one for one in batch if not one.left and one.until_s > now_s]
            for one in patient:
                one.is_on_its_way, one.error = False, error
            self._waiting.extendleft(reversed(patient))
            return False
        for one, what in zip(batch, heard, strict=True):
            one.heard = what
            one.done.set()
        return True

    async def _push_group(self, arrivals: list[IncomingEvent]) -> list[Heard]:
        try:
            return await self.connection.hear(arrivals)
        except ConnectionEnded:
            # It ended while it was idle; nothing was sent.
            return await self.connection.hear(arrivals)


@attrs.define(eq=False)
class EventOffer:
    """See `inlet.Offer`."""

    _waiting: Sequence[_Waiting | None]
    """None: an event that is not wanted."""

    async def done(self) -> None:
        """See `inlet.Offer`."""
        for one in self._waiting:
            if one is not None:
                await one.done.wait()

    async def leave(self) -> None:
        """See `inlet.Offer`."""
        for one in self._waiting:
            if one is not None:
                one.left = True
        for one in self._waiting:
            if one is not None and one.is_on_its_way:
                await one.done.wait()

    def verdicts(self) -> list[Verdict | RestbrokerError | None]:
        """See `inlet.Offer`."""
        return ["ignored" if one is None else _verdict(one) for one in self._waiting]


def _verdict(one: _Waiting) -> Verdict | RestbrokerError | None:
    match one.heard:
        case "pushed":
            return "accepted"
        case "duplicate" | "own":
            return one.heard
        case "unwanted":
            return "ignored"
        case "refused":
            queue = one.arrival.queue
            message = f"Redis does not accept jobs for the queue {queue}: its key is not a list, or not writable."
            return StoreRefused(message, "`restbroker check` names the type of its key.")
        case None:
            return one.error


def _give_up(batch: list[_Waiting], error: RestbrokerError) -> None:
    for one in batch:
        one.error = error
        one.done.set()
