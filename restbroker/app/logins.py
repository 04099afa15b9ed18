"""The logins in Redis as a connector or a reader of events uses them: one book for each target that has users.

Made by `build` and `events`. Always holds: nothing is connected before the first call; a call waits while Redis is
away, which the lane tells of; another kind of target has none.
"""

from collections.abc import Callable, Sequence
from typing import Concatenate, Final, ParamSpec, TypeVar

import attrs
import trio

from restbroker.config.target import Target
from restbroker.errors import StoreUnavailable
from restbroker.store import logins, rooms
from restbroker.store.client import Client
from restbroker.store.connection import Connection
from restbroker.store.logins import (
    AskingOnly,
    Claimed,
    Ending,
    How,
    Known,
    LoggedIn,
    LoginBusy,
    LoginGranted,
    LoginTurn,
    Taken,
)
from restbroker.store.rooms import Need, RoomMembership, State

P = ParamSpec("P")
T = TypeVar("T")

_KIND: Final = "openfire-chat"
_FIRST_WAIT_S: Final = 0.05
_LONGEST_WAIT_S: Final = 1.0


@attrs.define(eq=False)
class LoginsInRedis:
    """`servers.contract.LoginBook` of the target of this name."""

    _target: str
    _open: Callable[[], Connection]
    _connection: Connection | None = None

    async def take(self, user: str, turn: LoginTurn, *, stale: str = "", stays_off: bool = False) -> Taken:
        """As `LoginBook`."""
        return await self._insist(logins.take, self._target, user, turn, stale=stale, stays_off=stays_off)

    async def put(self, user: str, holder: str, stream: str) -> bool:
        """As `LoginBook`."""
        return await self._insist(logins.put, self._target, user, holder, stream)

    async def start_logoff(self, user: str, turn: LoginTurn, how: How) -> Ending:
        """As `LoginBook`."""
        return await self._insist(logins.off, self._target, user, turn, how)

    async def read_states(self, users: Sequence[str]) -> list[Known]:
        """As `LoginBook`."""
        return await self._insist(logins.read_states, self._target, users)

    async def ask(self, user: str, claim: str) -> Claimed:
        """As `LoginBook`."""
        return await self._insist(logins.ask, self._target, user, claim)

    async def end(self, user: str, what: LoggedIn | AskingOnly) -> bool:
        """As `LoginBook`."""
        return await self._insist(logins.end, self._target, user, what)

    async def room_take(self, stay: RoomMembership, turn: LoginTurn, need: Need) -> State | LoginGranted | LoginBusy:
        """As `LoginBook`."""
        return await self._insist(rooms.take, self._target, stay, turn, need)

    async def room_put(self, stay: RoomMembership, holder: str, state: State) -> bool:
        """As `LoginBook`."""
        return await self._insist(rooms.put, self._target, stay, holder, state)

    async def room_lose(self, room: str, user: str, *, is_out: bool) -> None:
        """As `LoginBook`."""
        return await self._insist(rooms.lose, self._target, room, user, is_out=is_out)

    async def aclose(self) -> None:
        """As `LoginBook`."""
        if self._connection is not None:
            await self._connection.aclose()

    def _connect(self) -> Connection:
        if self._connection is None:
            self._connection = self._open()
        return self._connection

    async def _insist(self, do: Callable[Concatenate[Client, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        wait_s = _FIRST_WAIT_S
        while True:
            try:
                return await self._connect().call(do, *args, **kwargs)
            except StoreUnavailable:
                await trio.sleep(wait_s)
                wait_s = min(wait_s * 2, _LONGEST_WAIT_S)


def logins_of(target: Target, open_connection: Callable[[], Connection]) -> LoginsInRedis | None:
    """What the target's connector gets; None for kinds whose commands need no login of a user."""
    return LoginsInRedis(target.name, open_connection) if target.kind == _KIND else None
