"""Makes a job of each event that RabbitMQ delivers, and acknowledges it then. `app` runs one for each source.

The connection is in a thread (`connection.Link`); this file handles its messages, batch after batch. Always holds: a
message that is acknowledged has its job in Redis, or is filtered out, or is in the dead set since it is no event; while
Redis accepts no jobs, nothing is acknowledged and no more messages than the prefetch are held; messages that were not
acknowledged when a connection ends come again. Ends within two seconds of its cancel, even if RabbitMQ does not answer.
"""

import contextlib
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from secrets import token_hex
from typing import TYPE_CHECKING, Final

import attrs
import trio

from restbroker.config.events import EventSource
from restbroker.errors import ConfigError
from restbroker.events.amqp.event import Message, dead_job, read
from restbroker.events.amqp.options import INSTALL, Options
from restbroker.job.event import ServerEvent
from restbroker.servers.event_contract import MalformedEvent, Problem, ReaderPorts
from restbroker.servers.findings import Texts
from restbroker.servers.reading import Offers, SourceReports

if TYPE_CHECKING:  # without pika there is none
    from restbroker.events.amqp.connection import Link

_TEXTS: Final = Texts.beside(__file__)
AT_ONCE: Final = 200
"""How many events are offered to Redis together: as many as go to it in one call."""
_LEAST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 5.0
"""Longest pause between two connections, in seconds; the pause doubles each time, until a connection is open again."""
_GRACE_S: Final = 1.0
"""Seconds for RabbitMQ to receive what is acknowledged at the end."""


def open_reader(source: EventSource, ways: ReaderPorts) -> "RabbitReader":
    """Return the reader of one source, not yet running; raise `ConfigError` if pika is not installed."""
    assert isinstance(source.options, Options)  # noqa: S101  as its options judged it
    if find_spec("pika") is None:
        message = f"The source {source.name} reads from RabbitMQ, which needs an extra that is not installed."
        raise ConfigError(message, f"Install it: {INSTALL}.")
    reports = SourceReports(source.name, ways.report, _TEXTS, "RabbitMQBack", ways.states)
    return RabbitReader(source, source.options, Offers(source, ways.intake, reports), reports)


@attrs.define(eq=False)
class RabbitReader:
    """A reader of one queue, over one connection after the other."""

    source: EventSource
    settings: Options
    offers: Offers
    reports: SourceReports
    now_s: Callable[[], float] = time.time
    _pause_s: float = _LEAST_PAUSE_S

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Read until cancelled, over a new connection after each that ended; then acknowledge events with a job."""
        task_status.started()
        while True:
            self.reports.fail(await self._read_connection())
            await trio.sleep(self._pause_s * random.uniform(0.5, 1.0))  # noqa: S311  only so that not all come at once
            self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)

    async def _read_connection(self) -> Problem:
        """Read over one connection until it ends, and return why it ended."""
        from restbroker.events.amqp import connection

        inbox, token = _Inbox(), trio.lowlevel.current_trio_token()
        link = connection.Link(
            self.settings,
            f"restbroker, source {self.source.name}",
            inbox.put,
            on_open=lambda where: token.run_sync_soon(self._note_opened, where),
        )
        why: list[Problem] = []
        grace, taking = trio.CancelScope(shield=True), trio.CancelScope()

        async def consume() -> None:
            with grace:
                try:
                    # Left alone where RabbitMQ is silent: its waits are bounded, and it holds nothing.
                    await trio.to_thread.run_sync(link.run, abandon_on_cancel=True, limiter=trio.CapacityLimiter(1))
                except Problem as problem:
                    why.append(problem)
                # Whatever it is: what a stranger's server sends must not end a broker.
                except Exception as error:  # noqa: BLE001
                    name = type(error).__name__
                    why.append(_TEXTS.problem("RabbitMQAway-data", why=name, queue=self.settings.queue))
            taking.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(consume)
            try:
                with taking:
                    while True:
                        await self._take(link, await inbox.take(AT_ONCE))
            finally:
                link.stop()
                grace.deadline = trio.current_time() + _GRACE_S
        return why[0]

    def _note_opened(self, where: str) -> None:
        self._pause_s = _LEAST_PAUSE_S
        self.reports.note_open(where)

    async def _take(self, link: "Link", messages: Sequence[Message]) -> None:
        """Wait until each message has its job; acknowledge as many as have one, also when cancelled."""
        carries = {one.name: one.carries for one in self.settings.exchanges}
        now_s = self.now_s()
        left: dict[int, ServerEvent] = {}
        broken: dict[int, bytes] = {}
        for number, message in enumerate(messages):
            try:
                left[number] = read(message, carries, self.source.name, now_s)
            except MalformedEvent as error:
                broken[number] = dead_job(message, self.source, token_hex(12), why=str(error), now_s=now_s)
            # Whatever it holds: one message must not end a broker, which would meet it again after each restart.
            except Exception as error:  # noqa: BLE001
                why = f"reading it fails with {type(error).__name__}"
                broken[number] = dead_job(message, self.source, token_hex(12), why=why, now_s=now_s)
        waiting = set(broken)
        try:
            await self.offers.push(left, {number for number, one in enumerate(messages) if one.redelivered})
            if broken:
                await self.offers.intake.add_dead_jobs(list(broken.values()))
                waiting.clear()
        finally:
            if count := min(waiting | left.keys(), default=len(messages)):
                link.acknowledge(messages[count - 1].tag)
        for _ in broken:
            self.reports.count("malformed")
        if broken:
            self.reports.warn("EventParked", count=len(broken))


@attrs.define(eq=False)
class _Inbox:
    """The messages of one connection that wait for Trio, which is woken once for all that came together.

    The thread puts what came. It never holds more messages than RabbitMQ's prefetch, since none is acknowledged before
    it is taken out and has its job.
    """

    _token: trio.lowlevel.TrioToken = attrs.field(factory=trio.lowlevel.current_trio_token)
    _messages: deque[Message] = attrs.field(factory=deque)
    _came: trio.Event = attrs.field(factory=trio.Event)
    _is_woken: bool = False

    def put(self, message: Message) -> None:
        """Add a message and wake Trio; called in the thread. Does nothing more where Trio has ended."""
        self._messages.append(message)
        if not self._is_woken:
            self._is_woken = True
            # A thread that no one waits for any more may outlive Trio.
            with contextlib.suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._wake)

    async def take(self, most: int) -> list[Message]:
        """Wait until a message is there; remove and return the oldest, at most `most`. Safe to cancel."""
        while not self._messages:
            self._came = trio.Event()
            await self._came.wait()
        return [self._messages.popleft() for _ in range(min(most, len(self._messages)))]

    def _wake(self) -> None:
        self._is_woken = False
        self._came.set()
