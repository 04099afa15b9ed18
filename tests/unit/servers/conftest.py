"""A target of a kind, what becomes of a configuration with it, and its connector beside a small server.

Each folder says what is usual for its kind.
"""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

from restbroker.config.core import LoadedConfig
from restbroker.config.load import load
from restbroker.config.target import Target
from restbroker.config.tokens import Token
from restbroker.errors import ConfigError
from restbroker.job.auth import AccessRequest, refusal
from restbroker.job.command import Call, Catalogue, Command
from restbroker.job.json_types import Json
from restbroker.job.outcome import Deferred, Delivered, Outcome, Rejected
from restbroker.job.reason import Reason
from restbroker.servers import registry
from restbroker.servers.contract import Connector, Ports
from restbroker.transport.client import open_transport
from tests.support.link import Direct
from tests.support.receiver import Answer, Received, Receiver

JID = "0123456789abcdef01234567"

Act = Callable[[Received], Answer]
Configured = Callable[..., LoadedConfig]
Made = Callable[..., Target]
Problems = Callable[..., list[str]]
Opened = Callable[..., Any]


@attrs.frozen
class Usual:
    """What tests of a kind rely on: its target's name and members, where its server is, and what that says."""

    name: str
    entry: Mapping[str, Any]
    path: str
    act: Act
    host: str | None = None
    """The host that a job names."""


@attrs.frozen
class Bench:
    """A connector and the server that it sends to."""

    connector: Connector
    link: Direct
    server: Receiver
    host: str | None

    async def deliver(self, command: str = "do", of: Mapping[str, Any] | None = None, /, **arguments: Any) -> Outcome:
        """`of`: what else is known of the job."""
        known = {"identity": JID, "host": self.host, **(of or {})}
        return await self.connector.deliver(Call(Command(command, arguments), **known), self.link)

    async def sent(self, command: str = "do", /, **arguments: Any) -> Received:
        assert isinstance(await self.deliver(command, **arguments), Delivered)
        return self.server.received[-1]


def fate(outcome: Outcome) -> str:
    """Its kind, and its difference from others of its kind."""
    if isinstance(outcome, Delivered):
        return f"Delivered {'no' if outcome.negative else outcome.note or ''}".rstrip()
    words = [type(outcome).__name__, outcome.reason.code]
    if isinstance(outcome, Deferred):
        words += ["free"] * (not outcome.counts) + ["pauses"] * outcome.pause_target
        words += [f"max {outcome.max_attempts}"] * bool(outcome.max_attempts) + ["maybe run"] * (outcome.ran == "maybe")
    return " ".join(words)


def refused(
    catalogue: Catalogue, name: str, arguments: Mapping[str, Json], default: str | None = None, **rights: Any
) -> Reason | None:
    """Why a token of these rights, else of any command, may not ask for this; None: it may."""
    wish = AccessRequest(
        Command(name, arguments), catalogue.commands[name], catalogue.dangerous_in(name), default, "t", "q"
    )
    return refusal(Token("app", (), **{"allow": ("*",), **rights}), wish)


async def refused_unsent(bench: Bench, command: str, /, **arguments: Any) -> str:
    """Why nothing was sent: the arguments are wrong."""
    before = len(bench.server.received)
    outcome = await bench.deliver(command, **arguments)
    assert isinstance(outcome, Rejected), (command, arguments)
    assert (outcome.reason.code, len(bench.server.received)) == ("BadArgument", before), (command, arguments)
    return outcome.reason.message.removeprefix("The request cannot be made: ")


def answering(status: int, body: bytes = b"", **headers: str) -> Act:
    """Says this to everything."""
    return lambda _: Answer(status, body, {name.replace("_", "-"): value for name, value in headers.items()})


@pytest.fixture
def configured(tmp_path: Path, usual: Usual) -> Configured:
    """Loads a target of these options; `members` are beside them in its entry."""

    def run(
        options: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None, **members: Any
    ) -> LoadedConfig:
        entry = {"Queues": ["q"], **usual.entry, "Options": options, **members}
        file = tmp_path / "env.json"
        file.write_text(json.dumps({"Token": "t", "Targets": {usual.name: entry}}))
        return load(file, environ or {}, {}, registry.kinds())

    return run


@pytest.fixture
def made(configured: Configured) -> Made:
    """The target alone."""
    return lambda *args, **members: configured(*args, **members).config.targets[0]


@pytest.fixture
def problems(configured: Configured, usual: Usual) -> Problems:
    """What is wrong with it, one a line, without the place of the target."""

    def run(*args: Any, **members: Any) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            configured(*args, **members)
        lines = caught.value.message.splitlines()[1:]
        return [line.strip().removeprefix(f"Targets.{usual.name}.") for line in lines]

    return run


@pytest.fixture
def opened(made: Made, usual: Usual) -> Opened:
    """A bench: `act` is what the server answers. Options may be made of its URL."""

    @asynccontextmanager
    async def run(
        act: Act = usual.act, /, options: Any = None, environ: Any = None, *, path: str = usual.path, **members: Any
    ) -> AsyncIterator[Bench]:
        with Receiver(act) as server:
            given = options(server.url) if callable(options) else options
            target = made(given, environ, URL=server.url + path, **members)
            http = open_transport(target)
            try:
                ports = Ports(lambda _: None, lambda: 1_700_000_000.0)
                yield Bench(registry.open_connector(target, ports), Direct(http), server, usual.host)
            finally:
                await http.aclose()

    return run
