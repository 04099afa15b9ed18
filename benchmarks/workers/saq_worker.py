"""SAQ: asyncio, one process. `python saq_worker.py COUNT` enqueues; `saq saq_worker.settings` works."""

import asyncio
import os
import sys

import aiohttp
from saq import Queue

TARGET = os.environ["BENCH_TARGET"]
CONCURRENCY = int(os.environ["BENCH_CONCURRENCY"])
queue = Queue.from_url(os.environ["BENCH_REDIS"])


async def open_session(ctx):
    ctx["http"] = aiohttp.ClientSession(auth=aiohttp.BasicAuth("admin@example.org", "bench"))


async def close_session(ctx):
    await ctx["http"].close()


async def call(ctx, *, command, arguments):
    async with ctx["http"].post(f"{TARGET}/{command}", json=arguments) as answer:
        answer.raise_for_status()
        await answer.read()


settings = {
    "queue": queue,
    "functions": [call],
    "concurrency": CONCURRENCY,
    "startup": open_session,
    "shutdown": close_session,
}


async def enqueue(count):
    await queue.connect()
    for number in range(count):
        status = "hello " * 20
        arguments = {"user": "john", "host": "example.org", "status": status, "n": number}
        await queue.enqueue("call", command="set_presence", arguments=arguments, ttl=-1)
    await queue.disconnect()


if __name__ == "__main__":
    asyncio.run(enqueue(int(sys.argv[1])))
