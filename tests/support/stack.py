"""A stack with little room left."""

import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def little_room(frames: int) -> Iterator[None]:
    """So many calls within each other are possible from here, and no more."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + frames)
    try:
        yield
    finally:
        sys.setrecursionlimit(before)
