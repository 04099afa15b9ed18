"""One process takes one source by TLS and another plainly on loopback, and `check` finds both."""

import json
import ssl
from pathlib import Path

import httpx
import pytest

from restbroker.store.client import Client
from tests.events.conftest import MESSAGE, PATH, events_in, written
from tests.support.ports import free_port
from tests.support.process import run, started
from tests.support.redis_server import RedisServer
from tests.transport.authority import authority


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.nightly)])
def test_a_source_is_taken_by_tls_and_another_plainly_in_one_process(
    redis_server: RedisServer, store: Client, tmp_path: Path, processes: int
) -> None:
    (tmp_path / "authority").mkdir()
    ours = authority(tmp_path / "authority")
    cert, key = ours.pair("server")
    secured, plain = free_port(), free_port()
    source = {"Kind": "prosody-rest", "Path": PATH}
    sources = {"far": source, "near": {**source, "Path": "/events/near", "Listen": f"127.0.0.1:{plain}"}}
    events = {"Listen": f"127.0.0.1:{secured}", "Sources": sources, "CertFile": str(cert), "KeyFile": str(key)}
    written(tmp_path, redis_server.url, events)
    with started(["run", "--processes", str(processes)], directory=tmp_path) as broker:
        broker.wait_for(f"listening what=events addresses=https://127.0.0.1:{secured}", timeout_s=180.0)
        broker.wait_for(f"addresses=http://127.0.0.1:{plain}", timeout_s=180.0)
        trusting = ssl.create_default_context(cafile=str(ours.ca))
        with httpx.Client(verify=trusting) as far, httpx.Client() as near:
            assert far.post(f"https://localhost:{secured}{PATH}", json=dict(MESSAGE)).status_code == 202
            assert near.post(f"http://localhost:{plain}/events/near", json=dict(MESSAGE)).status_code == 202
            # Each address has its own sources alone.
            assert near.post(f"http://localhost:{plain}{PATH}", json=dict(MESSAGE)).status_code == 404
        done = run(["check", "--json"], directory=tmp_path)
        found = [one["message"] for one in json.loads(done.stdout)["findings"] if one["code"] == "Serving"]
        assert [message.rpartition(" at ")[2] for message in found] == [
            f"127.0.0.1:{secured}.",
            f"127.0.0.1:{plain}.",
        ]
    assert {event["source"] for event in events_in(store)} == {"far", "near"}
