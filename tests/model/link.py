"""What stands for a process' connections to Redis in a simulated world.

Always holds: no thread and no real time; a call takes a moment, cannot be cancelled once it has begun, and when the way
is cut, or loses a message, it fails as it would with a Redis that is away: perhaps after it was done.
"""

import contextvars
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

import attrs
import trio

from restbroker.errors import StoreRefused, StoreUnavailable
from restbroker.store import jobs
from restbroker.store.codes import Code
from restbroker.store.connection import DeadlineKeeper, Settled, Watch
from restbroker.store.in_progress import FetchedJob
from restbroker.store.settling import FinishRequest
from restbroker.store.waiter import Answered
from tests.model.reference import Reference

P = ParamSpec("P")
T = TypeVar("T")
ROUND_TRIP_S = 0.001
BLOCK_S = 2.0
"""How long a fetch stands."""


def _never() -> bool:
    return False


@attrs.define(eq=False)
class Way:
    """From one process to the reference. `loses` is asked for each question and each answer; `waiting` is woken by
    every call of any process.
    """

    reference: Reference
    waiting: trio.lowlevel.ParkingLot
    cut: bool = False
    loses: Callable[[], bool] = _never
    refuses: bool = False
    """Whether Redis refuses to settle what this process asks it to."""


@attrs.define(eq=False)
class SimulatedConnection:
    """As `store.connection.Connection`: one call at a time, none can be cancelled once it has begun."""

    way: Way
    turn: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(1))
    ours: contextvars.Context = attrs.field(factory=contextvars.copy_context)
    """The process's connection: a cancelled job is settled over another one."""
    sent: bool = False
    """Whether a settlement was sent that no task awaits."""
    replied: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)
    opened: int = 1
    """What is lost ends it, and the next call opens it again."""

    async def call(self, function: Callable[Concatenate[Reference, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The reference answers instead of Redis."""
        way = self.way
        await self.wait_for_reply()
        async with self.turn:
            with trio.CancelScope(shield=True):
                await trio.sleep(ROUND_TRIP_S / 2)
                self._require()
                answer = function(way.reference, *args, **kwargs)
                way.waiting.unpark_all()
                await trio.sleep(ROUND_TRIP_S / 2)
                self._require()
        return answer

    async def fetch(self, request: jobs.FetchRequest) -> jobs.FetchAnswer:
        """Needs no thread, which makes no difference here."""
        return await self.call(Reference.fetch, request)

    async def finish(self, request: FinishRequest, now_s: float) -> tuple[list[Code], tuple[FetchedJob, ...]]:
        """As `fetch`."""
        return await self.call(self._finish, request, now_s), ()

    def send_finish(
        self,
        request: FinishRequest,
        now_s: float,
        *,
        watch: Watch,
        deadlines: DeadlineKeeper,  # noqa: ARG002 - what is lost is noticed at once here
        done: Settled,
    ) -> bool:
        """Sends it, which takes no step; the answer is read in a step of this process."""
        if self.turn.borrowed_tokens or self.sent or self.way.cut or not watch.is_kept:
            return False
        self.sent = True
        trio.lowlevel.spawn_system_task(self._settle, request, now_s, done)
        return True

    async def wait_for_reply(self) -> None:
        """Until that has come."""
        while self.sent:
            await self.replied.park()

    async def _settle(self, request: FinishRequest, now_s: float, done: Settled) -> None:
        answer: list[Code] | StoreUnavailable | None
        try:
            await trio.sleep(ROUND_TRIP_S / 2)
            self._require()
            answer = self._finish(self.way.reference, request, now_s)
            self.way.waiting.unpark_all()
            await trio.sleep(ROUND_TRIP_S / 2)
            self._require()
        except StoreUnavailable as error:
            answer = error
        except StoreRefused:
            answer = None
        trio.lowlevel.spawn_system_task(self._read, done, answer, context=self.ours)

    async def _read(self, done: Settled, answer: list[Code] | StoreUnavailable | None) -> None:
        """In a step of this process."""
        self.sent = False
        self.replied.unpark_all()
        done(answer, ())
        await trio.lowlevel.checkpoint()

    async def finish_and_fetch(
        self, finished: FinishRequest, now_s: float, wanted: jobs.FetchRequest
    ) -> tuple[list[Code] | StoreRefused, jobs.FetchAnswer | StoreRefused]:
        """As `fetch`."""
        if self.way.refuses:
            return StoreRefused("NOPERM"), await self.fetch(wanted)
        return await self.call(Reference.finish_and_fetch, finished, now_s, wanted)

    async def aclose(self) -> None:
        """Nothing is open."""
        await trio.lowlevel.checkpoint()

    def _finish(self, reference: Reference, request: FinishRequest, now_s: float) -> list[Code]:
        if self.way.refuses:
            raise StoreRefused("NOPERM")
        return reference.finish(request, now_s)

    def _require(self) -> None:
        if self.way.cut or self.way.loses():
            self.opened += 1
            raise StoreUnavailable("Redis is away.")


@attrs.define(eq=False)
class SimulatedWaiter:
    """As `store.waiter.Waiter`. What stands is of Redis, and goes on while this process is frozen."""

    way: Way
    fetch: jobs.FetchRequest | None = None
    block_s: float = 0.0
    _answered: Answered | None = None
    _stands: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    async def begin(self, _watch: Watch, answered: Answered) -> bool:
        """Connects."""
        await trio.lowlevel.checkpoint()
        if self.way.cut:
            raise StoreUnavailable("Redis is away.")
        self._answered = answered
        return True

    def stand(self, fetch: jobs.FetchRequest, queue: str | None) -> bool:
        """Sends it, which takes no step."""
        if self.way.cut:
            return False
        self.fetch, self._stands = fetch, trio.CancelScope()
        trio.lowlevel.spawn_system_task(self._stand, fetch, queue, self._stands, contextvars.copy_context())
        return True

    @property
    def can_answer(self) -> bool:
        """Until it is lost."""
        return not self.way.cut

    def close(self) -> None:
        """What Redis has not begun, it does not begin any more, unless the message is late."""
        self.fetch = None
        if self.way.cut or not self.way.loses():
            self._stands.cancel()
        self._answered = None

    async def _stand(
        self, fetch: jobs.FetchRequest, queue: str | None, scope: trio.CancelScope, ours: contextvars.Context
    ) -> None:
        way, sent_at_s = self.way, trio.current_time()
        with scope:
            await trio.sleep(ROUND_TRIP_S / 2)
            with trio.move_on_after(BLOCK_S):
                while queue is not None and not way.reference.data.lists[f"queue:{queue}"] and not way.cut:
                    await way.waiting.park()
            if queue is not None and way.reference.data.wake(queue):
                # Redis ends the wait, and may see that the process is gone before it runs what stands behind.
                await trio.lowlevel.checkpoint()
            answer = None
            if not (way.cut or way.loses()):
                answer = Reference.stand(way.reference, fetch)
                way.waiting.unpark_all()
            await trio.sleep(ROUND_TRIP_S / 2)
            lost = way.cut or way.loses()
            trio.lowlevel.spawn_system_task(self._read, fetch, None if lost else answer, sent_at_s, context=ours)

    async def _read(self, fetch: jobs.FetchRequest, answer: jobs.FetchAnswer | None, sent_at_s: float) -> None:
        """In a step of this process."""
        if self.fetch is fetch and self._answered is not None:
            self.fetch = None
            self._answered(fetch, answer, sent_at_s)
        await trio.lowlevel.checkpoint()
