"""Tests that start a process of each kind and never end: `test_killed.py` kills them, and no other run reads them."""

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from restbroker.store.client import StoreSettings, open_client
from tests.support import tmux
from tests.support.ejabberd import Ejabberd
from tests.support.process import started
from tests.support.prosody import Prosody
from tests.support.rabbitmq import RabbitMQ
from tests.support.redis_server import RedisServer
from tests.support.sidekiq_process import sidekiq_process
from tests.support.wait import until
from tests.web.browser.chromium import chromium


@pytest.fixture(scope="session", autouse=True)
def end() -> Iterator[None]:
    """Ends the other test when one ends, which only an error does: pytest waits for it before it says which error."""
    yield
    _place("ended").touch()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def _place(name: str) -> Path:
    return Path(os.environ["KILLED_IN"]) / name


def wait_to_be_killed(name: str) -> None:
    _place(name).touch()
    until(_place("ended").exists, "the other test ended", 600)


def test_a_group_of_brokers_ruby_and_redis(redis_server: RedisServer, tmp_path: Path, stack: ExitStack) -> None:
    config = tmp_path / "env.json"
    keys = {"RedisURL": redis_server.url, "RestURL": "http://127.0.0.1:1/api", "RestQueue": "rest", "Token": "t"}
    config.write_text(json.dumps(keys))
    command = ["run", "--processes", "2", "--config", str(config)]
    broker = stack.enter_context(started(command, directory=tmp_path / "broker"))
    broker.wait_for(r"broker\.started", times=2)
    client = stack.enter_context(closing(open_client(StoreSettings(redis_server.url))))
    stack.enter_context(sidekiq_process(client, redis_server.url, tmp_path / "ruby", "ruby"))
    stack.enter_context(tmux.shell(tmp_path))
    wait_to_be_killed("brokers")


def test_servers_and_a_browser(ejabberd: Ejabberd, tmp_path: Path, stack: ExitStack) -> None:
    assert ejabberd.call("status")[0] == 200
    for server in (Prosody(tmp_path / "prosody"), RabbitMQ(tmp_path / "rabbitmq")):
        stack.callback(server.start().kill)
    stack.enter_context(chromium(tmp_path / "chromium"))
    wait_to_be_killed("servers")
