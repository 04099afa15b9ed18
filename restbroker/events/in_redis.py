"""What the sources of events keep in Redis: their states and their leases.

`app` makes each for those that need it. Always holds: no reader stops because Redis is away, and no call waits for it
longer than a connection's time-out; nothing is connected before it is needed. Setting a state never waits: Redis is
written to once a second at most, and each `REFRESH_S` where nothing changes, so that a state counts while its process
lives; what is stored is what was logged. A message that cannot be recorded is sent all the same, with a warning.
"""

import os
import secrets
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

import attrs
import trio

from restbroker.config.events import EventSource
from restbroker.errors import StoreRefused, StoreUnavailable
from restbroker.servers.event_contract import Problem, StreamInfo
from restbroker.store import leases, sources
from restbroker.store.connection import Connection
from restbroker.store.leases import Lease
from restbroker.store.sources import SourceState, StateKey

REFRESH_S: Final = sources.TTL_S / 3
_LEAST_S: Final = 1.0
"""Seconds between two writes, at least."""
_ENDING_S: Final = 1.0


def _this_process() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


@attrs.define(eq=False)
class StatesInRedis:
    """The states of all sources of this process; `open_connection` makes a connection with a short time-out."""

    open_connection: Callable[[], Connection]
    process: str = attrs.field(factory=_this_process)
    now_s: Callable[[], float] = time.time
    _states: dict[StateKey, SourceState] = attrs.field(factory=dict)
    _facts: dict[StateKey, Callable[[], StreamInfo]] = attrs.field(factory=dict)
    _ended: set[StateKey] = attrs.field(factory=set)
    _changed: trio.Event = attrs.field(factory=trio.Event)

    def of(self, source: EventSource) -> "StatesOfSource":
        """Return the `States` of this source, which write here."""
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
        states, ended = [self._with_attributes(state) for state in self._states.values()], frozenset(self._ended)
        # What Redis does not take now is written at the next change or refresh: the log has said it already.
        with suppress(StoreUnavailable, StoreRefused):
            await connection.call(sources.write, states, ended)
            self._ended -= ended
            return True
        return False

    def _with_attributes(self, state: SourceState) -> SourceState:
        facts = self._facts.get(state.key)
        return state if facts is None else attrs.evolve(state, **attrs.asdict(facts()))


@attrs.frozen(eq=False)
class StatesOfSource:
    """The `States` of one source, to which its reader reports its problems."""

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


@attrs.define(eq=False)
class LeasesInRedis:
    """The `Leases` of the source of this name; `connection` has a short time-out, and is its own."""

    source: str
    connection: Connection
    _holder: str = attrs.field(factory=lambda: secrets.token_hex(8))

    async def hold(self, names: Sequence[str], lease_s: float) -> Mapping[str, Lease]:
        """Take or renew the leases of these names for `lease_s` seconds; return for each whether it is ours now.

        Raise `StoreUnavailable` or `StoreRefused`.
        """
        return await self.connection.call(leases.acquire, self.source, self._holder, round(lease_s * 1000), names)

    async def end(self, names: Sequence[str]) -> None:
        """End the leases of these names, as `Leases.end` promises: never raise, and give up after a second."""
        with trio.move_on_after(_ENDING_S), suppress(StoreUnavailable, StoreRefused):
            await self.connection.call(leases.end, self.source, self._holder, names)

    async def aclose(self) -> None:
        """Close the connection; a later call opens it again."""
        await self.connection.aclose()
