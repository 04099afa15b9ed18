"""Keeps the copies of rosters in a file, so that a restart while Redis is away keeps logins going. A service.

Who got a copy is appended at once, also if the process is killed then: they are refreshed when Redis is back.

`app.roster_service` makes it where `CopiesFile` is set. Always holds: only its owner can read the file, and it is
whole, or rewritten as soon as that works; a file that cannot be read or written is reported, and serving goes on
without it, and without a line that is damaged; a copy is never younger in the
file than it was in memory, even if a clock is set.
"""

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Final, TypeAlias

import attrs
import trio

from restbroker.console import private_file
from restbroker.rosters.service.copies import Copies, Copy, StaleAnswer
from restbroker.telemetry.events import OperatorWarning, Report

_HEAD: Final = b'{"restbroker":"copies of rosters","version":1}\n'
_PAUSE_S: Final = 60.0
_HINT: Final = "Check CopiesFile of Roster: the folder, its rights and its free space. Rosters are served without it."


@attrs.define(eq=False)
class CopiesFile:
    """The file of the copies. `pause_s`: how often it is rewritten at most, if there are new copies, in seconds.

    It is also rewritten at the end.
    """

    path: Path
    copies: Copies
    report: Report
    pause_s: float = _PAUSE_S
    _written: int = 0
    _is_failing: bool = False
    _is_ours: bool = False
    """Whether what is there may be appended to."""
    _is_torn: bool = False
    """Whether an append may have left half a line, so that the file is to be rewritten."""
    _noted: frozenset[str] = frozenset()
    """The users in it who got a copy."""
    _writing: trio.Lock = attrs.field(factory=trio.Lock)

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Read the file, then write it until cancelled; a write that has begun is finished first."""
        await self._load()
        task_status.started()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._note_stale)
                while True:
                    await trio.sleep(self.pause_s)
                    await self._save()
        finally:
            with trio.CancelScope(shield=True):
                await self._save()

    async def _load(self) -> None:
        try:
            found, is_whole, damaged = await trio.to_thread.run_sync(_read, self.path)
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            self._warn(f"The copies of rosters in {self.path} cannot be read: {_why(error)}.")
            return
        if damaged:
            lines = "a line" if damaged == 1 else f"{damaged} lines"
            self._warn(f"restbroker uses the copies of rosters in {self.path}, but not {lines} that cannot be read.")
        now_s, now_at = trio.current_time(), time.time()
        for user, body, read_at in found:
            read_s = now_s - max(0.0, now_at - read_at)
            if body is None:
                self.copies.note_stale(user, read_s)
            else:
                self.copies.keep(user, Copy(body, read_s))
        self._written, self._noted, self._is_ours = self.copies.changes, frozenset(self.copies.stale_answers), is_whole

    async def _note_stale(self) -> None:
        while True:
            await self.copies.has_new_answer.wait()
            self.copies.has_new_answer = trio.Event()
            if not (self._is_ours and await self._append()):
                await self._save(always=True)

    async def _append(self) -> bool:
        """Append who got a copy and is not in the file yet; return whether that worked."""
        async with self._writing:
            new = {user: given for user, given in self.copies.stale_answers.items() if user not in self._noted}
            try:
                await trio.to_thread.run_sync(_append, self.path, list(_stale_lines(new, _offset_s())))
            except OSError:
                # A part of it may be there: what is appended behind half a line would be lost with it.
                self._is_ours, self._is_torn = False, True
                return False
            self._noted |= new.keys()
            return True

    async def _save(self, *, always: bool = False) -> None:
        async with self._writing:
            changes, given = self.copies.changes, dict(self.copies.stale_answers)
            if changes == self._written and not (always or self._is_torn):
                return
            pieces = chain(_lines(self.copies.all(), _offset_s()), _stale_lines(given, _offset_s()))
            try:
                await trio.to_thread.run_sync(private_file.replace, self.path, pieces)
            except OSError as error:
                if not self._is_failing:
                    self._warn(f"The copies of rosters cannot be written to {self.path}: {_why(error)}.")
                self._is_failing = True
            else:
                self._written, self._noted, self._is_failing = changes, frozenset(given), False
                self._is_ours, self._is_torn = True, False

    def _warn(self, message: str) -> None:
        self.report(OperatorWarning("RosterCopies", message, _HINT))


def _offset_s() -> float:
    """Return the difference of both clocks now: a step of the wall clock in between would make a copy younger."""
    return time.time() - trio.current_time()


def _append(path: Path, lines: Iterable[bytes]) -> None:
    """Append to the file, and never create it; raise `OSError`."""
    with path.open("r+b") as file:
        file.seek(0, os.SEEK_END)
        file.writelines(lines)


def _stale_lines(given: Mapping[str, StaleAnswer], offset_s: float) -> Iterator[bytes]:
    for user, one in given.items():
        yield _row(user, round(one.read_s + offset_s, 3))


def _lines(copies: Sequence[tuple[str, Copy]], offset_s: float) -> Iterator[bytes]:
    """Yield the lines of the file; called in the thread that writes it."""
    yield _HEAD
    for user, copy in copies:
        yield _row(user, round(copy.read_s + offset_s, 3), copy.body.decode())


def _row(*values: str | float) -> bytes:
    return json.dumps(values, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"


_Found: TypeAlias = tuple[str, bytes | None, float]


def _read(path: Path) -> tuple[list[_Found], bool, int]:
    """Return (user, body, when it was read), whether more may be appended, and how many lines within are damaged.

    No body: the user got a copy. Raise `OSError`, or `ValueError` for another file.
    """
    found: list[_Found] = []
    damaged = 0
    with path.open("rb") as file:
        if file.readline(200) != _HEAD:
            raise ValueError("it is not a file of this version")
        for line in file:
            if not line.endswith(b"\n"):
                return found, False, damaged  # a crash cut off what was appended
            if (row := _row_in(line)) is None:
                damaged += 1
            else:
                found.append(row)
    return found, not damaged, damaged


def _row_in(line: bytes) -> _Found | None:
    """Return what `_row` wrote; None if the line is damaged."""
    try:
        match json.loads(line.decode("utf-8", "surrogatepass")):
            case [str(user), float() | int() as read_at, str(body)]:
                return user, body.encode(), float(read_at)
            case [str(user), float() | int() as read_at]:
                return user, None, float(read_at)
            case _:
                return None
    except (ValueError, OverflowError, RecursionError):
        return None


def _why(error: OSError | ValueError) -> str:
    return error.strerror or type(error).__name__ if isinstance(error, OSError) else str(error)
