"""Makes a job of each event that RabbitMQ delivers, and acknowledges it then. `app` runs one for each source.

The connection is in a thread (`link`); this file handles its messages, batch after batch. Always holds: a message that
is acknowledged has its job in Redis, or is filtered out, or is in the dead set since it is no event; while Redis
accepts no jobs, nothing is acknowledged and no more messages than the prefetch are held; messages that were not
acknowledged when a connection ends come again. Ends within two seconds of its cancel, even if RabbitMQ does not answer.
"""

import random
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from secrets import token_hex
from typing import TYPE_CHECKING, Final

import attrs
import trio

from restbroker.config.events import EventSource
from restbroker.errors import ConfigError
from restbroker.events.amqp.dead_messages import dead_job
from restbroker.events.amqp.inbox import Inbox
from restbroker.events.amqp.options import INSTALL, Options
from restbroker.events.amqp.read import Message, read
from restbroker.events.amqp.topology import Problem, silent_queue
from restbroker.job.event import ServerEvent
from restbroker.servers.event_contract import Intake, MalformedEvent, Offer, ReaderPorts, States
from restbroker.telemetry.events import EventHandled, OperatorWarning, Report, SourceOpened

if TYPE_CHECKING:  # without pika there is none
    from restbroker.events.amqp.link import Link

AT_ONCE: Final = 200
"""How many events are offered to Redis together: as many as go to it in one call."""
_LEAST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 5.0
"""Longest pause between two connections, in seconds; the pause doubles each time, until a connection is open again."""
_PATIENCE_S: Final = 2.0
"""Seconds that Redis may take before an operator is warned."""
_CONFIRM_S: Final = 5.0
"""Seconds that a queue may take to confirm that it delivers before an operator is warned."""
_GRACE_S: Final = 1.0
"""Seconds for RabbitMQ to receive what is acknowledged at the end."""


def open_reader(source: EventSource, ways: ReaderPorts) -> "RabbitReader":
    """Return the reader of one source, not yet running; raise `ConfigError` if pika is not installed."""
    assert isinstance(source.options, Options)  # noqa: S101  as its options judged it
    if find_spec("pika") is None:
        message = f"The source {source.name} reads from RabbitMQ, which needs an extra that is not installed."
        raise ConfigError(message, f"Install it: {INSTALL}.")
    return RabbitReader(source, source.options, ways.intake, report=ways.report, states=ways.states)


@attrs.define(eq=False)
class RabbitReader:
    """A reader of one queue, over one connection after the other."""

    source: EventSource
    settings: Options
    intake: Intake
    report: Report
    states: States | None = None
    now_s: Callable[[], float] = time.time
    _pause_s: float = _LEAST_PAUSE_S
    _last_warning: str = ""
    _waits: bool = False
    _was_open: bool = False
    _requested: trio.Event = attrs.field(factory=trio.Event)
    _confirmed: trio.Event = attrs.field(factory=trio.Event)

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Read until cancelled, over a new connection after each that ended; then acknowledge events with a job."""
        task_status.started()
        while True:
            self._warn(await self._read_connection())
            await trio.sleep(self._pause_s * random.uniform(0.5, 1.0))  # noqa: S311  only so that not all come at once
            self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)

    async def _read_connection(self) -> Problem:
        """Read over one connection until it ends, and return why it ended."""
        from restbroker.events.amqp.link import Link

        inbox, token = Inbox(), trio.lowlevel.current_trio_token()
        self._requested = trio.Event()
        link = Link(
            self.settings,
            f"restbroker, source {self.source.name}",
            inbox.put,
            on_request=lambda: token.run_sync_soon(self._note_request),
            on_open=lambda where: token.run_sync_soon(self._note_opened, where),
            on_problem=lambda problem: token.run_sync_soon(self._warn, problem),
        )
        why: list[Problem] = []
        grace, taking, watching = trio.CancelScope(shield=True), trio.CancelScope(), trio.CancelScope()

        async def consume() -> None:
            with grace:
                try:
                    # Left alone where RabbitMQ is silent: its waits are bounded, and it holds nothing.
                    await trio.to_thread.run_sync(link.run, abandon_on_cancel=True, limiter=trio.CapacityLimiter(1))
                except Problem as problem:
                    why.append(problem)
                # Whatever it is: what a stranger's server sends must not end a broker.
                except Exception as error:  # noqa: BLE001
                    what = f"RabbitMQ's data cannot be read: {type(error).__name__}."
                    why.append(Problem("RabbitMQAway", what, self._removal_hint()))
            taking.cancel()
            watching.cancel()

        async def watch() -> None:
            with watching:
                while True:
                    await self._requested.wait()
                    self._requested = trio.Event()
                    with trio.move_on_after(_CONFIRM_S) as patience:
                        await self._confirmed.wait()
                    if patience.cancelled_caught:
                        self._warn(silent_queue(self.settings))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(consume)
            nursery.start_soon(watch)
            try:
                with taking:
                    while True:
                        await self._take(link, await inbox.take(AT_ONCE))
            finally:
                link.stop()
                grace.deadline = trio.current_time() + _GRACE_S
        return why[0]

    def _removal_hint(self) -> str:
        """Return the hint for a message that cannot be read, which RabbitMQ delivers again, with nothing behind it."""
        take = f"rabbitmqadmin get queue={self.settings.queue} count=1 ackmode=ack_requeue_false"
        return f"Please report this. If it is logged repeatedly, remove the first message from its queue: {take}"

    def _warn(self, problem: Problem) -> None:
        """Warn of this problem, once until another one comes or it is over."""
        if self.states is not None:
            self.states.put(problem)
        if problem.message != self._last_warning:
            self._last_warning = problem.message
            self.report(OperatorWarning(problem.code, f"Source {self.source.name}: {problem.message}", problem.hint))

    def _note_request(self) -> None:
        self._confirmed = trio.Event()
        self._requested.set()

    def _note_opened(self, where: str) -> None:
        self._confirmed.set()
        self._pause_s = _LEAST_PAUSE_S
        if self.states is not None:
            self.states.put(None)
        if not self._was_open:
            self._was_open = True
            self.report(SourceOpened(self.source.name, where))
        if self._last_warning:
            self._last_warning = ""
            self.report(
                OperatorWarning("RabbitMQBack", f"Source {self.source.name}: events are read from RabbitMQ again.")
            )

    async def _take(self, link: "Link", messages: Sequence[Message]) -> None:
        """Wait until each message has its job; acknowledge as many as have one, also when cancelled."""
        carries = {one.name: one.carries for one in self.settings.exchanges}
        now_s = self.now_s()
        told: dict[int, ServerEvent] = {}
        broken: dict[int, bytes] = {}
        for number, message in enumerate(messages):
            try:
                told[number] = read(message, carries, self.source.name, now_s)
            except MalformedEvent as error:
                broken[number] = dead_job(message, self.source, token_hex(12), why=str(error), now_s=now_s)
            # Whatever it holds: one message must not end a broker, which would meet it again after each restart.
            except Exception as error:  # noqa: BLE001
                why = f"reading it fails with {type(error).__name__}"
                broken[number] = dead_job(message, self.source, token_hex(12), why=why, now_s=now_s)
        done: set[int] = set()
        try:
            await self._offer(told, messages, done)
            if broken:
                await self.intake.add_dead_jobs(list(broken.values()))
                done.update(broken)
        finally:
            count = next((number for number in range(len(messages)) if number not in done), len(messages))
            if count:
                link.acknowledge(messages[count - 1].tag)
        for _ in broken:
            self.report(EventHandled(self.source.name, "malformed"))
        if broken:
            what = f"Source {self.source.name}: {len(broken)} of RabbitMQ's messages are not events of MongooseIM."
            hint = (
                "They are in the dead set: `restbroker dead list` shows them. Let only MongooseIM publish "
                "to these exchanges."
            )
            self.report(OperatorWarning("EventParked", what, hint))

    async def _offer(self, offered: dict[int, ServerEvent], messages: Sequence[Message], done: set[int]) -> None:
        """Wait until Redis has all events of `offered`; add the number of each to `done` once it has a verdict."""
        pause_s = _LEAST_PAUSE_S
        while missing := [number for number in offered if number not in done]:
            offer = self.intake.offer(self.source, [offered[number] for number in missing])
            try:
                await self._wait(offer)
            finally:
                with trio.CancelScope(shield=True):
                    await offer.withdraw()
                for number, verdict in zip(missing, offer.verdicts(), strict=True):
                    if isinstance(verdict, str):
                        done.add(number)
                        again = verdict == "accepted" and messages[number].redelivered
                        self.report(EventHandled(self.source.name, "redelivered" if again else verdict))
            if len(done) < len(offered):
                self._warn_of_redis(offer)
                await trio.sleep(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        self._waits = False

    async def _wait(self, offer: Offer) -> None:
        with trio.move_on_after(_PATIENCE_S) as patience:
            await offer.wait()
        if patience.cancelled_caught:
            self._warn_of_redis(offer)
            await offer.wait()

    def _warn_of_redis(self, offer: Offer) -> None:
        """Warn that events wait, once until all are taken."""
        if self._waits:
            return
        self._waits = True
        why = next((one.message for one in offer.verdicts() if isinstance(one, Exception)), "Redis does not answer.")
        what = f"Events of the source {self.source.name} wait in RabbitMQ: {why}"
        self.report(OperatorWarning("EventsWait", what, "Nothing is lost: they are read when Redis accepts them."))
