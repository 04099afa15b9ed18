"""Waiting for something to become true, with a deadline. For what offers no event to wait on.

The deadlines are for what never happens: a busy machine may take many times as long as an idle one. Where it is the
claim that something happens soon, its test gives a deadline of its own.
"""

import time
from collections.abc import Callable
from typing import TypeVar

import trio

T = TypeVar("T")
_PAUSE_S = 0.01
NEVER_S = 180.0


def until(question: Callable[[], T], what: str, timeout_s: float = NEVER_S) -> T:
    """The first true answer to `question`; raises AssertionError naming `what` after `timeout_s` seconds."""
    deadline_s = time.monotonic() + timeout_s
    while not (answer := question()):
        if time.monotonic() > deadline_s:
            raise AssertionError(f"In {timeout_s:g} s this did not happen: {what}")
        time.sleep(_PAUSE_S)
    return answer


async def until_async(question: Callable[[], T], what: str, timeout_s: float = NEVER_S) -> T:
    """As `until`, inside Trio, whatever its clock; `question` itself must not block. Cancelling ends the wait."""
    deadline_s = time.monotonic() + timeout_s
    while not (answer := question()):
        if time.monotonic() > deadline_s:
            raise AssertionError(f"In {timeout_s:g} s this did not happen: {what}")
        await trio.sleep(_PAUSE_S)
    return answer
