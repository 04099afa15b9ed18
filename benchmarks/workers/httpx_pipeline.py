"""The least that keeps jobs safe, on Trio with httpx: take a batch, send with N workers, settle a batch.

The same as aiohttp_pipeline.py, as far as the libraries allow: Redis is asked in a thread, since redis-py does not know
Trio.
"""

import json
import os
import sys
from functools import partial
from urllib.parse import quote

import httpx
import redis
import trio

TARGET = os.environ["BENCH_TARGET"]
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


async def work(client, waiting, done):
    async for raw in waiting:
        command, arguments, *_ = json.loads(raw)["args"]
        try:
            answer = await client.post(f"{TARGET}/{quote(command)}", json=arguments)
            answer.raise_for_status()
        except httpx.HTTPError as error:
            sys.stderr.write(f"{error}\n")
        else:
            await done.send(raw)


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


async def main():
    store = redis.Redis.from_url(os.environ["BENCH_REDIS"])
    put, waiting = trio.open_memory_channel(max(BATCH, CONCURRENCY))
    tell, done = trio.open_memory_channel(float("inf"))
    limits = httpx.Limits(max_connections=CONCURRENCY, max_keepalive_connections=CONCURRENCY)
    login = ("admin@example.org", "bench")
    async with httpx.AsyncClient(auth=login, limits=limits, timeout=10) as client, trio.open_nursery() as nursery:
        nursery.start_soon(fetch, store, put)
        nursery.start_soon(settle, store, done)
        for _ in range(CONCURRENCY):
            nursery.start_soon(work, client, waiting, tell)


if __name__ == "__main__":
    trio.run(main)
