"""RQ: a forked process per job. `python rq_worker.py COUNT` enqueues; `rq worker` works."""

import os
import sys

import requests
from redis import Redis
from rq import Queue

TARGET = os.environ["BENCH_TARGET"]


def call(command, arguments):
    answer = requests.post(f"{TARGET}/{command}", json=arguments, auth=("admin@example.org", "bench"), timeout=10)
    answer.raise_for_status()


if __name__ == "__main__":
    queue = Queue(connection=Redis.from_url(os.environ["BENCH_REDIS"]))
    for number in range(int(sys.argv[1])):
        status = "hello " * 20
        arguments = {"user": "john", "host": "example.org", "status": status, "n": number}
        queue.enqueue("rq_worker.call", "set_presence", arguments, result_ttl=0)
