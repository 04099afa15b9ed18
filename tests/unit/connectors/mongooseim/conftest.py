"""A target of kind `mongooseim`, what becomes of a configuration with it, and a connector beside a small server."""

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
from restbroker.rules.outcome import Outcome
from restbroker.transport.client import open_transport
from restbroker.transport.message import Request, Response, Transport
from tests.support.receiver import Answer, Received, Receiver

BASIC = {"Basic": {"User": "admin", "Pass": "b4sic-s3cr3t"}}

Configured = Callable[..., Loaded]
Made = Callable[..., Target]
Problems = Callable[..., list[str]]
Opened = Callable[..., Any]


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

    async def deliver(self, command: str, /, *, maybe_run: bool = False, **arguments: Any) -> Outcome:
        call = Call(Command(command, arguments), maybe_run=maybe_run, host="localhost")
        return await self.connector.deliver(call, self.link)

    @property
    def asked(self) -> list[str]:
        """The documents that came, in order."""
        return [json.loads(one.body)["query"] for one in self.server.received]


def says(*bodies: Any, status: int = 200) -> Callable[[Received], Answer]:
    """Says one after the other; the last one from then on."""
    left = list(bodies)

    def act(_: Received) -> Answer:
        body = left.pop(0) if len(left) > 1 else left[0]
        return body if isinstance(body, Answer) else Answer(status, json.dumps(body).encode())

    return act


def refusal(code: str, message: str = "It is so", *path: str | int, **more: Any) -> dict[str, Any]:
    """An error as GraphQL writes it."""
    return {"message": message, "path": list(path), "extensions": {"code": code, **more}}


@pytest.fixture
def configured(tmp_path: Path) -> Configured:
    """Loads a target; `members` are those of its entry."""

    def run(options: Mapping[str, Any] | None = None, **members: Any) -> Loaded:
        entry: dict[str, Any] = {
            "Kind": "mongooseim",
            "URL": "http://localhost:5551/api/graphql",
            "Auth": BASIC,
            "Domain": "localhost",
            "Queues": ["mim"],
            "Options": options,
            **members,
        }
        file = tmp_path / "env.json"
        file.write_text(json.dumps({"Token": "t", "Targets": {"chat": entry}}))
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
        return [line.strip().removeprefix("Targets.chat.") for line in lines]

    return run


@pytest.fixture
def opened(made: Made) -> Opened:
    """A bench: `act` is what the server answers."""

    @asynccontextmanager
    async def run(
        act: Callable[[Received], Answer], /, options: Mapping[str, Any] | None = None, **members: Any
    ) -> AsyncIterator[Bench]:
        with Receiver(act) as server:
            target = made(options, URL=server.url + "/api/graphql", **members)
            http = open_transport(target)
            try:
                ports = Ports(lambda _: None, lambda: 1_700_000_000.0)
                yield Bench(registry.open_connector(target, ports), Direct(http), server)
            finally:
                await http.aclose()

    return run
