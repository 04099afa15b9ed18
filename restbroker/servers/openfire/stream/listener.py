"""Reads the stream of one user, one connection after the other, for as long as this process has the lease.

`reader` makes one for each user. Always holds: a stream is asked for under a lease that is valid by our own clock; if
the lease ran out while the stream was opened, it is read only once Redis says that the lease is still ours: the server
gives events to the stream that was opened last. A new stream is open before the old one is left, so that nothing is
lost in between; what an old one still holds is read. Only a stream whose login ended is left first: nothing more is
sent there.

A server that stands still keeps what it is asked, and serves it later in any order, also for a client that has gone
(measured with ofchat 0.9.6): its last opened stream may be one that nobody reads. So a stream that was opened after
such a time counts as open only once it was opened once more, two heartbeats later.
"""

import math
import time
from collections.abc import Callable
from typing import Final, TypeAlias
from urllib.parse import quote

import trio

from restbroker.config.target import Target
from restbroker.job.event import ServerEvent
from restbroker.light import define, field
from restbroker.servers.openfire.chat.logins import SharedLogins
from restbroker.servers.openfire.chat.sessions import NoLogin
from restbroker.servers.openfire.stream.frames import FrameReader
from restbroker.servers.openfire.stream.open_stream import (
    NO_STREAM,
    NOT_LOGGED_IN,
    TEXTS,
    Gap,
    OpenStream,
    StreamAttributes,
    StreamState,
    as_problem,
    headers_of,
    no_answer,
    refusal,
)
from restbroker.servers.openfire.stream.options import Options
from restbroker.servers.reading import Backoff, EventBuffer, SourceReports, between
from restbroker.store.logins import LoggedIn, LoginState
from restbroker.transport.message import Request
from restbroker.transport.stream import EventStream, Frame, StreamEnded, open_stream

_OK: Final = 200
QUIET_S: Final = 600.0
"""The seconds without an event after which the stream is reopened.

Another reader may have taken it, which the server does not tell.
"""
_EACH_BYTES: Final = 2048
"""What an event takes in memory besides its text, roughly."""
_LEAST_PAUSE_S: Final = 0.2
_PROVEN_S: Final = 2.0
"""A stream that lasted so many seconds, or brought anything, is one; what answers and ends at once is none."""
_PROMPT_S: Final = 2.0
"""The seconds within which a server that works answers. After so many it may have kept other requests, too."""
_LOOK_S: Final = 1.0
"""The seconds between two looks whether a user who is logged off, or asks nothing, has a stream by now."""
_ENDING_S: Final = 2.0
"""The seconds after the user's session seems to be over until another stream is opened.

A job that ended the session is noted by then.
"""
_ENDS: Final = 2
"""The number of streams that may end at once before that is reported: a login or a restart may end one."""
_Channel: TypeAlias = tuple[trio.MemorySendChannel[tuple[str, str]], trio.MemoryReceiveChannel[tuple[str, str]]]


@define(eq=False)
class ListenerContext:
    """The objects that the listeners of one source share."""

    settings: Options
    target: Target
    logins: SharedLogins
    buffer: EventBuffer
    reports: SourceReports
    now_s: Callable[[], float] = time.time
    quiet_s: float = QUIET_S
    # No one comes into a room while Redis is away, so that few are told to leave one.
    expulsions: _Channel = field(factory=lambda: trio.open_memory_channel[tuple[str, str]](math.inf))
    """The two ends of a channel of users and the rooms that had them leave."""


@define(eq=False)
class Listener:
    """The listener of one user's stream.

    The reader calls `renew_until`, `reopen`, `update_state` and `lose_lease`. `_is_doubtful`: the server stood
    still, and may yet serve a request for a stream that it kept meanwhile, ours or that of a process before this one.
    """

    context: ListenerContext
    user: str
    is_asking: bool = False
    """Whether a stream may have been asked for that is not known yet to be ours."""
    attributes: StreamAttributes = field(factory=StreamAttributes)
    _opening: trio.CancelScope = field(factory=trio.CancelScope)
    _until_s: float = 0.0
    _is_lost: bool = False
    _renewal: trio.Event = field(factory=trio.Event)
    _wake: trio.Event = field(factory=trio.Event)
    _last_frame_s: float = 0.0
    _is_doubtful: bool = False
    _is_proven: bool = False
    _ends: int = 0
    """The number of streams in a row that ended before they were proven."""
    _pause: Backoff = field(factory=lambda: Backoff(2 * _LEAST_PAUSE_S))
    """Before the next stream, after one that ended before it was proven."""
    _announced: str = field(default="", repr=False)
    state: StreamState = field(factory=StreamState)
    _afresh: str = field(default="", repr=False)
    """The login that took the place of one that led nowhere: there is one try for each stream."""

    def renew_until(self, until_s: float) -> None:
        """Note that the lease is ours until then, on Trio's clock."""
        self._until_s = until_s
        renewal, self._renewal = self._renewal, trio.Event()
        renewal.set()

    def reopen(self) -> None:
        """Open a new stream soon: another process may have opened one of this user late; then ours gets no events."""
        self._last_frame_s = -math.inf
        self._wake.set()

    def update_state(self, known: LoginState, was: LoginState) -> None:
        """Note the state of the user's login in Redis (see `StreamState.note`); leave the stream if it is outdated."""
        self.state.note(known, was)
        if self.state.is_outdated:
            self._wake.set()

    def lose_lease(self) -> None:
        """Note that another process has the lease: open no more streams, and read the rest of the open ones."""
        self._is_lost = True
        self._opening.cancel()

    async def run(self) -> None:
        """Read streams until the lease is lost and the events that came before are read, or until cancelled."""
        async with trio.open_nursery() as nursery:
            reading: OpenStream | None = None
            with self._opening:
                while True:
                    login = self.state.login
                    # A stream that is due says nothing against its login.
                    is_due = reading is None or reading.is_due
                    stream = await self._open("" if is_due or not isinstance(login, LoggedIn) else login.stream)
                    if reading is not None:
                        is_taken = self._last_frame_s == -math.inf
                        self.state.record_replacement(
                            login, reading.last_event_s, is_over=reading.over.is_set(), is_taken=is_taken
                        )
                        if reading.is_doubtful:
                            self.state.record_break(reading.last_event_s, "the server stood still")
                        reading.leave()
                    self._begin()
                    reading = OpenStream(stream, self.state.opened_s, is_doubtful=self._is_doubtful)
                    nursery.start_soon(self._read, reading)
                    await self._watch(reading)
                    self._is_doubtful = self._is_doubtful and not reading.is_due
                    if self.state.is_outdated:
                        self.state.record_break(reading.last_event_s)
                        reading.leave()
                        reading = None
                    elif reading.over.is_set():
                        self.state.record_break(reading.last_event_s)
                        reading = None
                        if not self._is_proven:
                            await self._wait_after_early_end()
            if reading is not None:
                reading.leave()

    def _begin(self) -> None:
        """Note that a stream is open."""
        self.state.record_open(self.context.now_s())
        self._afresh = ""
        self._last_frame_s = trio.current_time()
        self._is_proven = False
        if self._is_doubtful:
            self.context.reports.report_idle("opening", self.user)

    async def _wait_after_early_end(self) -> None:
        """Wait before the next stream, longer each time, so that the server is not asked without end."""
        self._ends += 1
        if self._ends > _ENDS:
            why = f"{self.context.target.url} ends each stream of {self.user} at once."
            self.context.reports.fail(no_answer(why), self.user)
        await self._pause.wait()

    def _record_proof(self, reading: OpenStream) -> None:
        self._is_proven, self._ends = True, 0
        self._pause.reset()
        if reading.is_doubtful:
            return
        self.context.reports.report_open(f"{self.context.target.url.origin}/sse", self.user)
        if (gap := self.state.take_gap()) is not None:
            self._report_gap(gap)

    def _report_gap(self, gap: Gap) -> None:
        when = between(gap.since_s, gap.until_s)
        self.context.reports.warn("OpenfireGap", user=self.user, between=when, why=gap.why)

    async def _watch(self, reading: OpenStream) -> None:
        """Return when the stream ended or is outdated, or when another is due, also since it is quiet for so long."""
        opened_at_s = trio.current_time()
        while not reading.over.is_set() and not self.state.is_outdated:
            if not self._is_proven and trio.current_time() - opened_at_s >= _PROVEN_S:
                self._record_proof(reading)
            remaining_s = self._last_frame_s + self.context.quiet_s - trio.current_time()
            # While the buffer is full, what comes waits in the connection, which must not be left.
            if (remaining_s <= 0 or reading.is_due) and not reading.is_suspended:
                return
            self._wake, is_firm = trio.Event(), self._is_proven and not reading.is_doubtful
            with trio.move_on_after(max(remaining_s, _LOOK_S) if is_firm else _LOOK_S):
                await self._wake.wait()

    async def _read(self, reading: OpenStream) -> None:
        shared, stream = self.context, reading.stream
        frames = FrameReader(shared.reports.source, self.user, shared.target.default_host)
        frames.on_out = lambda room: shared.expulsions[0].send_nowait((self.user, room))
        try:
            with reading.scope:
                while True:
                    frame = await stream.next()
                    reading.last_event_s = max(reading.last_event_s, stream.came.sent_after_s)
                    if not (self._is_proven or reading.is_replaced):
                        self._record_proof(reading)
                    with shared.reports.guard(f"an event for {self.user} ({frame.name!r:.40})"):
                        await self._take(frames.read(frame, shared.now_s()), frame, reading)
                    self._last_frame_s = trio.current_time()
                    if frames.is_ending and not reading.is_replaced:
                        self._last_frame_s -= max(shared.quiet_s - _ENDING_S, 0.0)
                        self._wake.set()
        except StreamEnded as ended:
            url = shared.target.url
            if ended.reason == "large":
                shared.reports.warn("OpenfireLarge", user=self.user, limit=shared.settings.limit_bytes)
            elif ended.reason == "other":
                shared.reports.fail(TEXTS.problem("OpenfireAway-page", url=url, user=self.user), self.user)
            elif ended.reason == "silent":
                shared.reports.fail(no_answer(f"{url} sends nothing to {self.user}, not even a heartbeat."), self.user)
        finally:
            await stream.aclose()
            reading.over.set()
            self._wake.set()

    async def _take(self, event: ServerEvent | None, frame: Frame, reading: OpenStream) -> None:
        if event is not None:
            self.attributes.event_s = self.context.now_s()
            reading.suspend()
            try:
                await self.context.buffer.put(event, _EACH_BYTES + len(frame.data.encode()))
            finally:
                reading.resume()

    async def _open(self, doubted: str) -> EventStream:
        """Return an open stream that is ours, however long that takes.

        `doubted`: the id of a login that another process or the server may have ended; "" if there is none.
        """
        pause, stale, is_again = Backoff(_LEAST_PAUSE_S), "", False
        while True:
            await self._wait_for_lease()
            try:
                looked_s = self.context.now_s()
                known = await self._login(stale or doubted, is_dead_end=bool(stale))
                doubted = ""
                stream = None if known is None else await self._ask(known)
                if stream is not None:
                    self.attributes.record_opened(stream, known or "", self.context.now_s())
                    return stream
                if not known:
                    if known is None:
                        await self._record_logoff(looked_s)
                    else:
                        self.state.clear_break()
                    # The server gives nothing for what it kept, either.
                    self._is_doubtful = False
                    self.attributes.record_ended()
                    self.context.reports.report_idle("no login" if known is None else "no question", self.user)
                    await trio.sleep(_LOOK_S)
                    continue
                # The login that is known may be older than the server's last start, or its session may have ended.
                is_tried, stale = known in (stale, self._afresh), known
                if is_tried and is_again:
                    raise TEXTS.problem("OpenfireJammed", url=self.context.target.url, user=self.user)
                # Once it may be a kick or a logoff of this moment.
                is_again = is_tried
                if not is_tried:
                    continue
            except NO_STREAM as error:
                self.context.reports.fail(as_problem(self.user, error), self.user)
            await pause.wait()

    async def _record_logoff(self, looked_s: float) -> None:
        """Note that the user was logged off at `looked_s`, and report a gap if there is one. Raise `StoreRefused`."""
        if (gap := self.state.record_logoff(looked_s, await self._read_state())) is not None:
            self._report_gap(gap)

    async def _read_state(self) -> LoginState:
        """Return what Redis has of the user's login. Raise `StoreRefused`."""
        (known,) = await self.context.logins.read_states([self.user])
        return known

    async def _wait_for_lease(self) -> None:
        """Return when the lease is ours by our own clock."""
        while self._is_lost or trio.current_time() >= self._until_s:
            await self._renewal.wait()

    async def _login(self, stale: str, *, is_dead_end: bool) -> str | None:
        """Return the id of the user's stream, other than the stale one if the server gives another.

        "": the user needs none; None: the user is logged off. `is_dead_end`: the server gave no stream for the stale
        one. Raise one of `NO_STREAM` if the user cannot be logged in now.
        """
        shared = self.context
        if self.user in shared.settings.askers:
            self.state.login = await self._read_state()
            return ""
        is_afresh = is_dead_end and stale != self._afresh
        known = await shared.logins.stream_for_reader(self.user, stale, afresh=is_afresh)
        noted = await self._read_state()
        # With its number, unless something else is noted by now.
        login = None if known is None else LoggedIn(known)
        self.state.login = noted if noted == login else login
        self._afresh = (known or "") if is_dead_end else self._afresh
        return known

    async def _ask(self, known: str) -> EventStream | None:
        """Open the user's stream; return None if the server knows none of this login. Raise one of `NO_STREAM`."""
        shared, settings = self.context, self.context.settings
        path, headers = f"/sse/{quote(self.user, safe='')}", await headers_of(self.user, settings.passwords)
        request = Request("GET", path, shared.target.timeout_s, headers=headers)
        await self._wait_for_lease()
        self.is_asking, asked_s = True, trio.current_time()
        try:
            stream = await open_stream(
                shared.target, request, silence_s=settings.silence_s, limit_bytes=settings.limit_bytes
            )
        finally:
            self._is_doubtful |= trio.current_time() - asked_s >= min(_PROMPT_S, request.timeout_s)
        try:
            if stream.status == _OK and await self._is_announced(known):
                # It took its time: it is read only once it is sure that the lease is still ours.
                await self._wait_for_lease()
                self.is_asking = False
                return stream
        except BaseException:
            await stream.aclose()
            raise
        await stream.aclose()
        self.is_asking = False
        if stream.status in (_OK, NOT_LOGGED_IN):
            return None
        raise refusal(shared.target, self.user, stream.status)

    async def _is_announced(self, known: str) -> bool:
        """Make the user available, once for each login of streams opened here, since a job may have set them away.

        False: the server does not know the login. Raise one of `NO_STREAM`.
        """
        if known and known != self._announced and self.context.settings.announces:
            try:
                await self.context.logins.present(self.user)
            except NoLogin:
                return False
            self._announced = known
        return True
