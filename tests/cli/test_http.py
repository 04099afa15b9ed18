"""A target of kind `http` as people use it: listed, checked, pushed to, served, and verified by its receiver."""

import base64
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import pytest
from standardwebhooks.webhooks import Webhook

from restbroker.store import queues
from restbroker.store.client import Client, StoreSettings, open_client
from restbroker.store.replies import integer, items, raw
from tests.support import process
from tests.support.process import Running
from tests.support.receiver import Answer, Received, Receiver
from tests.support.redis_server import RedisServer
from tests.support.shared import FAST_RETRIES, TOKEN
from tests.support.wait import until

SECRETS = ["whsec_" + base64.b64encode(bytes([number] * 32)).decode() for number in (1, 2)]
KEY = "an api key of the test"
COMMANDS = {
    "note": {"Method": "PUT", "Path": "users/{user}/notes/{id}", "Body": {"text": "{text}", "stars": "{stars?}"}},
    "order": {"Idempotent": True},
    "look": {"Method": "GET", "Path": "users/{user}"},
}


@attrs.define(eq=False)
class Stage:
    """A Redis, a receiver, and an env.json for both."""

    directory: Path
    redis: RedisServer
    client: Client
    receiver: Receiver

    def configure(self, **options: Any) -> None:
        entry = {
            "Kind": "http",
            "URL": f"{self.receiver.url}/v1",
            "Queues": ["hooks"],
            "RequestTimeout": 2,
            "Options": {
                "Commands": COMMANDS,
                "Headers": {"X-Api-Key": {"Env": "API_KEY"}},
                "SigningSecrets": SECRETS,
                "Probe": {"Path": "me"},
                "AllowPrivate": True,
                **options,
            },
        }
        document = {"RedisURL": self.redis.url, "Token": TOKEN, "Backoff": FAST_RETRIES, "Targets": {"hook": entry}}
        (self.directory / "env.json").write_text(json.dumps({**document, "ResponseQueue": "replies"}))

    def restbroker(self, *arguments: str) -> Any:
        return process.run_here(arguments, directory=self.directory, environ={"API_KEY": KEY})

    def push(self, command: str, jid: str, reply_id: int | None = None, **arguments: Any) -> None:
        args = [command, arguments, TOKEN, *([] if reply_id is None else [reply_id])]
        job = {"class": "Add", "jid": jid, "queue": "hooks", "retry": True, "args": args}
        queues.push(self.client, "hooks", [json.dumps(job).encode()])

    def members(self, key: str) -> list[dict[str, Any]]:
        command = ("LRANGE", key, 0, -1) if key.startswith("queue:") else ("ZRANGE", key, 0, -1)
        return [json.loads(raw(member)) for member in items(self.client.command(*command))]

    def wait_until_idle(self) -> None:
        def busy() -> bool:
            return integer(self.client.command("LLEN", "queue:hooks")) + len(self.members("retry")) > 0

        until(lambda: not busy(), "no job waits")


@pytest.fixture
def stage(tmp_path: Path, redis_server: RedisServer) -> Iterator[Stage]:
    with closing(open_client(StoreSettings(redis_server.url))) as client, Receiver() as receiver:
        made = Stage(tmp_path, redis_server, client, receiver)
        made.configure()
        yield made


@pytest.fixture
def started(stage: Stage) -> Iterator[Running]:
    with process.started(["run"], directory=stage.directory, environ={"API_KEY": KEY}) as running:
        running.wait_for(r"broker\.started")
        yield running


def of_jobs(receiver: Receiver) -> list[Received]:
    return [one for one in list(receiver.received) if one.target != "/v1/me"]


def test_jobs_are_delivered_and_their_receiver_verifies_each(stage: Stage, started: Running) -> None:
    for number in range(50):
        stage.push("note", f"{number:024x}", user=f"joe {number}", id=number, text="grüße", stars=number)
        stage.push("order", f"{number + 50:024x}", number=number)
    until(lambda: len(of_jobs(stage.receiver)) == 100, "all arrive")
    assert started.stop() == 0
    assert stage.members("dead") == stage.members("retry") == []
    for got in of_jobs(stage.receiver):
        for secret in SECRETS:
            body = Webhook(secret).verify(got.body, dict(got.headers))
        assert got.headers["x-api-key"] == KEY
        number = int(got.headers["webhook-id"], 16)
        if number < 50:
            assert (got.method, got.target) == ("PUT", f"/v1/users/joe%20{number}/notes/{number}")
            assert body == {"text": "grüße", "stars": number}
        else:
            assert (got.method, got.target, body) == ("POST", "/v1", {"number": number - 50})
            assert got.headers["idempotency-key"] == got.headers["webhook-id"]
    assert len({got.headers["webhook-id"] for got in of_jobs(stage.receiver)}) == 100
    assert KEY not in started.output()
    assert SECRETS[0] not in started.output()


def test_a_retry_keeps_the_id_and_the_body_and_is_signed_anew(stage: Stage, started: Running) -> None:
    stage.receiver.act = lambda got: Answer(500 if len(of_jobs(stage.receiver)) < 3 and got.method == "POST" else 200)
    stage.push("order", "a" * 24, n=1)
    until(lambda: len(of_jobs(stage.receiver)) == 3, "it is tried again")
    stage.wait_until_idle()
    assert started.stop() == 0
    first, *others = of_jobs(stage.receiver)
    for got in (first, *others):
        Webhook(SECRETS[0]).verify(got.body, dict(got.headers))
        assert (got.headers["webhook-id"], got.headers["idempotency-key"], got.body) == ("a" * 24, "a" * 24, first.body)
