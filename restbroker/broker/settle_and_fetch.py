"""The fetcher's way to Redis: it takes along what is finished, since a round trip costs more than what it carries.

Only the fetcher calls it. Always holds: what is taken along has been noted or is back in `WorkerPool.finished` when
this ends, however it ends; the committer then goes on with it as if nothing had happened.
"""

import time

from restbroker.broker.acker import finish_request, note, note_asked
from restbroker.broker.job_in_progress import JobInProgress
from restbroker.broker.worker_pool import WorkerPool
from restbroker.errors import StoreRefused, StoreUnavailable
from restbroker.store import jobs


async def own_turn(pool: WorkerPool) -> None:
    """Wait for the pool's turn, and take it.

    Trio's own way lets all other tasks run first, also when the turn is free. What they finish meanwhile makes a group
    larger; a pool that has nothing in progress is spared that.
    """
    if pool.in_hand or pool.turn.locked():
        await pool.turn.acquire()
    else:
        pool.turn.acquire_nowait()


async def fetch(pool: WorkerPool, wanted: jobs.FetchRequest) -> jobs.FetchAnswer:
    """Fetch jobs, and settle finished ones in the same round trip; raise what `jobs.fetch` raises.

    The caller has the pool's turn. Safe to cancel: what was not settled is back in `WorkerPool.finished`.
    """
    items = _taken_along(pool)
    if not items:
        return await pool.store.fetch(wanted)
    finished = finish_request(pool, items)
    unsettled = items
    try:
        codes, got = await pool.store.exchange(finished, time.time(), wanted)
        if not isinstance(codes, StoreRefused):
            pool.told(finished.hwm, wanted.base)
            unsettled = note(pool, items, codes, pool.refused)
    except StoreUnavailable:
        note_asked(items)
        raise
    finally:
        pool.finished.put_back(unsettled)
    if isinstance(got, StoreRefused):
        raise got
    return got


def _taken_along(pool: WorkerPool) -> list[JobInProgress]:
    """Take what is finished, except jobs whose crashes are counted: only the committer ends such a count."""
    items = pool.finished.take()
    if not pool.recovered:
        return items
    pool.finished.put_back([item for item in items if item.recovered is not None])
    return [item for item in items if item.recovered is None]
