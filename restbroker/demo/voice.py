"""How the demo speaks: short indented lines, coloured on a terminal, plain in a pipe. Used by every file of this room.

Always holds: with NO_COLOR set, TERM=dumb or stdout not a terminal, no escape sequence is written.
"""

import contextlib
import sys
from collections.abc import Mapping
from typing import TextIO

import attrs

_BOLD, _DIM, _GREEN, _PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[32m", "\x1b[0m"


@attrs.define
class Voice:
    """Writes to `out`; every line is there at once, so that a pipe shows the demo as it goes."""

    out: TextIO
    colour: bool
    steps: int = 0
    kept: int = 0
    """How many promises were seen to be kept."""

    def step(self, title: str) -> None:
        """Opens a step, numbered."""
        self.steps += 1
        self.write(f"\n{self._in(_BOLD, f'{self.steps}. {title}')}")

    def show(self, text: str) -> None:
        """Shows what somebody sent, answered or printed, line by line."""
        for line in text.splitlines():
            self.write(f"   {self._in(_DIM, line.expandtabs(14))}")

    def good(self, text: str) -> None:
        """Says what was promised and has been checked."""
        self.kept += 1
        self.write(f"   {self._in(_GREEN, 'ok')} {text}")

    def write(self, text: str) -> None:
        """Writes a line as it is."""
        # A reader that went away (`| head`) is no reason to leave servers running or to end with a traceback.
        with contextlib.suppress(BrokenPipeError):
            print(text, file=self.out, flush=True)

    def _in(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_PLAIN}" if self.colour else text


def voice(environ: Mapping[str, str], out: TextIO | None = None) -> Voice:
    """A voice for `out`, stdout unless given."""
    out = sys.stdout if out is None else out
    wanted = not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
    return Voice(out, colour=wanted and out.isatty())
