"""Admin's tests run on a real Redis, with a configuration of three targets."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from restbroker.config.core import Config
from restbroker.config.load import load
from restbroker.config.target import Target
from restbroker.job import rubyjson
from restbroker.operate.context import ConfigContext, context_of
from restbroker.servers import registry
from restbroker.store.client import Client, StoreSettings, open_client

Put: TypeAlias = Callable[..., bytes]
NOW_S = 1_700_000_000.5


@pytest.fixture
def client(redis_url: str) -> Iterator[Client]:
    opened = open_client(StoreSettings(redis_url, namespace="ns"))
    yield opened
    opened.close()


def written(directory: Path, targets: dict[str, Any], **keys: Any) -> Config:
    """A configuration of these targets, which are ejabberd's if they do not say otherwise."""
    usual = {"Kind": "ejabberd", "URL": "http://127.0.0.1:1/api"}
    document = {"Token": "right-token", **keys, "Targets": {name: usual | target for name, target in targets.items()}}
    (directory / "env.json").write_text(json.dumps(document))
    return load(directory / "env.json", {}, {}, registry.kinds()).config


@pytest.fixture
def configured(tmp_path: Path) -> ConfigContext:
    openfire = {
        "Kind": "openfire-rest",
        "URL": "http://127.0.0.1:1/plugins/restapi/v1",
        "Queues": ["openfire"],
        "Options": {"Secret": "its-secret"},
    }
    return context_of(written(tmp_path, {"other": {"Queues": ["other"]}, "openfire": openfire}, RestQueue="rest"))


@pytest.fixture
def known(settings: Config) -> ConfigContext:
    """What is known of the configuration that a file of tests has as `settings`."""
    return context_of(settings)


@pytest.fixture
def target(settings: Config) -> Target:
    return settings.targets[0]


def job(jid: str, command: str = "register", arguments: Any = None, **more: Any) -> bytes:
    """A failed job's bytes, as restbroker writes them."""
    fields: dict[str, Any] = {
        "class": "Add",
        "args": [command, {"user": jid} if arguments is None else arguments, "right-token"],
        "jid": jid,
        "queue": "rest",
        "retry": True,
        "created_at": NOW_S,
        "enqueued_at": NOW_S,
        "error_message": "It failed.",
        "error_class": "ServerError",
        "failed_at": NOW_S,
        "retry_count": 0,
        **more,
    }
    return rubyjson.dumps({name: value for name, value in fields.items() if value is not None})


@pytest.fixture
def put(client: Client) -> Put:
    """Puts a job into a set: `put("dead", 5, "j1", command="status")`; its bytes."""

    def putting(zset: str, at_s: float, jid: str, command: str = "register", **more: Any) -> bytes:
        raw = job(jid, command, **more)
        client.command("ZADD", f"ns:{zset}", at_s, raw)
        return raw

    return putting


def fields_of(raw: Any) -> dict[str, Any]:
    """What a job's bytes say."""
    assert isinstance(raw, bytes)
    found: dict[str, Any] = json.loads(raw)
    return found
