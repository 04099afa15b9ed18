"""Tells systemd how the process is: READY, STATUS, RELOADING, WATCHDOG and STOPPING (sd_notify(3), `Type=notify`).

`build` adds it to the services, as the last one: READY means that the file is read and that what is listened on is
open. No boot and no package manager waits for Redis; STATUS says if the process does. Always holds: without
NOTIFY_SOCKET nothing happens; a socket that is missing or full delays nothing and ends nothing; WATCHDOG=1 is sent by
the event loop itself, so that it ends when the loop hangs.

No library: python-systemd is a C binding that needs libsystemd to be built, and the others are a wrapper around what
`_send` does, which systemd promises not to change.
"""

import os
import socket
import time
from collections.abc import Callable, MutableMapping, Sequence

import trio

from restbroker.broker.status.view import View
from restbroker.light import define

_LOOK_S = 0.5


def notifiers(environ: MutableMapping[str, str], view: Callable[[], View]) -> list["Notifier"]:
    """Return a `Notifier` in a list if systemd listens, else an empty list.

    systemd's variables are removed from `environ`: no child may speak for this process.
    """
    address = environ.pop("NOTIFY_SOCKET", "")
    limit_us = environ.pop("WATCHDOG_USEC", "")
    pid = environ.pop("WATCHDOG_PID", "")
    watched = limit_us.isdecimal() and int(limit_us) > 0 and pid in {"", str(os.getpid())}
    return [Notifier(address, view, int(limit_us) / 1e6 if watched else None)] if address else []


@define(eq=False)
class Notifier:
    """The connection to systemd, one per process.

    systemd kills a process that is silent for `watchdog_s` seconds, as it is when its loop hangs; None: it may be.
    """

    address: str
    view: Callable[[], View]
    watchdog_s: float | None = None
    _told: frozenset[str] = frozenset()
    _reloading: bool = False

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Send READY, STATUS and WATCHDOG when they are due, until cancelled; then STOPPING, unless it was sent."""
        task_status.started()
        due_s = trio.current_time()
        try:
            while True:
                self._tell(_state(self.view()))
                now_s = trio.current_time()
                if self.watchdog_s is not None and now_s >= due_s:
                    self._send(["WATCHDOG=1"])
                    due_s = now_s + self.watchdog_s / 2
                wake_s = now_s + _LOOK_S
                await trio.sleep_until(wake_s if self.watchdog_s is None else min(wake_s, due_s))
        finally:
            self._tell({"STOPPING=1"})

    def reload_began(self) -> None:
        """Tell systemd that a reload begins, if it was told "ready"; it waits for `reload_ended` from now on."""
        if "READY=1" in self._told:
            self._reloading = True
            # The time lets `Type=notify-reload` tell this reload from one before; other types leave it out.
            self._send(["RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}"])

    def reload_ended(self) -> None:
        """Tell systemd that the reload is over, successful or not."""
        if self._reloading:
            self._reloading = False
            # READY=1 ends the reload, whatever STATUS says.
            self._told -= {"READY=1"}
            self._tell({"READY=1"} | _state(self.view()))

    def _tell(self, state: set[str]) -> None:
        # What could not be sent counts as untold, and is tried again with the next look.
        news = sorted(state - self._told)
        if news and self._send(news):
            self._told = frozenset(state | {line for line in self._told if not line.startswith("STATUS=")})

    def _send(self, lines: Sequence[str]) -> bool:
        # "@" stands for the NUL byte that begins an abstract address.
        address = f"\0{self.address[1:]}" if self.address.startswith("@") else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                sender.sendto("\n".join(lines).encode(), address)
        except OSError:
            return False
        return True


def _state(view: View) -> set[str]:
    down = ", ".join(f"{name} ({code})" for name, code in view.down_targets.items())
    words = [f"{view.phase.capitalize()}."] if view.phase in {"serving", "quiet"} else []
    if view.unready is not None:
        words.append(view.unready)
    if down:
        words.append(f"Targets that get no jobs now: {down}.")
    if view.finishing:
        words.append(f"Jobs that run under the previous configuration: {view.finishing}.")
    lines = {"READY=1", "STATUS=" + " ".join(words)}
    if view.phase == "stopping":
        lines.add("STOPPING=1")
    return lines
