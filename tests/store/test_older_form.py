"""Groups as version 40bc90af left them in Redis: found as long as a job waits in that form, or such a process lives.

`recorded/order_lines` has what it wrote, a command of Redis per line: `waiting` after one process was stopped and two
were killed, `drained` after they ran again until nothing waited.
"""

import json
from pathlib import Path

import pytest

from restbroker.store import older_form
from restbroker.store.client import Client, StoreSettings, open_client
from tests.store.pools import Server

TARGETS = {"lines": ["rest"], "fair": ["push"], "killed": ["crash"], "changed": ["other"]}
RECORDED = Path(__file__).parents[1] / "recorded" / "order_lines"


def load(client: Client, name: str) -> None:
    """Writes what was recorded."""
    client.commands([tuple(json.loads(line)) for line in (RECORDED / f"{name}.jsonl").read_text("utf-8").splitlines()])


@pytest.fixture
def client(server: Server) -> Client:
    return open_client(StoreSettings(server.process.url))


def test_each_target_whose_jobs_wait_in_the_older_form_is_found(client: Client) -> None:
    load(client, "waiting")
    assert older_form.find(client, TARGETS).keys() == TARGETS.keys()
    assert older_form.find(client, {"another": ["queue"]}) == {}


def test_living_process_of_older_form_is_a_sign_but_not_remains(client: Client) -> None:
    load(client, "drained")
    assert older_form.find(client, TARGETS) == {}
    client.command("HSET", "restbroker:beats", "vm:1:n:lines", 1)
    client.command("HSET", "restbroker:info:vm:1:n:lines", "fairness", '{"order":"stop","by":["user"]}')
    assert older_form.find(client, TARGETS) == {"lines": "the process vm:1:n:lines"}


@pytest.mark.parametrize("identity", ["vm:30827:180c24fc6a02:killed", "vm:30851:0ef8a498e40e:changed"])
def test_tickets_of_the_older_form_are_a_sign_without_jobs(client: Client, identity: str) -> None:
    load(client, "waiting")
    target = identity.rpartition(":")[2]
    queue = TARGETS[target][0]
    client.command("DEL", f"restbroker:order:hold:{target}", f"restbroker:order:due:{queue}")
    client.command("DEL", f"restbroker:fair:wait:{queue}")
    assert older_form.find(client, {target: [queue]}) == {target: f"the process {identity}"}
