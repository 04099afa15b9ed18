"""What a server tells of by itself, in one form for all servers: an event.

`events` makes them of what a server sends, pushes a job for each and filters them. Always holds: pure; an event has all
of its members, whatever the server left out.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from fnmatch import translate
from functools import lru_cache
from typing import Final, Literal, get_args

import attrs

from restbroker.job.jid import folded
from restbroker.job.json_types import Json
from restbroker.light import light

EventType = Literal[
    "message",
    "groupchat",
    "presence",
    "iq",
    "error",
    "chatstate",
    "invitation",
    "offer",
    "offer-revoked",
    "queue",
    "notify",
    "stanza",
]
EVENT_TYPES: Final[tuple[EventType, ...]] = get_args(EventType)
"""`groupchat`: a message of a room. `error`: a stanza that came back, of whatever kind. `chatstate`: somebody writes or
stops. `invitation`: into a room. `offer`: a question for an expert, and `offer-revoked` its end; `queue`:
where one's own question stands. `notify`: what else a server tells. `stanza`: any one, as it came.
"""


EVENT_MEMBERS: Final = ("type", "from", "to", "id", "body", "room", "server", "source", "received_at", "raw")
"""What each has in its job."""


@light
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


def bare(jid: str) -> str:
    """The JID without its resource."""
    return jid.partition("/")[0]


def domain(jid: str) -> str:
    """The JID's host."""
    return bare(jid).rpartition("@")[2]


@attrs.frozen
class Filter:
    """Which events are meant; a member that is empty says nothing of them.

    JIDs (without their resource) and bodies are compared with patterns of `*` and `?`, JIDs as servers fold their case,
    bodies whatever the case. An event that has none fits no pattern.
    """

    types: tuple[str, ...] = ()
    sender: tuple[str, ...] = ()
    receiver: tuple[str, ...] = ()
    body: tuple[str, ...] = ()

    def fits(self, event: ServerEvent) -> bool:
        """Whether the event is what each member says."""
        return all(self._answers(event))

    def touches(self, event: ServerEvent) -> bool:
        """Whether it is what any member says."""
        return any(self._answers(event))

    def _answers(self, event: ServerEvent) -> Iterator[bool]:
        if self.types:
            yield event.type in self.types
        if self.sender:
            yield _fits(_address(event.sender), _patterns(self.sender, folded))
        if self.receiver:
            yield _fits(_address(event.receiver), _patterns(self.receiver, folded))
        if self.body:
            text = None if event.body is None else event.body.casefold()
            yield _fits(text, _patterns(self.body, str.casefold))


def own_mark(sender: str, receiver: str, body: str) -> str:
    """What a message is known by that this broker sends itself, when a server tells of it.

    Of the receiver only the name before the @ counts: MongooseIM's HTTP pusher tells no more of him.
    """
    what = ["own", _address(sender), folded(bare(receiver).partition("@")[0]), body]
    return hashlib.sha1(json.dumps(what).encode(), usedforsecurity=False).hexdigest()


def _address(jid: str | None) -> str | None:
    return None if jid is None else folded(bare(jid))


def _fits(text: str | None, patterns: Sequence[re.Pattern[str]]) -> bool:
    return text is not None and any(pattern.match(text) for pattern in patterns)


@lru_cache(maxsize=1024)
def _patterns(written: tuple[str, ...], fold: Callable[[str], str]) -> list[re.Pattern[str]]:
    # Brackets are no wildcards here.
    return [re.compile(translate(fold(one).replace("[", "[[]"))) for one in written]
