"""How the demo prints: short indented lines, coloured on a terminal, plain in a pipe. Used by every file of this room.

Always holds: with NO_COLOR set, TERM=dumb or stdout not a terminal, no escape sequence is written.
"""

import contextlib
import sys
from collections.abc import Mapping

import attrs

_BOLD, _DIM, _GREEN, _PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[32m", "\x1b[0m"


@attrs.define
class Printer:
    """A writer to stdout; every line is there at once, so that a pipe shows the demo as it goes."""

    colour: bool
    steps: int = 0
    promises_kept: int = 0
    """The number of promises that were seen to be kept."""

    def step(self, title: str) -> None:
        """Print the title of a step, numbered."""
        self.steps += 1
        self.write(f"\n{self._in(_BOLD, f'{self.steps}. {title}')}")

    def show(self, text: str) -> None:
        """Print what was sent, answered or printed, line by line."""
        for line in text.splitlines():
            self.write(f"   {self._in(_DIM, line.expandtabs(14))}")

    def confirm(self, text: str) -> None:
        """Print what was promised and has been checked, and count it."""
        self.promises_kept += 1
        self.write(f"   {self._in(_GREEN, 'ok')} {text}")

    def write(self, text: str) -> None:
        """Print a line as it is."""
        # A reader that went away (`| head`) is no reason to leave servers running or to end with a traceback.
        with contextlib.suppress(BrokenPipeError):
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()

    def _in(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_PLAIN}" if self.colour else text


def open_printer(environ: Mapping[str, str]) -> Printer:
    """Return a printer with colours, if stdout is a terminal that shows them and NO_COLOR is not set."""
    wanted = not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
    return Printer(wanted and sys.stdout.isatty())
