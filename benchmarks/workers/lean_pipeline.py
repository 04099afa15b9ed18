"""The same as httpx_pipeline.py with restbroker's own HTTP client: what the broker around the client costs.

It promises no more than the others: no token, no gate, no retries, no counts, nothing of an answer but its status.
"""

import base64
import json
import os
import sys
from functools import partial
from urllib.parse import quote, urlsplit

import redis
import trio

from restbroker.config.target import Target, Url
from restbroker.transport.client import open_transport
from restbroker.transport.errors import MaybeSent, NotSent
from restbroker.transport.message import Request

TARGET = urlsplit(os.environ["BENCH_TARGET"])
LOGIN = "Basic " + base64.b64encode(b"admin@example.org:bench").decode()
HEADERS = (("Content-Type", "application/json"), ("Authorization", LOGIN))
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
        body = json.dumps(arguments).encode()
        request = Request("POST", f"{TARGET.path}/{quote(command)}", 10.0, headers=HEADERS, body=body)
        try:
            answer = await client.send(request)
        except (NotSent, MaybeSent) as error:
            sys.stderr.write(f"{error}\n")
        else:
            if answer.status == 200:
                await done.send(raw)
            else:
                sys.stderr.write(f"status {answer.status}\n")


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
    url = Url("http", str(TARGET.hostname), TARGET.port)
    client = open_transport(Target("t", "ejabberd", url, ("rest",), concurrency=CONCURRENCY))
    async with trio.open_nursery() as nursery:
        await nursery.start(client.run)
        nursery.start_soon(fetch, store, put)
        nursery.start_soon(settle, store, done)
        for _ in range(CONCURRENCY):
            nursery.start_soon(work, client, waiting, tell)


if __name__ == "__main__":
    trio.run(main)
