"""What connectors and readers of events of our own kinds keep in Redis.

That is, the logins of a target's users, the messages that were sent, the states of sources, the leases of streams, and
up to when a reader's events are there; `app` makes each for those that need it, as does the test of events. Always
holds: nothing is connected before the first call. A call for a login waits while Redis is away, which the worker pool
reports; no other call waits longer than its connection's time-out. A message that cannot be recorded is sent all the
same, with a warning.

Setting a state never waits: Redis is written to once a second at most, and each `REFRESH_S` where nothing changes, so
that a state counts while its process lives; what is stored is what was logged.
"""

import os
import secrets
import socket
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Concatenate, Final, ParamSpec, TypeVar

import attrs
import trio

from restbroker.config.events import Events, EventSource
from restbroker.config.target import Target
from restbroker.errors import StoreRefused, StoreUnavailable
from restbroker.job.event import mark_of_sent
from restbroker.kinds import EJABBERD, OPENFIRE_CHAT
from restbroker.light import define, field, frozen
from restbroker.servers.findings import Problem
from restbroker.store import events as store
from restbroker.store import leases, records, sources
from restbroker.store.client import Client
from restbroker.store.connection import Connection, until_answered
from restbroker.store.leases import Lease
from restbroker.store.logins import UserBase
from restbroker.store.sources import SourceState, StateKey
from restbroker.telemetry.events import EventHandled, OperatorWarning, Report

P = ParamSpec("P")
T = TypeVar("T")

REFRESH_S: Final = sources.TTL_S / 3
_LEAST_S: Final = 1.0
"""Seconds between two writes, at least."""
_ENDING_S: Final = 1.0
_ENDED_S: Final = 5.0
"""Seconds without a word of a reader, which writes each second, after which it counts as dead."""
_STOPPED: Final = b"stopped"
_LOOPBACK: Final = ("127.0.0.1", "::1")


@define(eq=False)
class LoginsInRedis:
    """The logins of a target's users, and the rooms that they are in, for all processes.

    A stream is a login of a user, named by its id. A lock is the right of one holder at a time, over all processes, to
    add or remove a stream at the server, or to have a user join or leave a room. Every call waits while Redis is away,
    and raises `StoreRefused`.
    """

    _base: UserBase
    _connection: Connection

    async def call(self, do: Callable[Concatenate[Client, UserBase, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what `do`, a function of `store.logins`, returns for this target."""
        return await until_answered(lambda: self._connection.call(do, self._base, *args, **kwargs))

    async def call_room(self, do: Callable[Concatenate[Client, str, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what `do`, a function of `store.rooms`, returns for this target."""
        return await until_answered(lambda: self._connection.call(do, self._base.target, *args, **kwargs))

    async def aclose(self) -> None:
        """Close the connection."""
        await self._connection.aclose()


def logins_of(target: Target, open_connection: Callable[[], Connection]) -> LoginsInRedis | None:
    """Return the logins for the target's connector; None for kinds whose commands need no login of a user."""
    if target.kind != OPENFIRE_CHAT:
        return None
    host = target.url.host.lower().rstrip(".")
    is_here = target.url.socket is not None or host in _LOOPBACK
    return LoginsInRedis(UserBase(target.name, "localhost" if is_here else host), open_connection())


@define(eq=False)
class SentMessagesInRedis:
    """The record of sent messages; `connection` has a short time-out. `window_s`: for how many seconds each is kept.

    Those that come while a call is under way are recorded by the next one, together.
    """

    window_s: float
    connection: Connection
    report: Report
    _next: list[str] = field(factory=list)
    """The marks that the next call records."""
    _turn: trio.Lock = field(factory=trio.Lock)

    async def remember(self, sender: str, receiver: str, body: str) -> None:
        """Note this message in Redis before it is sent; if Redis does not take the note, warn and return."""
        marks = self._next
        marks.append(mark_of_sent(sender, receiver, body))
        async with self._turn:
            if marks is not self._next:  # another's call has recorded it
                return
            self._next = []
            await self._note(store.remember, marks, max(1, round(self.window_s * 1000)))

    async def remember_asking(self, identity: str, number: str, receiver: str) -> None:
        """Note in Redis, before it is sent, a message that asks for receipts, for who explains its job; or warn."""
        await self._note(store.remember_asking, identity, number, receiver)

    async def _note(self, do: Callable[Concatenate[Client, P], T], *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            await self.connection.call(do, *args, **kwargs)
        except (StoreUnavailable, StoreRefused) as error:
            what = f"A sent message may come back as an event: it could not be recorded. {error.message}"
            self.report(OperatorWarning("OwnNotRemembered", what, error.hint))

    async def aclose(self) -> None:
        """Close the connection; a later call opens it again."""
        await self.connection.aclose()


def sent_messages_of(
    events: Events | None, target: Target, open_connection: Callable[[], Connection], report: Report
) -> SentMessagesInRedis | None:
    """Return the record of what this target sends, with the longest window of the sources that drop it.

    None if none drops it: one that names its target drops that one's alone, and only such a one drops an ejabberd's.
    """
    sources = () if events is None else events.sources
    windows_s = [
        source.own_s
        for source in sources
        if source.own_s is not None
        and (source.target_name == target.name or (source.target_name is None and target.kind != EJABBERD))
    ]
    return SentMessagesInRedis(max(windows_s), open_connection(), report) if windows_s else None


@frozen
class StreamInfo:
    """Facts about a user's stream; times are epoch seconds, and 0 means never.

    `login`: the end of the id of the login under which it was opened; "" if it needs none. `opened_s`: when it was
    opened. `event_s`, `heartbeat_s`: when it brought its last event and its last heartbeat; `room_s`: the last
    event of a room's life. `notice`: a warning that holds although it is read. `options`: by which options it is read,
    each as a digest.
    """

    login: str = ""
    opened_s: float = 0.0
    event_s: float = 0.0
    heartbeat_s: float = 0.0
    room_s: float = 0.0
    notice: str = ""
    options: Mapping[str, str] = field(factory=dict)


@define(eq=False)
class StatesInRedis:
    """The states of all sources of this process; `open_connection` makes a connection with a short time-out."""

    open_connection: Callable[[], Connection]
    process: str = field(factory=lambda: f"{socket.gethostname()}:{os.getpid()}")
    now_s: Callable[[], float] = time.time
    _states: dict[StateKey, SourceState] = field(factory=dict)
    _facts: dict[StateKey, Callable[[], StreamInfo]] = field(factory=dict)
    _ended: set[StateKey] = field(factory=set)
    _changed: trio.Event = field(factory=trio.Event)
    _counts: dict[str, Counter[str]] = field(factory=dict)
    _last_s: dict[str, float] = field(factory=dict)

    @property
    def current(self) -> Sequence[SourceState]:
        """All states as they are now; the first one of a source has the counts of its events."""
        left = {**self._counts}
        return [self._with_attributes(state, left.pop(state.source, {})) for state in self._states.values()]

    def count(self, event: EventHandled) -> None:
        """Count what a server reported; it is written with the next refresh."""
        self._counts.setdefault(event.source, Counter())[event.outcome] += 1
        if event.outcome == "accepted":
            self._last_s[event.source] = self.now_s()

    def for_source(self, source: EventSource) -> "StatesOfSource":
        """Return the states of this source, which write here."""
        return StatesOfSource(self, source.name, source.kind)

    def put(self, state: SourceState) -> None:
        """Set the state of its place; it keeps the time of its beginning if it is the same as before.

        It is the same if the code is, or, without a code, the message.
        """
        known = self._states.get(state.key)
        if known is not None and known.code == state.code and (state.code or known.message == state.message):
            state = attrs.evolve(state, since_s=known.since_s)
        if state != known:
            self._states[state.key] = state
            self._ended.discard(state.key)
            self._changed.set()

    def watch(self, place: StateKey, read_info: Callable[[], StreamInfo]) -> None:
        """Add what `read_info` returns to the state of this place whenever it is written, until `end`."""
        self._facts[place] = read_info

    def end(self, place: StateKey) -> None:
        """Remove the state of this place, where nothing is read any more."""
        self._facts.pop(place, None)
        if self._states.pop(place, None) is not None:
            self._ended.add(place)
            self._changed.set()

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Write the states until cancelled; then remove what it wrote, if Redis answered the last time."""
        task_status.started()
        connection, is_there = self.open_connection(), False
        try:
            while True:
                self._changed = trio.Event()
                if self._states or self._ended:
                    is_there = await self._try_write(connection)
                with trio.move_on_after(REFRESH_S):
                    await self._changed.wait()
                await trio.sleep(_LEAST_S)
        finally:
            with trio.CancelScope(shield=True):
                if is_there:
                    self._ended |= self._states.keys()
                    self._states.clear()
                    await self._try_write(connection)
                await connection.aclose()

    async def _try_write(self, connection: Connection) -> bool:
        states, ended = self.current, frozenset(self._ended)
        # What Redis does not take now is written at the next change or refresh: the log has said it already.
        with suppress(StoreUnavailable, StoreRefused):
            await connection.call(sources.write, states, ended)
            self._ended -= ended
            return True
        return False

    def _with_attributes(self, state: SourceState, outcomes: Mapping[str, int]) -> SourceState:
        facts = self._facts.get(state.key)
        state = state if facts is None else attrs.evolve(state, **attrs.asdict(facts()))
        last_s = self._last_s.get(state.source, 0.0) if outcomes else 0.0
        return attrs.evolve(state, outcomes={**outcomes}, event_s=max(state.event_s, last_s))


@frozen(eq=False)
class StatesOfSource:
    """The states of one source, to which its reader reports its problems."""

    states: StatesInRedis
    source: str
    kind: str

    def put(self, problem: Problem | None, user: str = "") -> None:
        """Set the problem of reading this source, or of the stream of `user`; None: it is read.

        A problem with an empty code says that nothing is wrong, and that there is nothing to read.
        """
        code, message, hint = ("", "", "") if problem is None else (problem.code, problem.message, problem.hint)
        now_s = self.states.now_s()
        where = (self.source, self.kind, self.states.process, user)
        self.states.put(SourceState(*where, now_s, code, message, hint))

    def watch(self, user: str, read_info: Callable[[], StreamInfo]) -> None:
        """Add what `read_info` returns to the state of this user's stream whenever it is written, until `end`."""
        self.states.watch((self.source, self.states.process, user), read_info)

    def end(self, user: str) -> None:
        """Remove the state of this user's stream, which this process does not read any more."""
        self.states.end((self.source, self.states.process, user))


@define(eq=False)
class LeasesInRedis:
    """The leases of one source in this process, so that one process alone reads each stream.

    `connection` has a short time-out, and is its own.
    """

    source: str
    connection: Connection
    _holder: str = field(factory=lambda: secrets.token_hex(8))

    async def hold(self, names: Sequence[str], lease_s: float) -> Mapping[str, Lease]:
        """Take or renew the leases of these names for `lease_s` seconds; return for each whether it is ours now.

        Raise `StoreUnavailable` or `StoreRefused`.
        """
        return await self.connection.call(leases.acquire, self.source, self._holder, round(lease_s * 1000), names)

    async def end(self, names: Sequence[str]) -> None:
        """End these leases; if another process holds one by now, it learns that this one was late.

        Never raise, and give up after a second.
        """
        with trio.move_on_after(_ENDING_S), suppress(StoreUnavailable, StoreRefused):
            await self.connection.call(leases.end, self.source, self._holder, names)

    async def aclose(self) -> None:
        """Close the connection; a later call opens it again."""
        await self.connection.aclose()


@define(eq=False)
class ProgressInRedis:
    """Up to when one reader of a source has all events in Redis, so that others can say what it lost if it dies.

    `connection` has a short time-out, and is its own. `is_check`: it reads for a moment only, and leaves what others
    missed for a process that logs it.
    """

    source: str
    connection: Connection
    is_check: bool = False
    _reader: str = field(factory=lambda: secrets.token_hex(8))
    _others: dict[str, tuple[bytes, float]] = field(factory=dict)
    """What each other reader wrote last, and since when that is so (Trio's clock)."""

    async def put(self, until_s: float, *, takes: bool) -> Sequence[float]:
        """Note that all events up to this time (epoch seconds) are in Redis; return the same of readers that ended.

        One reader alone learns of each, and none without `takes`. To be called each second. Never raise: while Redis is
        away, return nothing.
        """
        try:
            await self._write(f"{until_s:.3f} {time.time():.3f}")
            ended = [name for name in self._others if takes and not self.is_check and self._has_ended(name)]
            taken = [name for name in ended if await self.connection.ask(records.take_progress, self.source, name)]
            return [float(self._others.pop(name)[0].split()[0]) for name in taken]
        except (StoreUnavailable, StoreRefused):
            # The others could not write either: from now on they have their time again.
            self._others.clear()
            return ()

    async def end(self, until_s: float) -> None:
        """Note that this reader stops at `until_s`; unless others read, the next one learns of it.

        Never raise, and give up after a second.
        """
        with trio.move_on_after(_ENDING_S), suppress(StoreUnavailable, StoreRefused):
            # A stop may have come before the first look at the others.
            await self._write(f"{until_s:.3f} {time.time():.3f}")
            if not self.is_check and all(map(self._has_ended, self._others)):
                await self._write(f"{until_s:.3f} {_STOPPED.decode()}")
            else:
                await self.connection.ask(records.take_progress, self.source, self._reader)
        await self.connection.aclose()

    async def _write(self, entry: str) -> None:
        """Write this reader's entry, and look at those of the others."""
        found = await self.connection.ask(records.write_progress, self.source, self._reader, entry)
        now_s, before = trio.current_time(), self._others
        self._others = {
            name: before[name] if name in before and before[name][0] == value else (value, now_s)
            for name, value in found.items()
            if name != self._reader
        }

    def _has_ended(self, reader: str) -> bool:
        value, since_s = self._others[reader]
        return value.endswith(_STOPPED) or trio.current_time() - since_s > _ENDED_S
