"""Keeps the copies of rosters in a file, so that a restart while Redis is away keeps logins going. A service.

`app.roster_service` makes it where `CopiesFile` is set. Always holds: only its owner can read the file, and it is
whole; a file that cannot be read or written is reported, and serving goes on without it; a copy is never younger in the
file than it was in memory, even if a clock is set.
"""

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import attrs
import trio

from restbroker.console import private_file
from restbroker.rosters.service.copies import Copies, Copy
from restbroker.telemetry.events import Report, Warned

_HEAD: Final = b'{"restbroker":"copies of rosters","version":1}\n'
_PAUSE_S: Final = 60.0
_CURE: Final = "Check CopiesFile of Roster: the folder, its rights and its free space. Rosters are served without it."


@attrs.define(eq=False)
class CopiesFile:
    """The file of the copies. `pause_s`: how often it is written at most, if there are new copies, in seconds.

    It is also written at the end.
    """

    path: Path
    copies: Copies
    report: Report
    pause_s: float = _PAUSE_S
    _written: int = 0
    _is_failing: bool = False

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Read the file, then write it until cancelled; a write that has begun is finished first."""
        await self._load()
        task_status.started()
        try:
            while True:
                await trio.sleep(self.pause_s)
                await self._save()
        finally:
            with trio.CancelScope(shield=True):
                await self._save()

    async def _load(self) -> None:
        try:
            found = await trio.to_thread.run_sync(_read, self.path)
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            self._warn(f"The copies of rosters in {self.path} cannot be read: {_why(error)}.")
            return
        now_s, now_at = trio.current_time(), time.time()
        for user, body, read_at in found:
            self.copies.keep(user, Copy(body, now_s - max(0.0, now_at - read_at)))
        self._written = self.copies.changes

    async def _save(self) -> None:
        changes = self.copies.changes
        if changes == self._written:
            return
        # The difference of both clocks now: a step of the wall clock in between would make a copy younger.
        pieces = _lines(self.copies.all(), time.time() - trio.current_time())
        try:
            await trio.to_thread.run_sync(private_file.replace, self.path, pieces)
        except OSError as error:
            if not self._is_failing:
                self._warn(f"The copies of rosters cannot be written to {self.path}: {_why(error)}.")
            self._is_failing = True
        else:
            self._written, self._is_failing = changes, False

    def _warn(self, message: str) -> None:
        self.report(Warned("RosterCopies", message, _CURE))


def _lines(copies: Sequence[tuple[str, Copy]], offset_s: float) -> Iterator[bytes]:
    """Yield the lines of the file; called in the thread that writes it."""
    yield _HEAD
    for user, copy in copies:
        row = [user, round(copy.read_s + offset_s, 3), copy.body.decode()]
        yield json.dumps(row, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"


def _read(path: Path) -> list[tuple[str, bytes, float]]:
    """Return (user, body, when it was read). Raise `OSError`, or `ValueError` for another file."""
    found = []
    with path.open("rb") as file:
        if file.readline(200) != _HEAD:
            raise ValueError("it is not a file of this version")
        for line in file:
            match json.loads(line.decode("utf-8", "surrogatepass")):
                case [str(user), float() | int() as read_at, str(body)]:
                    found.append((user, body.encode(), float(read_at)))
                case _:
                    raise ValueError("a line of it is not a copy")
    return found


def _why(error: OSError | ValueError) -> str:
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return "it is damaged, or another program's" if isinstance(error, json.JSONDecodeError) else str(error)
