"""What a server tells of by itself, in one form for all servers: an event.

`events` makes them of what a server sends, pushes a job for each and filters them. Always holds: pure; an event has all
of its members, whatever the server left out.
"""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Final, Literal, get_args

import attrs

from restbroker.rules.json_types import Json

EventType = Literal["message", "groupchat", "presence", "iq", "error"]
EVENT_TYPES: Final[tuple[EventType, ...]] = get_args(EventType)
"""`groupchat`: a message of a room. `error`: a stanza that came back, of whatever kind."""


@attrs.frozen
class ServerEvent:
    """One event. `sender` and `receiver` are JIDs, `room` is the bare JID of a room; None: the server named none.

    `server`: the host there that took it in. `source`: its name in the configuration. `raw`: what the server sent.
    """

    type: EventType
    sender: str | None
    receiver: str | None
    id: str | None
    body: str | None
    room: str | None
    server: str | None
    source: str
    received_at_s: float
    raw: Json


def as_json(event: ServerEvent) -> dict[str, Json]:
    """The event as the argument of its job."""
    return {
        "type": event.type,
        "from": event.sender,
        "to": event.receiver,
        "id": event.id,
        "body": event.body,
        "room": event.room,
        "server": event.server,
        "source": event.source,
        "received_at": event.received_at_s,
        "raw": event.raw,
    }


def is_wanted(event: ServerEvent, types: Sequence[str], sender: Sequence[str], receiver: Sequence[str]) -> bool:
    """Whether it has one of these types, and JIDs that fit the patterns; an empty sequence wants all."""
    return (not types or event.type in types) and _fits(event.sender, sender) and _fits(event.receiver, receiver)


def bare(jid: str) -> str:
    """The JID without its resource."""
    return jid.partition("/")[0]


def domain(jid: str) -> str:
    """The JID's host."""
    return bare(jid).rpartition("@")[2]


def _fits(jid: str | None, patterns: Sequence[str]) -> bool:
    if not patterns:
        return True
    return jid is not None and any(fnmatchcase(bare(jid).lower(), pattern.lower()) for pattern in patterns)
