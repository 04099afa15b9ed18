"""A target of kind `openfire-rest`, what becomes of a configuration with it, and a connector beside a small server."""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

from restbroker.config.core import Loaded
from restbroker.config.load import load
from restbroker.config.target import Target
from restbroker.connectors import registry
from restbroker.connectors.contract import Connector, Ports
from restbroker.errors import ConfigError
from restbroker.rules.command import Call, Command
from restbroker.rules.outcome import Delivered, Outcome, Rejected
from restbroker.transport.client import open_transport
from restbroker.transport.message import Request, Response, Transport
from tests.support.receiver import Answer, Received, Receiver

BASE = "/plugins/restapi/v1"
BASIC = {"Basic": {"User": "admin", "Pass": "b4sic-s3cr3t"}}
SECRET = "sh4red-s3cret"

Configured = Callable[..., Loaded]
Made = Callable[..., Target]
Problems = Callable[..., list[str]]


@attrs.frozen
class Direct:
    """A link that sends at once."""

    http: Transport

    async def ask(self, request: Request) -> Response:
        return await self.http.send(request)

    send = ask


@attrs.frozen
class Bench:
    """A connector and the server that it sends to."""

    connector: Connector
    link: Direct
    server: Receiver

    async def deliver(self, command: str, /, **arguments: Any) -> Outcome:
        return await self.connector.deliver(Call(Command(command, arguments)), self.link)

    async def sent(self, command: str, /, **arguments: Any) -> Received:
        assert isinstance(await self.deliver(command, **arguments), Delivered)
        return self.server.received[-1]

    async def refused(self, command: str, /, **arguments: Any) -> str:
        """Why nothing was sent."""
        before = len(self.server.received)
        outcome = await self.deliver(command, **arguments)
        assert isinstance(outcome, Rejected)
        assert (outcome.reason.code, len(self.server.received)) == ("BadArgument", before)
        return outcome.reason.message.removeprefix("The request cannot be made: ")


def empty(status: int, **headers: str) -> Callable[[Received], Answer]:
    """Says this to everything, with nothing in it."""
    return lambda _: Answer(status, b"", headers)


_CREATED = empty(201)


@pytest.fixture
def configured(tmp_path: Path) -> Configured:
    """Loads a target; `members` are those of its entry."""

    def run(options: Mapping[str, Any] | None = None, **members: Any) -> Loaded:
        entry: dict[str, Any] = {
            "Kind": "openfire-rest",
            "URL": f"http://127.0.0.1:9090{BASE}",
            "Auth": BASIC,
            "Domain": "example.org",
            "Queues": ["openfire"],
            "Options": options,
            **members,
        }
        file = tmp_path / "env.json"
        file.write_text(json.dumps({"Token": "t", "Targets": {"fire": entry}}))
        return load(file, {}, {}, registry.kinds())

    return run


@pytest.fixture
def made(configured: Configured) -> Made:
    """The target alone."""
    return lambda *args, **members: configured(*args, **members).config.targets[0]


@pytest.fixture
def problems(configured: Configured) -> Problems:
    """What is wrong with it, one a line, without the place of the target."""

    def run(*args: Any, **members: Any) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            configured(*args, **members)
        lines = caught.value.message.splitlines()[1:]
        return [line.strip().removeprefix("Targets.fire.") for line in lines]

    return run


@pytest.fixture
def opened(made: Made) -> Callable[..., Any]:
    """A bench: `act` is what the server answers."""

    @asynccontextmanager
    async def run(
        act: Callable[[Received], Answer] = _CREATED, /, options: Mapping[str, Any] | None = None, **members: Any
    ) -> AsyncIterator[Bench]:
        with Receiver(act) as server:
            target = made(options, URL=server.url + BASE, **members)
            http = open_transport(target)
            try:
                ports = Ports(lambda _: None, lambda: 1_700_000_000.0)
                yield Bench(registry.open_connector(target, ports), Direct(http), server)
            finally:
                await http.aclose()

    return run
