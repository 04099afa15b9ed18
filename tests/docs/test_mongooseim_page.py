"""What docs/servers/mongooseim.md shows is what is sent, and what it says of commands is what the catalogue says."""

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

PAGE = ROOT / "docs" / "servers" / "mongooseim.md"
TEXT = PAGE.read_text("utf-8")
KNOWN = registry.catalogue("mongooseim")
# What 6.8.0 takes in a pool's TLS, and shows to Prometheus: it does not start with another key.
TLS_KEYS = {
    *("verify_mode", "certfile", "cacertfile", "keyfile", "password", "ciphers", "versions", "crl_files"),
    *("server_name_indication", "disconnect_on_failure"),
}
PUBLISHED = "wpool_rabbit_messages_published"
METRICS = {
    *(f"mod_event_pusher_http_sent_{name}" for name in ("count", "failure_count", "response_time")),
    *(f"{PUBLISHED}_{name}" for name in ("count", "failed", "timeout", "time", "size")),
    *(f"wpool_rabbit_connections_{name}" for name in ("active", "opened", "closed", "failed")),
}


class Direct:
    """A link that sends at once."""

    def __init__(self, http: Transport) -> None:
        self.http = http

    async def ask(self, request: Request) -> Response:
        return await self.http.send(request)

    send = ask


async def test_the_job_of_the_page_becomes_the_request_that_it_shows(tmp_path: Path) -> None:
    configuration, job = (json.loads(block) for block in blocks(PAGE, "json"))
    (shown,) = blocks(PAGE, "text")
    for name in ("token", "mongooseim"):
        (tmp_path / name).write_text(name)
    with Receiver(lambda _: Answer(200, b'{"data":{"account":{"registerUser":{"jid":"a@b"}}}}')) as receiver:
        written = json.dumps(configuration).replace("/run/credentials/restbroker/", f"{tmp_path}/")
        file = tmp_path / "env.json"
        file.write_text(written.replace("http://localhost:5551", receiver.url))
        (target,) = load(file, {}, {}, registry.kinds()).config.targets
        http = open_transport(target)
        connector = registry.open_connector(target, Ports(lambda _: None, trio.current_time))
        endpoint, arguments, _ = job["args"]
        outcome = await connector.deliver(Call(Command(endpoint, arguments), jid=job["jid"]), Direct(http))
        await http.aclose()
        (got,) = receiver.received
    assert isinstance(outcome, Delivered)
    assert f"`{got.method} {got.target}`" in TEXT
    assert got.body.decode() == shown.strip()


def test_what_is_listed_as_dangerous_is_all_that_is() -> None:
    said = TEXT.partition("### What needs a token of its own")[2].partition("\n\nA token")[0]
    dangerous = {name for name in KNOWN.commands if KNOWN.dangerous_in(name)}
    # Of those that are described in words, an example is named.
    described = {"server.leaveCluster", "server.removeFromCluster", "server.removeNode", "server.restart"}
    described |= {"server.setLoglevel"} | {name for name in dangerous if name.startswith("domain.")}
    named = set(re.findall(r"`([A-Za-z_]+\.[A-Za-z*]+|graphql)`", said))
    listed = {
        name for name in dangerous for one in named if re.fullmatch(one.replace(".", r"\.").replace("*", ".*"), name)
    }
    assert dangerous == listed | described


def test_each_command_of_the_page_exists() -> None:
    named = set(
        re.findall(r"`((?:account|roster|stanza|muc|muc_light|server|domain|broadcast|offline|last)\.\w+)`", TEXT)
    )
    assert {name for name in named if name not in KNOWN.commands} == set()
    assert f"lists all {len(KNOWN.commands)}" in " ".join(TEXT.split())


def test_no_page_and_no_example_names_a_key_or_a_metric_that_a_real_mongooseim_does_not_have() -> None:
    pages = [*(ROOT / "docs").rglob("*.md"), *(ROOT / "examples" / "mongooseim").iterdir()]
    texts = [page.read_text("utf-8") for page in pages]
    keys = {key for text in texts for key in re.findall(r"\btls\.(\w+) = ", text)}
    metrics = {name for text in texts for name in re.findall(r"\b(?:mod_event_pusher|wpool)_\w+", text)}
    assert (keys, keys - TLS_KEYS) == (keys | {"verify_mode", "cacertfile"}, set())
    assert (metrics, metrics - METRICS) == (metrics | METRICS - {f"{PUBLISHED}_time", f"{PUBLISHED}_size"}, set())
