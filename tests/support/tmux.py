"""A real terminal, driven: a shell in tmux whose keys are typed and whose screen is read. Used by tests of the live
screen.

Always holds: the tmux server is the test's own, and is gone when its `with` block ends.
"""

import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import attrs

from tests.support.process import clean_environment
from tests.support.wait import until

_PATIENCE_S = 60.0
"""For what takes several processes to happen, on a machine that has much to do."""


@attrs.frozen
class Pane:
    """One terminal with a shell in it."""

    socket: Path

    def type(self, line: str) -> None:
        self._tmux("send-keys", "-l", line)
        self.press("Enter")

    def press(self, *keys: str) -> None:
        """Presses keys by tmux' names: q, C-c, C-z, Enter."""
        self._tmux("send-keys", *keys)

    def resize(self, columns: int, lines: int) -> None:
        """Makes the terminal as large; the program in it gets SIGWINCH."""
        self._tmux("resize-window", "-x", str(columns), "-y", str(lines))

    def screen(self, *, styled: bool = False) -> str:
        """What is on the screen now; `styled`: with its colours as escape sequences."""
        return self._tmux("capture-pane", "-p", *(["-e"] if styled else []))

    def query(self, what: str) -> str:
        return self._tmux("display-message", "-p", f"#{{{what}}}").strip()

    def shows(self, *texts: str) -> str:
        def found() -> str | None:
            screen = self.screen()
            return screen if all(text in screen for text in texts) else None

        try:
            screen = until(found, f"the terminal shows {texts}", _PATIENCE_S)
        except AssertionError as error:
            raise AssertionError(f"{error}; it shows:\n{self.screen()}") from None
        assert screen is not None
        return screen

    def _tmux(self, *words: str) -> str:
        return subprocess.run(["tmux", "-S", self.socket, *words], check=True, capture_output=True, text=True).stdout


@contextmanager
def shell(
    place: Path, *, columns: int = 80, lines: int = 24, environ: Mapping[str, str] | None = None
) -> Iterator[Pane]:
    """A shell in `place`, in a terminal of that size. Its prompt is `ready>`."""
    assert shutil.which("tmux"), "tmux is not installed; `make test` installs it, or: sudo apt-get install tmux"
    socket = place / "tmux"
    (place / "prompt").write_text("PS1='ready> '\n")
    pane = Pane(socket)
    environment = clean_environment({"TERM": "xterm-256color", **(environ or {})})
    environment.pop("TMUX", None)
    begin = [
        "tmux",
        "-S",
        str(socket),
        "-u",
        "-f",
        "/dev/null",
        "new-session",
        "-d",
        "-x",
        str(columns),
        "-y",
        str(lines),
    ]
    subprocess.run(
        [*begin, shlex.join(["bash", "--noprofile", "--rcfile", "prompt"])], check=True, cwd=place, env=environment
    )
    try:
        pane.shows("ready>")
        yield pane
    finally:
        subprocess.run(["tmux", "-S", socket, "kill-server"], check=False, capture_output=True)
