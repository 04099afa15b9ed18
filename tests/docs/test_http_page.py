"""What docs/http.md shows is what is sent."""

import json
from pathlib import Path

import trio

from restbroker.config.load import load
from restbroker.connectors import registry
from restbroker.connectors.contract import Ports
from restbroker.rules.command import Call, Command
from restbroker.rules.outcome import Delivered
from restbroker.transport.client import open_transport
from restbroker.transport.message import Request, Response, Transport
from tests.docs.pages import ROOT, blocks
from tests.support.receiver import Receiver

PAGE = ROOT / "docs" / "http.md"


class Direct:
    """A link that sends at once."""

    def __init__(self, http: Transport) -> None:
        self.http = http

    async def ask(self, request: Request) -> Response:
        return await self.http.send(request)

    send = ask


async def test_the_job_of_the_page_becomes_the_request_that_it_shows(tmp_path: Path) -> None:
    configuration, job = (json.loads(block) for block in blocks(PAGE, "json"))
    for name, text in {"token": "t", "shop": "b", "key": "k", "signing": "whsec_" + "QUJD" * 10}.items():
        (tmp_path / name).write_text(text)
    with Receiver() as receiver:
        written = json.dumps(configuration).replace("/run/credentials/restbroker/", f"{tmp_path}/")
        written = written.replace("https://api.example.org", receiver.url).replace(
            '"Probe"', '"AllowPrivate": true, "Probe"'
        )
        file = tmp_path / "env.json"
        file.write_text(written)
        (target,) = load(file, {}, {}, registry.kinds()).config.targets
        http = open_transport(target)
        connector = registry.open_connector(target, Ports(lambda _: None, trio.current_time))
        endpoint, arguments, _ = job["args"]
        outcome = await connector.deliver(Call(Command(endpoint, arguments), jid=job["jid"]), Direct(http))
        await http.aclose()
        (got,) = receiver.received
    assert isinstance(outcome, Delivered)
    text = PAGE.read_text("utf-8")
    assert f"`{got.method} {got.target}` with `{got.body.decode()}`" in text
    assert got.headers["webhook-id"] == job["jid"]
