"""How many events a second one process brings from RabbitMQ into Redis: `make bench-amqp`. Prints a table; no test.

Messages wait in the queue of a real RabbitMQ; then `restbroker run` begins to read. Time is from the first job in Redis
to the last, CPU time that of the broker meanwhile.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import attrs
import redis

from tests.support.bench import cpu_s
from tests.support.process import started
from tests.support.rabbitmq import RabbitMQ
from tests.support.redis_server import RedisServer, redis_binary
from tests.support.wait import until

QUEUE = "xmpp_events"
SOURCE = {"Kind": "mongooseim-amqp", "Queue": QUEUE, "Class": "XmppEvent"}
KEY = "bob@localhost.chat_msg_recv"


@attrs.frozen
class Figures:
    """Of one run."""

    events: int
    took_s: float
    broker_s: float

    def __str__(self) -> str:
        rate, cost_us = self.events / self.took_s, self.broker_s / self.events * 1_000_000
        return f"{self.events:>8} {self.took_s:>8.2f} {rate:>10.0f} {cost_us:>12.0f}"


def measure(place: Path, rabbit: RabbitMQ, server: RedisServer, events: int, prefetch: int) -> Figures:
    """One run, with a queue of its own."""
    name = f"bench-{prefetch}"
    options = {"URL": rabbit.url(), "Prefetch": prefetch, "RabbitQueue": name}
    document = {
        "RedisURL": server.url,
        "RestURL": "http://127.0.0.1:1/api",
        "RestQueue": "rest",
        "Token": "t",
        "Events": {"Sources": {"rabbit": {**SOURCE, "Options": options}}},
    }
    place.mkdir(parents=True, exist_ok=True)
    (place / "env.json").write_text(json.dumps(document))
    line = redis.Redis(port=server.port)
    line.delete(f"queue:{QUEUE}")
    rabbit.declare("chat_msg")
    with rabbit.channel() as channel:
        channel.queue_declare(name, durable=True, arguments={"x-queue-type": "quorum"})
        channel.queue_bind(name, "chat_msg", "#.chat_msg_recv")
    body = {"from_user_id": "alice@localhost/PC", "to_user_id": "bob@localhost"}
    rabbit.fill("chat_msg", ((KEY, {**body, "message": f"hello {n}"}) for n in range(events)), confirm=False)
    until(lambda: rabbit.depth(name) == events, "all wait", 120)

    def came() -> int:
        found = line.llen(f"queue:{QUEUE}")
        assert isinstance(found, int)
        return found

    with started(["run"], directory=place) as broker:
        while not came():
            time.sleep(0.001)
        began_s, first, used_s = time.monotonic(), came(), cpu_s(broker.process.pid)
        while (count := came()) < events:
            time.sleep(0.01)
        figures = Figures(count - first, time.monotonic() - began_s, cpu_s(broker.process.pid) - used_s)
        broker.stop()
    with rabbit.channel() as channel:
        channel.queue_delete(name)
    return figures


def main() -> None:
    """Two runs for each prefetch, one after the other."""
    parser = argparse.ArgumentParser(description="Measures the way from RabbitMQ into Redis.")
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--prefetch", type=int, nargs="*", default=[100, 400, 1000])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rabbit = RabbitMQ(Path(folder) / "rabbit")
        server = RedisServer(redis_binary(), Path(folder) / "redis", {"save": ""})
        try:
            rabbit.start()
            server.start()
            sys.stdout.write("prefetch   events  seconds   events/s  CPU µs/event\n")
            for prefetch in given.prefetch * 2:
                found = measure(Path(folder) / "broker", rabbit, server, given.events, prefetch)
                sys.stdout.write(f"{prefetch:>8} {found}\n")
                sys.stdout.flush()
        finally:
            rabbit.kill()
            server.close()


if __name__ == "__main__":
    main()
