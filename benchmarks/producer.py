"""Pushes jobs at a given rate, whatever becomes of them: `python -m benchmarks.producer REDIS QUEUE RATE COUNT`.

Each job carries the moment of its pushing, in µs. Rate 0: single jobs with pauses of 10 to 30 ms. The scenario
`latency` runs it; workers/bullmq_producer.mjs does the same for BullMQ. The queue `default` gets jobs as Sidekiq's
worker wants them, others as restbroker does.

Always holds: an open loop: a slow worker does not slow it down. What is due is looked for every millisecond.
"""

import random
import sys
import time
from typing import Final

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from benchmarks.peers import ARGUMENTS, COMMAND, TOKEN, payload

_PAUSE_S: Final = (0.010, 0.030)
_TICK_S: Final = 0.001


def main() -> None:
    """Ends when all are pushed."""
    url, queue, rate, count = sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
    store = redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0))
    store.sadd("queues", queue)
    began_s, pushed = time.monotonic(), 0
    while pushed < count:
        if rate:
            time.sleep(_TICK_S)
            due = min(count, int((time.monotonic() - began_s) * rate)) - pushed
        else:
            time.sleep(random.uniform(*_PAUSE_S))  # noqa: S311 — spreads moments, protects nothing
            due = 1
        if due:
            store.lpush(f"queue:{queue}", *(_job(queue) for _ in range(due)))
        pushed += due


def _job(queue: str) -> bytes:
    arguments = {**ARGUMENTS, "n": time.time_ns() // 1000}
    if queue == "default":
        return payload((COMMAND, arguments), queue=queue, work="Call")
    return payload((COMMAND, arguments, TOKEN), queue=queue)


if __name__ == "__main__":
    main()
