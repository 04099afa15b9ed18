"""What docs/servers/prosody.md shows is what is sent, and its tables leave nothing out."""

import json
import re
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
from tests.support.receiver import Answer, Receiver

PAGE = ROOT / "docs" / "servers" / "prosody.md"
TEXT = PAGE.read_text("utf-8")


class Direct:
    """A link that sends at once."""

    def __init__(self, http: Transport) -> None:
        self.http = http

    async def ask(self, request: Request) -> Response:
        return await self.http.send(request)

    send = ask


async def test_the_job_of_the_page_becomes_the_request_that_it_shows(tmp_path: Path) -> None:
    configuration, job = (json.loads(block) for block in blocks(PAGE, "json"))
    for name in ("token", "prosody", "prosody_admin"):
        (tmp_path / name).write_text(name)
    with Receiver(lambda _: Answer(202, b"")) as receiver:
        written = json.dumps(configuration).replace("/run/credentials/restbroker/", f"{tmp_path}/")
        file = tmp_path / "env.json"
        file.write_text(written.replace("http://127.0.0.1:5280", receiver.url))
        (target,) = load(file, {}, {}, registry.kinds()).config.targets
        http = open_transport(target)
        connector = registry.open_connector(target, Ports(lambda _: None, trio.current_time))
        endpoint, arguments, _ = job["args"]
        outcome = await connector.deliver(Call(Command(endpoint, arguments), jid=job["jid"]), Direct(http))
        await http.aclose()
        (got,) = receiver.received
    assert isinstance(outcome, Delivered)
    assert f"`{got.method} {got.target}` with\n`{got.body.decode()}`" in TEXT


def test_every_command_is_in_the_table_and_no_other() -> None:
    rows = TEXT.partition("## Commands")[2].partition("\n\n(")[0].splitlines()
    named = {name for row in rows if row.startswith("| `") for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert named == set(registry.catalogue("prosody-rest").commands)
