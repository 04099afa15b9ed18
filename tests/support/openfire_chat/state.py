"""Who is logged in under which stream, what each is sent, who is in which room, and which questions are open.

Used by the player of the Chat API, under `lock`. Always holds: the last-opened event stream of a name alone is told
anything; `forget` keeps what a real Openfire keeps over a restart (users, rooms, what waits for users), nothing else.
"""

import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

import attrs

from tests.support.openfire_chat.answers import EVENTS
from tests.support.openfire_chat.emitter import Emitter

DOMAIN: Final = "example.org"


@attrs.define(eq=False)
class Account:
    """A user. `offline`: what sends the messages that wait for them."""

    password: str
    is_locked: bool = False
    friends: set[str] = attrs.field(factory=set)
    offline: list[Callable[[], None]] = attrs.field(factory=list)


@attrs.define(eq=False)
class Stream:
    """A login. `joined`: the rooms that it asked for, whatever they answered; `offers`: those that were made to it."""

    id: str
    username: str
    jid: str
    is_mapped: bool = True
    """Whether `/sse/` leads to it: not to a second connection of its name, nor to one that was kicked."""
    is_kicked: bool = False
    """Its session is over; each login gives it all the same, and what it sends goes out."""
    show: str | None = None
    joined: set[str] = attrs.field(factory=set)
    offers: set[str] = attrs.field(factory=set)
    workgroups: set[str] = attrs.field(factory=set)


@attrs.define(eq=False)
class Room:
    """A chat room of the service `conference`. `words`: what was said there."""

    name: str
    occupants: list[str] = attrs.field(factory=list)
    words: list[str] = attrs.field(factory=list)
    members: set[str] | None = None
    """The only users who may come in."""
    outcasts: set[str] = attrs.field(factory=set)

    @property
    def address(self) -> str:
        return f"{self.name}@conference.{DOMAIN}"

    def refuses(self, user: str) -> bool:
        """Whether it does not let this user in."""
        return user in self.outcasts or (self.members is not None and user not in self.members)


@attrs.define(eq=False)
class Question:
    """What a user asked a workgroup. `expert`: to whom it is offered now."""

    user: str
    id: str
    workgroup: str
    expert: str | None = None
    room: Room | None = None
    is_revoked: bool = False

    @property
    def asker(self) -> str:
        """The user who asked, at the connection that the question has (measured)."""
        return f"{self.user}@{DOMAIN}/{self.user}"


@attrs.define(eq=False)
class State:
    """All of it. Names of users and rooms are lower-case."""

    accounts: dict[str, Account] = attrs.field(factory=lambda: {"admin": Account("secret")})
    streams: dict[str, Stream] = attrs.field(factory=dict)
    of_user: dict[str, Stream] = attrs.field(factory=dict)
    rooms: dict[str, Room] = attrs.field(factory=dict)
    questions: dict[str, Question] = attrs.field(factory=dict)
    readers: dict[str, Emitter] = attrs.field(factory=dict)
    """The last-opened event stream of a user. Not one whose connection is over."""
    open_readers: list[Emitter] = attrs.field(factory=list)
    asking: set[str] = attrs.field(factory=set)
    """The users with a connection because of a question: it opens an event stream's path too."""
    paths: set[str] = attrs.field(factory=set)
    """The names that `/sse/` leads to."""
    is_jammed: bool = False
    """No path is added any more until a start: two connections had one name, or two changed at once (measured)."""
    changing: int = 0
    """How many change the table of paths now, which the plugin does without a lock (read)."""
    login_s: float = 0.002
    """Between looking at the logins, and the table of paths, and the change: none is atomic (measured) but with 0."""
    clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    """What ids are made of: two logins of one moment get one (read)."""
    logins: list[str] = attrs.field(factory=list)
    """The user of each login that made a stream, in order."""
    login_requests: list[str] = attrs.field(factory=list)
    lost: list[tuple[str, str]] = attrs.field(factory=list)
    """The events that nobody read, and for whom they were."""
    starts: int = 0
    ids: Iterator[int] = attrs.field(factory=lambda: itertools.count(139))
    lock: threading.RLock = attrs.field(factory=threading.RLock)
    changed: threading.Condition = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.changed = threading.Condition(self.lock)

    def register(self, *names: str, password: str = "secret") -> None:
        """Makes users, or gives them this password."""
        for name in names:
            self.accounts.setdefault(name, Account(password)).password = password

    def befriend(self, one: str, other: str) -> None:
        """Each is sent the other's presence."""
        for name in (one, other):
            self.accounts.setdefault(name, Account("secret"))
        self.accounts[one].friends.add(other)
        self.accounts[other].friends.add(one)

    def open_room(self, name: str) -> Room:
        """Return the room, which anybody may enter."""
        return self.rooms.setdefault(name, Room(name))

    def login(self, username: str, *, is_anonymous: bool = False) -> Stream:
        """Return the user's stream: the one that is there, or a new one. Two at the same moment get two.

        Of two with one id, the last is who acts by it; the other has it for good: a logoff ends only the last (read).
        """
        stream = self.of_user.get(username)
        if stream is not None:
            return stream
        number = random.Random(self.clock_ms()).randint(-(2**31), 2**31 - 1)
        self._change_paths()
        jid = f"{f'anonymous{abs(number)}' if is_anonymous else username}@{DOMAIN}/{username}{number}"
        stream = Stream(f"ofchat{number}", username, jid, self._map(username))
        self.streams[stream.id] = self.of_user[username] = stream
        self.logins.append(username)
        if not is_anonymous:
            # What waited is sent before there can be an event stream, and is lost (measured).
            self.presence(stream, "available")
            account = self.accounts.get(username, Account(""))
            waiting, account.offline = account.offline, []
            for replay in waiting:
                replay()
        return stream

    def _change_paths(self) -> None:
        """Reads the table, and is to write it when this returns: a change meanwhile would be overwritten."""
        with self.lock:
            starts, self.changing = self.starts, self.changing + 1
            self.is_jammed |= self.changing > 1
            if self.login_s:
                self.changed.wait_for(lambda: False, self.login_s)
            self.changing -= self.starts == starts

    def _map(self, username: str) -> bool:
        """Return whether `/sse/` leads to a connection of this name that is made now."""
        known = self.of_user.get(username)
        if (known is not None and not known.is_kicked) or username in self.asking:
            self.is_jammed = True
        if not self.is_jammed:
            self.paths.add(username)
        return not self.is_jammed

    def connected(self, username: str) -> None:
        """A user asks: the connection is made first of all, and outlives whatever goes wrong then."""
        if username not in self.asking:
            self._change_paths()
            self._map(username)
            self.asking.add(username)

    def disconnected(self, username: str) -> None:
        """The connection of a user who asked is over."""
        self.asking.discard(username)
        if username not in self.of_user:
            self._unmap(username)

    def _unmap(self, username: str) -> None:
        """A connection that `/sse/` led to is over: its event stream stays open, and gets nothing any more."""
        self._change_paths()
        self.paths.discard(username)
        self.readers.pop(username, None)

    def is_served(self, username: str) -> bool:
        """Whether `/sse/` leads to a connection of this name."""
        return username in self.paths

    def emit(self, username: str, name: str, data: str) -> None:
        """An event to a user, by the event stream that is read."""
        reader = self.readers.get(username)
        if reader is None or not reader.event(name, data):
            self.lost.append((username, data))

    def replay(self, username: str, about: str, **values: str) -> None:
        """The recorded frames about this, with these values."""
        for name, data in EVENTS[about].frames(**values):
            self.emit(username, name, data)

    def next_id(self) -> str:
        """Return what a stanza is called by."""
        return f"XyyJN-{next(self.ids)}"

    def presence(self, stream: Stream, show: str | None, status: str | None = None) -> None:
        """Tells the friends, and the user. `show` None: the user is gone, which the stanza alone says (recorded)."""
        if stream.is_kicked:
            return
        was_gone, stream.show = stream.show is None, show
        if was_gone and show is None:
            return
        account = self.accounts.get(stream.username, Account(""))
        there = [(friend, f"{friend}@{DOMAIN}") for friend in account.friends if friend in self.of_user]
        for user, to in [*there, (stream.username, stream.jid)]:
            given = {"to": to, "from": stream.jid, "id": self.next_id()}
            if show is None:
                self.replay(user, "unavailable", **given)
            elif show == "available" and status is None:
                self.replay(user, "presence", **given)
            else:
                self.replay(user, "presence with a status", **given, show=show, status=status or "null")

    def deliver(self, username: str, replay: Callable[[], None]) -> None:
        """Tells a user something now, or at the next login."""
        stream = self.of_user.get(username)
        if stream is not None and not stream.is_kicked:
            replay()
        elif username in self.accounts:
            self.accounts[username].offline.append(replay)

    def end(self, stream: Stream) -> None:
        """A stream is over. Who reads its events gets heartbeats forever (measured)."""
        self.streams.pop(stream.id, None)
        if self.of_user.get(stream.username) is stream:
            del self.of_user[stream.username]
        if not stream.is_kicked:
            self._end_session(stream)

    def kick(self, username: str) -> None:
        """Ends a user's session, as also a lock does; the stream stays, and is nobody's (measured)."""
        stream = self.of_user.get(username)
        if stream is not None and not stream.is_kicked:
            self.replay(username, "the session ends")
            if stream.is_mapped:
                self._unmap(username)
            self._end_session(stream)
            stream.is_kicked = True

    def _end_session(self, stream: Stream) -> None:
        for room in self.rooms.values():
            if stream.username in room.occupants:
                room.occupants.remove(stream.username)
        stream.joined.clear()
        stream.workgroups.clear()
        self.presence(stream, None)
        if stream.is_mapped:
            stream.is_mapped = False
            self._unmap(stream.username)

    def expel(self, room: Room, user: str, code: str) -> None:
        """The room has a user leave: kicked (307), banned (301), or the room ends (332)."""
        if user in room.occupants:
            room.occupants.remove(user)
            jid = self.of_user[user].jid
            self.replay(user, "expelled", **{"to": jid, "from": f"{room.address}/{user}", "jid": jid, "code": code})

    def say(self, room: Room, user: str, body: str) -> None:
        """All who are in the room hear it; who asked, twice (measured)."""
        room.words.append(body)
        given = {"from": f"{room.address}/{user}", "body": body}
        for occupant in list(room.occupants):
            question = self.questions.get(occupant)
            if question is not None and question.room is room:
                self.replay(occupant, "asker hears", to=question.asker, id=self.next_id(), **given)
            else:
                self.replay(occupant, "groupchat", to=self.of_user[occupant].jid, id=self.next_id(), delay="", **given)

    def offer(self, user: str, expert: str) -> str:
        """Offers this user's question to this expert. Return its id."""
        question = self.questions[user]
        question.expert = expert
        self.of_user[expert].offers.add(question.id)
        workgroup = f"{question.workgroup}@workgroup.{DOMAIN}"
        self.replay(expert, "offered", **{"workgroup": workgroup, "id": question.id, "from": question.asker})
        return question.id

    def end_readers(self, username: str | None = None) -> None:
        """Ends the event streams, of this user if one is named."""
        for reader in [reader for reader in self.open_readers if username in (None, reader.username)]:
            reader.end()
            self.open_readers.remove(reader)
            if self.readers.get(reader.username) is reader:
                del self.readers[reader.username]

    def forget(self) -> None:
        """What a restart leaves."""
        self.end_readers()
        for question in self.questions.values():
            self.rooms.pop(question.id, None)
        for table in (self.streams, self.of_user, self.asking, self.questions, self.paths):
            table.clear()
        self.is_jammed, self.changing = False, 0
        self.starts += 1
        self.changed.notify_all()
        for room in self.rooms.values():
            room.occupants.clear()
