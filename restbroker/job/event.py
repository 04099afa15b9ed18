"""What a server reports by itself, in one form for all servers: an event.

`events` makes them of what a server sends, pushes a job for each and filters them. Always holds: pure; an event has all
of its members, even those that the server left out.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, get_args

from restbroker.job.jid import fold_case
from restbroker.job.json_types import Json
from restbroker.light import frozen_plain

EventType = Literal[
    "message",
    "groupchat",
    "presence",
    "subscription",
    "iq",
    "error",
    "chatstate",
    "invitation",
    "offer",
    "offer-revoked",
    "queue",
    "notify",
    "push",
    "receipt",
    "displayed",
    "created",
    "joined",
    "left",
    "destroyed",
]
EVENT_TYPES: Final[tuple[EventType, ...]] = get_args(EventType)
"""All types of events.

`groupchat`: a message of a room. `subscription`: a user asks for another's presence, allows or ends it. `error`: a
stanza of any kind that came back. `chatstate`: a user writes or stops. `invitation`: into a room. `offer`: a question
for an expert, and `offer-revoked` its end; `queue`: where one's own question stands. `notify`: any other notice of a
server. `push`: a receiver could not be reached. `receipt`, `displayed`: a message arrived or was read; the event has
its `id`. `created`, `joined`, `left`, `destroyed`: the life of a room.
"""


EVENT_MEMBERS: Final = (
    *("type", "from", "to", "id", "body", "room", "presence", "server", "source", "received_at", "raw"),
)
"""The members that each event has in its job."""
PRESENCE: Final = {True: "available", False: "unavailable"}
"""A presence in XMPP's words, for a server that says of a user whether they are there."""
_TEST: Final = "restbroker tests whether its events come: "


@frozen_plain
class ServerEvent:
    """One event. `sender` and `receiver` are JIDs, `room` is the bare JID of a room; None if the server named none.

    `server`: the host there that took it in. `source`: the name of the source in the configuration. `raw`: what the
    server sent. `presence`: of a presence, whether the user is available, or another type of its stanza; None if it is
    not known. `digest`: what is equal in all reports of it, "" if there is one alone; None if that is not known.
    `window_s`: the seconds within which such a report comes again; None: as the source says. `pair`: what is equal in
    the two reports of one message, and which of them this is, with a digest of the nick that it names; None if there
    is one alone. `place`: what followed the source's path and secret, and the query, where it
    was posted.
    `type` is one of `EVENT_TYPES`, or a sender's own word. `more`: members that a sender's events have beside those of
    all.
    """

    type: str
    sender: str | None
    receiver: str | None
    id: str | None
    body: str | None
    room: str | None
    server: str | None
    source: str
    received_at_s: float
    raw: Json
    presence: str | None = None
    digest: str | None = None
    window_s: float | None = None
    pair: tuple[str, str] | None = None
    place: tuple[str, str] = ("", "")
    more: Mapping[str, Json] = MappingProxyType({})


def as_json(event: ServerEvent) -> dict[str, Json]:
    """Return the event as the argument of its job."""
    return {
        "type": event.type,
        "from": event.sender,
        "to": event.receiver,
        "id": event.id,
        "body": event.body,
        "room": event.room,
        "presence": event.presence,
        "server": event.server,
        "source": event.source,
        "received_at": event.received_at_s,
        "raw": event.raw,
        **event.more,
    }


def bare(jid: str) -> str:
    """Return the JID without its resource."""
    return jid.partition("/")[0]


def domain(jid: str) -> str:
    """Return the JID's host."""
    return bare(jid).rpartition("@")[2]


def mark_of_sent(sender: str, receiver: str, body: str) -> str:
    """Return the mark by which a message that this broker sends itself is recognised when a server reports it.

    Of the receiver only the name before the @ counts: MongooseIM's HTTP pusher reports no more.
    """
    what = ["own", address_of(sender), fold_case(bare(receiver).partition("@")[0]), body]
    return hashlib.sha1(json.dumps(what).encode(), usedforsecurity=False).hexdigest()


def text_of_test(number: str) -> str:
    """Return the text of a message by which restbroker tests whether events come; `number` is 32 hexadecimal digits."""
    return f"{_TEST}{number}"


def mark_of_test(body: str | None) -> str | None:
    """Return the mark of the test message that an event with this body reports; None if it reports another message."""
    found = None if body is None else re.fullmatch(f"{_TEST}([0-9a-f]{{32}})", body)
    return f"test-{found[1]}" if found else None


def address_of(jid: str | None) -> str | None:
    """Return the JID without its resource and with its case folded as servers do; None for None."""
    return None if jid is None else fold_case(bare(jid))
