"""What systemd is told, when, and that nothing it does disturbs. The sockets are real ones."""

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing

from restbroker.app.sdnotify import Notifier, notifiers
from restbroker.broker.status.view import View
from tests.support.wait import until_async

STARTING = View("starting", store_up=True, heartbeat_fresh=False, down_targets={})
SERVING = View("serving", store_up=True, heartbeat_fresh=True, down_targets={})


@attrs.define
class Sent:
    """A socket as systemd's; `lines` is everything received so far, in order."""

    socket: socket.socket
    lines: list[str] = attrs.field(factory=list)

    def has(self, line: str, times: int = 1) -> bool:
        while True:
            try:
                self.lines += self.socket.recv(4096).decode().split("\n")
            except BlockingIOError:
                return self.lines.count(line) >= times


@pytest.fixture
def address(tmp_path: Path) -> str:
    return str(tmp_path / "notify")


@pytest.fixture
def sent(address: str) -> Iterator[Sent]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(address)
        receiver.setblocking(False)
        yield Sent(receiver)


async def test_ready_each_new_status_and_the_stop_are_reported(
    address: str, sent: Sent, autojump_clock: trio.testing.MockClock
) -> None:
    """No boot and no package manager waits for Redis; the status says if the process does."""
    view = STARTING
    async with trio.open_nursery() as nursery:
        await nursery.start(Notifier(address, lambda: view).run)
        await until_async(lambda: sent.has("READY=1"), "it is started")
        assert sent.has("STATUS=The broker is starting.")
        away = "Redis at 127.0.0.1:1 cannot be reached: Connection refused."
        view = attrs.evolve(STARTING, store_up=False, store_reason=away)
        await until_async(lambda: sent.has(f"STATUS=The broker waits for Redis. {away}"), "it says what it waits for")
        view = SERVING
        await until_async(lambda: sent.has("STATUS=Serving."), "it serves")
        view = attrs.evolve(SERVING, down_targets={"ejabberd": "Refused"})
        status = "STATUS=Serving. Targets that get no jobs now: ejabberd (Refused)."
        await until_async(lambda: sent.has(status), "the closed target is reported")
        view = attrs.evolve(SERVING, phase="stopping")
        await until_async(lambda: sent.has("STOPPING=1"), "the drain is reported while it lasts")
        nursery.cancel_scope.cancel()
    assert not sent.has("READY=1", times=2)
    assert not sent.has("STOPPING=1", times=2)
    assert "WATCHDOG=1" not in sent.lines


async def test_reload_is_reported_with_its_time_and_its_end(address: str, sent: Sent, nursery: trio.Nursery) -> None:
    view = SERVING
    notifier = Notifier(address, lambda: view)
    await nursery.start(notifier.run)
    await until_async(lambda: sent.has("READY=1"), "it is ready")
    before_us = time.monotonic_ns() // 1000
    notifier.reload_began()
    view = attrs.evolve(SERVING, store_up=False, finishing=3)
    assert sent.has("RELOADING=1")
    (stamp,) = (line.partition("=")[2] for line in sent.lines if line.startswith("MONOTONIC_USEC="))
    assert before_us <= int(stamp) <= time.monotonic_ns() // 1000
    assert not sent.has("READY=1", times=2)
    notifier.reload_ended()
    assert sent.has("READY=1", times=2)
    words = "Serving. Redis is unavailable. Jobs that run under the previous configuration: 3."
    assert sent.has(f"STATUS={words}")


async def test_the_watchdog_is_fed_twice_in_each_span(
    address: str, sent: Sent, autojump_clock: trio.testing.MockClock
) -> None:
    environ = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "30000000"}
    (notifier,) = notifiers(environ, lambda: SERVING)
    async with trio.open_nursery() as nursery:
        await nursery.start(notifier.run)
        await trio.sleep(61)
        nursery.cancel_scope.cancel()
    sent.has("")
    assert sent.lines.count("WATCHDOG=1") == 5


async def test_late_socket_without_path_gets_what_it_missed(nursery: trio.Nursery) -> None:
    address = f"@restbroker-test-{os.getpid()}"
    looks: list[None] = []

    def view() -> View:
        looks.append(None)
        return SERVING

    await nursery.start(Notifier(address, view, watchdog_s=0.02).run)
    await until_async(lambda: len(looks) >= 3, "it looks on though nobody listens")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(address.replace("@", "\0"))
        receiver.setblocking(False)
        late = Sent(receiver)
        await until_async(lambda: late.has("READY=1"), "it is ready")


async def test_unread_socket_holds_nothing_up(address: str, sent: Sent, autojump_clock: trio.testing.MockClock) -> None:
    looks: list[None] = []

    def view() -> View:
        looks.append(None)
        return SERVING

    # More datagrams than Linux keeps for a reader (net.unix.max_dgram_qlen, 10 to 512).
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            await nursery.start(Notifier(address, view, watchdog_s=0.001).run)
            await until_async(lambda: len(looks) >= 600, "it looks on though the socket is full")
            nursery.cancel_scope.cancel()
    assert sent.has("WATCHDOG=1")


def test_systemds_variables_are_not_passed_on() -> None:
    environ = {"NOTIFY_SOCKET": "/s", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "HOME": "/"}
    assert len(notifiers(environ, lambda: SERVING)) == 1
    assert environ == {"HOME": "/"}


def test_only_a_watchdog_that_means_this_process_is_fed() -> None:
    rows: list[tuple[dict[str, str], float | None]] = [
        ({}, None),
        ({"WATCHDOG_USEC": "1500000"}, 1.5),
        ({"WATCHDOG_USEC": "1500000", "WATCHDOG_PID": str(os.getpid())}, 1.5),
        ({"WATCHDOG_USEC": "1500000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ]
    for more, watchdog_s in rows:
        (notifier,) = notifiers({"NOTIFY_SOCKET": "/s", **more}, lambda: SERVING)
        assert isinstance(notifier, Notifier)
        assert notifier.watchdog_s == watchdog_s
