"""Reads the stream of a component and pushes its events to Redis. `app` runs one for each source.

Always holds: what was read is in the buffer until Redis has it. While Redis is away, the buffer fills; then nothing is
read for `MaxUnread`, so that the server keeps what comes; then it is read and lost, and counted. A heartbeat that the
component sends itself comes back behind all copies that came before it: up to the last one whose events are in Redis
nothing is lost, and each time after it that may be incomplete is logged with its beginning and end, by this process or,
if it dies, by another (`ProgressInRedis`). Without `Lease` all processes read: ejabberd gives each copy to one of them.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import aclosing, suppress
from typing import Final, assert_never
from xml.sax.saxutils import quoteattr

import trio

from restbroker.config.events import EventSource
from restbroker.errors import StoreRefused, StoreUnavailable
from restbroker.job.event import ServerEvent, domain
from restbroker.light import define, field
from restbroker.servers.component.connection import ComponentStream, open_stream
from restbroker.servers.component.derive import Deriver, Kind, answer_to, answer_to_push, has_text, is_notification
from restbroker.servers.component.options import ROOM_LIFE, Options, digests_of
from restbroker.servers.component.rooms import RoomLife
from restbroker.servers.component.stanzas import (
    FORWARDED,
    Accepted,
    Broken,
    Direct,
    Item,
    Opened,
    Skipped,
    Stanza,
    StanzaCopy,
)
from restbroker.servers.event_contract import ReaderPorts
from restbroker.servers.findings import Problem, Texts
from restbroker.servers.in_redis import LeasesInRedis, ProgressInRedis, StreamInfo
from restbroker.servers.reading import Backoff, EventBuffer, Offers, Pusher, SourceReports, between
from restbroker.store.leases import LeaseHeld

_TEXTS: Final = Texts.beside(__file__)
_BUFFER_BYTES: Final = 32 * 1024 * 1024
_EACH_BYTES: Final = 2048
"""What an event takes in memory besides its texts, roughly."""
_BEAT_S: Final = 1.0
_MARGIN_S: Final = 1.0
"""How long ejabberd may take at most from a stanza to its copies, within what a gap allows for."""
_PATIENCE_S: Final = 2.0
"""Seconds that Redis may take at the end."""
_DRAIN_S: Final = 1.0
_RENEWALS: Final = 3
_MOST_HOSTS: Final = 20
"""How many unknown hosts are named: anyone may invent some."""


def open_reader(source: EventSource, ports: ReaderPorts) -> "ComponentReader":
    """Return the reader of one source, without connecting yet."""
    settings = source.options
    assert isinstance(settings, Options)  # noqa: S101  as its options judged it
    deriver = Deriver(source.name, settings.name, settings.hosts, settings.rooms, settings.takes)
    life = None if set(ROOM_LIFE).isdisjoint(settings.takes) else RoomLife(deriver)
    reports = SourceReports(source.name, ports.report, _TEXTS, "ComponentBack", ports.states)
    offers = Offers(source, ports.intake, reports)
    return ComponentReader(settings, deriver, life, offers, reports, ports.leases, ports.progress)


@define(eq=False)
class ComponentReader:
    """The reader of one source, over one connection after the other. Times are epoch seconds; 0: never."""

    settings: Options
    deriver: Deriver
    life: RoomLife | None
    offers: Offers
    reports: SourceReports
    leases: LeasesInRedis
    progress: ProgressInRedis
    now_s: Callable[[], float] = time.time
    _buffer: EventBuffer = field(init=False)
    _pusher: Pusher = field(init=False)
    _stream: ComponentStream | None = None
    _may_read: trio.Event = field(factory=trio.Event)
    _made: deque[tuple[ServerEvent, int]] = field(factory=deque)
    """Events on their way into the buffer, each with its size: what was read is not read again."""
    _put: int = 0
    _pushed: int = 0
    """How many events came into the buffer, and how many of these Redis has."""
    _beats: deque[tuple[int, float]] = field(factory=deque)
    """The heartbeats that came back: how many events had been put by then, and when each was sent."""
    _until_s: float = 0.0
    """Up to when all events are in Redis."""
    _beat_s: float = 0.0
    """When the last heartbeat was sent that came back, or the stream was opened."""
    _any_beat_s: float = 0.0
    """The same of the last that came here, whichever process sent it: what comes has waited since then at most."""
    _broken_s: float = 0.0
    """Since when events may be missing, until a stream is open again."""
    _event_s: float = 0.0
    _room_s: float = 0.0
    _opened_s: float = 0.0
    _lost: int = 0
    _lost_since_s: float = 0.0
    _named_hosts: set[str] = field(factory=set)
    _notice: str = ""
    _options: Mapping[str, str] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self._buffer = EventBuffer(_BUFFER_BYTES, self._warn_of_full)
        self._pusher = Pusher(self._buffer, self.offers, self._record_pushed)

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Read until cancelled; then push what came within two seconds, and disconnect."""
        self.reports.add_user("", self._info)
        task_status.started()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._pusher.run)
                nursery.start_soon(self._keep_progress)
                if self.settings.lease_s is None:
                    self._may_read.set()
                else:
                    nursery.start_soon(self._keep_lease, self.settings.lease_s)
                await self._stay_connected()
        finally:
            with trio.CancelScope(shield=True):
                try:
                    await self._leave()
                finally:
                    await self._end()

    async def _stay_connected(self) -> None:
        pause = Backoff()
        while True:
            await self._may_read.wait()
            self._options = await trio.to_thread.run_sync(digests_of, self.offers.source)
            try:
                self._stream = await open_stream(self.settings)
                pause.reset()
                self._record_open(self._stream.where)
                while True:
                    await self._take_next(self._stream)
            except Problem as problem:
                if self._may_read.is_set():
                    self.reports.fail(problem)
            await self._record_closed()
            await pause.wait()

    def _record_open(self, where: str) -> None:
        now_s = self.now_s()
        self._opened_s = self._beat_s = self._any_beat_s = now_s
        self._until_s = self._until_s or now_s
        self.reports.report_open(where)
        if self._broken_s:
            self._report_gap(self._broken_s, now_s, "the connection ended")
            self._broken_s = 0.0

    async def _record_closed(self) -> None:
        if (stream := self._stream) is not None:
            self._stream = None
            await stream.aclose()
            if self._may_read.is_set():
                self._broken_s = self._broken_s or self._beat_s
            else:
                self._report_gap(self._beat_s, self.now_s(), "another process took over")

    async def _take_next(self, stream: ComponentStream) -> None:
        item = await stream.next()
        with self.reports.guard("a stanza"):
            await self._take(item)

    async def _take(self, item: Item) -> None:
        events: Sequence[ServerEvent | None] = ()
        match item:
            case StanzaCopy(host, stanza):
                now_s, beat_s = self.now_s(), self._any_beat_s
                life = () if self.life is None else self.life.events_of_copy(stanza, now_s, beat_s)
                events = (self.deriver.event_of_copy(host, stanza, now_s, beat_s), *life)
            case Direct():
                events = await self._direct(item)
            case Skipped("length"):
                self.reports.count("too_large")
                self.reports.warn("EventTooLarge", limit=self.settings.limit_bytes)
            case Skipped(why):
                self.reports.count("malformed")
                self.reports.warn("EventMalformed" if why == "address" else "EventMalformed-depth")
            case Opened() | Accepted() | Broken():
                pass
            case _:
                assert_never(item)
        size_bytes = _EACH_BYTES + 2 * len(item.stanza.xml) if isinstance(item, StanzaCopy | Direct) else _EACH_BYTES
        self._made.extend((event, size_bytes) for event in events if event is not None)
        await self._keep_made()

    async def _keep_made(self) -> None:
        while self._made:
            await self._keep(*self._made.popleft())

    async def _keep(self, event: ServerEvent, size_bytes: int) -> None:
        """Put the event into the buffer, or lose it if that is full for too long."""
        try:
            with trio.move_on_after(0.0 if self._lost else self.settings.max_unread_s) as waiting:
                await self._buffer.put(event, size_bytes)
        except trio.Cancelled:
            # The process stops: it is not in the buffer.
            self._made.appendleft((event, size_bytes))
            raise
        if waiting.cancelled_caught:
            # It may have waited in the connection since the last heartbeat came back.
            self._lost_since_s = self._lost_since_s or self._beat_s
            self._lost += 1
            self.reports.count("lost")
            await self._answer("wait", [event])
        else:
            self._put += 1
            self._event_s = self.now_s()
            self._room_s = self._event_s if event.type in ROOM_LIFE else self._room_s

    async def _direct(self, direct: Direct) -> Sequence[ServerEvent | None]:
        """Return the events of a stanza to the component itself, such as a room's; answer a question."""
        name, stanza = self.settings.name, direct.stanza
        if stanza.kind == "message" and stanza.sender == stanza.receiver == name:
            self._record_beat(stanza.element.get("id", ""))
            return ()
        now_s = self.now_s()
        if self.life is not None and (found := self.life.events_of_room(direct, now_s, self._any_beat_s)):
            return found
        event = self.deriver.event_of_room(direct, now_s) or self.deriver.event_of_push(stanza, now_s)
        event = event or self.deriver.event_of_answer(stanza, now_s)
        if event is None:
            self.reports.count("direct")
            self._warn_of_host(stanza)
            takes_push = "push" in self.settings.takes
            if (answer := answer_to(stanza, name, takes_push=takes_push)) and self._stream is not None:
                await self._stream.send(answer)
        elif event.type == "push" and not (self.settings.push_empty or has_text(event)):
            self.reports.count("ignored")
            await self._answer("result", [event])
            return ()
        return (event,)

    async def _answer(self, kind: Kind, events: Iterable[ServerEvent]) -> None:
        """Answer the notifications among these events; without a connection there is nobody to tell."""
        answers = [answer_to_push(event, self.settings.name, kind) for event in events if event.type == "push"]
        if answers and self._stream is not None:
            await self._stream.send("".join(answers))

    def _record_beat(self, beat: str) -> None:
        number, _, sent = beat.partition(" ")
        self._any_beat_s = float(sent)
        # One of another connection, such as another process', says nothing of what came here before.
        if number == self._connection_id:
            self._beat_s = self._any_beat_s
            self._beats.append((self._put, self._beat_s))
            self._settle()

    @property
    def _connection_id(self) -> str:
        return f"beat-{id(self):x}-{self._opened_s:.6f}"

    def _warn_of_host(self, stanza: Stanza) -> None:
        """Warn once of a copy or notification from a host that `Hosts` lacks, and of notifications not in `Take`."""
        host = stanza.sender
        is_push = is_notification(stanza)
        is_meant = (is_push or stanza.element.find(FORWARDED) is not None) and stanza.receiver == self.settings.name
        is_new = host not in self._named_hosts and len(self._named_hosts) < _MOST_HOSTS
        if not (is_meant and is_new and domain(host) == host):
            return
        if host not in self.settings.hosts:
            self._named_hosts.add(host)
            self.reports.warn("ComponentHost", host=host)
        elif is_push and "push" not in self.settings.takes:
            self._named_hosts.add(host)
            self._notice = f"{host} sends notifications (XEP-0357), which become no events. It was asked to wait."
            self.reports.warn("ComponentPush-now", what=self._notice)

    async def _record_pushed(self, events: Sequence[ServerEvent]) -> None:
        self._pushed += len(events)
        await self._answer("result", events)
        self._report_lost("Redis accepted none for longer than MaxUnread")
        self._settle()

    def _settle(self) -> None:
        while self._beats and self._beats[0][0] <= self._pushed:
            self._until_s = self._beats.popleft()[1]

    async def _keep_progress(self) -> None:
        """Send a heartbeat each second, note the progress in Redis, and report what others lost that have ended."""
        name = quoteattr(self.settings.name)
        while True:
            await trio.sleep(_BEAT_S)
            if (stream := self._stream) is not None:
                beat = quoteattr(f"{self._connection_id} {self.now_s():.3f}")
                await stream.send(f"<message from={name} to={name} id={beat}/>")
            if self._until_s:
                # While nothing is read here, the time that others miss is not over.
                for since_s in await self.progress.put(self._until_s, takes=self._stream is not None):
                    self._report_gap(since_s, self.now_s(), "a process that read them ended")

    async def _keep_lease(self, lease_s: float) -> None:
        """Let this process read while it has the lease; while Redis is away, nothing changes."""
        name = self.settings.name
        while True:
            try:
                lease = (await self.leases.hold([name], lease_s))[name]
            except (StoreUnavailable, StoreRefused) as error:
                self.offers.warn(error.message)
            else:
                if isinstance(lease, LeaseHeld):
                    self._may_read.set()
                elif self._may_read.is_set():
                    self._may_read = trio.Event()
                    if self._stream is not None:
                        await self._stream.aclose()
                if not self._may_read.is_set():
                    self.reports.report_idle("another process reads")
            await trio.sleep(lease_s / _RENEWALS)

    async def _leave(self) -> None:
        """Answer the notifications that were read, read what the server has sent besides, leave, and push it."""
        if (stream := self._stream) is not None:
            async with aclosing(stream):
                if "push" in self.settings.takes:
                    await self._pusher.finish(_DRAIN_S)
                    await self._answer("result", self._pusher.pushed)
                    await self._answer("wait", self._pusher.unpushed)
                # What comes from here on cannot be answered: the server keeps the registration then, too.
                self._stream = None
                await stream.send("</stream:stream>")
                with trio.move_on_after(_DRAIN_S), suppress(Problem):
                    await self._keep_made()
                    while True:
                        await self._take_next(stream)
        await self._pusher.finish(_PATIENCE_S)

    async def _end(self) -> None:
        """Note what was pushed and what is lost, and let others read."""
        if count := len(self._pusher.unpushed) + len(self._made):
            self._lost, self._lost_since_s = self._lost + count, self._lost_since_s or self._until_s
        else:
            self._until_s = max(self._until_s, self._broken_s or self._beat_s)
        self._report_lost("Redis did not accept them before the stop")
        if self._until_s:
            await self.progress.end(self._until_s)
        if self.settings.lease_s is not None:
            await self.leases.end([self.settings.name])
        await self.leases.aclose()

    def _report_lost(self, why: str) -> None:
        if self._lost:
            when = between(self._lost_since_s - _MARGIN_S, self.now_s())
            self.reports.warn("EventsLost", count=self._lost, between=when, why=why)
            self._lost, self._lost_since_s = 0, 0.0

    def _report_gap(self, since_s: float, until_s: float, why: str) -> None:
        when = between(since_s - _MARGIN_S, until_s)
        self.reports.warn("ComponentGap", between=when, why=why, server=self.settings.server.name)

    def _warn_of_full(self, size_bytes: int) -> None:
        self.reports.warn("EventsHeld", size=size_bytes, server=self.settings.server.name)

    def _info(self) -> StreamInfo:
        return StreamInfo("", self._opened_s, self._event_s, self._beat_s, self._room_s, self._notice, self._options)
