"""What connectors of our own kinds keep in Redis: the logins of a target's users, and the messages that were sent.

`app` and the test of events make them, as services of a connector's `Ports`. Always holds: nothing is connected before
the first call. A call for a login waits while Redis is away, which the worker pool reports; a message that cannot be
recorded is sent all the same, with a warning.
"""

from collections.abc import Callable, Sequence
from typing import Concatenate, Final, ParamSpec, TypeVar

import attrs

from restbroker.config.events import Events
from restbroker.config.target import Target
from restbroker.errors import StoreRefused, StoreUnavailable
from restbroker.job.event import mark_of_sent
from restbroker.store import events as store
from restbroker.store import logins, rooms
from restbroker.store.client import Client
from restbroker.store.connection import Connection, until_answered
from restbroker.store.logins import (
    AskingOnly,
    ClaimResult,
    LoggedIn,
    LoginBusy,
    LoginGranted,
    LoginLock,
    LoginState,
    LogoffReason,
    LogoffStart,
    PutResult,
    TakeResult,
    UserBase,
)
from restbroker.store.rooms import Need, RoomMembership, State
from restbroker.telemetry.events import OperatorWarning, Report

P = ParamSpec("P")
T = TypeVar("T")

_KIND: Final = "openfire-chat"
_LOOPBACK: Final = ("127.0.0.1", "::1")


@attrs.define(eq=False)
class LoginsInRedis:
    """The logins of a target's users, and the rooms that they are in, for all processes.

    A stream is a login of a user, named by its id. A lock is the right of one holder at a time, over all processes, to
    add or remove a stream at the server, or to have a user join or leave a room. Every call waits while Redis is away,
    and raises `StoreRefused`.
    """

    _base: UserBase
    _connection: Connection

    async def take(self, user: str, lock: LoginLock, *, stale: str = "", stays_off: bool = False) -> TakeResult:
        """Return the user's stream, if one is known that is not `stale`, else the lock for logging the user in.

        `stays_off`: a user whom a job logged off is not logged in. See `store.logins.take`.
        """
        return await self._call_until_answered(logins.take, self._base, user, lock, stale=stale, stays_off=stays_off)

    async def put(self, user: str, holder: str, stream: str) -> PutResult:
        """Record the user's `stream` ("": no login), which releases the holder's lock; return what became of it.

        See `store.logins.put`.
        """
        return await self._call_until_answered(logins.put, self._base, user, holder, stream)

    async def start_logoff(self, user: str, lock: LoginLock, how: LogoffReason) -> LogoffStart:
        """Return the lock for ending the user's stream, or None if none is known (`store.logins.start_logoff`)."""
        return await self._call_until_answered(logins.start_logoff, self._base, user, lock, how)

    async def read_states(self, users: Sequence[str]) -> list[LoginState]:
        """Return the recorded state of each user's login (`store.logins.read_states`)."""
        return await self._call_until_answered(logins.read_states, self._base, users)

    async def ask(self, user: str, lock: LoginLock) -> ClaimResult:
        """Claim the name for a question, if it is not logged in, and take the lock (`store.logins.ask`)."""
        return await self._call_until_answered(logins.ask, self._base, user, lock)

    async def end(self, user: str, what: LoggedIn | AskingOnly) -> bool:
        """Remove the record of a stream or claims that are over; False: another one is there (`store.logins.end`)."""
        return await self._call_until_answered(logins.end, self._base, user, what)

    async def take_room(self, stay: RoomMembership, lock: LoginLock, need: Need) -> State | LoginGranted | LoginBusy:
        """Return whether the user is in the room, or the lock for joining or leaving it (`store.rooms.take`)."""
        return await self._call_until_answered(rooms.take, self._base.target, stay, lock, need)

    async def put_room(self, stay: RoomMembership, holder: str, state: State) -> bool:
        """Release the holder's lock on a room with the `state` that it reached: `in`, `out`, or "" if it is not known.

        Return False if the holder did not have the lock any more, so that nothing changed (`store.rooms.put`).
        """
        return await self._call_until_answered(rooms.put, self._base.target, stay, holder, state)

    async def forget_room(self, room: str, user: str, *, is_out: bool) -> None:
        """Record that the user, or every user (""), is out of the room, or perhaps is (`store.rooms.forget`)."""
        return await self._call_until_answered(rooms.forget, self._base.target, room, user, is_out=is_out)

    async def aclose(self) -> None:
        """Close the connection."""
        await self._connection.aclose()

    async def _call_until_answered(
        self, do: Callable[Concatenate[Client, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        return await until_answered(lambda: self._connection.call(do, *args, **kwargs))


def logins_of(target: Target, open_connection: Callable[[], Connection]) -> LoginsInRedis | None:
    """Return the logins for the target's connector; None for kinds whose commands need no login of a user."""
    if target.kind != _KIND:
        return None
    host = target.url.host.lower().rstrip(".")
    is_here = target.url.socket is not None or host in _LOOPBACK
    return LoginsInRedis(UserBase(target.name, "localhost" if is_here else host), open_connection())


@attrs.define(eq=False)
class SentMessagesInRedis:
    """The record of sent messages; `connection` has a short time-out. `window_s`: for how many seconds each is kept."""

    window_s: float
    connection: Connection
    report: Report

    async def remember(self, sender: str, receiver: str, body: str) -> None:
        """Note this message in Redis before it is sent; if Redis does not take the note, warn and return."""
        mark, window_ms = mark_of_sent(sender, receiver, body), max(1, round(self.window_s * 1000))
        try:
            await self.connection.call(store.remember, mark, window_ms)
        except (StoreUnavailable, StoreRefused) as error:
            what = f"A sent message may come back as an event: it could not be recorded. {error.message}"
            self.report(OperatorWarning("OwnNotRemembered", what, error.hint))

    async def aclose(self) -> None:
        """Close the connection; a later call opens it again."""
        await self.connection.aclose()


def sent_messages_of(
    events: Events | None, open_connection: Callable[[], Connection], report: Report
) -> SentMessagesInRedis | None:
    """Return the record for these sources, with the longest of their windows; None if none of them has `DropOwn`."""
    windows_s = [source.own_s for source in (events.sources if events is not None else ()) if source.own_s is not None]
    return SentMessagesInRedis(max(windows_s), open_connection(), report) if windows_s else None
