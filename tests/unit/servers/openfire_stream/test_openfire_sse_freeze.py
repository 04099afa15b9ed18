"""A server that stands still, and afterwards serves what it kept in any order: whom it sends a user's events then.

It is played by the clock, with the rule of ofchat's `OpenfireConnection.newEventSource` (read): the stream that was
served last gets the events, also one whose client has gone. An event in the real reader's buffer is a job.
"""

import math
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final, TypeAlias, cast

import attrs
import httpx
import pytest
import trio
from trio.testing import MockClock

from restbroker.config.secret import Secret
from restbroker.config.target import Target, Url
from restbroker.servers.findings import Problem
from restbroker.servers.in_redis import StreamInfo
from restbroker.servers.openfire.stream import listener
from restbroker.servers.openfire.stream.listener import Listener, ListenerContext
from restbroker.servers.openfire.stream.open_stream import TEXTS
from restbroker.servers.openfire.stream.options import Options
from restbroker.servers.reading import EventBuffer, SourceReports
from restbroker.store.logins import LoggedIn
from restbroker.telemetry.events import Event, OperatorWarning
from restbroker.transport.message import NotSent, Request
from restbroker.transport.stream import EventStream
from tests.servers.openfire_talk import gaps_in
from tests.support.rows import rows

HEARTBEAT_S: Final = 10.0
TURN_S: Final = 0.3
"""How long after the one before a kept request is served."""
LASTS_S: Final = 200.0
TALK_S: Final = 2.0
Stop: TypeAlias = tuple[float, float]
"""From when until when it stands still."""


@attrs.define(eq=False)
class Line(httpx.AsyncByteStream):
    """One stream that was served, and the connection below it."""

    silence_s: float
    is_left: bool = False
    _ends: Any = attrs.field(factory=lambda: trio.open_memory_channel[bytes](math.inf))

    def send(self, data: bytes) -> bool:
        """Return whether a client may read it."""
        if not self.is_left:
            self._ends[0].send_nowait(data)
        return not self.is_left

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            with trio.move_on_after(self.silence_s):
                yield await self._ends[1].receive()
                continue
            raise httpx.ReadTimeout("")

    async def aclose(self) -> None:
        self.is_left = True
        self._ends[1].close()


@attrs.define(eq=False)
class Server:
    """ofchat, for one user."""

    nursery: trio.Nursery
    stops: Sequence[Stop]
    is_newest_first: bool
    opened_s: list[float] = attrs.field(factory=list)
    """When a client got a stream."""
    lost_s: list[float] = attrs.field(factory=list)
    """When an event was sent to nobody."""
    _kept: list[trio.Event] = attrs.field(factory=list)
    _latest: Line | None = None

    @property
    def still_s(self) -> float:
        """For how long it stands still from now on."""
        now_s = trio.current_time()
        return next((until_s - now_s for since_s, until_s in self.stops if since_s <= now_s < until_s), 0.0)

    async def open(self, target: Target, request: Request, *, silence_s: float, limit_bytes: int) -> EventStream:
        """Stands for `transport.stream.open_stream`."""
        line, served = Line(silence_s), trio.Event()
        self.nursery.start_soon(self._serve, line, served)
        with trio.move_on_after(request.timeout_s):
            await served.wait()
            headers = {"Content-Type": "text/event-stream"}
            return EventStream(cast("Any", line), httpx.Response(200, headers=headers, stream=line), limit_bytes)
        line.is_left = True
        raise NotSent(f"{target.url} did not answer.", timed_out=True)

    async def _serve(self, line: Line, served: trio.Event) -> None:
        if self.still_s:
            self._kept.append(served)
            await trio.sleep(self.still_s)
            turn = self._kept.index(served)
            await trio.sleep(TURN_S * (len(self._kept) - turn if self.is_newest_first else turn))
        if not line.is_left:
            self.opened_s.append(trio.current_time())
        self._latest = line
        served.set()
        while not line.is_left:
            await trio.sleep(HEARTBEAT_S)
            await trio.sleep(self.still_s)
            line.send(b"\r\n")

    async def talk(self) -> None:
        """Send the user an event now and then."""
        while True:
            await trio.sleep(TALK_S)
            await trio.sleep(self.still_s)
            data = f'event: chatapi.notify\r\ndata: {{"type": "notify", "data": {trio.current_time()}}}\r\n\r\n'
            if self._latest is None or not self._latest.send(data.encode()):
                self.lost_s.append(trio.current_time())


@attrs.define(eq=False)
class Logins:
    """A login that is there, and stays. `asked`: how often the server would be asked whether it is."""

    asked: int = 0
    presences: int = 0

    async def stream_for_reader(self, _user: str, stale: str, *, afresh: bool) -> str:
        self.asked += bool(stale) or afresh
        return "ofchat-1"

    async def read_states(self, users: Sequence[str]) -> list[LoggedIn]:
        return [LoggedIn("ofchat-1", 1) for _ in users]

    async def present(self, _user: str) -> None:
        self.presences += 1


@attrs.define(eq=False)
class States:
    """What is shown of the user, and since when."""

    shown: list[tuple[float, str]] = attrs.field(factory=list)

    def put(self, problem: Problem | None, _user: str = "") -> None:
        words = "read" if problem is None else problem.code or problem.message
        if not self.shown or self.shown[-1][1] != words:
            self.shown.append((trio.current_time(), words))

    def watch(self, user: str, facts: Callable[[], StreamInfo]) -> None:
        pass


@attrs.define(eq=False)
class Seen:
    """What came of a time with such a server; times are seconds since its beginning."""

    server: Server
    logins: Logins
    shown: list[tuple[float, str]]
    gaps: list[tuple[float, float]]
    came: list[float]


def seen(
    patch: pytest.MonkeyPatch, stops: Sequence[Stop], *, is_newest_first: bool = True, timeout_s: float = 10.0
) -> Seen:
    """Return what comes of reading the user's stream, in a time of its own."""
    return trio.run(watch, patch, stops, is_newest_first, timeout_s, clock=MockClock(autojump_threshold=0))


async def watch(patch: pytest.MonkeyPatch, stops: Sequence[Stop], is_newest_first: bool, timeout_s: float) -> Seen:
    log: list[Event] = []
    began_s, logins, states = time.time(), Logins(), States()
    reports = SourceReports("o", log.append, TEXTS, "OpenfireBack", cast("Any", states))
    buffer = EventBuffer(10**9)
    target = Target("t", "openfire-chat", Url("http", "127.0.0.1", 1, "/rest/api"), ("rest",), timeout_s=timeout_s)
    options = Options(users=("ann",), passwords=Secret("ann:secret"), target=None)
    context = ListenerContext(
        options, target, cast("Any", logins), buffer, reports, now_s=lambda: began_s + trio.current_time()
    )

    async def no_headers(*_: object) -> tuple[tuple[str, str], ...]:
        return ()

    async with trio.open_nursery() as nursery:
        server = Server(nursery, stops, is_newest_first)
        patch.setattr(listener, "open_stream", server.open)
        patch.setattr(listener, "headers_of", no_headers)
        reader = Listener(context, "ann")
        reports.add_user("ann", StreamInfo)
        reader.renew_until(math.inf)
        nursery.start_soon(reader.run)
        nursery.start_soon(server.talk)
        await trio.sleep(LASTS_S)
        nursery.cancel_scope.cancel()
    told = "\n".join(said.message for said in log if isinstance(said, OperatorWarning) and said.code == "OpenfireGap")
    gaps = [(since_s - began_s, later_s - began_s) for _, since_s, later_s in gaps_in(told)]
    came = [cast("Any", event).raw["data"] for event in buffer]
    return Seen(server, logins, states.shown, gaps, came)


FREEZE: Final = (15.0, 60.0)


@rows("is_newest_first", [True, False])
@rows("stops", [
    [FREEZE],
    [(15.0, 41.0)],
    [FREEZE, (62.0, 75.0)],
    [FREEZE, (65.0, 110.0)],
    [FREEZE, (80.0, 125.0)],
    [FREEZE, (81.5, 91.5)],
    [(0.0, 5.0)],
    [(0.0, 45.0), (46.0, 100.0)],
])  # fmt: skip
def test_user_is_read_again_after_the_server_stood_still(
    monkeypatch: pytest.MonkeyPatch, stops: list[Stop], is_newest_first: bool
) -> None:
    found = seen(monkeypatch, stops, is_newest_first=is_newest_first)
    last_lost_s = max(found.server.lost_s, default=0.0)
    assert last_lost_s < stops[-1][1] + 3 * HEARTBEAT_S, "it is not mute"
    assert found.came == sorted(set(found.came)), "nothing is doubled or overtaken"
    for lost_s in found.server.lost_s:
        is_early = lost_s < found.server.opened_s[0]
        assert is_early or any(since_s <= lost_s <= until_s for since_s, until_s in found.gaps), "the loss is told"
    assert [words for _, words in found.shown[-2:]] == ["opening", "read"]
    assert found.shown[-1][0] >= last_lost_s, "it is not shown as read before"
    assert (found.logins.presences, found.logins.asked) == (1, 0), "what a job said of the user stays"


def test_opening_that_was_given_up_within_a_second_counts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    found = seen(monkeypatch, [FREEZE], timeout_s=1.0)
    assert max(found.server.lost_s) < FREEZE[1] + 3 * HEARTBEAT_S
    assert [words for _, words in found.shown[-2:]] == ["opening", "read"]


@rows("stops", [[], [(15.0, 30.0)], [(15.0, 25.0), (30.0, 40.0)]])
def test_stream_that_was_opened_promptly_is_opened_once(monkeypatch: pytest.MonkeyPatch, stops: list[Stop]) -> None:
    found = seen(monkeypatch, stops)
    assert len(found.server.opened_s) == 1
    assert [words for _, words in found.shown] == ["read"]
    assert found.gaps == []
