"""What docs/servers/openfire.md shows is what is sent, and the list of commands is made from the catalogues."""

import json
import re
from pathlib import Path

import trio

from restbroker.assembly.logins import logins_of
from restbroker.config.load import load
from restbroker.connectors import reference, registry
from restbroker.connectors.contract import Ports
from restbroker.rules.command import Call, Command
from restbroker.rules.outcome import Delivered
from restbroker.store.client import StoreSettings, open_client
from restbroker.store.connection import Connection
from restbroker.transport.client import open_transport
from tests.docs.pages import ROOT, blocks
from tests.servers.openfire_rest import Direct
from tests.support.receiver import Answer, Receiver
from tests.support.redis_server import RedisServer

PAGE = ROOT / "docs" / "servers" / "openfire.md"
TEXT = PAGE.read_text("utf-8")
KNOWN = registry.catalogue("openfire-rest")


async def test_the_job_of_the_rest_api_becomes_the_request_that_the_page_shows(tmp_path: Path) -> None:
    ours = (block for block in blocks(PAGE, "json") if "openfire-rest" in block or "create_user" in block)
    configuration, job = map(json.loads, ours)
    shown = next(block for block in blocks(PAGE, "text") if "<user>" in block)
    for name in ("token", "openfire"):
        (tmp_path / name).write_text(name)
    with Receiver(lambda _: Answer(201, b"")) as receiver:
        written = json.dumps(configuration).replace("/run/credentials/restbroker/", f"{tmp_path}/")
        file = tmp_path / "env.json"
        file.write_text(written.replace("http://127.0.0.1:9090", receiver.url))
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


async def test_the_job_of_the_chat_api_becomes_the_request_that_the_page_shows(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    ours = (block for block in blocks(PAGE, "json") if "openfire-chat" in block or "post_message" in block)
    configuration, job = map(json.loads, ours)
    for name in ("token", "openfire"):
        (tmp_path / name).write_text(name)
    with Receiver(lambda asked: Answer(200, b"STREAM" if asked.target.endswith("/login") else b"")) as receiver:
        written = json.dumps(configuration).replace("/run/credentials/restbroker/", f"{tmp_path}/")
        file = tmp_path / "env.json"
        file.write_text(written.replace("http://127.0.0.1:7070", receiver.url))
        (target,) = load(file, {}, {}, registry.kinds()).config.targets
        http, settings = open_transport(target), StoreSettings(f"redis://127.0.0.1:{redis_server.port}")
        book = logins_of(target, lambda: Connection(open_client(settings)))
        connector = registry.open_connector(target, Ports(lambda _: None, trio.current_time, http, logins=book))
        endpoint, arguments, _ = job["args"]
        outcome = await connector.deliver(Call(Command(endpoint, arguments), jid=job["jid"]), Direct(http))
        await http.aclose()
        assert book is not None
        await book.aclose()
        *_, got = receiver.received
    assert isinstance(outcome, Delivered)
    assert f"`{got.method} {got.target}`" in TEXT
    assert got.body == b"Good night"


def test_what_is_listed_as_dangerous_is_all_that_is() -> None:
    said = TEXT.partition("**Dangerous**")[2].partition("\n\n")[0]
    listed = {name for name in re.findall(r"`(\w+)`", said) if name in KNOWN.commands}
    assert listed == {name for name in KNOWN.commands if KNOWN.dangerous_in(name)}


def test_the_list_of_commands_is_made_from_the_catalogues() -> None:
    assert (ROOT / reference.PAGE).read_text("utf-8") == reference.page(), "run: make reference"
