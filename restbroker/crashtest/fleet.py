"""The broker processes of a run. Used by `crashtest.run` and `crashtest.faults`.

Always holds: each is `restbroker run` as users run it, sees none of the user's RESTBROKER_* settings, reads its secrets
from a file that only the user can read, and none outlives `kill`.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit, urlunsplit

import attrs
import trio

from restbroker.config.values import duration_text
from restbroker.crashtest import scratch
from restbroker.crashtest.wire import Wire
from restbroker.crashtest.workload import DOMAIN, QUEUE, USER
from restbroker.errors import RestbrokerError
from restbroker.job.json_types import Json
from restbroker.standins.broker import last_words, spawn, without_settings
from restbroker.store.client import StoreSettings
from restbroker.store.connection import Connection

_START_TIMEOUT_S: Final = 30.0
_STOP_TIMEOUT_S: Final = 30.0
_POLL_S: Final = 0.05


@attrs.frozen(eq=False)
class Broker:
    """One broker process. `wire` is its connection to Redis that can be cut; None: it connects directly."""

    process: trio.Process
    wire: Wire | None
    log: Path

    def require_alive(self) -> None:
        """Raise `RestbrokerError` with its last words if it ended by itself."""
        if self.process.poll() is not None:
            code = self.process.returncode
            raise RestbrokerError(f"A broker ended unexpectedly, with {code}. Its last lines:\n{last_words(self.log)}")


@attrs.define(eq=False)
class Fleet:
    """The brokers of a run. `brokers` are those that were not killed, in the order of their starts.

    `store` is the connection for questions to Redis about them.
    """

    settings: StoreSettings
    folder: Path
    store: Connection
    rest_url: str
    token: str
    nursery: trio.Nursery
    brokers: list[Broker] = attrs.field(factory=list)
    _started: int = 0

    @property
    def has_wires(self) -> bool:
        """Whether connections to Redis can be cut: TLS would see another host's name, and a socket has no port."""
        return urlsplit(self.settings.url).scheme == "redis"

    async def start(self) -> Broker:
        """Start one more broker and return it when it sends heartbeats.

        Raise `RestbrokerError` if it ends or takes more than 30 s.
        """
        self._started += 1
        wire, port = None, None
        if self.has_wires:
            parts = urlsplit(self.settings.url)
            wire = Wire(parts.hostname or "localhost", parts.port or 6379)
            port = await self.nursery.start(wire.run)
        config = self.folder / f"{self._started}.json"
        config.touch(0o600)
        config.write_text(json.dumps(self._document(port)))
        log = self.folder / f"{self._started}.log"
        broker = Broker(await spawn(config, log, without_settings(os.environ)), wire, log)
        self.brokers.append(broker)
        await self.wait_for_heartbeat(broker)
        return broker

    async def wait_for_heartbeat(self, broker: Broker) -> None:
        """Wait until it sends heartbeats; raise `RestbrokerError` if it ends or takes more than 30 s."""
        with trio.move_on_after(_START_TIMEOUT_S):
            while not await self.store.call(scratch.live_identities, broker.process.pid):
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
        """Send all SIGTERM and wait until they have ended; raise `RestbrokerError` if one did not end as it should."""
        for broker in self.brokers:
            broker.process.terminate()
        for broker in self.brokers:
            with trio.move_on_after(_STOP_TIMEOUT_S):
                await broker.process.wait()
            if (code := broker.process.poll()) != 0:
                ended_how = f"did not end in {duration_text(_STOP_TIMEOUT_S)}" if code is None else f"ended with {code}"
                raise RestbrokerError(f"Asked to stop, a broker {ended_how}. Its last lines:\n{last_words(broker.log)}")
        self.brokers.clear()

    async def kill(self) -> None:
        """Kill all brokers, also suspended ones. Goes on to the end when cancelled."""
        with trio.CancelScope(shield=True):
            for broker in self.brokers:
                broker.process.kill()
                await broker.process.wait()

    def _document(self, port: int | None) -> Mapping[str, Json]:
        return {
            "RedisURL": _with_login(self.settings, port),
            "RedisNamespace": self.settings.namespace,
            "RestURL": self.rest_url,
            "RestUser": USER,
            "RestPass": self.token,
            "JabberDomain": DOMAIN,
            "RestQueue": QUEUE,
            "Token": self.token,
            "Backoff": {"Base": "200ms", "Factor": 1, "Cap": "200ms"},
        }


def _with_login(settings: StoreSettings, port: int | None) -> str:
    """Return the URL of Redis with user and password in it, at `port` of loopback if that is set, where the wire is."""
    parts = urlsplit(settings.url)
    who, at, place = parts.netloc.rpartition("@")
    if port is not None:
        place = f"127.0.0.1:{port}"
    if settings.password is not None:
        who, at = f"{who}:{quote(settings.password.reveal(), safe='')}", "@"
    return urlunsplit(parts._replace(netloc=f"{who}{at}{place}"))
