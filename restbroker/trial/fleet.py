"""The broker processes of a run of `verify`. Used by `verify` and `faults`.

Always holds: they reach Redis by the settings of the user's own brokers, and none outlives `kill`.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import attrs
import trio

from restbroker.config.values import duration_text
from restbroker.errors import RestbrokerError
from restbroker.job.json_types import Json
from restbroker.store.client import StoreSettings
from restbroker.trial.broker import Broker, Wire, start
from restbroker.trial.witness import Witness
from restbroker.trial.workload import DOMAIN, QUEUE, USER

_START_TIMEOUT_S: Final = 30.0
_POLL_S: Final = 0.05


@attrs.define(eq=False)
class Fleet:
    """The brokers of a run. `brokers` are those that were not killed, in the order of their starts."""

    settings: StoreSettings
    folder: Path
    witness: Witness
    rest_url: str
    token: str
    nursery: trio.Nursery
    brokers: list[Broker] = attrs.field(factory=list)
    _started: int = 0

    @property
    def has_wires(self) -> bool:
        """Whether connections to Redis can be cut.

        TLS would see another host's name, a socket has no port, and sentinels name the host.
        """
        return urlsplit(self.settings.url).scheme == "redis" and not self.settings.sentinels

    async def start(self) -> Broker:
        """Start one more broker and return it when it sends heartbeats.

        Raise `RestbrokerError` if it ends or takes more than 30 s.
        """
        self._started += 1
        wire, url = None, self.settings.url
        if self.has_wires:
            parts = urlsplit(url)
            wire = Wire(parts.hostname or "localhost", parts.port or 6379)
            login, at, _ = parts.netloc.rpartition("@")
            place = f"127.0.0.1:{await self.nursery.start(wire.run)}"
            url = urlunsplit(parts._replace(netloc=f"{login}{at}{place}"))
        broker = await start(self.folder, str(self._started), self._document(url), os.environ, wire)
        self.brokers.append(broker)
        await self.wait_for_heartbeat(broker)
        return broker

    async def wait_for_heartbeat(self, broker: Broker) -> None:
        """Wait until it sends heartbeats; raise `RestbrokerError` if it ends or takes more than 30 s."""
        with trio.move_on_after(_START_TIMEOUT_S):
            while not await self.witness.ask(self.witness.live_identities, broker.process.pid):
                broker.require_alive()
                await trio.sleep(_POLL_S)
            return
        raise RestbrokerError(
            f"A broker sent no heartbeat within {duration_text(_START_TIMEOUT_S)}.", "Check the machine's load."
        )

    def require_alive(self) -> None:
        """Raise `RestbrokerError` if one ended by itself."""
        for broker in self.brokers:
            broker.require_alive()

    async def stop(self) -> None:
        """Have all end in good order; raise `RestbrokerError` if one did not."""
        async with trio.open_nursery() as nursery:
            for broker in self.brokers:
                nursery.start_soon(broker.stop)
        self.brokers.clear()

    async def kill(self) -> None:
        """Kill all brokers, also suspended ones. Goes on to the end when cancelled."""
        with trio.CancelScope(shield=True):
            for broker in self.brokers:
                broker.process.kill()
                await broker.process.wait()

    def _document(self, url: str) -> Mapping[str, Json]:
        settings = self.settings
        redis = {
            "RedisURL": url,
            "RedisNamespace": settings.namespace,
            "RedisPass": settings.password and settings.password.reveal(),
            "RedisSentinels": [f"{host}:{port}" for host, port in settings.sentinels],
            "RedisMaster": settings.master,
            "RedisSentinelPass": settings.sentinel_password and settings.sentinel_password.reveal(),
        }
        return {
            **{name: value for name, value in redis.items() if value},
            "RestURL": self.rest_url,
            "RestUser": USER,
            "RestPass": self.token,
            "JabberDomain": DOMAIN,
            "RestQueue": QUEUE,
            "Token": self.token,
            "Backoff": {"Base": "200ms", "Factor": 1, "Cap": "200ms"},
        }
