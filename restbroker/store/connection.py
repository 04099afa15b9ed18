"""Redis for Trio: a connection with its worker thread, the watch for a new master.

Beside `round_trips` and `waiter`, the only file here that knows Trio. Used by worker pools, heartbeat, scheduler, the
reaper and `app`. Always holds: no thread that sends commands outlives its call, since it might still take jobs; so a
call cannot be cancelled, only bounded by the socket's time-out. Taking and settling jobs, and taking in events, are
such calls too, but without the thread: its way there and back is half of what an idle broker needs for a job, and a
tenth of what a busy one does.

A settlement can also be sent without a task (`send_finish`): whoever listens for many connections reads its answer, or,
once no one listens any more, the next task that wants something. No call begins before that. An answer that nothing
waits for is read when something else comes, or a moment later: a wake-up of its own would cost more than all that is
done with it (at 3,000/s a tenth of a job).
"""

import contextlib
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Concatenate, Final, ParamSpec, Protocol, TypeAlias, TypeVar, cast

import trio

from restbroker.errors import ConnectionEnded, RestbrokerError, StoreRefused, StoreUnavailable
from restbroker.light import frozen_plain
from restbroker.store import events
from restbroker.store.client import Client, Reply, ScriptCall, evalsha
from restbroker.store.codes import APPLIED, Code
from restbroker.store.events import IncomingEvent, PushResult
from restbroker.store.in_progress import FetchedJob
from restbroker.store.jobs import FetchAnswer, FetchRequest, FinishAndFetch, fetch_call, read_fetch
from restbroker.store.keys import RedisKeys
from restbroker.store.redis import Lookup, Steps, Wait
from restbroker.store.round_trips import Replies, RoundTrips
from restbroker.store.sentinel import Sentinels
from restbroker.store.settling import FinishRequest, FinishSteps

P = ParamSpec("P")
T = TypeVar("T")

_FIRST_WAIT_S = 0.05
_LONGEST_WAIT_S = 1.0
LOOK_EVERY_S = 0.5
"""Seconds between two looks at whether the master was replaced: no job comes from the old one any more."""
BUSY_S: Final = 0.0007
"""If the last call of its kind was so few seconds ago, the next is made by `Watch.call_later`, for a few jobs together.

A message costs Redis, and the process, about as much as the jobs that come in a millisecond (measured at 3,000/s).
"""
_REFUSED_S: Final = 60.0
"""For so long after Redis refused a settlement without a script, as a full one does, only scripts are sent."""
_AT_ONCE_BYTES: Final = 16384
"""Any socket takes so many bytes at once, if what was sent before is answered."""

Settled: TypeAlias = Callable[[list[Code] | StoreUnavailable | None, Sequence[FetchedJob]], None]
"""Is called with the codes of jobs that were settled without a task, and what was taken with them.

`StoreUnavailable`: the answer was lost. None: Redis answered an error, and did nothing. It may not wait or raise.
"""


class Watched(Protocol):
    """What `Watch` calls; neither method may wait or raise."""

    def on_readable(self) -> bool:
        """Read what is there; return False if nothing is awaited."""
        ...

    def lose_watch(self) -> None:
        """Note that nothing watches it any more."""
        ...


class Watch(Protocol):
    """Calls those whose descriptors can be read, as `transport.readiness.Readiness` does."""

    is_kept: bool

    def watch(self, descriptor: int, who: Watched) -> None:
        """Call `who.on_readable` when the descriptor can be read, until `forget` or a call of `who.lose_watch`."""
        ...

    def forget(self, descriptor: int) -> None:
        """Watch it no more; to be called before it is closed."""
        ...

    def call_later(self, call: Callable[[], None]) -> None:
        """Call `call` in a millisecond, or when no one listens any more."""
        ...

    def call_next(self, call: Callable[[], object]) -> None:
        """Call `call` before what comes next, or soon, or when no one listens any more."""
        ...


class DeadlineKeeper(Protocol):
    """Calls `expire` of those that are late, as `transport.readiness.Deadlines` does."""

    due: dict[Any, float]
    """Who is watched; who was in time takes itself out."""

    def watch(self, who: "Connection", due_s: float) -> None:
        """Call `who.expire` once `due_s` (on Trio's clock) has passed, unless it is out of `due` by then."""
        ...


@frozen_plain(eq=False)
class _Sent:
    """A settlement that was sent without a task."""

    steps: FinishSteps
    watch: Watch
    deadlines: DeadlineKeeper
    done: Settled
    at_s: float
    due_s: float


class Connection:
    """A client and its thread: one call at a time, the others wait their turn; those without the thread go together.

    `took` is called after each round trip without the thread, with the seconds that it took. `trips`: these.
    """

    def __init__(self, client: Client, took: Callable[[float], None] | None = None) -> None:
        self._client = client
        self._took = took
        self._lock = trio.CapacityLimiter(1)
        self._thread = trio.CapacityLimiter(1)
        self.trips = self._own_trips = RoundTrips(self._enter, self._send, self._lock.release)
        self._watch: Watch | None = None
        """What watches it. No task uses it meanwhile."""
        self._sent: _Sent | None = None
        self._counted_day = -1
        """The day whose counter a script made, so that it ends in time."""
        self._scripts_until_s = -math.inf
        self._landed = trio.lowlevel.ParkingLot()
        self._is_landing = False
        self._waiting = 0
        """How many wait in `land`: nothing more is sent before they had their turn."""

    @property
    def keys(self) -> RedisKeys:
        """The names of what is in Redis."""
        return self._client.keys

    @property
    def opened(self) -> int:
        """How many times it was opened: since it was for the last time, no restart of Redis took any job back."""
        return self._client.opened

    def join(self, other: "Connection") -> None:
        """From now on, have the calls without the thread go over `other`, together with those of all who joined it."""
        self.trips = other.trips

    async def call(self, function: Callable[Concatenate[Client, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Connect, run `function(client, …)` in a thread, and return its result or raise its error.

        Connecting needs no thread, and can be cancelled: nothing was sent then. Later, the call runs to its end and its
        result is returned; the next checkpoint raises Cancelled.
        """
        await self._enter()
        try:
            work = partial(function, self._client, *args, **kwargs)
            return await trio.to_thread.run_sync(work, limiter=self._thread, abandon_on_cancel=False)
        finally:
            self._lock.release()

    async def ask(self, function: Callable[Concatenate[Client, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do as `call` does, a second time if the connection ended since the last call: then nothing was sent."""
        try:
            return await self.call(function, *args, **kwargs)
        except ConnectionEnded:  # Redis may be set to end what idles, and be well itself
            return await self.call(function, *args, **kwargs)

    async def fetch(self, request: FetchRequest) -> FetchAnswer:
        """Take jobs without the thread; return and raise what `jobs.read_fetch` does.

        Can be cancelled only before anything is sent; then it waits until the answer comes or is overdue.
        """
        keys = self._client.keys
        return read_fetch(keys, request, (await self.trips.run([fetch_call(keys, request)]))[0])

    async def finish(self, request: FinishRequest, now_s: float) -> tuple[list[Code], tuple[FetchedJob, ...]]:
        """Settle jobs without the thread, and in one round trip; return one code per item, and the jobs of `next`.

        `now_s` (epoch seconds) gives the day to count in. Can be cancelled only before anything is sent. Raise
        `StoreUnavailable` or `StoreRefused`: some may be settled all the same.
        """
        settling = FinishSteps(self._client.keys, request, now_s)
        codes = settling.read_replies(await self.trips.run(settling.calls) if settling.calls else [])
        return codes, settling.taken

    def send_finish(
        self, request: FinishRequest, now_s: float, *, watch: Watch, deadlines: DeadlineKeeper, done: Settled
    ) -> bool:
        """Settle jobs as `finish` does, but without a task: send it in this step, and call `done` when it is answered.

        Return False, and do nothing, if that is not possible now. `done` is called once, by `watch`, `deadlines` or
        `land`.
        """
        client = self._client
        is_in_use = self._sent is not None or self._waiting or self._lock.borrowed_tokens
        if is_in_use or self.trips is not self._own_trips or self.trips.is_busy or not watch.is_kept:
            return False
        steps = FinishSteps(client.keys, request, now_s)
        if len(steps.calls) != 1:
            return False
        if request.next is None and self._watch is not None:
            self._forget_watch()
        if self._watch is None and client.has_ended:
            return False
        at_s = trio.current_time()
        is_counted = steps.day == self._counted_day and at_s >= self._scripts_until_s
        try:
            commands = (steps.commands() if is_counted else None) or [evalsha(steps.calls[0])]
            if not client.send(commands, _AT_ONCE_BYTES):
                return False
        except StoreUnavailable:
            self._forget_watch()
            return False
        self._sent = _Sent(steps, watch, deadlines, done, at_s, at_s + client.timeout_s)
        deadlines.watch(self, self._sent.due_s)
        if request.next is None:
            # Nothing waits for the answer: to be woken by it costs more than all that is done with it.
            watch.call_next(self.on_readable)
        else:
            self._have_watched(watch)
        return True

    def _have_watched(self, watch: Watch) -> None:
        sent = self._sent
        if sent is not None and self._watch is None:
            if watch.is_kept:
                watch.watch(self._client.descriptor, self)
                self._watch = watch
                sent.deadlines.watch(self, sent.due_s)
            else:
                self.lose_watch()

    def on_readable(self) -> bool:
        """Read the answer to what `send_finish` sent; return False if there is none to read, or `land` reads it."""
        sent = self._sent
        if sent is None or self._is_landing:
            return False
        codes: list[Code] | None = None
        try:
            replies = self._client.replies()
        except RestbrokerError as error:
            self._forget_watch()
            self._client.close()
            self._end(sent, error if isinstance(error, StoreUnavailable) else None)
            return True
        if replies is None:
            self._have_watched(sent.watch)
            return True
        reply, is_alone = replies[-1], len(replies) > 1
        if is_alone and isinstance(replies[0], RestbrokerError) and not isinstance(replies[1], RestbrokerError):
            # A user who may not begin a transaction had each command done by itself.
            reply = [replies[1]]
        # What is refused meets the same in the call of the acker's task, which deals with it.
        if not isinstance(reply, RestbrokerError):
            with contextlib.suppress(StoreRefused):
                codes = sent.steps.read_replies([reply])
        if is_alone and isinstance(replies[-1], RestbrokerError):
            self._scripts_until_s = trio.current_time() + _REFUSED_S
        elif codes == [APPLIED] and sent.steps.calls[0][0] == "done":
            self._counted_day = sent.steps.day
        self._end(sent, codes)
        return True

    def lose_watch(self) -> None:
        """Have `land` read what is to come, and keep its deadline."""
        self._watch = None
        if self._sent is not None:
            self._sent.deadlines.due.pop(self, None)
        self._landed.unpark_all()

    def expire(self) -> None:
        """End the connection, since its answer is overdue; `land` keeps the deadline of what it waits for itself."""
        if self._is_landing:
            return
        sent = self._sent
        self._forget_watch()
        if sent is not None:
            error = self._client.abandon()
            self._end(sent, error if isinstance(error, StoreUnavailable) else None)

    async def wait_for_reply(self) -> None:
        """Wait until what was sent without a task is answered; read the answer if no one listens. Safe to cancel."""
        self._waiting += 1
        try:
            while self._sent is not None:
                await self._wait_for_answer(self._sent)
        finally:
            self._waiting -= 1
        self._forget_watch()

    async def _wait_for_answer(self, sent: _Sent) -> None:
        if self._watch is not None or self._is_landing:
            await self._landed.park()
            return
        self._is_landing = True
        try:
            with trio.move_on_at(sent.due_s) as scope:
                await trio.lowlevel.wait_readable(self._client.descriptor)
            self._is_landing = False
            if scope.cancelled_caught:
                self.expire()
            else:
                self.on_readable()
        finally:
            self._is_landing = False
            if self._sent is sent:
                # Cancelled: what was to read it meanwhile left it to this task.
                self._have_watched(sent.watch)
            self._landed.unpark_all()

    def _end(self, sent: _Sent, answer: list[Code] | StoreUnavailable | None) -> None:
        self._sent = None
        sent.deadlines.due.pop(self, None)
        self._landed.unpark_all()
        if self._took is not None:
            self._took(trio.current_time() - sent.at_s)
        sent.done(answer, sent.steps.taken)

    def _forget_watch(self) -> None:
        if self._watch is not None:
            self._watch.forget(self._client.descriptor)
            self._watch = None

    async def finish_and_fetch(
        self, finished: FinishRequest, now_s: float, wanted: FetchRequest
    ) -> tuple[list[Code] | StoreRefused, FetchAnswer | StoreRefused]:
        """Settle jobs and take others in one round trip, without the thread.

        Return the answer of each, or the `StoreRefused` that it met. Can be cancelled only before anything is sent.
        Raise `StoreUnavailable`: each may have been done all the same; then call `finish` again, and the next fetch
        answers `Duplicate` if jobs were taken.
        """
        both = FinishAndFetch(self._client.keys, finished, now_s, wanted)
        return both.answers(await self.trips.run(both.calls))

    async def push_events(self, arrivals: Sequence[IncomingEvent]) -> list[PushResult]:
        """Push the jobs of events without the thread, which would wait for the interpreter while workers are busy.

        Return and raise what `events.push` does. Can be cancelled only before anything is sent.
        """
        return events.read_push((await self.trips.run([events.push_call(self._client.keys, arrivals)]))[0])

    async def run(self, call: ScriptCall) -> Reply:
        """Run a script without the thread, and return its reply. Raise `StoreUnavailable` or `StoreRefused`.

        Can be cancelled only before it is sent.
        """
        (reply,) = await self.trips.run([call])
        if isinstance(reply, StoreRefused):
            raise reply
        return reply

    async def _enter(self) -> None:
        """Wait until no thread has the connection, and connect."""
        await self.wait_for_reply()
        try:
            self._lock.acquire_nowait()
        except trio.WouldBlock:
            await self._lock.acquire()
        try:
            if not self._client.is_open:
                await on_trio(self._client.steps_to_connect())
        except BaseException:
            self._lock.release()
            raise

    async def _send(self, scripts: Sequence[ScriptCall]) -> Replies:
        """Run scripts on Trio's own loop, as `Client.steps_to_run` does."""
        began_s = time.perf_counter()
        replies = await on_trio(self._client.steps_to_run(scripts))
        if self._took is not None:
            self._took(time.perf_counter() - began_s)
        return replies

    async def aclose(self) -> None:
        """Close the connection once the running call has ended. Not cancellable; bounded by that call's time-out."""
        with trio.CancelScope(shield=True):
            await self.wait_for_reply()
            async with self._lock:
                self._client.close()


async def until_answered(ask: Callable[[], Awaitable[T]]) -> T:
    """Return what `ask` returns, asking again while Redis is away; raise what it raises but `StoreUnavailable`."""
    wait_s = _FIRST_WAIT_S
    while True:
        try:
            return await ask()
        except StoreUnavailable:
            await trio.sleep(wait_s)
            wait_s = min(wait_s * 2, _LONGEST_WAIT_S)


class MasterWatch:
    """A service that asks the sentinels twice a second, so that no connection stays with a master that was replaced."""

    def __init__(self, sentinels: Sentinels) -> None:
        self._sentinels = sentinels

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Ask the sentinels until cancelled; report nothing if they name no master: each call that needs one does."""
        task_status.started()
        while True:
            # Who needs a master reports that no sentinel leads to one.
            with contextlib.suppress(StoreUnavailable, StoreRefused):
                await on_trio(self._sentinels.check_master())
            await trio.sleep(LOOK_EVERY_S)


async def on_trio(steps: Steps[T]) -> T:
    """Take these steps on Trio's loop; return their result or raise their error.

    It can be cancelled only where the steps allow it: once commands are sent whose answer counts, it goes on until that
    has come, or is overdue.
    """
    began_s = trio.current_time()
    try:
        step = next(steps)
        while True:
            try:
                result = await _take(step, began_s)
            except BaseException as error:  # noqa: BLE001 - also a cancellation ends them, and they raise it
                step = steps.throw(error)
            else:
                step = steps.send(result)
    except StopIteration as end:
        return cast("T", end.value)
    finally:
        steps.close()


async def _take(step: Wait | Lookup, began_s: float) -> Any:  # noqa: ANN401 - as the step has it
    if isinstance(step, Lookup):
        return await trio.to_thread.run_sync(step.function, abandon_on_cancel=True)
    ready = trio.lowlevel.wait_writable if step.for_writing else trio.lowlevel.wait_readable
    now_s = trio.current_time()
    with trio.CancelScope(deadline=now_s + step.remaining_s(now_s - began_s), shield=not step.is_cancellable) as scope:
        await ready(step.socket)
    if scope.cancelled_caught:
        raise TimeoutError
    return None
