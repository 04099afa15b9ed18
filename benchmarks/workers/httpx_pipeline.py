"""The least that keeps jobs safe, on Trio with httpx: take a batch, send with N workers, settle a batch.

The same as aiohttp_pipeline.py, as far as the libraries allow: Redis is asked in a thread, since redis-py does not know
Trio.
"""

import json
import os
import sys
from urllib.parse import quote

import httpx
import trio
from trio_pipeline import CONCURRENCY, run

TARGET = os.environ["BENCH_TARGET"]


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


async def main():
    limits = httpx.Limits(max_connections=CONCURRENCY, max_keepalive_connections=CONCURRENCY)
    login = ("admin@example.org", "bench")
    async with httpx.AsyncClient(auth=login, limits=limits, timeout=10) as client, trio.open_nursery() as nursery:
        run(nursery, work, client)


if __name__ == "__main__":
    trio.run(main)
