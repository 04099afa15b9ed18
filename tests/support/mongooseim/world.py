"""What the stand-in remembers: domains, accounts, sessions, rosters, rooms, messages.

Operations read and change it under `lock`. Always holds: what was written within the last seconds can be undone, since
a MongooseIM on Mnesia loses such writes when it is killed, although it had said that they were done.
"""

import threading
import time
from collections.abc import Callable, Iterable
from typing import Final

import attrs

from tests.support.mongooseim.scalars import Jid

LOST_S: Final = 3.0
"""20 of 20 accounts were lost that were made just before a SIGKILL, none that was three seconds old."""


@attrs.frozen
class Refusal(Exception):
    """The server does not do it. `more` goes into `extensions` beside the code."""

    code: str
    message: str
    more: dict[str, object] = attrs.field(factory=dict)


@attrs.define
class Domain:
    """A domain that the server serves."""

    host_type: str = "localhost"
    enabled: bool = True
    password: str | None = None


@attrs.frozen
class Contact:
    """One line of a roster."""

    jid: str
    name: str = ""
    groups: tuple[str, ...] = ()
    subscription: str = "NONE"
    ask: str = "NONE"


@attrs.frozen
class Sent:
    """A stanza that was routed. `kind` is its type; a `groupchat` goes to a room."""

    sender: Jid
    receiver: Jid
    body: str
    kind: str = "chat"


@attrs.define
class Room:
    """A room: of MUC Light, or of MUC where `nicks` are who is in it."""

    jid: str
    name: str = ""
    subject: str = ""
    affiliations: dict[str, str] = attrs.field(factory=dict)
    nicks: dict[str, str] = attrs.field(factory=dict)


@attrs.define
class _Write:
    at_s: float
    undo: Callable[[], object]


@attrs.define(eq=False)
class World:
    """`told` is called with each message that was routed, in the way of whoever sent it, as event pushers are."""

    domains: dict[str, Domain] = attrs.field(factory=lambda: {"localhost": Domain()})
    accounts: dict[str, str] = attrs.field(factory=dict)
    banned: dict[str, str] = attrs.field(factory=dict)
    sessions: set[str] = attrs.field(factory=set)
    rosters: dict[str, dict[str, Contact]] = attrs.field(factory=dict)
    rooms: dict[str, Room] = attrs.field(factory=dict)
    messages: list[Sent] = attrs.field(factory=list)
    kept: dict[tuple[str, str], object] = attrs.field(factory=dict)
    told: list[Callable[[Sent], object]] = attrs.field(factory=list)
    lock: threading.RLock = attrs.field(factory=threading.RLock)
    _writes: list[_Write] = attrs.field(factory=list)

    def register(self, *jids: str, password: str = "secret") -> None:
        """Makes accounts, as if they had been there all the time."""
        self.accounts.update(dict.fromkeys(jids, password))

    def wrote(self, undo: Callable[[], object]) -> None:
        self._writes.append(_Write(time.monotonic(), undo))

    def lose(self, younger_than_s: float = LOST_S) -> int:
        """Undoes what was written within the last seconds, as a SIGKILL does; returns how much that was."""
        with self.lock:
            since_s = time.monotonic() - younger_than_s
            lost = [write for write in self._writes if write.at_s >= since_s]
            for write in reversed(lost):
                write.undo()
            self._writes.clear()
            self.sessions.clear()
            return len(lost)

    def is_served(self, domain: str) -> bool:
        return domain in self.domains and self.domains[domain].enabled

    def is_account(self, jid: Jid) -> bool:
        return jid.bare in self.accounts

    def route(self, sent: Sent) -> None:
        self.messages.append(sent)
        for tell in self.told:
            tell(sent)

    def resources(self, jid: Jid) -> list[str]:
        return sorted(full for full in self.sessions if full.partition("/")[0] == jid.bare)


def page(items: Iterable[str], limit: int | None, index: int | None) -> list[str]:
    """A part of a list, as `limit` and `index` say."""
    start = index or 0
    return list(items)[start : None if limit is None else start + limit]
