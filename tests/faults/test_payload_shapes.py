"""Whatever client pushes a job, and in whichever of the old forms, the server sees one and the same request."""

import json
from pathlib import Path

import pytest
import trio

from restbroker.store import queues
from restbroker.store.client import StoreSettings, open_client
from tests.support.process import started
from tests.support.recorder import Recorded, recording
from tests.support.redis_server import RedisServer
from tests.support.wait import until_async

PATH = "/api/send_message"
BODY = '{"body":"Grüße </b> & ☂ \U0001f600","from":"a@example.org","subject":"1/2","to":"b@example.org","type":"chat"}'
GO_TEXT = BODY.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")  # as Go's encoder escapes
ASCII = json.dumps(json.loads(BODY), separators=(",", ":"))
PHP = ASCII.replace("/", "\\/")
PAIRS = json.dumps(list(json.loads(BODY).items()), ensure_ascii=False)
ONE_KEY_OBJECTS = json.dumps([{key: value} for key, value in json.loads(BODY).items()])
AS_TEXT = json.dumps(BODY)
JID = "0123456789abcdef01234567"
NAME = '"send_message"'
ARGS_AS_TEXT = json.dumps(f'[{NAME},{BODY},"t"]')

SHAPES = {
    "Ruby, Sidekiq 5 to 7: times in seconds": (
        f'{{"retry":true,"queue":"rest","class":"Add","args":[{NAME},{BODY},"t"],"jid":"{JID}",'
        '"created_at":1700000000.123,"enqueued_at":1700000000.124}'
    ),
    "Ruby, Sidekiq 8: times in milliseconds": (
        f'{{"retry":5,"queue":"rest","class":"Add","args":[{NAME},{BODY},"t"],"jid":"{JID}",'
        '"created_at":1700000000123,"enqueued_at":1700000000124}'
    ),
    "PHP as in the original's README: an object, not to be retried": (
        f'{{"class":"Add","args":[{NAME},{PHP},"t"],"retry":false,"queue":"rest","jid":"{JID}",'
        '"created_at":1700000000.5,"enqueued_at":1700000000}'
    ),
    "for the Go original's last revision: JSON text, and a fourth element": (
        f'{{"queue":"rest","class":"Add","args":[{NAME},{AS_TEXT},"t",""],"jid":"{JID}","enqueued_at":1.7e9}}'
    ),
    "for the Go original's revision before: an object as Go writes it": (
        f'{{"queue":"rest","class":"Add","args":[{NAME},{GO_TEXT},"t","an id"],"jid":"{JID}",'
        '"enqueued_at":1700000000.1,"at":1700000000.1}'
    ),
    "pairs, as the original's README describes them": (
        f'{{"class":"Add","queue":"rest","retry":true,"args":[{NAME},{PAIRS},"t",null],"jid":"{JID}"}}'
    ),
    "one-key objects": f'{{"class":"Add","args":[{NAME},{ONE_KEY_OBJECTS},"t"],"jid":"{JID}","retry":true}}',
    "Node: neither queue nor retry": f'{{"class":"Add","args":[{NAME},{BODY},"t"],"jid":"{JID}"}}',
    "Node: args as text": f'{{"class":"Add","args":{ARGS_AS_TEXT},"jid":"{JID}"}}',
    "Python: blanks, ASCII, a UUID": (
        f'{{"class": "Add", "queue": "rest", "args": [{NAME}, {json.dumps(json.loads(BODY))}, "t"], '
        '"jid": "6f1f0f0e-4b1c-4f7e-9d3b-0a1b2c3d4e5f", "retry": true, "enqueued_at": 1700000000}'
    ),
    "Elixir, exq: every field, some null": (
        f'{{"queue":"rest","retry":25,"class":"Add","args":[{NAME},{BODY},"t"],"jid":"{JID}","error_message":null,'
        '"error_class":null,"failed_at":null,"finished_at":null,"processor":null,"retry_count":null,'
        '"enqueued_at":1700000000.5}'
    ),
}


@pytest.mark.promise("Producers: jobs", "anything that can LPUSH can be a producer")
async def test_payload_of_every_client_gives_the_same_request(tmp_path: Path, redis_server: RedisServer) -> None:
    client = open_client(StoreSettings(redis_server.url))
    requests: dict[str, tuple[bytes, bytes]] = {}
    async with recording() as server:
        document = {
            "RedisURL": redis_server.url,
            "RestURL": f"http://127.0.0.1:{server.port}/api",
            "RestUser": "admin@example.org",
            "RestPass": "secret",
            "RestQueue": "rest",
            "JabberDomain": "example.org",
            "Token": "t",
        }
        (tmp_path / "env.json").write_text(json.dumps(document))
        with started(["run"], directory=tmp_path) as broker:
            for shape, raw in SHAPES.items():
                queues.push(client, "rest", [raw.encode()])
                await until_async(lambda: len(_of_jobs(server.requests)) > len(requests), f"it is sent: {shape}")
                request = _of_jobs(server.requests)[-1]
                requests[shape] = (request.head, request.body)
            assert await trio.to_thread.run_sync(broker.stop) == 0
    client.close()
    heads, bodies = ({found[part] for found in requests.values()} for part in (0, 1))
    assert {shape: found for shape, found in requests.items() if found[1] != BODY.encode()} == {}
    assert (len(requests), len(heads), len(bodies)) == (len(SHAPES), 1, 1)
    (head,) = heads
    assert head.startswith(f"POST {PATH} HTTP/1.1\r\n".encode())
    headers = Recorded(head, b"", 0).headers
    # admin@example.org:secret
    assert headers["authorization"] == "Basic YWRtaW5AZXhhbXBsZS5vcmc6c2VjcmV0"
    assert (headers["content-type"], headers["x-admin"]) == ("application/json", "true")
    assert headers["content-length"] == str(len(BODY.encode()))


def _of_jobs(requests: list[Recorded]) -> list[Recorded]:
    return [request for request in requests if request.line.split()[1] == PATH]
