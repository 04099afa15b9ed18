"""The tasks that HTTP clients share: one each that listens, keeps deadlines, and closes what rests for too long.

A generation runs them for the clients of all its targets; a client that is on its own runs its own, and one that does
not run has them run for each of its requests.

`Readiness` calls connections when they are readable, in batches. Always holds: a watched wire that listens is called
each time; a wire that does not is called once, and then not watched any more, so that nothing wakes up for unread
bytes; and when the task ends, each wire learns that nothing watches it any more. A wait of Trio's own for each answer
registers its connection again every time: 6 µs more of 49 at 20 connections (measured). While a server is busy, its
answers come one by one, each as soon as the last is dealt with, and each costs a turn of Trio's loop. It then naps for
0.15 ms, so that a few come together: with a real ejabberd a job costs 34 µs instead of 51, and ejabberd itself a tenth
less (measured). All other tasks wait meanwhile, so it naps only where that pays: never twice in a turn of the loop,
however many of its kind run.

`Deadlines` cuts off requests that take too long. Always holds: a watched request that is late is cut off within
`TICK_S` seconds; while none is watched, nothing wakes up. A scope per request costs 10 µs (measured), a check of one
deadline 0.05.

With a hundred targets, tasks of their own would each wake up for few answers: that takes 5 % more of CPU (measured); of
a thousand that are idle, a task for each that looks at its connections takes half of the CPU.
"""

import math
import select
import time
from collections.abc import Callable, Collection, Iterator, Sequence, Sized
from contextlib import contextmanager
from typing import Final, Protocol, TypeAlias

import trio

from restbroker.light import define, field
from restbroker.transport.room import Room

_ROUNDS: Final = 4
"""How often it looks again before other tasks have their turn."""
_BATCH: Final = 128
"""How many descriptors are called in one look: about 5 ms of the loop's time."""
_FEW: Final = 2
"""After a look that found so few, another one costs more than the turn that it seldom spares."""
_NAP_S: Final = 0.00015
_MANY: Final = 8
"""With fewer requests under way, it does not nap."""
_LATER_S: Final = 0.001
_NEXT_S: Final = 0.005
_VAIN_NAPS: Final = 5
"""After so many naps in vain in a row, one look in 1024 has a nap: a fast target is served beside slow ones."""
TICK_S: Final = 0.1
LOOK_S: Final = 1.0
"""Seconds between two searches for connections that will not be used again."""


class ReadinessListener(Protocol):
    """Something that `Readiness` calls; neither method may wait or raise."""

    def on_readable(self) -> bool:
        """Take the bytes, or the end, that are there now; return False, and read nothing, if no one wants them."""
        ...

    def lose_watch(self) -> None:
        """Note that `Readiness` does not watch the descriptor any more."""
        ...


Afterwards: TypeAlias = Callable[[Collection[ReadinessListener]], None]
"""What `Readiness` calls after a batch, with those on which something came since; it may not wait or raise.

These are those of the batch, and perhaps others.
"""


@define(eq=False)
class Readiness:
    """The listener for all connections of one or more clients. `is_kept`: `run` runs, so that `watch` may be used.

    `is_calling`: a batch is being called, so that `afterwards` may be added to.
    """

    under_way: Sized = ()
    """The requests under way; without them, it never naps."""
    is_kept: bool = False
    is_calling: bool = False
    afterwards: list[Afterwards] = field(factory=list)
    """What is called once, when all that came at one time was taken; who is just being called adds it.

    One look finds for all connections what takes a look at each otherwise: that nothing came since.
    """
    _watched: dict[int, ReadinessListener] = field(factory=dict)
    _descriptors: select.epoll | None = None
    _later: list[Callable[[], None]] = field(factory=list)
    _next: list[Callable[[], object]] = field(factory=list)
    _due: trio.CancelScope = field(factory=trio.CancelScope)
    """Ends the wait when `_later` or `_next` is to be called: a scope for each wait costs more than all else here."""
    _found: int = _BATCH
    _vain_naps: int = 0
    _looks_without_nap: int = 0

    def watch(self, descriptor: int, who: ReadinessListener) -> None:
        """Call `who.on_readable` when the descriptor is readable, until `forget` or a call of `who.lose_watch`.

        `forget` must come before the descriptor is closed.
        """
        assert self._descriptors is not None  # noqa: S101 - there while `is_kept`
        self._descriptors.register(descriptor, select.EPOLLIN)
        self._watched[descriptor] = who

    def forget(self, descriptor: int) -> None:
        """Stop watching the descriptor; do nothing if it is not watched."""
        if self._watched.pop(descriptor, None) is not None and self._descriptors is not None:
            self._descriptors.unregister(descriptor)

    def call_later(self, call: Callable[[], None]) -> None:
        """Call `call` in a millisecond, or when `run` ends; to be used while `is_kept`. It may not wait or raise."""
        self._later.append(call)
        self._due.deadline = min(self._due.deadline, trio.current_time() + _LATER_S)

    def call_next(self, call: Callable[[], object]) -> None:
        """Call `call` before what comes next, in 5 ms at the latest, or when `run` ends; as `call_later` else."""
        self._next.append(call)
        self._due.deadline = min(self._due.deadline, trio.current_time() + _NEXT_S)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen for all that is watched, until cancelled; where there is no epoll, do nothing until then."""
        try:
            descriptors = select.epoll()
        except (AttributeError, OSError):
            # Not on Linux, or too many files are open: a task attends to each connection.
            task_status.started()
            await trio.sleep_forever()
        with descriptors, self._watching(descriptors):
            task_status.started()
            while True:
                with trio.CancelScope() as self._due:
                    self._call_due()
                    while trio.current_time() < self._due.deadline:
                        began_s = time.perf_counter()
                        await trio.lowlevel.wait_readable(descriptors.fileno())
                        came = self._look(descriptors, began_s)
                        for _ in range(_ROUNDS):
                            # What came while others were called is taken at once: a turn of Trio's loop costs as much
                            # as a job.
                            if not came:
                                break
                            came = self._call(descriptors, came)

    def _call_due(self) -> None:
        calls: list[Callable[[], object]] = [*self._next, *self._later]
        self._next, self._later = [], []
        for call in calls:
            call()

    def _look(self, descriptors: select.epoll, began_s: float) -> list[tuple[int, int]]:
        """Call what comes before, and return what is readable, after a nap if one pays.

        The wait for it began at `began_s` (by `perf_counter`).

        A nap of another one in this turn of the loop makes that wait too long for a second.
        """
        if self._next:
            calls, self._next = self._next, []
            if not self._later:
                self._due.deadline = math.inf
            for call in calls:
                call()
        came, count = descriptors.poll(0, _BATCH), len(self.under_way)
        is_busy = len(came) == 1 and count >= _MANY and self._found <= count // 4
        if is_busy and self._looks_without_nap:
            self._looks_without_nap -= 1
        elif is_busy and time.perf_counter() - began_s < _NAP_S:
            time.sleep(_NAP_S)
            came = descriptors.poll(0, _BATCH)
            self._vain_naps = min(self._vain_naps + 1, _VAIN_NAPS) if len(came) == 1 else 0
            self._looks_without_nap = 4**self._vain_naps - 1
        self._found = len(came)
        return came

    def _call(self, descriptors: select.epoll, called: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        """Call those of these descriptors, and what is to be called behind them; return what is readable by then."""
        watched, self.is_calling = self._watched, True
        for descriptor, _ in called:
            # What came on another one may have had this one closed.
            who = watched.get(descriptor)
            if who is not None and not who.on_readable():
                self.forget(descriptor)
                who.lose_watch()
        self.is_calling = False
        if not self.afterwards:
            return descriptors.poll(0, _BATCH) if len(called) > _FEW else []
        # One that is left out would be taken for quiet. Where few are called of many, all cost too much: with a hundred
        # targets a tenth of the CPU (measured).
        if len(watched) <= _BATCH:
            came = descriptors.poll(0, _BATCH)
        else:
            look = select.poll()
            for descriptor, _ in called:
                look.register(descriptor, select.POLLIN)
            came = look.poll(0)
        more = {watched[descriptor] for descriptor, _ in came if descriptor in watched}
        calls, self.afterwards = self.afterwards, []
        for call in calls:
            call(more)
        return came or (descriptors.poll(0, _BATCH) if len(called) > _FEW else [])

    @contextmanager
    def _watching(self, descriptors: select.epoll) -> Iterator[None]:
        self._descriptors, self.is_kept = descriptors, True
        try:
            yield
        finally:
            self._descriptors, self.is_kept = None, False
            watched, self._watched = self._watched, {}
            for who in watched.values():
                who.lose_watch()
            self._call_due()


class Expirable(Protocol):
    """Something that can be cut off at a deadline."""

    def expire(self) -> None:
        """End the request or connection, since its deadline passed; must not wait or raise."""
        ...


@define(eq=False)
class Deadlines:
    """The deadlines of one or more clients; `is_kept`: `run` runs, so that they are kept by it."""

    is_kept: bool = False
    due: dict[Expirable, float] = field(factory=dict)
    """What is watched, and until when (on Trio's clock); who was in time or is gone takes itself out."""
    _lot: trio.lowlevel.ParkingLot = field(factory=trio.lowlevel.ParkingLot)

    def watch(self, who: Expirable, due_s: float) -> None:
        """Have `who` cut off once `due_s` (on Trio's clock) has passed, unless it is out of `due` by then."""
        if not self.due:
            self._lot.unpark_all()
        self.due[who] = due_s

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Cut off the watched objects that are late, until cancelled."""
        self.is_kept = True
        task_status.started()
        try:
            while True:
                if not self.due:
                    await self._lot.park()
                await trio.sleep(TICK_S)
                self._expire_due()
        finally:
            self.is_kept = False

    def _expire_due(self) -> None:
        now_s = trio.current_time()
        for who in [who for who, due_s in self.due.items() if due_s <= now_s]:
            del self.due[who]
            who.expire()


class Resting(Protocol):
    """Something that has idle connections."""

    def close_bad(self) -> bool:
        """Close those that will not be used again, and return whether any are left; must not wait or raise."""
        ...


@define(eq=False)
class Rests:
    """Has who is in `resting` close what is bad, once a second, until nothing is left; while none is, nothing wakes."""

    resting: set[Resting] = field(factory=set)
    _lot: trio.lowlevel.ParkingLot = field(factory=trio.lowlevel.ParkingLot)

    def watch(self, who: Resting) -> None:
        """Have the idle connections of `who` looked at from now on."""
        if not self.resting:
            self._lot.unpark_all()
        self.resting.add(who)

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            if not self.resting:
                await self._lot.park()
            await trio.sleep(LOOK_S)
            self.resting -= {who for who in self.resting if not who.close_bad()}


def raise_again(bug: Exception) -> None:
    """End who listens: it does so for one alone."""
    raise bug


@define(eq=False)
class Upkeep:
    """Listens, keeps deadlines and closes what rests while `run` runs; `room`: the memory for all that is received.

    `on_bug` gets what was raised where nothing may be: it must not end those that listen for others.
    """

    room: Room = field(factory=Room)
    on_bug: Callable[[Exception], None] = raise_again
    rests: Rests = field(factory=Rests)
    deadlines: Deadlines = field(factory=Deadlines)
    readiness: Readiness = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.readiness = Readiness(self.deadlines.due)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Do all three until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.rests.run)
            await nursery.start(self.readiness.run)
            await self.deadlines.run(task_status=task_status)
