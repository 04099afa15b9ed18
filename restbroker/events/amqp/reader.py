"""Makes a job of each event that RabbitMQ delivers, and acknowledges it then. `app` runs one for each source.

The connection is in a thread (`connection.RabbitLink`); this file handles its messages, batch after batch. Always
holds: a message that is acknowledged has its job in Redis, or is filtered out, or is in the dead set since it is no
event; while Redis accepts no jobs, nothing is acknowledged and no more messages than the prefetch are held; messages
that were not acknowledged when a connection ends come again. Ends within two seconds of its cancel, even if RabbitMQ
does not answer.

A message becomes an event, or a dead job that holds it byte for byte, as text or in base64, or, if it is longer than 1
MiB, its beginning; users who may not see message texts do not see it (`raw`, see `job.redact`). MongooseIM publishes
JSON without any AMQP properties, so there is no id and no time in it:

| exchange | routing key | JSON |
|---|---|---|
| presence | bare JID | `{"user_id": full JID, "present": true or false}` |
| chat_msg | sender's, `.chat_msg_sent`; recipient's, `.chat_msg_recv` | `from_user_id`, `to_user_id`, `message` |
| groupchat_msg | sender's, `.groupchat_msg_sent`; an occupant's or the room's, `.groupchat_msg_recv` | the same |
"""

import base64
import contextlib
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from secrets import token_hex
from typing import TYPE_CHECKING, Final, assert_never

import trio

from restbroker.config.events import EventSource
from restbroker.errors import ConfigError
from restbroker.events.amqp.options import INSTALL, ExchangeContent, Options
from restbroker.job import rubyjson
from restbroker.job.event import PRESENCE, ServerEvent, bare, domain
from restbroker.job.json_types import Json
from restbroker.job.repair import fractional
from restbroker.light import define, field
from restbroker.servers.event_contract import MalformedEvent, ReaderPorts
from restbroker.servers.event_json import object_of
from restbroker.servers.findings import Problem, Texts
from restbroker.servers.reading import AT_ONCE, Backoff, Offers, SourceReports

if TYPE_CHECKING:  # without pika there is none
    from restbroker.events.amqp.connection import Message, RabbitLink

LIMIT_BYTES: Final = 1024 * 1024
"""The largest body that is read, more than any stanza that MongooseIM takes (64 KiB unless configured otherwise)."""
ERROR_CLASS: Final = "MalformedEvent"
_TEXTS: Final = Texts.beside(__file__)
_AROUND: Final = 4
"""The levels of a job around a payload: the job, its arguments, the event, its `raw`."""
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


@define(eq=False)
class RabbitReader:
    """A reader of one queue, over one connection after the other."""

    source: EventSource
    settings: Options
    offers: Offers
    reports: SourceReports
    now_s: Callable[[], float] = time.time
    _pause: Backoff = field(factory=Backoff)

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Read until cancelled, over a new connection after each that ended; then acknowledge events with a job."""
        task_status.started()
        while True:
            self.reports.fail(await self._read_connection())
            await self._pause.wait()

    async def _read_connection(self) -> Problem:
        """Read over one connection until it ends, and return why it ended."""
        from restbroker.events.amqp import connection

        inbox, token = _Inbox(), trio.lowlevel.current_trio_token()
        grace, taking = trio.CancelScope(), trio.CancelScope()
        link = connection.RabbitLink(
            self.settings,
            f"restbroker, source {self.source.name}",
            inbox.put,
            on_open=lambda where: token.run_sync_soon(self._begin_reading, where, grace),
        )
        why: list[Problem] = []

        async def consume() -> None:
            with grace:
                try:
                    # Left alone where RabbitMQ is silent: its waits are bounded, and it holds nothing.
                    await trio.to_thread.run_sync(link.run, abandon_on_cancel=True, limiter=trio.CapacityLimiter(1))
                except Problem as problem:
                    why.append(problem)
            taking.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(consume)
            try:
                with taking:
                    while True:
                        await self._take(link, await inbox.take(AT_ONCE))
            finally:
                grace.deadline = trio.current_time() + _GRACE_S
                link.stop()
        return why[0]

    def _begin_reading(self, where: str, grace: trio.CancelScope) -> None:
        grace.shield = True  # before that there is nothing to acknowledge
        self._pause.reset()
        self.reports.report_open(where)

    async def _take(self, link: "RabbitLink", messages: "Sequence[Message]") -> None:
        """Wait until each message has its job; acknowledge as many as have one, also when cancelled."""
        carries = {exchange.name: exchange.carries for exchange in self.settings.exchanges}
        now_s = self.now_s()
        left: dict[int, ServerEvent] = {}
        broken: dict[int, bytes] = {}
        for number, message in enumerate(messages):
            try:
                left[number] = read(message, carries, self.source.name, now_s)
            # Whatever it holds: one message must not end a broker, which would meet it again after each restart.
            except Exception as error:  # noqa: BLE001
                is_known = isinstance(error, MalformedEvent)
                why = str(error) if is_known else f"reading it fails with {type(error).__name__}"
                # One of which there cannot even be a dead job is acknowledged, or RabbitMQ would repeat it for ever.
                with self.reports.guard("a message of RabbitMQ"):
                    broken[number] = dead_job(message, self.source, token_hex(12), why=why, now_s=now_s)
        waiting = set(broken)
        try:
            await self.offers.push(left, {number for number, message in enumerate(messages) if message.redelivered})
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


@define(eq=False)
class _Inbox:
    """The messages of one connection that wait for Trio, which is woken once for all that came together.

    The thread puts what came. It never holds more messages than RabbitMQ's prefetch, since none is acknowledged before
    it is taken out and has its job.
    """

    _token: trio.lowlevel.TrioToken = field(factory=trio.lowlevel.current_trio_token)
    _messages: "deque[Message]" = field(factory=deque)
    _came: trio.Event = field(factory=trio.Event)
    _is_woken: bool = False

    def put(self, message: "Message") -> None:
        """Add a message and wake Trio; called in the thread. Does nothing more where Trio has ended."""
        self._messages.append(message)
        if not self._is_woken:
            self._is_woken = True
            # A thread that no one waits for any more may outlive Trio.
            with contextlib.suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._wake)

    async def take(self, most: int) -> "list[Message]":
        """Wait until a message is there; remove and return the oldest, at most `most`. Safe to cancel."""
        while not self._messages:
            self._came = trio.Event()
            await self._came.wait()
        return [self._messages.popleft() for _ in range(min(most, len(self._messages)))]

    def _wake(self) -> None:
        self._is_woken = False
        self._came.set()


def read(message: "Message", carries: Mapping[str, ExchangeContent], source: str, now_s: float) -> ServerEvent:
    """Return the message as an event of this source; raise `MalformedEvent` if it is not one.

    `carries` is {exchange: what is published there}; `now_s` (epoch seconds) becomes the time of the event.
    """
    if len(message.body) > LIMIT_BYTES:
        raise MalformedEvent(f"it has more than {LIMIT_BYTES} bytes")
    payload = object_of(message.body)
    # MongooseIM's own are flat; a job nests what it holds deeper than it came, and Ruby reads only so deep.
    if not rubyjson.nests_at_most(rubyjson.MAX_NESTING - _AROUND, message.body):
        raise MalformedEvent("it is nested too deeply")
    what = carries.get(message.exchange) or _guess(message, payload)
    raw: dict[str, Json] = {"exchange": message.exchange, "routing_key": message.key, "payload": payload}
    make = partial(ServerEvent, id=None, source=source, received_at_s=now_s, raw=raw)
    match what:
        case "presence":
            return _presence(payload, make)
        case "chat" | "groupchat":
            return _message(payload, message.key, make, is_room=what == "groupchat")
        case _:
            assert_never(what)


def _guess(message: "Message", payload: Mapping[str, Json]) -> ExchangeContent:
    """Return what a message of an exchange not configured carries, as others may bind the queue to more exchanges."""
    if "user_id" in payload:
        return "presence"
    return "groupchat" if message.key.rpartition(".")[2].startswith("groupchat") else "chat"


def _presence(payload: Mapping[str, Json], make: Callable[..., ServerEvent]) -> ServerEvent:
    user = _text(payload, "user_id")
    is_present = payload.get("present")
    if not isinstance(is_present, bool):
        raise MalformedEvent("its present is neither true nor false")
    is_there = PRESENCE[is_present]
    return make(
        type="presence", sender=user, receiver=None, body=None, room=None, server=domain(user), presence=is_there
    )


def _message(payload: Mapping[str, Json], key: str, make: Callable[..., ServerEvent], *, is_room: bool) -> ServerEvent:
    sender, receiver = _text(payload, "from_user_id"), _text(payload, "to_user_id")
    room = None
    if is_room:
        # To the room itself, from its user; or from the room with the occupant's nickname, to the user.
        room = receiver if "/" not in receiver else bare(sender)
    kind, body, server = "groupchat" if is_room else "message", _text(payload, "message"), _host(key, sender, receiver)
    return make(type=kind, sender=sender, receiver=receiver, body=body, room=room, server=server)


def _host(key: str, sender: str, receiver: str) -> str | None:
    """Return the domain of the user on whose side the message was seen, sent or received, or None.

    The routing key begins with the bare JID of this user.
    """
    whose = key.rpartition(".")[0].lower()
    return next((domain(jid) for jid in (sender, receiver) if bare(jid).lower() == whose), None)


def _text(payload: Mapping[str, Json], member: str) -> str:
    value = payload.get(member)
    if not isinstance(value, str):
        raise MalformedEvent(f"its {member} is {'missing' if value is None else 'no text'}")
    return value


def dead_job(message: "Message", source: EventSource, jid: str, why: str, now_s: float) -> bytes:
    """Return a job of the source's class and queue, encoded, whose one argument has the members of an event.

    Class and queue are those of the first route, if the source has only routes. `why` becomes its error message.
    """
    moment_s = fractional(now_s)
    queue, job_class = source.queue, source.job_class
    if not (queue and job_class):
        queue, job_class = source.routes[0].queue, source.routes[0].job_class
    raw: dict[str, Json] = {"exchange": message.exchange, "routing_key": message.key, **_body(message.body)}
    members: tuple[str, ...] = ("type", "from", "to", "id", "body", "room", "presence", "server")
    event: dict[str, Json] = dict.fromkeys(members)
    fields: dict[str, Json] = {
        "class": job_class,
        "args": [{**event, "source": source.name, "received_at": moment_s, "raw": raw}],
        "jid": jid,
        "queue": queue,
        "retry": True,
        "created_at": moment_s,
        "error_message": f"RabbitMQ delivered something that is not an event: {why}.",
        "error_class": ERROR_CLASS,
        "failed_at": moment_s,
        "retry_count": 0,
    }
    return rubyjson.dumps(fields)


def _body(body: bytes) -> dict[str, Json]:
    cut = body[:LIMIT_BYTES]
    size: dict[str, Json] = {} if len(cut) == len(body) else {"size": len(body)}
    try:
        return {"text": cut.decode(), **size}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(cut).decode(), **size}
