"""A Prosody and rosters that do what a test says, on a clock that jumps; and a connector between them."""

import json
import math
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import attrs
import pytest
import trio

from restbroker.config.target import Target, Url
from restbroker.errors import StoreRefused
from restbroker.job.command import Call, Command
from restbroker.job.json_types import Json
from restbroker.job.outcome import Outcome
from restbroker.rosters.in_redis import Claim, RostersInRedis
from restbroker.rosters.refresh.connector import open_connector
from restbroker.rosters.refresh.options import Options
from restbroker.rosters.store import RefreshDelay, RosterChange, RosterUnchanged, RosterVersions
from restbroker.servers.contract import Connector, NotYet, Ports
from restbroker.transport.message import MaybeSent, NotSent, Request, Response, Sender

TARGET = Target(
    "rosters",
    "prosody-roster",
    Url("http", "127.0.0.1", 5280, "/roster_admin"),
    ("rosters",),
    default_host="example.org",
    concurrency=200,
    timeout_s=5.0,
    options=Options(),
)

BUSY_S = 0.05
"""How long those wait whom another process refreshes, also by hand."""


@attrs.define(eq=False)
class Prosody:
    """The transport and the server in one; answers as measured on 0.12.3 and 13.0.1. A refresh takes `takes_s`.

    `fails`: users whose service answers an error. `poisoned`: users with whom no refresh is answered.
    """

    takes_s: float = 0.0
    fails: set[str] = attrs.field(factory=set)
    poisoned: set[str] = attrs.field(factory=set)
    hangs: bool = False
    refuses: bool = False
    leaves_after: float = math.inf
    """How many requests it takes."""
    status: int = 200
    body: bytes | None = None
    requests: list[Request] = attrs.field(factory=list)
    refreshed: list[tuple[str, ...]] = attrs.field(factory=list)
    """The users of each refresh."""
    running: Counter[str] = attrs.field(factory=Counter)
    fault: Exception | None = None

    async def send(self, request: Request, sender: Sender | None = None) -> Response:
        assert sender is None, "a refresh is no single job's"
        self.requests.append(request)
        if self.fault is not None:
            raise self.fault
        if self.refuses or len(self.requests) > self.leaves_after:
            raise NotSent("Connection refused")
        with trio.move_on_after(request.timeout_s):
            return await self._answer(request)
        raise MaybeSent("Timed out", timed_out=True)

    async def _answer(self, request: Request) -> Response:
        if self.hangs:
            await trio.sleep_forever()
        if (request.method, request.path) == ("GET", "/roster_admin/refresh"):
            return Response(404 if self.status == 404 else 301, {}, b"", 0.0)
        users = json.loads(request.body)
        self.refreshed.append(tuple(users))
        with self._under_way(users):
            await trio.sleep(self.takes_s)
            if not users or self.poisoned & set(users):
                await trio.sleep_forever()
        errors = len(self.fails & set(users))
        body = {"updated": len(users), "message": "roster update complete", "status": "ok", "errors": errors}
        return Response(self.status, {}, json.dumps(body).encode() if self.body is None else self.body, 0.0)

    @contextmanager
    def _under_way(self, users: Sequence[str]) -> Iterator[None]:
        self.running.update(users)
        assert max(self.running.values(), default=0) <= 1, "two refreshes of one user"
        try:
            yield
        finally:
            self.running.subtract(users)

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()

    async def keep_none(self) -> None: ...

    async def aclose(self) -> None: ...


@attrs.define(eq=False)
class FakeRosters:
    """`Rosters` in memory. `waits`: users to be asked for again, with the seconds; each is used up once."""

    waits: dict[str, float] = attrs.field(factory=dict)
    refuses: StoreRefused | None = None
    stored: dict[str, dict[bytes, bytes]] = attrs.field(factory=dict)
    result: RosterVersions | RosterUnchanged = attrs.field(factory=lambda: RosterVersions({"john": 7}))
    changes: list[RosterChange] = attrs.field(factory=list)
    marked: list[str] = attrs.field(factory=list)
    claimed: list[tuple[str, ...]] = attrs.field(factory=list)
    ended: list[str] = attrs.field(factory=list)
    again: list[str] = attrs.field(factory=list)
    on_request: Callable[[], None] = lambda: None
    """Called while a claim is on its way."""
    refreshes: bool = True
    lease_s: float = 30.0

    async def change(self, changes: Sequence[RosterChange]) -> RosterVersions | RosterUnchanged:
        self._allow()
        self.changes += changes
        return self.result

    async def mark(self, users: Sequence[str]) -> bool:
        self._allow()
        self.marked += users
        return self.refreshes

    async def read(self, users: Sequence[str]) -> Sequence[Mapping[bytes, bytes]]:
        self._allow()
        return [self.stored.get(user, {}) for user in users]

    async def claim(self, users: Sequence[str], delay: RefreshDelay) -> Claim:
        assert delay in (RefreshDelay(200, 1000), RefreshDelay(0, 0))
        self._allow()
        self.claimed.append(tuple(users))
        self.on_request()
        await trio.sleep(0.001)
        longest_s = math.inf if delay.debounce_ms else BUSY_S
        waits = {user: self.waits.pop(user) for user in users if user in self.waits and self.waits[user] <= longest_s}
        return Claim(f"claim {len(self.claimed)}", tuple(user for user in users if user not in waits), waits)

    async def end_refreshes(self, holder: str, done: Sequence[str], again: Sequence[str]) -> None:
        assert holder.startswith("claim ")
        self.ended += [*done, *again]
        self.again += again

    def _allow(self) -> None:
        if self.refuses is not None:
            raise self.refuses


@attrs.frozen
class Side:
    """A connector at work, and both of its ends."""

    connector: Connector
    prosody: Prosody
    rosters: FakeRosters
    delayed: list[tuple[str, float]] = attrs.field(factory=list)
    """The users of jobs that were to come again, with the seconds."""

    async def deliver(self, command: str, arguments: Mapping[str, Json] | None = None, /, **more: Json) -> Outcome:
        given = {**(arguments or {}), **more}
        return await self.connector.deliver(Call(Command(command, given)), Link(self.prosody))

    async def refresh(self, *users: str, attempt: int = 1, now: bool = False) -> Outcome:
        """As the broker does it: a job whose time has not come is delivered again then."""
        call = Call(Command("refresh", {"users": list(users), "now": now}), attempt)
        while True:
            try:
                return await self.connector.deliver(call, Link(self.prosody))
            except NotYet as turn:
                self.delayed.append((users[0], turn.wait_s))
                await trio.sleep(turn.wait_s)


@attrs.frozen
class Link:
    """May be used for probes only: a refresh is no single job's."""

    prosody: Prosody

    async def ask(self, request: Request) -> Response:
        return await self.prosody.send(request)

    async def send(self, request: Request) -> Response:
        raise AssertionError(request)

    async def task(self) -> None:
        pass


Opened = Callable[..., Any]


def users(count: int) -> list[str]:
    return [f"user{number}" for number in range(count)]


@pytest.fixture
def side() -> Opened:
    """A side whose connector runs inside the block."""

    @asynccontextmanager
    async def run(target: Target = TARGET, **ends: Any) -> AsyncIterator[Side]:
        prosody, rosters = ends.get("prosody") or Prosody(), ends.get("rosters") or FakeRosters()
        connector = open_connector(target, Ports(lambda _: None, lambda: 0.0, prosody, {RostersInRedis: rosters}))
        async with trio.open_nursery() as nursery:
            await nursery.start(connector.run)
            yield Side(connector, prosody, rosters)
            nursery.cancel_scope.cancel()

    return run
