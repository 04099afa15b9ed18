"""Reads the streams of a source's users: keeps the leases, and pushes the events to Redis. `app` runs it.

Always holds: only one of all processes reads a user's stream, and when it dies, another goes on within the time of a
lease; while Redis is away, open streams are read until the buffer is full, and none is opened: another process may have
the lease, and the server gives events to the last stream that was opened. What came by the end of the process is pushed
if Redis takes it at once; then the leases end, so that another process need not wait.
"""

import math
from collections.abc import Mapping
from typing import Final

import trio

from restbroker.config.events import EventSource
from restbroker.errors import ConfigError, StoreRefused, StoreUnavailable
from restbroker.light import define, field
from restbroker.servers.event_contract import ReaderPorts
from restbroker.servers.in_redis import LeasesInRedis
from restbroker.servers.openfire.chat.logins import shared_logins
from restbroker.servers.openfire.stream.listener import Listener, ListenerContext
from restbroker.servers.openfire.stream.open_stream import TEXTS
from restbroker.servers.openfire.stream.options import Options
from restbroker.servers.reading import EventBuffer, Offers, Pusher, SourceReports
from restbroker.store.leases import Lease, LeaseHeld, LeaseTaken

_RENEWALS: Final = 3
"""How often a lease is renewed while it lasts."""
_SOON_S: Final = 0.05
_WATCH_S: Final = 1.0
"""The seconds between two looks whether another process' lease ended before its time, as at a stop."""
_LOGINS_S: Final = 0.5
"""The seconds between two looks whether a user has another login than the one that the stream was opened under."""
_AGAIN_S: Final = 0.5
"""The seconds after which Redis is asked again if it did not answer."""
_PATIENCE_S: Final = 2.0
"""The seconds that Redis may take at the end."""


def open_reader(source: EventSource, ports: ReaderPorts) -> "StreamReader":
    """Return the reader of one source. Raise `ConfigError` if it lacks its target."""
    assert isinstance(source.options, Options)  # noqa: S101  as its options judged it
    if source.target is None or ports.target is None:
        raise ConfigError(f"The source {source.name} needs its target.")
    reports = SourceReports(source.name, ports.report, TEXTS, "OpenfireBack", ports.states)
    buffer = EventBuffer(source.options.buffer_bytes, lambda size_bytes: reports.warn("EventsHeld", size=size_bytes))
    logins = shared_logins(source.target, ports.target)
    shared = ListenerContext(source.options, source.target, logins, buffer=buffer, reports=reports)
    offers = Offers(source, ports.intake, reports)
    return StreamReader(shared, ports, offers, Pusher(buffer, offers), ports.leases)


@define(eq=False)
class StreamReader:
    """Reads all streams of one source of which this process has the leases."""

    context: ListenerContext
    ports: ReaderPorts
    offers: Offers
    pusher: Pusher
    leases: LeasesInRedis
    _listeners: dict[str, Listener] = field(factory=dict)
    _late: dict[str, int] = field(factory=dict)

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Read until cancelled; then push the remaining events within two seconds, end the leases, and disconnect."""
        task_status.started()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.pusher.run)
                nursery.start_soon(self._watch_logins)
                nursery.start_soon(self._record_expelled)
                await self._keep_leases(nursery)
        finally:
            with trio.CancelScope(shield=True):
                try:
                    await self.pusher.finish(_PATIENCE_S)
                finally:
                    if lost := len(self.pusher.unpushed):
                        self.context.reports.warn("EventsLost", count=lost)
                    await self.leases.end(tuple(self._listeners))
                    await self.leases.aclose()
                    await self.context.logins.aclose()
                    if self.ports.target is not None and self.ports.target.http is not None:
                        await self.ports.target.http.aclose()

    async def _keep_leases(self, nursery: trio.Nursery) -> None:
        settings = self.context.settings
        while True:
            asked_s = trio.current_time()
            try:
                found = await self.leases.hold(settings.everybody, settings.lease_s)
            except (StoreUnavailable, StoreRefused) as error:
                self.offers.warn(error.message)
                await trio.sleep(_AGAIN_S)
                continue
            late = self._follow_leases(found, asked_s + settings.lease_s, nursery)
            if late:
                await self.leases.end(late)
            remaining_s = [
                lease.remaining_ms / 1000 + _SOON_S for lease in found.values() if isinstance(lease, LeaseTaken)
            ]
            await trio.sleep(min(settings.lease_s / _RENEWALS, *remaining_s, _WATCH_S if remaining_s else math.inf))

    async def _watch_logins(self) -> None:
        """Tell the listeners of changed logins, forever; while Redis is away, it waits.

        Another login ends what a stream brings, and the server does not tell.
        """
        while True:
            await trio.sleep(_LOGINS_S)
            was = {user: (listener, listener.state.login) for user, listener in self._listeners.items()}
            try:
                known = await self.context.logins.read_states(list(was))
            except StoreRefused:
                continue  # reported by `_keep_leases`
            for (listener, login), state in zip(was.values(), known, strict=True):
                listener.update_state(state, login)

    async def _record_expelled(self) -> None:
        """Note in Redis, forever, which users had to leave a room, so that they join it before they post.

        The plugin answers 200 to what a user says in a room that had them leave.
        """
        async for user, room in self.context.expulsions[1]:
            while True:
                try:
                    await self.context.logins.record_expelled(user, room)
                    break
                except StoreRefused:
                    await trio.sleep(_AGAIN_S)  # reported by `_keep_leases`

    def _follow_leases(self, found: Mapping[str, Lease], until_s: float, nursery: trio.Nursery) -> list[str]:
        """Start and end listeners as the leases say; return the users whose stream may have been opened too late."""
        late: list[str] = []
        for user, lease in found.items():
            listener = self._listeners.get(user)
            match lease:
                case LeaseHeld(times, lost_ms):
                    if listener is None:
                        listener = self._start(user, nursery)
                        if lost_ms:
                            listener.state.record_break(lost_ms / 1000, "the process that read them died or hung")
                    elif times != self._late.get(user):
                        listener.reopen()
                    self._late[user] = times
                    listener.renew_until(until_s)
                case LeaseTaken():
                    if listener is not None:
                        del self._listeners[user]
                        listener.lose_lease()
                        self.context.reports.remove_user(user)
                        if listener.is_asking:
                            late.append(user)
        return late

    def _start(self, user: str, nursery: trio.Nursery) -> Listener:
        listener = self._listeners[user] = Listener(self.context, user)
        self.context.reports.add_user(user, listener.attributes)
        nursery.start_soon(listener.run)
        return listener
