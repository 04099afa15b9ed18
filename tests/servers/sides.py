"""Our side of a server: a target, its connector, and a link that sends at once. For the tests of this folder."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs

from restbroker.config.load import load
from restbroker.config.target import Target
from restbroker.job.command import Call, Command
from restbroker.job.json_types import Json
from restbroker.job.outcome import Delivered, Outcome, Probe
from restbroker.servers import registry
from restbroker.servers.contract import Connector, Ports
from restbroker.transport.client import open_transport
from tests.support.link import Direct


@attrs.frozen
class Side:
    """`host` is that of the target; `how`: what else is known of a job."""

    connector: Connector
    link: Direct
    host: str | None = None

    async def call(self, command: str, given: Mapping[str, Json] | None = None, **how: Any) -> Outcome:
        known = {"identity": "0123456789abcdef01234567", "host": self.host, **how}
        return await self.connector.deliver(Call(Command(command, given or {}), **known), self.link)

    async def done(self, command: str, given: Mapping[str, Json] | None = None, **how: Any) -> Delivered:
        """Delivers a command that is done."""
        outcome = await self.call(command, given, **how)
        assert isinstance(outcome, Delivered), outcome
        return outcome

    async def do(self, command: str, /, **given: Json) -> Outcome:
        """An underscore behind a name is not part of it: `from` is a word of Python's."""
        return await self.call(command, {name.rstrip("_"): value for name, value in given.items()})

    async def probe(self) -> Probe:
        return await self.connector.probe(self.link)


def in_short(outcome: Outcome) -> str:
    """Its kind and its difference from others of its kind."""
    if isinstance(outcome, Delivered):
        return f"Delivered {'no' if outcome.negative else outcome.note or ''}".rstrip()
    return f"{type(outcome).__name__} {outcome.reason.code}"


def target_of(place: Path, entry: Mapping[str, Any]) -> Target:
    """The target that this entry of env.json makes."""
    file = place / "target.json"
    file.write_text(json.dumps({"Token": "t", "Targets": {"chat": {"Queues": ["q"], **entry}}}))
    (target,) = load(file, {}, {}, registry.kinds()).config.targets
    return target


@asynccontextmanager
async def opened(target: Target) -> AsyncIterator[Side]:
    http = open_transport(target)
    try:
        ports = Ports(lambda _: None, lambda: 1_700_000_000.0)
        yield Side(registry.open_connector(target, ports), Direct(http), target.default_host)
    finally:
        await http.aclose()
