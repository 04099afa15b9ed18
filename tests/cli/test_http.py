"""A target of kind `http`: a process delivers jobs, and their receiver verifies each as the standard says."""

import base64
import json
from pathlib import Path

import pytest
from standardwebhooks.webhooks import Webhook

from restbroker.store import queues
from restbroker.store.client import Client
from tests.cli.conftest import configure
from tests.support.process import started
from tests.support.receiver import Answer, Received, Receiver
from tests.support.shared import FAST_RETRIES, TOKEN
from tests.support.wait import until

SECRETS = ["whsec_" + base64.b64encode(bytes([number] * 32)).decode() for number in (1, 2)]
KEY = "an api key of the test"
COMMANDS = {
    "note": {"Method": "PUT", "Path": "users/{user}/notes/{id}", "Body": {"text": "{text}", "stars": "{stars?}"}},
    "order": {"Idempotent": True},
}


@pytest.fixture
def keys() -> dict[str, None]:
    return dict.fromkeys(("RestURL", "RestQueue"))


def jobs_of(receiver: Receiver) -> list[Received]:
    return [request for request in list(receiver.received) if request.target != "/v1/me"]


def test_a_receiver_verifies_each_job_and_each_try(place: Path, store: Client) -> None:
    """A retry keeps its id and its body, and is signed again."""
    with Receiver() as receiver:
        options = {"Commands": COMMANDS, "Headers": {"X-Api-Key": {"Env": "API_KEY"}}, "SigningSecrets": SECRETS}
        options |= {"Probe": {"Path": "me"}, "AllowPrivate": True}
        target = {"Kind": "http", "URL": f"{receiver.url}/v1", "Queues": ["hooks"], "Options": options}
        configure(place, Token=TOKEN, Backoff=FAST_RETRIES, Targets={"hook": target})
        receiver.act = lambda got: Answer(500 if got.method == "POST" and len(jobs_of(receiver)) < 4 else 200)
        with started(["run"], directory=place, environ={"API_KEY": KEY}) as broker:
            note = {"user": "joe 1", "id": 1, "text": "grüße", "stars": 3}
            for jid, command, arguments in (("a" * 24, "note", note), ("b" * 24, "order", {"number": 1})):
                job = {"class": "Add", "jid": jid, "queue": "hooks", "retry": True, "args": [command, arguments, TOKEN]}
                queues.push(store, "hooks", [json.dumps(job).encode()])
            until(lambda: len(jobs_of(receiver)) == 4, "both arrive, one at its third try")
            assert broker.stop() == 0
        assert not [secret for secret in (KEY, *SECRETS) if secret in broker.output()]
    assert (store.command("ZCARD", "ns:dead"), store.command("ZCARD", "ns:retry")) == (0, 0)
    for got in jobs_of(receiver):
        body = [Webhook(secret).verify(got.body, dict(got.headers)) for secret in SECRETS]
        assert got.headers["x-api-key"] == KEY
        if got.method == "PUT":
            assert (got.target, got.headers["webhook-id"]) == ("/v1/users/joe%201/notes/1", "a" * 24)
            assert body == [{"text": "grüße", "stars": 3}] * 2
        else:
            assert (got.method, got.target, body) == ("POST", "/v1", [{"number": 1}] * 2)
            assert got.headers["idempotency-key"] == got.headers["webhook-id"] == "b" * 24
