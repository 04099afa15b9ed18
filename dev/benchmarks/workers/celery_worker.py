"""Celery: threads, one process. `python celery_worker.py COUNT RATE` enqueues, `celery … worker` works.

Rate 0: all at once.
"""

import os
import sys
import threading
import time

import requests
from celery import Celery

TARGET = os.environ["BENCH_TARGET"]
app = Celery("bench", broker=os.environ["BENCH_REDIS"])
app.conf.update(task_ignore_result=True, task_acks_late=True)
local = threading.local()


def session():
    if not hasattr(local, "session"):
        local.session = requests.Session()
        local.session.auth = ("admin@example.org", "bench")
    return local.session


@app.task
def call(command, arguments):
    session().post(f"{TARGET}/{command}", json=arguments, timeout=10).raise_for_status()


if __name__ == "__main__":
    count, rate = map(int, sys.argv[1:])
    began_s = time.monotonic()
    for number in range(count):
        if rate:
            time.sleep(max(0, began_s + number / rate - time.monotonic()))
        arguments = {"user": "john", "host": "example.org", "status": "hello " * 20, "n": time.time_ns() // 1000}
        # By name, as the worker knows it: here the module is called __main__.
        app.send_task("celery_worker.call", ["set_presence", arguments])
