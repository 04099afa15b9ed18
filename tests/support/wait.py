"""Waiting for something to become true, with a deadline. For what offers no event to wait on.

The deadlines are for what never happens: a busy machine may take many times as long as an idle one. Where it is the
claim that something happens soon, its test gives a deadline of its own.
"""

import time
import warnings
from collections.abc import Callable
from typing import TypeVar

import trio

T = TypeVar("T")
_PAUSE_S = 0.01
NEVER_S = 180.0
CRASHED_S = 300.0
"""A job that was in progress in five crashes waits almost so long."""
_LATE_S = 5.0
"""What comes later than that on an idle machine has come by another way than the test means."""


def until(question: Callable[[], T], what: str, timeout_s: float = NEVER_S) -> T:
    """The first true answer to `question`; raises AssertionError naming `what` after `timeout_s` seconds."""
    deadline_s = time.monotonic() + timeout_s
    while not (answer := question()):
        if time.monotonic() > deadline_s:
            raise AssertionError(f"In {timeout_s:g} s this did not happen: {what}")
        time.sleep(_PAUSE_S)
    _warn_if_late(deadline_s, what, timeout_s)
    return answer


async def until_async(question: Callable[[], T], what: str, timeout_s: float = NEVER_S) -> T:
    """As `until`, inside Trio, whatever its clock; `question` itself must not block. Cancelling ends the wait."""
    deadline_s = time.monotonic() + timeout_s
    while not (answer := question()):
        if time.monotonic() > deadline_s:
            raise AssertionError(f"In {timeout_s:g} s this did not happen: {what}")
        await trio.sleep(_PAUSE_S)
    _warn_if_late(deadline_s, what, timeout_s)
    return answer


def _warn_if_late(deadline_s: float, what: str, timeout_s: float) -> None:
    """Warn of a long wait, unless its test gave it a deadline. pytest prints it at the end and fails nothing."""
    took_s = time.monotonic() - deadline_s + timeout_s
    if timeout_s == NEVER_S and took_s > _LATE_S:
        warnings.warn(f"Late: only after {took_s:.0f} s did this happen: {what}", stacklevel=3)
