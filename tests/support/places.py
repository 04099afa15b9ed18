"""A place of an adaptive semaphore for a task of a test, which may wait for it."""

import trio

from restbroker.broker.breaker import AdaptiveSemaphore


async def enter(semaphore: AdaptiveSemaphore) -> None:
    """Wait for a place, behind all that wait already."""
    came = trio.Event()

    if semaphore.try_enter():
        return
    semaphore.line.append(came.set)
    await came.wait()
