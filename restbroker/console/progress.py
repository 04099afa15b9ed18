"""How far long work is: a bar with per cent and time left on a terminal, and nothing elsewhere.

Used by the commands that act on many jobs, rows or rosters, and by `verify`. Always holds: it is on stderr, begins
after a second, stays below what is printed meanwhile, and is gone when the work ends; without a known total it has
neither per cent nor time left.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from rich.progress import Progress

    from restbroker.store.client import Client

_QUIET_S: Final = 1.0


ShowProgress: TypeAlias = Callable[[int, int | None, str], None]
"""Shows how much is done, of how much (None: unknown), and words besides; call it as often as you like."""


@contextmanager
def progress(client: "Client | None" = None) -> Iterator[ShowProgress]:
    """Show how far the work of the block is, as it says itself, and as this client's walks through sets tell."""
    began_s, bar = time.monotonic(), None
    with ExitStack() as stack:

        def show(done: int, total: int | None, words: str) -> None:
            nonlocal bar
            if bar is None and sys.stderr.isatty() and time.monotonic() - began_s >= _QUIET_S:
                bar = stack.enter_context(_bar())
            if bar is not None:
                left = "" if total is None else "left  "
                bar.update(bar.task_ids[0], completed=done, total=total, words=f"{left}{words}")

        if client is not None:
            stack.callback(setattr, client, "tell", client.tell)
            client.tell = show
        yield show


def _bar() -> "Progress":
    from rich.console import Console  # slow to import, and of no use in a pipe
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    # Data may go into a file meanwhile: only messages have to stand above the bar.
    columns = BarColumn(), TaskProgressColumn(), TimeRemainingColumn(compact=True), TextColumn("{task.fields[words]}")
    bar = Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False)
    bar.add_task("", total=None, words="")
    return bar
