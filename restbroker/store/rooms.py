"""Which users of a server are in which room by their present logins, as its answers to their joins and leavings said.

Used by `app` for connectors whose server says of no message whether it came into the room. Always holds: what is
known ends with the user's login, and a week after anybody asked; one process at a time has a user join or leave a room,
by Redis' clock; what nobody knows is no "in"; each call may be repeated after a lost answer. A login is here as a mark
that gives nothing away.
"""

import hashlib
from typing import Final, Literal, TypeAlias

import attrs

from restbroker.store.client import Client
from restbroker.store.logins import LoginBusy, LoginGranted, LoginTurn
from restbroker.store.replies import Argument, integer, items, unexpected

KEPT_MS: Final = 7 * 24 * 3_600_000
MOST_USERS: Final = 10_000
"""Of one room. Where more come, it begins anew: each joins once more."""
_ANY_LOGIN: Final = "*"

State: TypeAlias = Literal["in", "out", ""]
"""What is known of a user and a room; "": nothing."""
Need: TypeAlias = Literal["look", "need", "again"]
"""What is wanted: to know; that he is in it; the turn in any case."""


@attrs.frozen
class RoomMembership:
    """A user and a room. `room`: its name and its service, as `balcony@conference`. `stream`: that of his login."""

    room: str
    user: str
    stream: str = attrs.field(repr=False)

    @property
    def mark(self) -> str:
        """What stands for the login."""
        return hashlib.sha256(self.stream.encode()).hexdigest()[:16]


def take(
    client: Client, target: str, stay: RoomMembership, turn: LoginTurn, need: Need
) -> State | LoginGranted | LoginBusy:
    """Whether he is in it, or the turn: then have him join or leave, and `put`. A look gets no turn."""
    arguments: list[Argument] = [stay.user, stay.mark, turn.holder, max(1, turn.lease_ms), need, KEPT_MS, MOST_USERS]
    match items(client.run("room_take", [client.keys.room(target, stay.room)], arguments)):
        case [b"IN"]:
            return "in"
        case [b"OUT"]:
            return "out"
        case [b"UNKNOWN"]:
            return ""
        case [b"YOURS"]:
            return LoginGranted()
        case [b"BUSY", left_ms]:
            return LoginBusy(integer(left_ms))
        case other:
            raise unexpected("what room_take answers", other)


def put(client: Client, target: str, stay: RoomMembership, holder: str, state: State) -> bool:
    """Ends the holder's turn. False: nothing changed by it."""
    arguments: list[Argument] = [stay.user, holder, state, stay.mark, KEPT_MS]
    return client.run("room_put", [client.keys.room(target, stay.room)], arguments) == 1


def lose(client: Client, target: str, room: str, user: str, *, is_out: bool) -> None:
    """The user, or everybody (""), is out of this room, by whichever login, or nothing is known of him from now on.

    Who joins it meanwhile leaves no word.
    """
    arguments: list[Argument] = [user, "", "out" if is_out else "", _ANY_LOGIN, KEPT_MS]
    client.run("room_put", [client.keys.room(target, room)], arguments)
