"""Every event that the server writes for a user becomes one job, or is in a gap that the log names, whatever happens.

Twelve connections send a thousand messages and six hundred presences. Meanwhile jobs log the users off who are read, at
once, late, or with the answer lost, and log them in; kick them; ask an expert who accepts, and take questions back;
others log users off; and the server restarts.
"""

import base64
import contextlib
import http.client
import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote
from urllib.request import urlopen
from xml.etree import ElementTree as ET

import attrs
import pytest

from tests.events.openfire_sse.conftest import chat
from tests.servers.openfire_talk import Talk, talking
from tests.support.openfire_chat.answers import STANZAS
from tests.support.openfire_chat.server import Openfire
from tests.support.openfire_chat.state import State
from tests.support.receiver import Kind
from tests.support.redis_server import RedisServer
from tests.support.wait import until

_SENDERS: Final = 12
_MESSAGES: Final = 1000
_PRESENCES: Final = 600
_FRIENDS: Final = ("ann", "bob")
_EXPERT: Final = "dave"
_ASKER: Final = "eve"
_READ: Final = (*_FRIENDS, _EXPERT, _ASKER)
_LOGIN: Final = "Basic " + base64.b64encode(b"admin:secret").decode()
_OF_STANZA: Final = ("to", "from", "id", "body")
_SAID: Final = (*_OF_STANZA, "type", "status", "show", "reason", "position", "postion", "userid")
_LOGOFFS: Final = "POST */logoff"

Event = tuple[str, ...]
"""The user of the stream that it came over, and its content."""


def event_of(user: str, said: Mapping[str, Any]) -> Event:
    return user, *(f"{name}={said[name]}" for name in _SAID if said.get(name) is not None)


def said_by(name: str, data: str) -> Mapping[str, Any] | None:
    """What a frame says; None if it is one of no event, or repeats a stanza."""
    said: Mapping[str, Any] = json.loads(data)
    if name == STANZAS:
        root = ET.fromstring(base64.b64decode(said["xmpp"]))  # noqa: S314  the server's own
        texts = {element: root.findtext(f"{{*}}{element}") for element in ("body", "show", "status")}
        texts["body"] = texts["body"] or root.findtext(".//{*}reason")
        kind = root.tag.rpartition("}")[2]
        return {**texts, **root.attrib, "kind": kind} if kind in ("message", "presence") else None
    is_again = name in ("chatapi.chat", "chatapi.presence", "chatapi.muc") or said["type"] in ("groupchat", "offer")
    return None if is_again else said


@attrs.define
class Emitted:
    """The events of read users, over whichever stream, and when the server began and ended to write them.

    `early`: before there was one.
    """

    events: list[tuple[Event, float, float]] = attrs.field(factory=list)
    early: list[tuple[str, str | None]] = attrs.field(factory=list)
    reached: set[str] = attrs.field(factory=set)

    def note(self, state: State, user: str, name: str, data: str, emit: Callable[[], None]) -> None:
        """One event, and `emit` writes it, or loses it where nobody reads it."""
        said = said_by(name, data) if user in _READ else None
        if said is None:
            emit()
            return
        if user in state.readers:
            self.reached.add(user)
        if user not in self.reached:
            self.early.append((user, said.get("kind")))
            emit()
        else:
            began_s = time.time()
            emit()
            self.events.append((event_of(user, said), began_s, time.time()))


def jobs(talk: Talk) -> Counter[Event]:
    def event(job: Mapping[str, Any]) -> Event:
        raw = job["raw"]
        said = {name: job[name] for name in _OF_STANZA} if raw["event"] == STANZAS else {}
        return event_of(raw["user"], {**raw, **said})

    return Counter(map(event, talk.events()))


class Line:
    """One connection of one sender, who logs in again when the server has forgotten him."""

    def __init__(self, server: Openfire, user: str) -> None:
        self.server, self.user, self.stream = server, user, "none"
        self.http = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)

    def _ask(self, path: str, body: str = "") -> tuple[int, str]:
        headers = {"Authorization": _LOGIN, "Accept": "application/json, text/plain;q=0.9"}
        with contextlib.suppress(OSError, http.client.HTTPException):
            self.http.request("POST", f"/rest/api/restapi/v1/chat/{path}", body.encode(), headers)
            answer = self.http.getresponse()
            return answer.status, answer.read().decode()
        self.http.close()
        return 0, ""

    def send(self, path: str, body: str = "") -> None:
        while self._ask(f"{quote(self.stream)}/{path}", body)[0] != 200:
            status, text = self._ask(f"{self.user}/login")
            self.stream = text if status == 200 else "none"


def sends(line: Line, number: int, turns: threading.Semaphore) -> None:
    """A sender's part: messages to both who are read, and presences, which both see."""
    with closing(line.http):
        for count in range(number, _MESSAGES, _SENDERS):
            turns.acquire()
            line.send(f"messages/{_FRIENDS[count % 2]}@example.org", f"#m{count}")
            if count < _PRESENCES:
                line.send(f"presence?show=away&status=%23p{count}")


@attrs.define
class Meanwhile:
    """What happens to the logins and the questions. Each step ends when it is done, and those who are on are read."""

    talk: Talk
    questions: list[str] = attrs.field(factory=list)

    def steps(self) -> Iterator[Callable[[], object]]:
        do, fault = self.talk.do, self.talk.server.faults.add
        off, on = (partial(self.job, name) for name in ("chat_logoff", "chat_login"))
        yield from (partial(off, "bob"), partial(on, "bob"), partial(self.kicks, "ann"))
        yield partial(do, "join_workgroup", from_=_EXPERT, workgroup="help")
        yield from (self.asks, self.takes_back, self.asks, self.accepts, self.talks, self.takes_back)
        for kind in (Kind.LATE, Kind.LOST, Kind.DELAY, Kind.EMPTY):
            yield partial(fault, kind, _LOGOFFS, delay_s=1.0)
            yield from (partial(off, "ann"), partial(on, "ann"))
        yield partial(self.ends_elsewhere, "bob")
        yield from (self.asks, self.restarts)
        yield partial(do, "join_workgroup", from_=_EXPERT, workgroup="help")
        yield from (self.asks, partial(self.kicks, "bob"), self.takes_back)
        yield partial(fault, Kind.LOST, "DELETE */sessions/*")
        yield partial(self.kicks, "ann")
        yield from (partial(self.ends_elsewhere, "ann"), partial(off, _EXPERT), partial(on, _EXPERT))

    def job(self, command: str, user: str) -> None:
        self.talk.do(command, from_=user)
        if command == "chat_login":
            self.talk.listening(user)

    def kicks(self, user: str) -> None:
        """His session is ended, and the reader of his stream has him logged in again."""
        streams = self.talk.server.state.of_user
        old = streams[user]
        self.talk.do("kick_user_sessions", username=user)
        until(lambda: streams.get(user, old) is not old, f"{user} is logged in again")
        self.talk.listening(user)

    def ends_elsewhere(self, user: str) -> None:
        chat(self.talk.server, "POST", f"/chat/{self.talk.server.state.of_user[user].id}/logoff")
        self.talk.do("set_presence", from_=user, show="available")
        self.talk.listening(user)

    def asks(self) -> None:
        more = {"emailAddress": "eve@mail.example", "question": "How?", "workgroup": "help"}
        self.questions.append(self.talk.push("ask", userID=_ASKER, **more))
        self.talk.listening(_ASKER)

    def accepts(self) -> None:
        state = self.talk.server.state
        with state.lock:
            offer = state.offer(_ASKER, _EXPERT)
        self.talk.event(_EXPERT, "offer", id=offer)
        self.talk.do("accept_offer", from_=_EXPERT, offerId=offer)
        assert self.talk.answer(self.questions.pop())["outcome"] == "delivered"

    def talks(self) -> None:
        self.talk.do("ask_join", userId=_ASKER)
        room, _, _ = self.talk.event(_EXPERT, "invitation")["room"].partition("@")
        self.talk.do("join_room", from_=_EXPERT, roomName=room)
        for number in range(5):
            self.talk.do("ask_send", userId=_ASKER, body=f"#asked{number}")
            self.talk.do("post_to_room", from_=_EXPERT, roomName=room, body=f"#answered{number}")

    def takes_back(self) -> None:
        """The question, whether or not it was taken."""
        self.talk.do("ask_revoke", userId=_ASKER)
        while self.questions:
            assert self.talk.answer(self.questions.pop())["outcome"] == "delivered"

    def restarts(self) -> None:
        self.talk.server.restart()
        assert self.talk.answer(self.questions.pop())["error"]["code"] == "AskUnanswered"
        self.talk.listening()


def missing(emitted: Emitted, talk: Talk) -> list[tuple[Event, float, float]]:
    """The events that are neither a job nor in a gap that was logged, and when each was written."""
    sent, found, gaps = Counter(event for event, *_ in emitted.events), jobs(talk), talk.gaps()

    def is_in_gap(whose: str, began_s: float, ended_s: float) -> bool:
        # The log has milliseconds, and the thread that writes may have been waiting for a core in between.
        return any(user == whose and a - 0.001 <= ended_s and began_s <= b + 0.001 for user, a, b in gaps)

    lost = sent - found - Counter(event for event, *at_s in emitted.events if is_in_gap(event[0], *at_s))
    return [event for event in emitted.events if event[0] in lost]


def accounted(emitted: Emitted, talk: Talk) -> None:
    """Each event is one job, or in a gap that was logged, which may be a little later."""
    with contextlib.suppress(AssertionError):
        until(lambda: not missing(emitted, talk), "each is")
    lost = missing(emitted, talk)
    assert not lost, [gap for gap in talk.gaps() if gap[0] in {event[0] for event, *_ in lost}]
    sent, found = Counter(event for event, *_ in emitted.events), jobs(talk)
    assert dict(found - sent) == {}, "none came twice"
    assert {user for user, *_ in found} == set(_READ)
    assert sum(found.values()) > sum(sent.values()) / 2, "most came"


def counted(talk: Talk) -> int:
    total = 0
    for broker in talk.brokers:
        address = broker.wait_for(r"listening what=/stats addresses=(\S+)")[1]
        with urlopen(f"{address}/metrics") as page:  # noqa: S310  a URL of the test's own
            lines = page.read().decode().splitlines()
        (said,) = [line for line in lines if line.startswith('restbroker_warnings_total{code="OpenfireGap"}')] or ["0"]
        total += int(float(said.split()[-1]))
    return total


@pytest.fixture
def openfire() -> Iterator[Openfire]:
    """With an expert, and senders whose presence both friends see."""
    with Openfire(heartbeat_s=0.2, ask_timeout_s=100.0, send_timeout_s=60.0) as server:
        senders = [f"sender{number}" for number in range(_SENDERS)]
        server.state.register(*senders)
        for sender, user in product(senders, _FRIENDS):
            server.state.befriend(sender, user)
        yield server


def test_every_event_is_one_job_or_in_a_gap_that_was_logged(
    openfire: Openfire, redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    emitted, emit, connected = Emitted(), State.emit, State.connected
    # The senders are other programs, which wait for nobody: the plugin would jam, and mix them up.
    openfire.state.login_s, openfire.state.clock_ms = 0, itertools.count().__next__

    def noted(state: State, user: str, name: str, data: str) -> None:
        emitted.note(state, user, name, data, partial(emit, state, user, name, data))

    def asking(state: State, user: str) -> None:
        emitted.reached.discard(user)
        connected(state, user)

    monkeypatch.setattr(State, "emit", noted)
    monkeypatch.setattr(State, "connected", asking)
    more = {"Stats": True, "StatsPort": 0}
    users = [*_FRIENDS, _EXPERT]
    with talking(tmp_path, redis_server, openfire, users, askers=[_ASKER], brokers=2, more=more) as talk:
        for user in users:
            # His own: then his stream is read.
            talk.event(user, "presence")
        steps, turns = list(Meanwhile(talk).steps()), threading.Semaphore(0)
        with ThreadPoolExecutor(_SENDERS) as pool:
            under_way = [
                pool.submit(sends, Line(openfire, f"sender{number}"), number, turns) for number in range(_SENDERS)
            ]
            with contextlib.ExitStack() as at_end:
                # Whatever becomes of a step: the senders come to their end.
                at_end.callback(turns.release, _MESSAGES)
                for number, step in enumerate(steps, 1):
                    turns.release(_MESSAGES * number // len(steps) - _MESSAGES * (number - 1) // len(steps))
                    step()
            for future in under_way:
                future.result()
        talk.listening()
        for user in users:
            talk.do("post_message", from_="ann", to=talk.jid(user), body="#end")
        for user in users:
            talk.event(user, "message", body="#end")
        accounted(emitted, talk)
        assert set(emitted.early) <= {(user, "presence") for user in users}
        bodies = {part for event, *_ in emitted.events for part in event if part.startswith("body=#m")}
        assert bodies == {f"body=#m{number}" for number in range(_MESSAGES)}
        until(lambda: counted(talk) == len(talk.gaps()), "each gap is counted")
        assert not openfire.state.is_jammed
        assert "OpenfireJammed" not in "".join(broker.output() for broker in talk.brokers)
