"""What the supervisor of `run --processes` does with workers that crash, hang or never start: small programs here."""

import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import attrs
import pytest
import trio

from restbroker.broker import leash, supervisor
from restbroker.broker.leash import Told
from restbroker.broker.supervisor import HUNG_S, Supervisor, Worker
from restbroker.broker.view import View, together
from restbroker.telemetry.events import Event, Warned
from tests.support.wait import until_async

READY = View("serving", store_up=True, beat_fresh=True, closed={})
STARTING = attrs.evolve(READY, phase="starting")
SAY_READY = f"line.sendall({Told(READY, 0).line()!r})"


@attrs.define(eq=False)
class Group:
    """A supervisor of small programs, which have their end of the line as `line`."""

    supervisor: Supervisor
    events: list[Event]
    reloads: list[None] = attrs.field(factory=list)
    code: int | None = None

    def told(self) -> list[str]:
        return [event.message for event in self.events if isinstance(event, Warned)]

    async def reload(self) -> None:
        await self.supervisor.reload_workers()
        self.reloads.append(None)

    async def run(self) -> None:
        self.code = await self.supervisor.run([], self.reload)

    def workers(self) -> list[Worker]:
        return list(self.supervisor._workers.values())

    async def serve(self) -> None:
        """Returns when all workers are ready."""
        await until_async(lambda: self.supervisor.view().unready is None, "all are ready")


def group(*program: str, count: int = 1) -> Group:
    events: list[Event] = []
    lines = ["import os, signal, socket, sys, time", "line = socket.socket(fileno=0)", *program]
    return Group(Supervisor([sys.executable, "-c", "\n".join(lines)], count, events.append), events)


@asynccontextmanager
async def running(one: Group) -> AsyncIterator[Group]:
    """Runs it inside the block; a stop at the end, unless the test did."""
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.run)
            yield one
            if one.code is None and not one.supervisor._stop.is_set():
                one.supervisor._act(signal.SIGTERM)


OBEYS = (SAY_READY, "sys.exit(line.recv(1)[0] - signal.SIGTERM)")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(supervisor, "LONGEST_WAIT_S", 0.04)


async def test_what_is_asked_of_the_group_is_asked_of_each_worker_and_all_end() -> None:
    async with running(group(*OBEYS, count=3)) as one:
        await one.serve()
        assert len(one.supervisor.pids()) == 3
    assert one.code == 0
    assert one.told() == []


async def test_a_crashed_worker_is_started_again_after_waits_that_double_up_to_a_limit() -> None:
    async with running(group(SAY_READY, "os.kill(os.getpid(), signal.SIGKILL)")) as one:
        await until_async(lambda: len(one.told()) >= 5, "it crashed five times", 20)
    waits = [message.partition("started again in ")[2].partition(" s;")[0] for message in one.told()]
    assert waits[:5] == ["0.01", "0.02", "0.04", "0.04", "0.04"]
    assert "was killed by SIGKILL" in one.told()[0]


async def test_a_worker_that_lived_for_a_minute_begins_anew_with_the_shortest_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(supervisor, "HEALTHY_S", 0.0)
    async with running(group(SAY_READY, "sys.exit(1)")) as one:
        await until_async(lambda: len(one.told()) >= 3, "it crashed three times", 20)
    assert all("again in 0.01 s" in message for message in one.told())
    assert "ended with 1" in one.told()[0]


async def test_a_worker_that_was_stopped_alone_is_started_again() -> None:
    async with running(group(SAY_READY, "sys.exit(line.recv(1)[0] - signal.SIGTERM)")) as one:
        await one.serve()
        before = one.supervisor.pids()
        one.workers()[0].ask(signal.SIGTERM)
        await until_async(one.told, "it is told")
        await one.serve()
        assert one.supervisor.pids().isdisjoint(before)
    assert one.code == 0
    assert "was stopped, and not by the group" in one.told()[0]


@pytest.mark.parametrize(("how", "code"), [("sys.exit(2)", 2), ("os.kill(os.getpid(), signal.SIGKILL)", 137)])
async def test_a_group_whose_workers_cannot_start_ends_with_their_code(how: str, code: int) -> None:
    one = group(how, count=2)
    with trio.fail_after(20):
        await one.run()
    assert one.code == code
    assert one.told() == []


async def test_a_command_that_cannot_be_run_ends_the_group() -> None:
    one = Group(Supervisor(["/nowhere/at/all"], 2, lambda _event: None), [])
    with trio.fail_after(20):
        await one.run()
    assert one.code == 1


async def test_one_that_cannot_start_beside_one_that_serves_is_tried_again(tmp_path: object) -> None:
    # The first to make the file serves; the others fail.
    first = f"os.open({str(tmp_path) + '/first'!r}, os.O_CREAT | os.O_EXCL)"
    async with running(group(first, *OBEYS)) as one:
        await one.serve()
        one.supervisor.count = 2
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.supervisor._keep, 2)
            await until_async(lambda: len(one.told()) >= 3, "the second failed three times", 20)
            assert one.code is None
            one.supervisor._act(signal.SIGTERM)


async def test_who_starts_later_is_told_what_holds_for_all() -> None:
    asked = "asked = line.recv(1)[0]"
    async with running(group(SAY_READY, asked, "sys.exit(asked)")) as one:
        await one.serve()
        one.supervisor._act(signal.SIGTSTP)
        await until_async(lambda: len(one.told()) >= 3, "each took the same order", 20)
    assert all(f"ended with {signal.SIGTSTP.value}" in message for message in one.told()[:3])


async def test_the_exit_code_is_the_worst_of_those_that_ended_after_the_stop() -> None:
    async with running(group(SAY_READY, "line.recv(1)", "sys.exit(os.getpid() % 2)", count=6)) as one:
        await one.serve()
        odd = any(pid % 2 for pid in one.supervisor.pids())
    assert one.code == int(odd)


async def test_a_second_signal_is_passed_on_and_what_hangs_then_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "KILL_S", 0.2)
    async with running(group(SAY_READY, "time.sleep(60)", count=2)) as one:
        await one.serve()
        one.supervisor._act(signal.SIGTERM)
        one.supervisor._act(signal.SIGINT)
    assert one.code == 128 + signal.SIGKILL


async def test_a_second_signal_is_in_the_exit_code_whatever_the_workers_say() -> None:
    async with running(group(SAY_READY, "line.recv(1); line.recv(1); sys.exit(0)")) as one:
        await one.serve()
        one.supervisor._act(signal.SIGTERM)
        one.supervisor._act(signal.SIGINT)
    assert one.code == 128 + signal.SIGINT


async def test_a_reload_is_over_when_every_worker_has_reloaded_or_is_gone() -> None:
    done = Told(READY, 1).line()
    # One that is started again in the place of one with an odd process id is asked to stop, and not to reload.
    asked = "line.recv(1)[0] == signal.SIGTERM and sys.exit(0)"
    answers = (SAY_READY, asked, "os.getpid() % 2 and sys.exit(1)", f"line.sendall({done!r})", "line.recv(1)")
    async with running(group(*answers, count=4)) as one:
        await one.serve()
        one.supervisor._act(signal.SIGHUP)
        await until_async(lambda: one.reloads, "it is over")
    assert len(one.reloads) == 1


def line_of(*views: View) -> Sequence[Told | None]:
    return [leash.read(Told(view, 3).line()) for view in views]


def test_what_a_worker_tells_is_read_as_it_was_and_what_is_odd_is_left_out() -> None:
    closed = attrs.evolve(READY, closed={"a": "TargetUnreachable"}, finishing=2, refused=True)
    assert line_of(READY, closed) == [Told(READY, 3), Told(closed, 3)]
    newer = Told(READY, 3).line().replace(b'"reloads"', b'"mood": "good", "reloads"')
    assert leash.read(newer.replace(b'"phase"', b'"colour": 1, "phase"')) == Told(READY, 3)
    for odd in (b"", b"{}", b"[]", b"\xff", b'{"view": {}, "reloads": 1}', b'{"view": null, "reloads": 1}', b"5"):
        assert leash.read(odd) is None


async def test_a_worker_that_says_nothing_for_long_counts_as_hung_and_the_group_is_not_ready(
    autojump_clock: trio.testing.MockClock,
) -> None:
    one = group(count=1).supervisor
    one._workers[1] = Worker(None, None, READY, heard_at_s=trio.current_time())  # type: ignore[arg-type]
    assert one.is_alive()
    assert one.view().unready is None
    await trio.sleep(HUNG_S)
    assert not one.is_alive()
    assert one.view().unready is not None
    one._workers[1].heard_at_s = None
    assert one.is_alive()


def test_a_group_is_ready_when_each_is_and_names_every_closed_target() -> None:
    quiet, away = attrs.evolve(READY, phase="quiet"), attrs.evolve(READY, store_up=False)
    a, b = attrs.evolve(READY, closed={"a": "X"}, finishing=1), attrs.evolve(READY, closed={"b": "Y"}, finishing=2)
    assert together([READY, READY], stopping=False).unready is None
    assert together([quiet, quiet], stopping=False) == quiet
    assert together([quiet, READY], stopping=False).phase == "serving"
    assert together([READY, STARTING], stopping=False).unready == "The broker is starting."
    assert together([READY, attrs.evolve(READY, phase="stopping")], stopping=False).phase == "starting"
    assert together([READY, away], stopping=False).unready == "Redis cannot be reached."
    assert together([READY, READY], stopping=True).phase == "stopping"
    both = together([a, b], stopping=False)
    assert (both.closed, both.finishing) == ({"a": "X", "b": "Y"}, 3)
