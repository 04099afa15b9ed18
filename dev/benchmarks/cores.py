"""Which core each process has: the candidate the last one; its server, Redis and the producers the others.

With a single core nothing is pinned.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_CORES: Final = sorted(os.sched_getaffinity(0))


def leave_one() -> None:
    """Keep this process, and what it starts, off the candidate's core."""
    if len(_CORES) > 1:
        os.sched_setaffinity(0, _CORES[:-1])


def pinned(command: Sequence[str], *, is_group: bool = False) -> list[str]:
    """Return the command of a candidate: one process has the last core, a group shares all with its server."""
    wanted = _CORES if is_group else _CORES[-1:]
    return ["taskset", "-c", ",".join(map(str, wanted)), *command] if len(_CORES) > 1 else [*command]


@contextmanager
def on_last() -> Iterator[None]:
    """Give what is started in this block the candidate's core, without a program between."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, _CORES[-1:])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def first_alone(redis_pid: int) -> Iterator[None]:
    """Give what is started in this block the first core to itself: Redis goes to the next one."""
    if len(_CORES) == 1:
        yield
        return
    before = os.sched_getaffinity(0)
    _move(redis_pid, _CORES[1:2])
    os.sched_setaffinity(0, _CORES[:1])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
        _move(redis_pid, before)


def _move(pid: int, cores: Sequence[int] | set[int]) -> None:
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), cores)
