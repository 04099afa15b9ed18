"""What httpx_pipeline.py and lean_pipeline.py share: take a batch, hand it to N workers, settle a batch; on Trio.

Redis is asked in a thread, since redis-py does not know Trio.
"""

import os
from functools import partial

import redis
import trio

CONCURRENCY = int(os.environ["BENCH_CONCURRENCY"])
BATCH = 100
FETCH = """
local jobs = redis.call('RPOP', KEYS[1], ARGV[1])
if not jobs then return {} end
redis.call('LPUSH', KEYS[2], unpack(jobs))
return jobs
"""
FINISH = "for _, job in ipairs(ARGV) do redis.call('LREM', KEYS[1], -1, job) end"


async def fetch(store, waiting):
    take = store.register_script(FETCH)
    while True:
        jobs = await trio.to_thread.run_sync(take, ["queue:rest", "progress"], [BATCH])
        for job in jobs:
            await waiting.send(job)
        if not jobs:
            await trio.sleep(0.05)


async def settle(store, done):
    finish = store.register_script(FINISH)
    async for job in done:
        jobs = [job]
        try:
            while len(jobs) < BATCH:
                jobs.append(done.receive_nowait())
        except trio.WouldBlock:
            pass
        await trio.to_thread.run_sync(partial(finish, ["progress"], jobs))


def run(nursery, work, client):
    """Starts everything: `work` takes jobs from its second argument and tells the third which are done."""
    store = redis.Redis.from_url(os.environ["BENCH_REDIS"])
    put, waiting = trio.open_memory_channel(max(BATCH, CONCURRENCY))
    tell, done = trio.open_memory_channel(float("inf"))
    nursery.start_soon(fetch, store, put)
    nursery.start_soon(settle, store, done)
    for _ in range(CONCURRENCY):
        nursery.start_soon(work, client, waiting, tell)
