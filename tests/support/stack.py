"""A stack with little room left."""

import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def little_room(frames: int) -> Iterator[None]:
    """Leave exactly this number of nested calls possible from here."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + frames)
    try:
        yield
    finally:
        sys.setrecursionlimit(before)
