"""Pushes jobs: `python -m dev.benchmarks.producer REDIS COUNT RATE QUEUES KEYS JOB`; rate 0 is as fast as it can.

JOB is a job's JSON: @JID@, @QUEUE@ and @KEY@ in it become its id, its queue (in turn) and one of KEYS users (in turn),
and @NOW@ the moment of its push in µs. At a rate, a slow worker does not slow the producer down.
"""

import secrets
import sys
import time
from typing import Final

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

_TICK_S: Final = 0.001
_BATCH: Final = 1000


def main() -> None:
    """Return when all are pushed."""
    url, count, rate, queues, keys, job = sys.argv[1:]
    store, total, names = redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0)), int(count), queues.split(",")
    store.sadd("queues", *names)
    began_s, pushed = time.monotonic(), 0
    while pushed < total:
        due = min(total, pushed + _BATCH)
        if int(rate):
            time.sleep(_TICK_S)
            due = min(due, int((time.monotonic() - began_s) * int(rate)))
        line = store.pipeline(transaction=False)
        for number in range(pushed, due):
            queue = names[number % len(names)]
            line.lpush(f"queue:{queue}", _filled(job, number, queue, int(keys)))
        line.execute()
        pushed = due


def _filled(job: str, number: int, queue: str, keys: int) -> str:
    now_us = str(time.time_ns() // 1000)
    known = {"@JID@": secrets.token_hex(12), "@QUEUE@": queue, "@KEY@": str(number % keys), "@NOW@": now_us}
    for name, value in known.items():
        job = job.replace(name, value)
    return job


if __name__ == "__main__":
    main()
