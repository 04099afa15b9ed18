"""Users of a real ejabberd who do anything at random, and the events that are expected of it. For tests and recordings.

Always holds: each thing that is done has a mark in it that no other has, by which its event is known; `expected` has
what each is to become, and what is to become nothing is done as well.
"""

import gzip
import hashlib
import json
import random
import re
import socket
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import attrs

from tests.support.ejabberd import PASSWORD, REMOTE, SECRET, Ejabberd
from tests.support.xmpp import Client, Clients

NAME: Final = "events.localhost"
HOST: Final = "localhost"
TEAM: Final = f"team@conference.{HOST}"
"""A room with people of another server, whose stanzas the component gets itself (`Rooms`)."""
OPEN: Final = f"open@conference.{HOST}"
USERS: Final = ("ann", "bob", "eve", "off")
HIDDEN: Final = "a-password-that-nobody-may-see"
_COMPOSING: Final = "<composing xmlns='http://jabber.org/protocol/chatstates'/>"
_PING: Final = "<ping xmlns='urn:xmpp:ping'/>"
Expected = tuple[str, str, bool]
"""The event's type, the mark in it, and whether it comes as delayed."""
LATE: Final = "message that comes again"
"""The type of what comes once more, as delayed, when the one who was away logs in."""
_MARK: Final = re.compile(r"mix-\d+-")


def event_of(job: Mapping[str, Any]) -> Expected:
    """What an event is known by; without a mark, as where the clients say by themselves that they are there."""
    raw = job["raw"]
    found = _MARK.search(raw["xml"])
    return job["type"], found[0] if found else "", raw.get("delayed", False)


def differences(found: Iterable[Expected], expected: Counter[Expected]) -> tuple[Counter[Expected], Counter[Expected]]:
    """The events that are missing, and those that are too many; without a mark, all but presences are."""
    counted = Counter(event for event in found if event[1] or event[0] not in ("presence", "subscription"))
    return expected - counted, counted - expected


def without_late_copies(jobs: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """These events without those that say the same as one of more than two seconds before, both without an id.

    So long ejabberd may take on a busy machine from one copy to the next; without an id nobody knows them as copies.
    """
    read_s: dict[str, float] = {}
    for job in jobs:
        xml, now_s = job["raw"]["xml"], job["received_at"]
        if job["id"] is not None or now_s - read_s.get(xml, now_s) <= 2.0:
            yield job
        read_s[xml] = now_s


@attrs.define(eq=False)
class Component:
    """A component on a plain socket; `came`: what it was sent."""

    port: int
    name: str
    came: bytearray = attrs.field(factory=bytearray)
    _line: socket.socket = attrs.field(init=False)

    def __enter__(self) -> Self:
        self._line = socket.create_connection(("127.0.0.1", self.port), 30)
        self._line.sendall(
            "<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' "
            f"to='{self.name}'>".encode()
        )
        number = self.read_until(rb"<stream:stream id='([^']+)'[^>]*>")[1]
        digest = hashlib.sha1(number + SECRET.encode(), usedforsecurity=False).hexdigest()
        self._line.sendall(f"<handshake>{digest}</handshake>".encode())
        self.read_until(rb"<handshake/>")
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._line.close()

    def send(self, stanza: str) -> None:
        self._line.sendall(stanza.encode())

    def read_until(self, pattern: bytes) -> re.Match[bytes]:
        while (found := re.search(pattern, self.came)) is None:
            data = self._line.recv(1 << 20)
            assert data, f"the stream ended: {bytes(self.came[-300:])!r}"
            self.came += data
        return found

    def read_all(self) -> None:
        """Reads until a message to itself is back, behind which nothing of before comes."""
        number = f"end-{len(self.came)}"
        self.send(f"<message from='{self.name}' to='{self.name}' id='{number}'/>")
        self.read_until(number.encode())


def prepare(server: Ejabberd) -> None:
    """Makes the users and the rooms; to be called once the component is there."""
    for user in USERS:
        server.call("register", user=user, host=HOST, password=PASSWORD)
    options = [{"name": name, "value": "true"} for name in ("persistent", "allow_subscription", "mam")]
    for room in (TEAM, OPEN):
        given = {"name": room.partition("@")[0], "service": f"conference.{HOST}", "host": HOST, "options": options}
        assert server.call("create_room_with_opts", **given)[0] == 200
    subscribe(server, "rooms", NAME, TEAM)


def subscribe(server: Ejabberd, user: str, host: str, room: str, *nodes: str) -> None:
    """Subscribe a user to nodes of a room (else its messages), as 24.12 and newer take it, else as older ones do."""
    name, _, service = room.partition("@")
    names = [f"urn:xmpp:mucsub:nodes:{node}" for node in nodes or ("messages",)]
    newer = {"user": user, "host": host, "room": name, "service": service, "nodes": names}
    if server.call("subscribe_room", nick=user, **newer)[0] != 200:
        older = {"user": f"{user}@{host}/x", "room": room, "nodes": ",".join(names)}
        status, text = server.call("subscribe_room", nick=user, **older)
        assert status == 200, text


@attrs.frozen
class Thing:
    """What a user does, as a stanza with places to fill in, and the types of the events that it becomes.

    `by`: whose session, "" for anyone's, "rob" for the one of another server. `often`: how much more often than others.
    """

    stanza: str
    kept: tuple[str, ...] = ()
    often: int = 1
    by: str = ""
    is_delayed: bool = False


_BODY: Final = "<body>{mark}</body></message>"
_COPY: Final = (
    f"<message xmlns='jabber:client' from='king@{HOST}/x' to='bob@{HOST}' type='chat'><body>forged</body></message>"
)
_MESSAGE: Final = ("message",)
_IN_ROOM: Final = ("groupchat",)
THINGS: Final = (
    Thing("<message to='{to}' type='{word}'{id}><body>{mark} ☂ &lt;</body></message>", _MESSAGE, 6),
    Thing("<message to='{room}' type='groupchat'{id}>" + _BODY, _IN_ROOM, 3),
    Thing(f"<message from='rob@{REMOTE}/r' to='{TEAM}' type='groupchat'>{_BODY}", _IN_ROOM, by="rob"),
    Thing(f"<message from='rob@{REMOTE}/r' to='{OPEN}' type='groupchat'>{_BODY}", by="rob"),
    Thing(f"<message from='rob@{REMOTE}/r' to='{{to}}' type='chat'{{id}}>{_BODY}", _MESSAGE, by="rob"),
    # What a server writes, beside a body.
    Thing("<message to='{to}' type='chat'{id}>{forged}" + _BODY, _MESSAGE, 3, is_delayed=True),
    Thing("<message to='{session}' type='chat'{id}>{forged}" + _BODY, _MESSAGE, 3, is_delayed=True),
    Thing(
        f"<message to='{NAME}' id='{{mark}}'><forwarded xmlns='urn:xmpp:forward:0'>{_COPY}</forwarded></message>",
        _MESSAGE,
    ),
    # To a user, as if it were a room's; to one who is away, to whom it comes again; to nobody, who sends it back.
    Thing("<message to='{bob}' type='groupchat'{id}>" + _BODY, _IN_ROOM),
    Thing(f"<message to='off@{HOST}' type='chat'{{id}}>{_BODY}", (*_MESSAGE, LATE)),
    Thing(f"<message to='nobody@{HOST}' type='chat'{{id}}>{_BODY}", (*_MESSAGE, "error")),
    Thing("<message to='{to}' type='error'{id}>" + _BODY, ("error",)),
    Thing("<presence{id}><show>away</show><status>{mark}</status></presence>", ("presence",)),
    Thing("<presence to='{user}' type='subscribe'><status>{mark}</status></presence>", ("subscription",), by="eve"),
    # What is no event.
    Thing(f"<message to='{{to}}' type='chat'>{_COMPOSING}</message>"),
    Thing(f"<iq type='get' to='{NAME}' id='{{mark}}'>{_PING}</iq>"),
    Thing(f"<iq type='get' to='{HOST}' id='{{mark}}'>{_PING}</iq>"),
    Thing(f"<iq type='set' id='{{mark}}'><vCard xmlns='vcard-temp'><NOTE>{HIDDEN}</NOTE></vCard></iq>"),
    Thing(f"<presence to='bob@{HOST}/nowhere'><status>{HIDDEN}</status></presence>"),
    Thing("<iq type='set' id='{mark}'><query xmlns='urn:xmpp:mam:2' queryid='{mark}'/></iq>"),
)
_FORGED: Final = (
    f"<delay xmlns='urn:xmpp:delay' from='{HOST}' stamp='2020-01-01T00:00:00Z'>Offline storage</delay>",
    "<result xmlns='urn:xmpp:mam:2' id='1'/>",
    "<sent xmlns='urn:xmpp:carbons:2'/>",
    "<received xmlns='urn:xmpp:carbons:2'/>",
    f"<x xmlns='jabber:x:delay' from='{HOST}' stamp='20200101T00:00:00'/>",
)
_BY_API: Final[tuple[tuple[str, Mapping[str, str]], ...]] = (
    ("send_message", {"type": "chat", "from": f"bot@{HOST}", "to": f"bob@{HOST}", "subject": "", "body": "{mark}"}),
    ("send_stanza", {"from": f"ann@{HOST}/x", "to": f"eve@{HOST}", "stanza": "<message type='chat'>" + _BODY}),
)


@attrs.define(eq=False)
class Mix:
    """What the users do. `sessions`: theirs by a name."""

    server: Ejabberd
    clients: Clients
    remote: Component
    choice: random.Random
    expected: Counter[Expected] = attrs.field(factory=Counter)
    _sessions: dict[str, Client] = attrs.field(factory=dict)
    _number: int = 0
    _late: list[Expected] = attrs.field(factory=list)

    def begin(self) -> None:
        """Logs them in, with carbons, and has them join the rooms."""
        for name, user in (("phone", "ann"), ("pad", "ann"), ("bob", "bob"), ("eve", "eve")):
            session = self._sessions[name] = self.clients.login(user, PASSWORD)
            session.send("<iq type='set' id='carbons'><enable xmlns='urn:xmpp:carbons:2'/></iq>")
            session.ask(HOST, _PING)
            for room in (TEAM, OPEN):
                session.join(f"{room}/{name}")
        for room in (TEAM, OPEN):
            self.remote.send(
                f"<presence from='rob@{REMOTE}/r' to='{room}/Rob'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
            )

    def do(self, count: int) -> None:
        """Does so many things."""
        things: list[Thing | tuple[str, Mapping[str, str]]] = [*THINGS, *_BY_API]
        often = [thing.often if isinstance(thing, Thing) else 1 for thing in things]
        for choice in self.choice.choices(things, often, k=count):
            self._number += 1
            mark = f"mix-{self._number}-"
            if isinstance(choice, Thing):
                self._do(choice, mark)
            else:
                command, given = choice
                filled = {name: value.format(mark=mark) for name, value in given.items()}
                assert self.server.call(command, **filled)[0] == 200
                self.expected["message", mark, False] += 1

    def end(self) -> None:
        """Logs in the one who was away, once all is done: what was kept for them comes again."""
        for session in self._sessions.values():
            session.ask(HOST, _PING)
        self.clients.login("off", PASSWORD)
        self.expected.update(self._late)

    def _do(self, one: Thing, mark: str) -> None:
        session = self._sessions[one.by if one.by in self._sessions else self.choice.choice(list(self._sessions))]
        full = [other._stream.boundjid.full for other in self._sessions.values()]  # noqa: SLF001  its address
        stanza = one.stanza.format(
            mark=mark,
            # One of its own, one that was used before, or none.
            id=self.choice.choice([f" id='{mark}'", " id='always'", ""]),
            to=self.choice.choice([f"{self.choice.choice(USERS[:3])}@{HOST}", *full]),
            word=self.choice.choice(["chat", "normal", "headline"]),
            room=self.choice.choice([TEAM, OPEN]),
            forged=self.choice.choice(_FORGED),
            session=self.choice.choice(list(self._sessions.values())).jid,
            bob=self._sessions["bob"]._stream.boundjid.full,  # noqa: SLF001  its address
            user=f"{self.choice.choice(USERS)}@{HOST}",
        )
        (self.remote if one.by == "rob" else session).send(stanza)
        for kind in one.kept:
            if kind == LATE:
                self._late.append(("message", mark, True))
            else:
                self.expected[kind, mark, one.is_delayed] += 1


def write_stream(server: Ejabberd, place: Path, count: int, seed: int) -> Counter[Expected]:
    """Write what a component receives of so many acts into a file; returns what is expected of it."""
    with (
        Component(server.component_port, REMOTE) as remote,
        Component(server.component_port, NAME) as feed,
        Clients(server.c2s_port, HOST) as clients,
    ):
        prepare(server)
        mix = Mix(server, clients, remote, random.Random(seed))
        mix.begin()
        mix.do(count)
        mix.end()
        feed.read_all()
    place.write_bytes(feed.came)
    return mix.expected


def main() -> None:
    """`python -m tests.events.component.mix FOLDER`: record a stream, and beside it what is expected of it."""
    with tempfile.TemporaryDirectory(prefix="mix-") as place:
        server = Ejabberd(Path(place), component=NAME).start()
        try:
            expected = write_stream(server, Path(place) / "stream", 300, 7)
        finally:
            server.kill()
        folder = Path(sys.argv[1])
        (folder / "component.xml.gz").write_bytes(gzip.compress((Path(place) / "stream").read_bytes(), 9, mtime=0))
        lines = [json.dumps(event) + "\n" for event in sorted(expected.elements())]
        (folder / "component.jsonl").write_text("".join(lines))


if __name__ == "__main__":
    main()
