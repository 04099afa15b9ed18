"""The terminal while the live screen has it: its alternate screen, keys, and the signals that concern it.

Used by `loop`. Always holds: when it ends for any reason (a key, a signal, an error), the terminal is as before.
"""

import os
import select
import signal
import sys
import termios
import tty
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum, auto
from io import TextIOWrapper
from types import FrameType

import attrs
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

_PLAIN = str.maketrans("…·▁▂▃▄▅▆▇█", "~-_.:-=+*#")
"""Substitutes for terminals whose encoding does not have these characters."""


class Event(Enum):
    """What ended a wait."""

    TICK = auto()
    RESIZED = auto()
    SUSPEND = auto()
    QUIT = auto()


@attrs.define
class Terminal:
    """The terminal's screen, for as long as `alternate_screen` lasts."""

    _live: Live
    _signals: int
    _keys: int | None
    _is_plain: bool

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines."""
        size = self._live.console.size
        return size.width, size.height

    def show(self, lines: Sequence[Text]) -> None:
        """Draw these lines in place of those before."""
        if self._is_plain:
            for line in lines:
                line.plain = line.plain.translate(_PLAIN)
        self._live.update(Group(*lines), refresh=True)

    def wait(self, timeout_s: float) -> Event:
        """Wait for a key or a signal that matters, at most `timeout_s` seconds, and return what ended it.

        Raise KeyboardInterrupt at Ctrl-C.
        """
        watched = [self._signals] if self._keys is None else [self._signals, self._keys]
        ready, _, _ = select.select(watched, [], [], max(timeout_s, 0.0))
        if self._signals in ready:
            told = os.read(self._signals, 64)
            return Event.SUSPEND if signal.SIGTSTP in told else Event.RESIZED
        if not ready:
            return Event.TICK
        return self._key(ready[0])

    def _key(self, keys: int) -> Event:
        try:
            typed = os.read(keys, 64)
        except OSError:
            typed = b""
        if not typed:
            # No one types any more; the screen may go on.
            self._keys = None
        return Event.QUIT if b"q" in typed.lower() else Event.RESIZED


@contextmanager
def alternate_screen() -> Iterator[Terminal]:
    """Yield the terminal's alternate screen, without a cursor; keys come at once and are not shown.

    At the end the terminal is as it was before.
    """
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    console = Console(highlight=False, markup=False, emoji=False)
    if encoding != "utf8" and isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    keys = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else None
    live = Live(console=console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)
    with _signal_pipe() as signals, _keys_at_once(keys), live:
        yield Terminal(live, signals, keys, encoding != "utf8")


def suspend() -> None:
    """Return the terminal to the shell (Ctrl-Z) until it continues us; call it after `alternate_screen` has ended."""
    os.kill(os.getpid(), signal.SIGTSTP)


@contextmanager
def _keys_at_once(keys: int | None) -> Iterator[None]:
    if keys is None:
        yield
        return
    before = termios.tcgetattr(keys)
    try:
        # Ctrl-C and Ctrl-Z stay signals.
        tty.setcbreak(keys, termios.TCSADRAIN)
        yield
    finally:
        termios.tcsetattr(keys, termios.TCSADRAIN, before)


@contextmanager
def _signal_pipe() -> Iterator[int]:
    """Yield a descriptor on which the numbers of signals arrive.

    Signals that would end the process make `alternate_screen` end first.
    """
    ours, pythons = os.pipe()
    os.set_blocking(ours, False)
    os.set_blocking(pythons, False)
    handlers: dict[signal.Signals, Callable[[int, FrameType | None], None]] = {
        signal.SIGWINCH: _on_signal,
        signal.SIGTSTP: _on_signal,
        signal.SIGTERM: _on_end_signal,
        signal.SIGHUP: _on_end_signal,
    }
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    wakeup = signal.set_wakeup_fd(pythons, warn_on_full_buffer=False)
    try:
        yield ours
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(ours)
        os.close(pythons)


def _on_signal(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: the signal's number is in the pipe, where the wait finds it."""


def _on_end_signal(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
