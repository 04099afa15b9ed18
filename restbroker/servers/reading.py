"""What the readers of events share: the buffer in memory, the way to Redis, and what they report.

Used by the readers of RabbitMQ, of Openfire's streams and of components. Always holds: an event leaves `left` only once
it has a verdict, also where the wait is cancelled. Events stay in the order in which they came; the buffer is bounded
in bytes, however long Redis is away: who finds it full waits and reads no more, so that further events wait in the
connection and at the server. A problem is reported once until another one takes its place or it is over, for any number
of users. What raises in an event costs that event (`SourceReports.guard`); what raises besides closes its source alone
(`LastingReader`).
"""

import random
from collections import deque
from collections.abc import Awaitable, Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final

import trio

from restbroker.config.events import EventSource
from restbroker.errors import RestbrokerError, StoreRefused, StoreUnavailable, UsageError, kinds_in
from restbroker.job.event import ServerEvent
from restbroker.light import define, field
from restbroker.servers.event_contract import EventReader, Intake, Offer
from restbroker.servers.findings import Problem, Texts
from restbroker.servers.in_redis import StatesOfSource, StreamInfo
from restbroker.telemetry.events import EventHandled, OperatorWarning, Report, SourceOpened

_TEXTS: Final = Texts.beside(__file__)
_PATIENCE_S: Final = 2.0
"""Seconds that Redis may take before an operator is warned."""
AT_ONCE: Final = 200
_BYTES_AT_ONCE: Final = 1024 * 1024
"""The bytes after which no more events are taken at once.

Redis must have them well within the time that it is given: many large events at once take longer.
"""
_LONGEST_PAUSE_S: Final = 5.0
_SERVER: Final = "/"
"""What the places of problems begin with that all users share, and no user's name."""


@define(eq=False)
class SourceReports:
    """The reports of one source, in the words of `texts`; a source without users is one of the user "".

    `back`: the warning that events are read again.
    """

    source: str
    report: Report
    texts: Texts
    back: str
    states: StatesOfSource
    _was_open: bool = False
    _reported: dict[str, str] = field(factory=dict)
    """What is not over: a message at a user's name, or at its code if all users share the problem."""
    _users: set[str] = field(factory=lambda: {""})

    def add_user(self, user: str, read_info: Callable[[], StreamInfo]) -> None:
        """Note that this process reads the user's stream; `read_info` returns the stream's attributes."""
        self._users.add(user)
        self.states.watch(user, read_info)

    def remove_user(self, user: str) -> None:
        """Note that another process reads the user's stream."""
        self._users.discard(user)
        self.states.end(user)

    def fail(self, problem: Problem, user: str = "") -> None:
        """Report why nothing is read, unless that was reported already.

        What is wrong is the user's own if it was denied (`…Denied`), and else the server's, which all users share.
        """
        self._keep(problem, user)
        is_shared = user and not problem.code.endswith("Denied")
        place, what = (_SERVER + problem.code, problem.code) if is_shared else (user, problem.message)
        if self._reported.get(place) != what:
            self._reported[place] = what
            self.write(problem)

    def warn(self, name: str, /, **values: object) -> None:
        """Report what happened, in the words of this name."""
        self.write(self.texts.problem(name, **values))

    def report_open(self, where: str, user: str = "") -> None:
        """Note that the stream is open at this address, and report the end of earlier problems."""
        self._keep(None, user)
        if not self._was_open:
            self._was_open = True
            self.report(SourceOpened(self.source, where))
        over = [place for place in self._reported if place == user or place.startswith(_SERVER)]
        for place in over:
            del self._reported[place]
        if over:
            self.warn(self.back, user=user)

    def report_idle(self, why: str, user: str = "") -> None:
        """Note that nothing is read, as it should be."""
        self._keep(Problem("", why, ""), user)

    def count(self, outcome: str) -> None:
        """Count an event with this outcome."""
        self.report(EventHandled(self.source, outcome))

    @contextmanager
    def guard(self, what: str = "an event") -> Iterator[None]:
        """Have what the block raises cost its event alone, which is counted and reported; `what` names it.

        What is about the source or Redis passes: `Problem`, and the store's errors.
        """
        try:
            yield
        except (Problem, StoreUnavailable, StoreRefused):
            raise
        # Whatever it is: a stranger may have sent it, and would send it again.
        except Exception as error:  # noqa: BLE001
            self.count("malformed")
            self.write(_TEXTS.problem("EventMalformed", what=what, error=type(error).__name__))

    def write(self, problem: Problem) -> None:
        """Report this problem."""
        self.report(OperatorWarning(problem.code, f"Source {self.source}: {problem.message}", problem.hint or None))

    def _keep(self, problem: Problem | None, user: str) -> None:
        """Put the user's state where it can be seen, unless another process reads the stream by now.

        What ended meanwhile is no problem of the new reader.
        """
        if user in self._users:
            self.states.put(problem, user)


def between(since_s: float, until_s: float) -> str:
    """Return these two times (epoch seconds) as a part of a sentence."""
    since, until = (
        datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        for at_s in (since_s, until_s)
    )
    return f"between {since} and {until}"


@define(eq=False)
class Backoff:
    """The pauses between tries, each twice as long as the last one, up to five seconds."""

    least_s: float = 0.5
    _factor: float = 1.0

    async def wait(self) -> None:
        """Pause."""
        pause_s = min(self.least_s * self._factor, _LONGEST_PAUSE_S)
        self._factor = min(2 * self._factor, 64.0)
        await trio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311  only so that not all come at once

    def reset(self) -> None:
        """Let the next pause be the shortest again."""
        self._factor = 1.0


@define(eq=False)
class LastingReader:
    """The reader of a source that ends no other task: if one raises, another one takes its place, with back-off."""

    source: str
    first: EventReader
    open: Callable[[], EventReader]
    report: Report
    states: StatesOfSource

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Fetch until cancelled."""
        task_status.started()
        pause = Backoff()
        reader: EventReader | None = self.first
        while True:
            try:
                await (reader or self.open()).run(task_status=trio.TASK_STATUS_IGNORED)
            # Whatever it is, also at the end: what a network sent must not end more than its source.
            except* Exception as group:  # noqa: BLE001
                problem = _TEXTS.problem("SourceFailed", error=kinds_in(group))
                self.report(OperatorWarning(problem.code, f"Source {self.source}: {problem.message}", problem.hint))
                self.states.put(problem)
            reader = None
            await pause.wait()
            self.states.end("")


@define(eq=False)
class Offers:
    """The offers of one source."""

    source: EventSource
    intake: Intake
    reports: SourceReports
    _is_waiting: bool = False

    async def push(self, left: dict[int, ServerEvent], redelivered: Container[int] = ()) -> None:
        """Wait until Redis has all events of `left`, or has found that they are not wanted; each is removed then.

        Each verdict is reported: an accepted event whose number is in `redelivered` came before.
        """
        pause = Backoff()
        while left:
            offer = self.intake.offer(self.source, list(left.values()))
            try:
                with trio.move_on_after(_PATIENCE_S) as patience:
                    await offer.wait()
                if patience.cancelled_caught:
                    self._warn_of(offer)
                    await offer.wait()
            finally:
                with trio.CancelScope(shield=True):
                    await offer.withdraw()
                for number, verdict in zip(tuple(left), offer.verdicts(), strict=True):
                    if isinstance(verdict, str):
                        del left[number]
                        again = verdict == "accepted" and number in redelivered
                        self.reports.count("redelivered" if again else verdict)
                    elif isinstance(verdict, UsageError):
                        del left[number]
                        self.reports.count("too_large")
                        self.reports.write(_TEXTS.problem("EventTooLarge"))
                    elif not isinstance(verdict, StoreUnavailable | StoreRefused | None):
                        del left[number]
                        with self.reports.guard():
                            raise verdict
            if left:
                self._warn_of(offer)
                await pause.wait()
        self._is_waiting = False

    def warn(self, why: str) -> None:
        """Report that events wait, once until all are taken."""
        if not self._is_waiting:
            self._is_waiting = True
            self.reports.write(_TEXTS.problem("EventsWait", why=why))

    def _warn_of(self, offer: Offer) -> None:
        errors = (verdict.message for verdict in offer.verdicts() if isinstance(verdict, RestbrokerError))
        self.warn(next(errors, "Redis does not answer."))


@define(eq=False)
class EventBuffer:
    """The buffer of one source.

    `on_full` is called with the number of bytes that wait when it gets full, and not again until all were taken.
    """

    most_bytes: int
    on_full: Callable[[int], None] = lambda _: None
    _events: deque[tuple[ServerEvent, int]] = field(factory=deque)
    _size_bytes: int = 0
    """The bytes of all events, also of those that were taken last: they are in memory until Redis has them."""
    _taken_bytes: int = 0
    _waiting: int = 0
    _was_full: bool = False
    _changed: trio.Event = field(factory=trio.Event)

    async def put(self, event: ServerEvent, size_bytes: int) -> None:
        """Add an event, after waiting for room; one larger than the whole buffer waits until that is empty.

        When cancelled, the event is not in the buffer.
        """
        self._waiting += 1
        try:
            while self._size_bytes and self._size_bytes + size_bytes > self.most_bytes:
                if not self._was_full:
                    self._was_full = True
                    self.on_full(self._size_bytes)
                await self._changed.wait()
        finally:
            self._waiting -= 1
        self._events.append((event, size_bytes))
        self._size_bytes += size_bytes
        self._wake()

    async def take(self) -> list[ServerEvent]:
        """Drop the events of the last call, wait for others, and return the oldest, as many as one push takes.

        Safe to cancel: the others stay.
        """
        self._settle()
        while not self._events:
            self._was_full = self._was_full and self._waiting > 0
            await self._changed.wait()
        return self.take_now()

    def take_now(self) -> list[ServerEvent]:
        """Return the same as `take` without waiting; none if the buffer is empty."""
        self._settle()
        taken: list[ServerEvent] = []
        while self._events and len(taken) < AT_ONCE and self._taken_bytes < _BYTES_AT_ONCE:
            event, size_bytes = self._events.popleft()
            taken.append(event)
            self._taken_bytes += size_bytes
        return taken

    def __len__(self) -> int:
        """Return the number of events, without those that were taken."""
        return len(self._events)

    def __iter__(self) -> Iterator[ServerEvent]:
        """Return the same events, in their order."""
        return (event for event, _ in self._events)

    def _settle(self) -> None:
        self._size_bytes -= self._taken_bytes
        if self._taken_bytes:
            self._taken_bytes = 0
            self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, trio.Event()
        changed.set()


@define(eq=False)
class Pusher:
    """Pushes what comes into the buffer. `on_pushed` is called with the events that Redis has, once for each push."""

    buffer: EventBuffer
    offers: Offers
    on_pushed: Callable[[Sequence[ServerEvent]], Awaitable[None]] | None = None
    _taken: dict[int, ServerEvent] = field(factory=dict)
    """What was taken out of the buffer, and `on_pushed` was not called with."""
    _left: dict[int, ServerEvent] = field(factory=dict)
    """What of it is not known to be in Redis."""

    async def run(self) -> None:
        """Push until cancelled."""
        while True:
            await self._push(await self.buffer.take())

    async def finish(self, within_s: float) -> None:
        """Push what is left, for so many seconds at most."""
        with trio.move_on_after(within_s):
            await self._push_taken()
            while events := self.buffer.take_now():
                await self._push(events)

    @property
    def pushed(self) -> list[ServerEvent]:
        """What Redis has of a push that did not end."""
        return [event for number, event in self._taken.items() if number not in self._left]

    @property
    def unpushed(self) -> list[ServerEvent]:
        """What is not known to be in Redis, in its order."""
        return [*self._left.values(), *self.buffer]

    async def _push(self, events: Sequence[ServerEvent]) -> None:
        self._taken, self._left = dict(enumerate(events)), dict(enumerate(events))
        await self._push_taken()

    async def _push_taken(self) -> None:
        await self.offers.push(self._left)
        taken, self._taken = self._taken, {}
        if self.on_pushed is not None:
            await self.on_pushed(list(taken.values()))
