"""Which users of a server are in which room by their present logins, as its answers to joins and leaves said.

Used by `app` for connectors whose server does not confirm that a message came into the room. Always holds: a state ends
with the user's login, and a week after it was last read; one process at a time has a user join or leave a room, by
Redis' clock; a user counts as "in" only if that is known; each call may be repeated after a lost answer. A login is
stored as a mark that reveals nothing of it.
"""

import hashlib
from typing import Final, Literal, TypeAlias

from restbroker.light import field, frozen
from restbroker.store.client import Argument, Client, integer, items, unexpected_reply
from restbroker.store.logins import LoginBusy, LoginGranted, LoginLock

KEPT_MS: Final = 7 * 24 * 3_600_000
MOST_USERS: Final = 10_000
"""The most users of one room. If more come, the room is forgotten: each joins once more."""
_ANY_LOGIN: Final = "*"

State: TypeAlias = Literal["in", "out", ""]
"""What is known of a user and a room; "": nothing."""
Need: TypeAlias = Literal["look", "need", "again"]
"""What the caller needs: "look": what is known; "need": the user in the room; "again": the lock in any case."""


@frozen
class RoomMembership:
    """A user and a room. `room`: its name and service, as `balcony@conference`. `stream`: that of the user's login."""

    room: str
    user: str
    stream: str = field(repr=False)

    @property
    def mark(self) -> str:
        """A digest of the stream's id, which identifies the login and reveals nothing of it."""
        return hashlib.sha256(self.stream.encode()).hexdigest()[:16]


def take(
    client: Client, target: str, stay: RoomMembership, lock: LoginLock, need: Need
) -> State | LoginGranted | LoginBusy:
    """Return whether the user is in the room ("in" or "out"), or the lock to have them join or leave, then `put`.

    `need` says which of them the caller needs. A mere look gets no lock: "" if the state is not known. Return
    `LoginBusy` while another process has the lock. Raise `StoreUnavailable` or `StoreRefused`.
    """
    arguments: list[Argument] = [stay.user, stay.mark, lock.holder, max(1, lock.lease_ms), need, KEPT_MS, MOST_USERS]
    match items(client.run("room_take", [client.keys.room(target, stay.room)], arguments)):
        case [b"IN"]:
            return "in"
        case [b"OUT"]:
            return "out"
        case [b"UNKNOWN"]:
            return ""
        case [b"YOURS"]:
            return LoginGranted()
        case [b"BUSY", remaining_ms]:
            return LoginBusy(integer(remaining_ms))
        case other:
            raise unexpected_reply("what room_take answers", other)


def put(client: Client, target: str, stay: RoomMembership, holder: str, state: State) -> bool:
    """Release the holder's lock with the state that it reached. False: the lock was not the holder's, nothing changed.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    arguments: list[Argument] = [stay.user, holder, state, stay.mark, KEPT_MS]
    return client.run("room_put", [client.keys.room(target, stay.room)], arguments) == 1


def forget(client: Client, target: str, room: str, user: str, *, is_out: bool) -> None:
    """Note that the user ("": all users) is out of this room by any login; without `is_out`, that nothing is known.

    The result of a join that is under way is not noted then. Raise `StoreUnavailable` or `StoreRefused`.
    """
    arguments: list[Argument] = [user, "", "out" if is_out else "", _ANY_LOGIN, KEPT_MS]
    client.run("room_put", [client.keys.room(target, room)], arguments)
