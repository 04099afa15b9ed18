"""Every event of a user's stream becomes one job, or is in a gap that was told, whatever becomes of the logins.

Twelve connections send a thousand messages and six hundred presences. Meanwhile the users who are read are logged off
and in, kicked, and logged off by others, a name asks and takes its questions back, and the server restarts.
"""

import base64
import contextlib
import http.client
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from itertools import product
from typing import Final
from urllib.parse import quote

import attrs
import pytest
import trio

from restbroker.connectors.openfire_chat.logins import SharedLogins
from restbroker.store.logins import On
from tests.events.openfire_sse.conftest import Read, Reading, chat
from tests.events.openfire_sse.test_relogin import another_process, logs_off
from tests.support.openfire.server import Openfire
from tests.support.openfire.world import World
from tests.support.redis_server import RedisServer
from tests.support.wait import until_async

_SENDERS: Final = 12
_MESSAGES: Final = 1000
_PRESENCES: Final = 600
_READ: Final = ("ann", "bob")
_LOGIN: Final = "Basic " + base64.b64encode(b"admin:secret").decode()

Event = tuple[str, str, str]
"""Whose stream it came over, what it is, and the word by which it is known."""


@attrs.define
class Told:
    """What the server wrote for each of the users that are read, and when."""

    events: list[tuple[Event, float]] = attrs.field(factory=list)

    def has(self, count: int) -> bool:
        """Whether there are so many."""
        return len(self.events) >= count

    def note(self, user: str, name: str, data: str) -> None:
        """One event, before it is written."""
        kind, member = ("message", '"body": "') if name == "chatapi.chat" else ("presence", '"status":"')
        if user in _READ and name in ("chatapi.chat", "chatapi.presence") and member in data:
            word = data.partition(member)[2].partition('"')[0]
            if word.startswith("#"):
                self.events.append(((user, kind, word), time.time()))


def jobs(reader: Reading) -> Counter[Event]:
    """The same of what became jobs."""
    found: Counter[Event] = Counter()
    for job in reader.jobs():
        word = job["body"] if job["type"] == "message" else job["raw"].get("status")
        if isinstance(word, str) and word.startswith("#"):
            found[job["raw"]["user"], job["type"], word] += 1
    return found


class Line:
    """One connection of one sender, who logs in again when the server has forgotten him."""

    def __init__(self, server: Openfire, user: str) -> None:
        self.server, self.user, self.stream = server, user, ""
        self.http = http.client.HTTPConnection("127.0.0.1", server.chat_port, timeout=30)

    def _ask(self, path: str, body: str = "") -> tuple[int, str]:
        headers = {"Authorization": _LOGIN, "Accept": "application/json, text/plain;q=0.9"}
        with contextlib.suppress(OSError, http.client.HTTPException):
            self.http.request("POST", f"/rest/api/restapi/v1/chat/{path}", body.encode(), headers)
            answer = self.http.getresponse()
            return answer.status, answer.read().decode()
        self.http.close()
        return 0, ""

    def send(self, path: str, body: str = "") -> None:
        """Until the server has done it."""
        while self._ask(f"{quote(self.stream)}/{path}", body)[0] != 200:
            status, text = self._ask(f"{self.user}/login")
            self.stream = text if status == 200 else "none"


def sends(line: Line, number: int) -> None:
    """A sender's part: messages to both who are read, and presences, which both see."""
    with closing(line.http):
        for count in range(number, _MESSAGES, _SENDERS):
            line.send(f"messages/{_READ[count % 2]}@example.org", f"#m{count}")
            if count < _PRESENCES:
                line.send(f"presence?show=away&status=%23p{count}")


@attrs.define
class Meanwhile:
    """What happens to the logins."""

    server: Openfire
    logins: SharedLogins

    async def relogin(self, user: str) -> None:
        """Jobs log him off, and in."""
        await logs_off(self.logins, self.server, user)
        await self.logins.login(user)

    async def kick(self, user: str) -> None:
        """A job ends his session."""
        await trio.to_thread.run_sync(chat, self.server, "DELETE", f"/sessions/{user}")
        await self.logins.kicked(user)

    async def end_elsewhere(self, user: str) -> None:
        """Somebody else logs him off, and a job of his finds out."""
        known = await self.logins.known(user)
        assert isinstance(known, On)
        await trio.to_thread.run_sync(chat, self.server, "POST", f"/chat/{known.stream}/logoff")
        await self.logins.renew(user, known.stream)

    async def ask_twice(self, user: str) -> None:
        """He asks, and takes it back, and asks again."""
        for _ in range(2):
            claim = await self.logins.ask(user)
            with self.server.world.lock:
                self.server.world.connected(user)
            await until_async(lambda: user in self.server.world.readers, "the question is listened to", 60)
            with self.server.world.lock:
                self.server.world.disconnected(user)
            await self.logins.end(user, claim)

    async def restart(self, _: str) -> None:
        """Of the server."""
        await trio.to_thread.run_sync(self.server.restart)


async def made_trouble(meanwhile: Meanwhile, told: Told) -> None:
    """One thing after the other, each when so much more was told."""
    one = meanwhile
    steps: list[tuple[Callable[[str], Awaitable[None]], str]] = [
        *((one.relogin, "bob"), (one.kick, "ann"), (one.ask_twice, "eve"), (one.end_elsewhere, "bob")),
        *(
            (one.restart, ""),
            (one.relogin, "ann"),
            (one.kick, "bob"),
            (one.end_elsewhere, "ann"),
            (one.ask_twice, "eve"),
        ),
    ]
    share = (_MESSAGES + 2 * _PRESENCES) // (len(steps) + 2)
    for number, (step, user) in enumerate(steps, 1):
        await until_async(partial(told.has, number * share), "so much was told", 60)
        await step(user)
        await until_async(lambda: set(_READ) <= set(one.server.world.readers), "both are read", 60)


def accounted(told: Told, reader: Reading) -> None:
    """Each event is one job, or in a gap that was told."""
    sent, found, gaps = Counter(event for event, _ in told.events), jobs(reader), reader.gaps()

    def is_in_gap(whose: str, at_s: float) -> bool:
        # The log has milliseconds.
        return any(user == whose and since_s - 0.001 <= at_s <= until_s + 0.001 for user, since_s, until_s in gaps)

    in_gaps = Counter(event for event, at_s in told.events if is_in_gap(event[0], at_s))
    assert not found - sent, "none came twice"
    assert not sent - found - in_gaps, gaps
    assert sum(found.values()) > sum(sent.values()) / 2, "most came"


async def test_every_event_is_one_job_or_in_a_gap_that_was_told(
    reading: Read, openfire: Openfire, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, tell = Told(), World.tell

    def noted(world: World, user: str, name: str, data: str) -> None:
        told.note(user, name, data)
        tell(world, user, name, data)

    monkeypatch.setattr(World, "tell", noted)
    openfire.send_timeout_s = 60.0
    senders = [f"sender{number}" for number in range(_SENDERS)]
    openfire.world.register(*senders)
    for sender, user in product(senders, _READ):
        openfire.world.befriend(sender, user)
    async with (
        reading(*_READ, askers=("eve",), ready=False) as reader,
        another_process(openfire, redis_server) as logins,
    ):
        await reader.reads(*_READ)
        with ThreadPoolExecutor(_SENDERS) as pool:
            under_way = [pool.submit(sends, Line(openfire, user), number) for number, user in enumerate(senders)]
            await made_trouble(Meanwhile(openfire, logins), told)
            for one in under_way:
                await trio.to_thread.run_sync(one.result)
        last = Line(openfire, "sender0")
        with closing(last.http):
            for user in _READ:
                await trio.to_thread.run_sync(last.send, f"messages/{user}@example.org", "#end")
        ends = [(user, "message", "#end") for user in _READ]
        await until_async(lambda: set(ends) <= set(jobs(reader)), "the last are jobs", 60)
        accounted(told, reader)
        assert {word for (_, kind, word), _ in told.events if kind == "message"} >= {f"#m{n}" for n in range(_MESSAGES)}
        assert not openfire.world.is_jammed
    assert not reader.warnings("OpenfireJammed")
