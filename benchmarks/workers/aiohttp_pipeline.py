"""The least that keeps jobs safe, on asyncio: take a batch, send with N workers, settle a batch.

Serves the queue that restbroker serves, with its jobs. A script moves jobs into a list of jobs in progress, another
removes those that are done; what fails stays in that list. No token is checked, nothing is counted or retried.
"""

import asyncio
import json
import os
import sys
from urllib.parse import quote

import aiohttp
import redis.asyncio as redis

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
        jobs = await take(["queue:rest", "progress"], [BATCH])
        for job in jobs:
            await waiting.put(job)
        if not jobs:
            await asyncio.sleep(0.05)


async def work(session, waiting, done):
    while True:
        raw = await waiting.get()
        command, arguments, *_ = json.loads(raw)["args"]
        try:
            async with session.post(f"{TARGET}/{quote(command)}", json=arguments) as answer:
                answer.raise_for_status()
                await answer.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            sys.stderr.write(f"{error}\n")
        else:
            done.put_nowait(raw)


async def settle(store, done):
    finish = store.register_script(FINISH)
    while True:
        jobs = [await done.get()]
        while not done.empty() and len(jobs) < BATCH:
            jobs.append(done.get_nowait())
        await finish(["progress"], jobs)


async def main():
    store = redis.Redis.from_url(os.environ["BENCH_REDIS"])
    waiting, done = asyncio.Queue(max(BATCH, CONCURRENCY)), asyncio.Queue()
    connector = aiohttp.TCPConnector(limit=CONCURRENCY)
    timeout = aiohttp.ClientTimeout(total=10)
    login = aiohttp.BasicAuth("admin@example.org", "bench")
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, auth=login) as session:
        workers = [work(session, waiting, done) for _ in range(CONCURRENCY)]
        await asyncio.gather(fetch(store, waiting), settle(store, done), *workers)


if __name__ == "__main__":
    asyncio.run(main())
