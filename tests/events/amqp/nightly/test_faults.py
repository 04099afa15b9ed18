"""Whatever dies, each event that RabbitMQ confirmed becomes a job; what comes twice is bounded by the prefetch.

A real broker as a process, a real RabbitMQ and a real Redis; those that publish ask RabbitMQ to confirm each event, and
to refuse what no queue gets.
"""

import contextlib
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import attrs
import pika.exceptions
import pytest

from restbroker.store.client import Client
from tests.events.amqp.conftest import RABBIT_QUEUE, RECEIVED, chat, consumers
from tests.events.conftest import events_in, written
from tests.support.process import Stopwatch, started
from tests.support.rabbitmq import RabbitMQ, as_bytes
from tests.support.redis_server import RedisServer
from tests.support.tcp_proxy import TcpProxy
from tests.support.wait import until

PREFETCH = 200
PUBLISHERS = 12

Report = Callable[[str], None]


@attrs.define(eq=False)
class Publishers:
    """Publish until so many events are confirmed; what was not confirmed is not published again under its name."""

    rabbit: RabbitMQ
    wanted: int
    confirmed: list[str] = attrs.field(factory=list)
    failures: Counter[str] = attrs.field(factory=Counter)
    _ends: threading.Event = attrs.field(factory=threading.Event)
    _threads: list[threading.Thread] = attrs.field(factory=list)

    def __enter__(self) -> Self:
        for number in range(PUBLISHERS):
            self._threads.append(threading.Thread(target=self._publish, args=(f"p{number}",), daemon=True))
            self._threads[-1].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join(60)

    def reach(self, count: int) -> None:
        until(lambda: len(self.confirmed) >= count, f"{count} are confirmed", 600)

    def _publish(self, name: str) -> None:
        number = 0
        while not self._ends.is_set() and len(self.confirmed) < self.wanted:
            try:
                with self.rabbit.channel() as channel:
                    channel.confirm_delivery()
                    while not self._ends.is_set() and len(self.confirmed) < self.wanted:
                        number += 1
                        text = f"{name}-{number}"
                        channel.basic_publish("chat_msg", RECEIVED, as_bytes(chat(text)), mandatory=True)
                        self.confirmed.append(text)
            except (pika.exceptions.AMQPError, OSError) as error:
                self.failures[type(error).__name__] += 1
                time.sleep(0.05)


@pytest.fixture
def own_rabbit(tmp_path: Path) -> Iterator[RabbitMQ]:
    server = RabbitMQ(tmp_path / "rabbit").start()
    yield server
    server.kill()


def configure(place: Path, redis_port: int, url: str, **exchange: bool) -> None:
    options = {"URL": url, "RabbitQueue": RABBIT_QUEUE, "Prefetch": PREFETCH, "Exchanges": {"chat_msg": exchange}}
    source = {"Kind": "mongooseim-amqp", "Options": options}
    written(place, f"redis://127.0.0.1:{redis_port}/0", {"Sources": {"rabbit": source}})


def is_read(rabbit: RabbitMQ) -> None:
    def is_bound() -> bool:
        with contextlib.suppress(pika.exceptions.AMQPError):
            return consumers(rabbit) > 0
        return False

    until(is_bound, "the queue is read", 300)


def texts(store: Client) -> Counter[str]:
    return Counter(event["body"] for event in events_in(store))


def all_of(confirmed: list[str], store: Client, report: Report, what: str) -> int:
    """Waits until each has its job; how many jobs are there beyond one for each."""
    wanted = set(confirmed)
    until(lambda: wanted <= texts(store).keys(), "each confirmed event is a job", 300)
    found = texts(store)
    twice = sum(found.values()) - len(found)
    report(f"{what}: {len(wanted)} events confirmed, none lost, {twice} twice")
    return twice


def test_no_event_is_lost_while_rabbitmq_dies_and_redis_is_cut(
    own_rabbit: RabbitMQ, redis_server: RedisServer, store: Client, tmp_path: Path, report: Report
) -> None:
    with TcpProxy(redis_server.port) as proxy:
        configure(tmp_path, proxy.port, own_rabbit.url())
        with started(["run"], directory=tmp_path) as broker:
            is_read(own_rabbit)
            # RabbitMQ 3.10 does not always bring back a quorum queue that is killed within seconds of its birth.
            own_rabbit.restart()
            is_read(own_rabbit)
            with Publishers(own_rabbit, 10_000) as publishers:
                publishers.reach(2_000)
                own_rabbit.kill()
                own_rabbit.start()
                is_read(own_rabbit)
                publishers.reach(4_000)
                proxy.cut()
                time.sleep(5)
                proxy.mend()
                publishers.reach(6_000)
                own_rabbit.restart()
                is_read(own_rabbit)
                publishers.reach(8_000)
                own_rabbit.kill()
                own_rabbit.start()
                is_read(own_rabbit)
                publishers.reach(10_000)
            twice = all_of(publishers.confirmed, store, report, "RabbitMQ killed twice, restarted, Redis cut for 5 s")
            assert broker.stop() == 0
            output = broker.output()
    # Three connections ended under the events; what was not confirmed then came again.
    assert twice <= 3 * PREFETCH
    assert output.count("RabbitMQAway") >= 4
    assert output.count("RabbitMQBack") == 4
    assert "RabbitMQDiffers" not in output


def test_a_durable_exchange_keeps_events_for_a_later_broker(
    own_rabbit: RabbitMQ, redis_server: RedisServer, store: Client, tmp_path: Path
) -> None:
    configure(tmp_path, redis_server.port, own_rabbit.url(), Durable=True)
    with started(["run"], directory=tmp_path) as broker:
        is_read(own_rabbit)
        assert broker.stop() == 0
    # Not killed: a quorum queue that is some seconds old does not come back then (seen with 3.10.8).
    own_rabbit.stop()
    own_rabbit.start()

    def is_confirmed() -> bool:
        """Without `mandatory`, as MongooseIM publishes: what no queue is bound for is confirmed too."""
        with contextlib.suppress(pika.exceptions.NackError):  # the queue may not be back yet
            own_rabbit.publish("chat_msg", RECEIVED, chat("while nobody was there"))
            return True
        return False

    until(is_confirmed, "RabbitMQ takes an event")
    with started(["run"], directory=tmp_path) as broker:
        until(lambda: "while nobody was there" in texts(store), "it is a job", 300)
        assert broker.stop() == 0


def test_events_of_a_killed_broker_come_to_the_next(
    own_rabbit: RabbitMQ, redis_server: RedisServer, store: Client, tmp_path: Path, report: Report
) -> None:
    configure(tmp_path, redis_server.port, own_rabbit.url())
    kills = 3
    with Publishers(own_rabbit, 4_000) as publishers:
        for number in range(kills):
            with started(["run"], directory=tmp_path) as broker:
                publishers.reach(1_000 * (number + 1))
                broker.signal(signal.SIGKILL)
        with started(["run"], directory=tmp_path) as broker:
            publishers.reach(4_000)
            twice = all_of(publishers.confirmed, store, report, f"restbroker killed {kills} times")
            assert broker.stop() == 0
    assert twice <= kills * PREFETCH


def test_a_stop_is_soon_while_rabbitmq_accepts_and_says_nothing(redis_server: RedisServer, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        configure(tmp_path, redis_server.port, f"amqp://u:p@127.0.0.1:{silent.getsockname()[1]}")
        with started(["run"], directory=tmp_path) as broker:
            connection, _ = silent.accept()
            with connection:
                watch = Stopwatch.start(broker)
                broker.signal(signal.SIGTERM)
                # The handshake alone would take five; one that is open has a second to acknowledge.
                until(lambda: watch.took_s() > 1 or broker.process.poll() is not None, "it ends, or is late")
                assert broker.process.poll() == 0
