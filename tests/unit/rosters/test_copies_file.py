"""The file of the copies survives a device that fills up within a line, and a line that is damaged."""

import errno
from collections.abc import Iterable
from pathlib import Path

import pytest
import trio
import trio.testing

from restbroker.console import private_file
from restbroker.rosters.service import copies_file
from restbroker.rosters.service.copies import Copies, Copy
from restbroker.rosters.service.copies_file import CopiesFile
from restbroker.telemetry.events import Event
from tests.support.wait import until_async


class Device:
    """Fills up: while it is full, an append leaves half a line, and no file is replaced."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.is_full, self.failed = False, 0
        self._append, self._replace = copies_file._append, private_file.replace  # noqa: SLF001
        patch.setattr(copies_file, "_append", self.append)
        patch.setattr(private_file, "replace", self.replace)

    def append(self, path: Path, lines: Iterable[bytes]) -> None:
        whole = b"".join(lines)
        if self.is_full:
            self._append(path, [whole[: len(whole) // 2]])
            self._fail()
        self._append(path, [whole])

    def replace(self, path: Path, pieces: Iterable[bytes]) -> None:
        if self.is_full:
            self._fail()
        self._replace(path, pieces)

    def _fail(self) -> None:
        self.failed += 1
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    """Where the file is."""
    return Device(monkeypatch)


def filled() -> Copies:
    """John's roster."""
    copies = Copies(1000.0, 1_000_000)
    copies.keep("john", Copy(b"{}", trio.current_time()))
    return copies


async def loaded(path: Path, told: list[Event]) -> Copies:
    """What a start finds in the file."""
    copies = Copies(1000.0, 1_000_000)
    async with trio.open_nursery() as nursery:
        await nursery.start(CopiesFile(path, copies, told.append).run)
        nursery.cancel_scope.cancel()
    return copies


async def test_a_line_that_a_full_device_tore_is_written_anew_once_there_is_space_though_nothing_else_changed(
    tmp_path: Path, device: Device
) -> None:
    path, told, copies = tmp_path / "copies", list[Event](), filled()
    async with trio.open_nursery() as nursery:
        await nursery.start(CopiesFile(path, copies, told.append, pause_s=0.01).run)
        await until_async(path.exists, "it is written")
        device.is_full = True
        copies.note_stale("john", trio.current_time())
        await until_async(lambda: device.failed >= 2, "half a line is there, and the file cannot be replaced")
        assert not path.read_bytes().endswith(b"\n")
        device.is_full = False
        await until_async(lambda: path.read_bytes().count(b"\n") == 3, "it is whole again")
        copies.note_stale("mary", trio.current_time())
        await until_async(lambda: path.read_bytes().count(b"\n") == 4, "she got a copy")
        nursery.cancel_scope.cancel()
    assert len(told) == 1
    found = await loaded(path, told)
    assert ([user for user, _ in found.all()], [*found.stale_answers]) == (["john"], ["john", "mary"])
    assert len(told) == 1


async def test_a_damaged_line_costs_no_other_copy_and_is_reported(
    tmp_path: Path,
) -> None:
    path, told, copies = tmp_path / "copies", list[Event](), filled()
    async with trio.open_nursery() as nursery:
        await nursery.start(CopiesFile(path, copies, told.append).run)
        nursery.cancel_scope.cancel()
    for damage in (
        b'["ann", 17["mary", 1700.0]\n',
        b"\xff\n",
        b"{}\n",
        b'["ann", 1' + b"0" * 400 + b"]\n",
        b"[" * 50_000 + b"\n",
    ):
        told.clear()
        before = path.read_bytes()
        path.write_bytes(before + damage + b'["eve", 1700000000.0]\n')
        found = await loaded(path, told)
        users = [user for user, _ in found.all()]
        assert (users, [*found.stale_answers], len(told)) == (["john"], ["eve"], 1), damage[:20]
        path.write_bytes(before)
