"""arq: asyncio, one process. `python arq_worker.py COUNT` enqueues; `arq arq_worker.WorkerSettings` works.

arq looks for jobs every 0.5 s and takes 100 at most by default, which alone makes 200 jobs/s; both are set here.
"""

import asyncio
import os
import sys

import aiohttp
from arq import create_pool
from arq.connections import RedisSettings

TARGET = os.environ["BENCH_TARGET"]
CONCURRENCY = int(os.environ["BENCH_CONCURRENCY"])
REDIS = RedisSettings.from_dsn(os.environ["BENCH_REDIS"])


async def open_session(ctx):
    ctx["http"] = aiohttp.ClientSession(
        auth=aiohttp.BasicAuth("admin@example.org", "bench"), connector=aiohttp.TCPConnector(limit=CONCURRENCY)
    )


async def close_session(ctx):
    await ctx["http"].close()


async def call(ctx, command, arguments):
    async with ctx["http"].post(f"{TARGET}/{command}", json=arguments) as answer:
        answer.raise_for_status()
        await answer.read()


class WorkerSettings:
    functions = [call]
    redis_settings = REDIS
    on_startup = open_session
    on_shutdown = close_session
    max_jobs = CONCURRENCY
    poll_delay = 0.01
    queue_read_limit = 1000
    keep_result = 0


async def enqueue(count):
    pool = await create_pool(REDIS)
    for number in range(count):
        status = "hello " * 20
        await pool.enqueue_job(
            "call", "set_presence", {"user": "john", "host": "example.org", "status": status, "n": number}
        )


if __name__ == "__main__":
    asyncio.run(enqueue(int(sys.argv[1])))
