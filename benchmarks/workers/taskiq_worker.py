"""taskiq: asyncio, one process.

`python taskiq_worker.py COUNT` enqueues; `taskiq worker taskiq_worker:broker` works.
"""

import asyncio
import os
import sys

import aiohttp
from taskiq import TaskiqEvents
from taskiq_redis import ListQueueBroker

TARGET = os.environ["BENCH_TARGET"]
broker = ListQueueBroker(os.environ["BENCH_REDIS"])


@broker.on_event(TaskiqEvents.WORKER_STARTUP)
async def open_session(state):
    state.http = aiohttp.ClientSession(auth=aiohttp.BasicAuth("admin@example.org", "bench"))


@broker.on_event(TaskiqEvents.WORKER_SHUTDOWN)
async def close_session(state):
    await state.http.close()


@broker.task(task_name="call")
async def call(command, arguments):
    async with broker.state.http.post(f"{TARGET}/{command}", json=arguments) as answer:
        answer.raise_for_status()
        await answer.read()


async def enqueue(count):
    await broker.startup()
    for number in range(count):
        status = "hello " * 20
        await call.kiq("set_presence", {"user": "john", "host": "example.org", "status": status, "n": number})
    await broker.shutdown()


if __name__ == "__main__":
    asyncio.run(enqueue(int(sys.argv[1])))
