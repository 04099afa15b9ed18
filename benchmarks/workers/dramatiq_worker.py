"""dramatiq: threads, one process. `python dramatiq_worker.py COUNT` enqueues; `dramatiq dramatiq_worker` works."""

import os
import sys
import threading

import dramatiq
import requests
from dramatiq.brokers.redis import RedisBroker

TARGET = os.environ["BENCH_TARGET"]
dramatiq.set_broker(RedisBroker(url=os.environ["BENCH_REDIS"]))
local = threading.local()


def session():
    if not hasattr(local, "session"):
        local.session = requests.Session()
        local.session.auth = ("admin@example.org", "bench")
    return local.session


@dramatiq.actor
def call(command, arguments):
    session().post(f"{TARGET}/{command}", json=arguments, timeout=10).raise_for_status()


if __name__ == "__main__":
    for number in range(int(sys.argv[1])):
        status = "hello " * 20
        call.send("set_presence", {"user": "john", "host": "example.org", "status": status, "n": number})
