"""`restbroker run` reads from RabbitMQ, alone and as a group, ends soon, and shows no password and no text."""

import json
import signal
import socket
from pathlib import Path
from typing import Any

from restbroker.store.client import Client
from tests.events.amqp.conftest import RABBIT_QUEUE, RECEIVED, chat, consumers
from tests.events.conftest import jobs_in, written
from tests.support.html_page import parse
from tests.support.pages import page
from tests.support.process import Stopwatch, run, started
from tests.support.rabbitmq import RabbitMQ
from tests.support.redis_server import RedisServer
from tests.support.wait import until

TEXT = "a text that nobody else may see"


def configure(place: Path, redis: RedisServer, url: str, **more: Any) -> None:
    (place / "url").write_text(url)
    (place / "url").chmod(0o600)
    options = {"URLFile": "url", "RabbitQueue": RABBIT_QUEUE, "Exchanges": {"chat_msg": {}}}
    written(place, redis.url, {"Sources": {"rabbit": {"Kind": "mongooseim-amqp", "Options": options}}}, **more)


def test_a_group_of_brokers_reads_once(
    rabbit: RabbitMQ, redis_server: RedisServer, store: Client, tmp_path: Path
) -> None:
    configure(tmp_path, redis_server, rabbit.url(), Processes=2, LogLevel="debug")
    with started(["run"], directory=tmp_path) as broker:
        until(lambda: consumers(rabbit) > 0, "the queue is read", 60)
        assert consumers(rabbit) == 1
        rabbit.publish("chat_msg", RECEIVED, chat(TEXT))
        until(lambda: jobs_in(store), "it is a job", 60)
        shown = run(["events", "tail", "--once", "--json"], directory=tmp_path)
        (noted,) = [json.loads(line) for line in shown.stdout.splitlines()]
        assert (noted["source"], noted["from"], noted["to"]) == ("rabbit", "alice@localhost", "bob@localhost")
        assert broker.stop() == 0
        assert "event source=rabbit outcome=accepted" in broker.output()
        assert TEXT not in broker.output() + shown.stdout
    until(lambda: consumers(rabbit) == 0, "nobody reads any more")


def test_a_source_that_is_not_read_is_shown_until_it_is(
    rabbit: RabbitMQ, redis_server: RedisServer, tmp_path: Path
) -> None:
    configure(tmp_path, redis_server, rabbit.url(password="wrong"), Stats=True, StatsPort=0)
    with started(["run"], directory=tmp_path) as broker:
        port = int(broker.wait_for(r"listening what=/stats addresses=\S+:(\d+)")[1])

        def texts(path: str) -> str:
            return parse(path, page(port, path).text).text

        until(lambda: "403 ACCESS_REFUSED" in texts("/"), "the page says why")
        assert "rabbit RabbitMQDenied restbroker cannot read from RabbitMQ" in texts("/events")
        assert "Check the user and the password" in findings(tmp_path)["RabbitMQDenied"]["hint"]
        (row,) = json.loads(run(["stats", "--json"], directory=tmp_path).stdout)["sources"]
        assert (row["source"], row["code"]) == ("rabbit", "RabbitMQDenied")
        (tmp_path / "url").write_text(rabbit.url())
        until(lambda: "RabbitMQDenied" not in texts("/") + texts("/events"), "the page shows that it is read")
        assert "rabbit read " in texts("/events")
        until(lambda: consumers(rabbit) == 1, "RabbitMQ counts it")
        assert "RabbitMQDenied" not in findings(tmp_path)
        assert broker.stop() == 0
    assert "source\trabbit" not in run(["stats"], directory=tmp_path).stdout


def findings(place: Path) -> dict[str, dict[str, str]]:
    shown = json.loads(run(["check", "--json"], directory=place).stdout)
    return {finding["code"]: finding for finding in shown["findings"]}


def test_a_stop_is_soon_while_rabbitmq_accepts_and_says_nothing(redis_server: RedisServer, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        configure(tmp_path, redis_server, f"amqp://u:p@127.0.0.1:{silent.getsockname()[1]}")
        with started(["run"], directory=tmp_path) as broker:
            connection, _ = silent.accept()
            with connection:
                watch = Stopwatch.start(broker)
                broker.signal(signal.SIGTERM)
                # The handshake alone would take five; one that is open has a second to acknowledge.
                until(lambda: watch.took_s() > 1 or broker.process.poll() is not None, "it ends, or is late")
                assert broker.process.poll() == 0
