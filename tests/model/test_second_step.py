"""A command of two requests, of which the second cannot be sent for an hour: whole brokers, on the mock clock."""

import json
from collections.abc import AsyncIterator
from typing import Final, Literal, cast

import attrs
import pytest
import trio
from trio.testing import MockClock

from restbroker.broker import life
from restbroker.job.command import Call, Catalogue, CommandSpec
from restbroker.job.outcome import Delivered, Denied, Outcome, Probe, Reason, Rejected
from restbroker.servers.contract import Link
from restbroker.telemetry.events import JobFinished, JobsRecovered
from restbroker.transport.message import NotSent, Request, Response, Sender
from tests.model.target import SimulatedTarget
from tests.model.test_days import stretch
from tests.model.world import Process, World, now_s, simulate

MINUTE_S: Final = 60.0
Refusal = Literal["connection", "server", "login", "breaker"]
"""What comes between: the second connection alone, the server as a whole, its word that we may not, our own breaker."""


@attrs.define(eq=False)
class Rooms:
    """Transport and connector in one. A room is made by one request and filled by another; `refusal` is in its way.

    One that was made before is an error, unless the job may have made it. `breakers_of`: whose are closed by ours.
    """

    refusal: Refusal | None = None
    breakers_of: list[Process] = attrs.field(factory=list)
    made: list[str] = attrs.field(factory=list)
    filled: list[str] = attrs.field(factory=list)
    catalogue: Catalogue = attrs.field(factory=lambda: Catalogue("1.0", {"room": CommandSpec("room", (), "unsafe")}))
    _plain: SimulatedTarget = attrs.field(factory=SimulatedTarget)

    def spec(self, endpoint: str) -> CommandSpec | None:
        return self.catalogue.commands.get(endpoint)

    async def send(self, request: Request, sender: Sender | None = None) -> Response:
        await trio.lowlevel.checkpoint()
        if sender is not None:
            sender.may_send()
            sender.start_sending()
        await trio.sleep(0.05)
        jid = request.body.decode()
        status = self._make(jid) if request.path == "/make" else self._fill(jid)
        if sender is not None and status != 200:
            sender.clear_sending()
        return Response(status, {}, b"0", 0.0)

    def _make(self, jid: str) -> int:
        if jid in self.made:
            return 409
        self.made.append(jid)
        if self.refusal == "breaker":
            for process in self.breakers_of:
                for pool in process.status.pools:
                    pool.breaker.trip(Reason("TargetUnwell", "It stops."))
        return 200

    def _fill(self, jid: str) -> int:
        if self.refusal in ("connection", "server"):
            raise NotSent("Nobody listens.")
        if self.refusal is None:
            self.filled.append(jid)
        return 200 if self.refusal is None else 403

    async def deliver(self, call: Call, link: Link) -> Outcome:
        jid = str(call.command.arguments["jid"])
        made = await link.send(Request("POST", "/make", call.timeout_s, body=jid.encode()))
        if made.status == 409 and not call.maybe_run:
            return Rejected(Reason("AlreadyExists", "It is there."))
        filled = await link.send(Request("POST", "/fill", call.timeout_s, body=jid.encode()))
        if filled.status == 403:
            return Denied(Reason("CommandForbidden", "You may not.", status=403))
        return Delivered("0", 0, 200)

    async def probe(self, _link: Link) -> Probe:
        await trio.lowlevel.checkpoint()
        if self.refusal in ("server", "breaker"):
            raise NotSent("Nobody listens.")
        denied = self.refusal == "login"
        return Probe(ok=not denied, denied=denied, version="1.0", detail="fine")

    async def keep_none(self) -> None:
        await self._plain.keep_none()

    async def aclose(self) -> None:
        await self._plain.aclose()

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        await self._plain.run(task_status=task_status)


@pytest.fixture
async def world(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    simulate(monkeypatch)
    stretch(monkeypatch, 30)
    monkeypatch.setattr(life, "_UNSENT_WAIT_S", MINUTE_S)
    async with trio.open_nursery() as nursery:
        yield World(cast("SimulatedTarget", Rooms()), nursery)
        nursery.cancel_scope.cancel()


@pytest.fixture
def rooms(world: World) -> Rooms:
    return cast("Rooms", world.target)


def assert_done(world: World, rooms: Rooms, jids: list[str], processed: int) -> None:
    """Each room is made and filled, once; this number of jobs was processed, and no try failed."""
    assert sorted(rooms.filled) == sorted(rooms.made) == jids
    assert (world.reference.data.processed, world.reference.data.failed, world.places()) == (processed, 0, {})


@pytest.mark.promise("At least once, and seldom more", "a command of several requests knows its own first one")
@pytest.mark.parametrize("refusal", ["connection", "server", "login", "breaker"])
async def test_second_step_refused_for_an_hour_keeps_first_over_a_stop(
    autojump_clock: MockClock, world: World, rooms: Rooms, refusal: Refusal
) -> None:
    """It is done also after the job's expiry; no other job is begun then."""
    jids = ["r1", "r2", "r3"]
    first = world.start()
    await trio.sleep(MINUTE_S)
    rooms.refusal, rooms.breakers_of = refusal, [first]
    world.push("r1", command="room")
    world.push("r2", "r3", command="room", expiry=now_s() + 5 * MINUTE_S)
    await trio.sleep(20 * MINUTE_S)
    assert sorted(world.places()) == sorted(rooms.made) == jids
    first.stop()
    await first.done.wait()
    back = {job["jid"]: job for job in map(json.loads, world.reference.data.lists["queue:rest"])}
    assert sorted(back) == jids
    assert all(job["restbroker_effected"] is True for job in back.values())
    assert not any("retry_count" in job or "restbroker_uncertain" in job for job in back.values())
    second = world.start()
    rooms.breakers_of = [second]
    world.push("x1", command="room", expiry=now_s() - 1)
    await trio.sleep(40 * MINUTE_S)
    assert world.places().keys() >= set(jids)
    rooms.refusal = None
    await trio.sleep(10 * MINUTE_S)
    assert_done(world, rooms, jids, 4)
    ends = {event.jid: event.outcome for event in world.of(JobFinished)}
    assert ends == {**dict.fromkeys(jids, "delivered"), "x1": "expired"}


async def test_second_step_refused_for_an_hour_keeps_first_over_a_kill(
    autojump_clock: MockClock, world: World, rooms: Rooms
) -> None:
    jids, rooms.refusal = ["r1", "r2", "r3"], "connection"
    first = world.start()
    world.push(*jids, command="room")
    await trio.sleep(20 * MINUTE_S)
    first.stop()
    await first.done.wait()
    second = world.start()
    await trio.sleep(20 * MINUTE_S)
    assert sorted(world.in_progress()[next(iter(second.identities))]) == jids
    second.kill()
    third = world.start()
    await trio.sleep(20 * MINUTE_S)
    assert sorted(world.in_progress()[next(iter(third.identities))]) == jids
    assert len(world.of(JobsRecovered)) == 1
    rooms.refusal = None
    await trio.sleep(10 * MINUTE_S)
    assert_done(world, rooms, jids, 3)


async def test_job_forgotten_at_its_second_step_may_have_run(
    autojump_clock: MockClock, world: World, rooms: Rooms
) -> None:
    jids, first = ["r1", "r2"], world.start()
    await trio.sleep(MINUTE_S)
    rooms.refusal = "server"
    world.push(*jids, command="room")
    await trio.sleep(MINUTE_S)
    (held,) = (own.jobs for own in world.reference.data.held.values() if own.jobs)
    first.way.cut = True
    world.reference.data.lists["queue:rest"] += held.values()
    held.clear()
    await trio.sleep(MINUTE_S)
    first.way.cut, rooms.refusal = False, None
    await trio.sleep(10 * MINUTE_S)
    assert_done(world, rooms, jids, 2)
