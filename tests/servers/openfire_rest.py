"""Our side of the stand-in's REST API plugin: a connector, and the target that it has. For the tests of this folder."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs

from restbroker.config.load import load
from restbroker.config.target import Target
from restbroker.job.command import Call, Command
from restbroker.job.json_types import Json
from restbroker.job.outcome import Delivered, Outcome
from restbroker.servers import registry
from restbroker.servers.contract import Connector, Ports
from restbroker.transport.client import open_transport
from tests.support.link import Direct
from tests.support.openfire.server import Openfire

ROOM = {"roomName": "lobby", "naturalName": "Lobby", "description": "d"}


@attrs.frozen
class Side:
    """Our side: a connector and its link."""

    connector: Connector
    link: Direct

    async def do(self, command: str, attempt: int = 1, /, **given: Json) -> Outcome:
        """Delivers a command."""
        call = Call(Command(command, given), attempt=attempt, maybe_run=attempt > 1, timeout_s=5.0)
        return await self.connector.deliver(call, self.link)

    async def read(self, command: str, /, **given: Json) -> Any:
        """What a command answers."""
        outcome = await self.do(command, **given)
        assert isinstance(outcome, Delivered), outcome
        return outcome.body


def made(folder: Path, server: Openfire, url: str | None = None, **options: Any) -> Target:
    """A target of that server."""
    entry: dict[str, Any] = {
        "Kind": "openfire-rest",
        "URL": url or server.rest_url,
        "Domain": "example.org",
        "Queues": ["openfire"],
        "Options": options,
    }
    if "Secret" not in options:
        entry["Auth"] = {"Basic": {"User": "admin", "Pass": "secret"}}
    file = folder / "env.json"
    file.write_text(json.dumps({"Token": "t", "Targets": {"fire": entry}}))
    (target,) = load(file, {}, {}, registry.kinds()).config.targets
    return target


@asynccontextmanager
async def opened(folder: Path, server: Openfire, **options: Any) -> AsyncIterator[Side]:
    """Speaks to that server."""
    target = made(folder, server, **options)
    http = open_transport(target)
    try:
        ports = Ports(lambda _: None, lambda: 1_700_000_000.0)
        yield Side(registry.open_connector(target, ports), Direct(http))
    finally:
        await http.aclose()
