"""What the stand-in for Openfire knows: users, groups, rosters, rooms and properties, and who is logged in.

Used by the handlers of both APIs, under `lock`. Always holds: `forget` keeps what a real Openfire keeps over a restart
(users, groups, rosters, persistent rooms, offline messages, properties), and nothing else.
"""

import itertools
import random
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Final

import attrs

from tests.support.openfire.forms import Null, Pair
from tests.support.openfire.reading import ROOM_FLAGS
from tests.support.openfire.sse import Emitter

ROLES: Final = ("moderator", "participant", "visitor")
AFFILIATIONS: Final = ("owners", "admins", "members", "outcasts")
_NOT_IN_NAMES: Final = frozenset(" @\"&'/:<>")


@attrs.define(eq=False)
class Account:
    """A user. `offline` are the messages that wait for him, as what would be told to his stream."""

    username: str
    password: str
    name: str = ""
    email: str | None = None
    properties: dict[str, str] = attrs.field(factory=dict)
    is_locked: bool = False
    vcard: str | None = None
    offline: list[Callable[["Stream"], None]] = attrs.field(factory=list)

    def entity(self) -> dict[str, Any]:
        """As the plugin writes it; it never tells a password."""
        return {
            "username": self.username,
            "name": self.name,
            "email": self.email,
            "password": Null,
            "properties": [Pair(key, value) for key, value in self.properties.items()],
        }


@attrs.define(eq=False)
class Group:
    """A group of users."""

    name: str
    description: str = ""
    admins: list[str] = attrs.field(factory=list)
    members: list[str] = attrs.field(factory=list)
    shared: bool = False


@attrs.define(eq=False)
class Contact:
    """An item of a roster. `subscription` from -1 to 3: remove, none, to, from, both."""

    jid: str
    nickname: str | None = None
    subscription: int = 0
    groups: list[str] = attrs.field(factory=list)

    def fields(self) -> dict[str, Any]:
        return {
            "jid": self.jid,
            "nickname": self.nickname,
            "subscriptionType": self.subscription,
            "groups": self.groups,
        }


@attrs.define(eq=False)
class Occupant:
    """Somebody in a room: a stream, or somebody who asked for help (`tells` is given what is said there)."""

    jid: str
    hears: Callable[[str, str, str], None]
    """Called with the speaker's address in the room, the body and the data as JSON."""
    sees: Callable[[str, bool], None]


@attrs.define(eq=False)
class Room:
    """A chat room. `told` are the last messages, as (address in the room, body, data)."""

    service: str
    name: str
    settings: dict[str, Any]
    affiliated: dict[str, list[str]]
    occupants: dict[str, Occupant] = attrs.field(factory=dict)
    told: list[tuple[str, str, str]] = attrs.field(factory=list)
    is_locked: bool = False
    """Made by a join: nobody but its maker comes in."""
    created: datetime = attrs.field(factory=lambda: datetime.now(UTC))

    @property
    def is_persistent(self) -> bool:
        return bool(self.settings.get("persistent"))

    @property
    def shown_roles(self) -> list[str]:
        """Whose presence it tells of: one that was not made by the plugin, everybody's."""
        return list(self.settings.get("broadcastPresenceRoles", ROLES))

    def role(self, jid: str) -> str:
        is_head = any(jid.partition("/")[0] in self.affiliated[kind] for kind in ("owners", "admins"))
        return "moderator" if is_head else "participant"

    def entity(self) -> dict[str, Any]:
        given = self.settings
        fields: dict[str, Any] = {
            "roomName": self.name,
            "naturalName": given.get("naturalName", self.name),
            "description": given.get("description", ""),
            "password": given.get("password"),
            "subject": given.get("subject"),
            "creationDate": self.created,
            "modificationDate": self.created,
            "maxUsers": given.get("maxUsers", 0),
            **{name: bool(given.get(name)) for name in ROOM_FLAGS},
            "broadcastPresenceRoles": self.shown_roles,
            **{name: list(self.affiliated[name]) for name in AFFILIATIONS},
            **{f"{name[:-1]}Groups": list(given.get(f"{name[:-1]}Groups", [])) for name in AFFILIATIONS},
        }
        return fields


@attrs.define(eq=False)
class Stream:
    """A session that the Chat API opened. `joined` are addresses of rooms; `offers` those that were made to it."""

    id: str
    username: str
    jid: str
    is_anonymous: bool
    is_mapped: bool = True
    """Whether `/sse/` leads to it: not to one of a second connection of its name, nor to one that was kicked."""
    is_kicked: bool = False
    """Its session is over, and the plugin keeps it all the same: each login gives it, and what it sends goes out."""
    show: str | None = None
    status: str | None = None
    contacts: frozenset[str] = frozenset()
    joined: set[str] = attrs.field(factory=set)
    offers: set[str] = attrs.field(factory=set)
    workgroups: set[str] = attrs.field(factory=set)
    since: datetime = attrs.field(factory=lambda: datetime.now(UTC))


@attrs.define(eq=False)
class Assist:
    """A question in a workgroup. Its offers have its `id`; `offered_to` is the expert who has it now."""

    id: str
    user: str
    workgroup: str
    given: dict[str, str]
    room: str | None = None
    sender: str | None = None
    is_revoked: bool = False
    offered_to: str | None = None
    is_heard: bool = True
    """Whether its asker is told anything: not one who had a stream when he asked, whose path is taken."""
    not_before_s: dict[str, float] = attrs.field(factory=dict)
    """When those who rejected it, or let it lapse, may be asked again."""
    since: datetime = attrs.field(factory=lambda: datetime.now(UTC))


@attrs.define(eq=False)
class Workgroup:
    """Experts for one kind of question; `agents` are those who are there, the next one to be asked first."""

    name: str
    description: str = ""
    members: list[str] = attrs.field(factory=list)
    agents: list[str] = attrs.field(factory=list)
    queue: list[Assist] = attrs.field(factory=list)


@attrs.define(eq=False)
class World:
    """Everything. Names of users are lower-case."""

    domain: str = "example.org"
    accounts: dict[str, Account] = attrs.field(factory=dict)
    groups: dict[str, Group] = attrs.field(factory=dict)
    rosters: dict[str, dict[str, Contact]] = attrs.field(factory=dict)
    services: dict[str, dict[str, Room]] = attrs.field(factory=lambda: {"conference": {}})
    properties: dict[str, str] = attrs.field(factory=lambda: {"xmpp.domain": "example.org"})
    streams: dict[str, Stream] = attrs.field(factory=dict)
    of_user: dict[str, Stream] = attrs.field(factory=dict)
    readers: dict[str, Emitter] = attrs.field(factory=dict)
    """The last-opened event stream of a user: nobody else is told anything. Not one whose connection is over."""
    open_readers: list[Emitter] = attrs.field(factory=list)
    asking: set[str] = attrs.field(factory=set)
    """Who has a connection because he asked for help (or for an upload): it opens an event stream's path too."""
    paths: set[str] = attrs.field(factory=set)
    """The names that `/sse/` leads to."""
    is_jammed: bool = False
    """Two connections had one name: no path is added any more until the next start."""
    has_uploads: bool = True
    login_s: float = 0.002
    """Between looking whether somebody is logged in and logging him in: logins are not atomic there."""
    logins: list[str] = attrs.field(factory=list)
    login_requests: list[str] = attrs.field(factory=list)
    """The user of each login that was granted, whether or not it made a stream, in order."""
    lost: list[tuple[str, str]] = attrs.field(factory=list)
    workgroups: dict[str, Workgroup] = attrs.field(factory=dict)
    assists: dict[str, Assist] = attrs.field(factory=dict)
    ask_timeout_s: float = 180.0
    offer_delay_s: float = 1.5
    offers_again_s: float = 20.0
    """When somebody who rejected a question, or let it lapse, is asked again."""
    join_timeout_s: float = 5.0
    """So long a join waits to be told that the user is in the room."""
    starts: int = 0
    ids: Iterator[int] = attrs.field(factory=lambda: itertools.count(139))
    timers: list[threading.Timer] = attrs.field(factory=list)
    at_end: list[Callable[[Stream], None]] = attrs.field(factory=list)
    lock: threading.RLock = attrs.field(factory=threading.RLock)
    changed: threading.Condition = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.changed = threading.Condition(self.lock)
        self.accounts.setdefault("admin", Account("admin", "secret", "Administrator", "admin@example.com"))

    def register(self, *names: str, password: str = "secret") -> None:
        for name in names:
            self.accounts[name] = Account(name, password)

    def befriend(self, one: str, other: str) -> None:
        for owner, contact in ((one, other), (other, one)):
            jid = f"{contact}@{self.domain}"
            self.rosters.setdefault(owner, {})[jid] = Contact(jid, None, 3)

    def account(self, name: str) -> Account | None:
        return self.accounts.get(name.removesuffix(f"@{self.domain}").casefold())

    def consult(self, name: str, *members: str) -> None:
        self.workgroups[name] = Workgroup(name, "", list(members))

    def opened(self, username: str, *, anonymous: bool = False) -> Stream:
        """The user's stream: the one that he has, or a new one. Two at the same moment get two."""
        stream = self.of_user.get(username)
        if stream is None:
            with self.lock:
                self.changed.wait_for(lambda: False, self.login_s)
            number = random.randint(-(2**31), 2**31 - 1)
            node = f"anonymous{abs(number)}" if anonymous else username
            jid = f"{node}@{self.domain}/{username}{random.randint(-(2**31), 2**31 - 1)}"
            stream = Stream(f"ofchat{number}", username, jid, anonymous, self.mapped(username))
            self.streams[stream.id] = self.of_user[username] = stream
            self.logins.append(username)
        return stream

    def mapped(self, username: str) -> bool:
        """Whether `/sse/` leads to a connection of this name that is made now."""
        known = self.of_user.get(username)
        if (known is not None and not known.is_kicked) or username in self.asking:
            self.is_jammed = True
        if not self.is_jammed:
            self.paths.add(username)
        return not self.is_jammed

    def connected(self, username: str) -> None:
        """Somebody asks: his connection is made first of all, and outlives whatever goes wrong then."""
        if username not in self.asking:
            self.mapped(username)
            self.asking.add(username)

    def disconnected(self, username: str) -> None:
        """The connection of somebody who asked is over."""
        self.asking.discard(username)
        if username not in self.of_user:
            self.unmapped(username)

    def unmapped(self, username: str) -> None:
        """A connection that `/sse/` led to is over: its event stream stays open, and is told nothing any more."""
        self.paths.discard(username)
        self.readers.pop(username, None)

    def tell(self, username: str, name: str, data: str) -> None:
        reader = self.readers.get(username)
        if reader is None or not reader.event(name, data):
            self.lost.append((username, data))

    def is_served(self, username: str) -> bool:
        return username in self.paths

    def end_readers(self, username: str | None = None) -> None:
        for reader in [one for one in self.open_readers if username in (None, one.username)]:
            reader.end()
            self.open_readers.remove(reader)
            if self.readers.get(reader.username) is reader:
                del self.readers[reader.username]

    def room(self, address: str) -> Room | None:
        name, _, host = address.casefold().partition("@")
        return self.services.get(host.removesuffix(f".{self.domain}"), {}).get(name)

    def rooms(self) -> Iterator[Room]:
        for rooms in self.services.values():
            yield from list(rooms.values())

    def forget(self) -> None:
        self.end_readers()
        for kept in (self.streams, self.of_user, self.asking, self.assists, self.paths):
            kept.clear()
        self.is_jammed = False
        for workgroup in self.workgroups.values():
            workgroup.agents.clear()
            workgroup.queue.clear()
        for timer in self.timers:
            timer.cancel()
        self.timers.clear()
        self.starts += 1
        self.changed.notify_all()
        for rooms in self.services.values():
            for name, room in list(rooms.items()):
                room.occupants.clear()
                if not room.is_persistent:
                    del rooms[name]


def is_name(name: str) -> bool:
    return 0 < len(name) <= 64 and not _NOT_IN_NAMES & set(name)


def is_jid(jid: str) -> bool:
    node, at, host = jid.partition("/")[0].rpartition("@")
    return bool(host) and " " not in host and (not at or (bool(node) and not set(" \"&'/:<>@") & set(node)))
