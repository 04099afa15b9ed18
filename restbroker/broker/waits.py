"""What the life of a job waits for: an answer of Redis, a place, a moment, or the end of a task.

A life yields a wait (`life.py`), and the worker has it begin: it stands in line until what it is for has come, and then
calls `come` of its sleeper, which is the job's delivery. What ends the life earlier withdraws it. `ends_unsent`: if
loss and expiry end it, the stop unless it is a question, and a trip if the job may be marked; within a round only a
person does. Always holds: `come` is called once at most, and never once the wait was withdrawn; and a job stands in
line before it gives a place back, so that no job that comes later overtakes it.
"""

import heapq
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Protocol, TypeAlias

import trio

from restbroker.broker.breaker import TakePlace
from restbroker.broker.gates import Gate, Question, Timer, Timers
from restbroker.broker.job_in_progress import JobInProgress, Reservations
from restbroker.broker.ready_buffer import ReadyBuffer
from restbroker.light import define, field


class Sleeper(Protocol):
    """Whose life waits. No method raises."""

    def come(self, came: object = None) -> None:
        """Go on with what has come; a place that came is taken."""
        ...

    def cut_short(self) -> None:
        """Note that the task in which it goes on was cancelled, and ends."""
        ...


@define(eq=False)
class Asked:
    """A question for Redis: its answer comes, or the bug over which there is none. The stop does not end it."""

    gate: Gate[Any, Any]
    what: object
    ends_unsent: bool = True
    """False for a question of the connector, within a round."""
    _question: Question[Any, Any] = field(init=False)

    def begin(self, sleeper: Sleeper) -> None:
        """Put it."""
        self._question = self.gate.put(self.what, sleeper.come)

    def withdraw(self) -> None:
        """Have the answer dropped."""
        self._question.withdraw()


@define(eq=False)
class InLine:
    """A place, of a slot or of the breaker, which the job has when it comes; or only that the breaker admits jobs.

    `then` is called once it stands in line, since a place that this gives back lets another job begin.
    """

    line: deque[TakePlace]
    then: Callable[[], None] | None = None
    ends_unsent: bool = True
    _come: TakePlace = field(init=False)

    def begin(self, sleeper: Sleeper) -> None:
        """Stand in line."""
        self._come = sleeper.come
        self.line.append(self._come)
        if self.then is not None:
            self.then()

    def withdraw(self) -> None:
        """Leave the line."""
        self.line.remove(self._come)


@define(eq=False)
class Moment:
    """A moment on Trio's clock."""

    timers: Timers
    due_s: float
    ends_unsent: bool = True
    _timer: Timer = field(init=False)

    def begin(self, sleeper: Sleeper) -> None:
        """Set the alarm."""
        self._timer = self.timers.at(self.due_s, sleeper.come)

    def withdraw(self) -> None:
        """Turn it off."""
        self.timers.cancel(self._timer)


@define(eq=False)
class Tasks:
    """The tasks of one pool's lives. Trio begins tasks in any order, and what they are for begins in its own."""

    nursery: trio.Nursery | None = None
    """Where they run; None: none may begin."""
    _line: deque["InTask"] = field(factory=deque)

    def open(self, nursery: trio.Nursery | None) -> None:
        """Have the tasks run in this nursery from now on; None: let no other begin."""
        self.nursery = nursery

    def start(self, in_task: "InTask") -> None:
        """Start a task for this, behind those that were started before; once none may begin, its life is closed."""
        if self.nursery is not None:
            self._line.append(in_task)
            self.nursery.start_soon(self._run_first)

    async def _run_first(self) -> None:
        await self._line.popleft().run()


@define(eq=False)
class InTask:
    """The end of what needs a task of its own: what `call` returns comes, or what it raises."""

    tasks: Tasks
    call: Callable[[], Awaitable[object]]
    ends_unsent: bool = False
    _scope: trio.CancelScope = field(factory=trio.CancelScope)
    _sleeper: Sleeper = field(init=False)

    def begin(self, sleeper: Sleeper) -> None:
        """Start the task."""
        self._sleeper = sleeper
        self.tasks.start(self)

    def withdraw(self) -> None:
        """Cancel the task, unless it has ended."""
        self._scope.cancel()

    async def run(self) -> None:
        """Make the call, in the task."""
        end: Callable[[], object] = self._sleeper.cut_short
        try:
            with self._scope:
                await trio.lowlevel.checkpoint_if_cancelled()
                try:
                    came = await self.call()
                except Exception as problem:  # noqa: BLE001 - the life judges it
                    came = problem
                end = partial(self._sleeper.come, came)
        finally:
            # Also if the pool is cut off meanwhile: a person's word counts.
            end()


Wait: TypeAlias = Asked | InLine | Moment | InTask


@define(eq=False)
class Delays:
    """The jobs whose connector wants them to wait: none of them has a life until its time has come."""

    ready: ReadyBuffer
    timers: Timers
    _heap: list[tuple[float, int, JobInProgress]] = field(factory=list)
    """(time due, number, job)"""

    def put(self, job: JobInProgress, wait_s: float) -> None:
        """Have the job ready again after so many seconds."""
        due_s = trio.current_time() + wait_s
        heapq.heappush(self._heap, (due_s, job.number, job))
        self.timers.at(due_s, self._end)

    def drop_lost(self, reservations: Reservations) -> None:
        """Forget the jobs that are not ours any more."""
        self._heap = [entry for entry in self._heap if reservations.has(entry[2])]
        heapq.heapify(self._heap)

    def tickets(self) -> list[str]:
        """Return the tickets of these jobs."""
        return [job.ticket for _, _, job in self._heap]

    def _end(self) -> None:
        due: list[JobInProgress] = []
        while self._heap and self._heap[0][0] <= trio.current_time():
            due.append(heapq.heappop(self._heap)[2])
        self.ready.put_back(*due)
