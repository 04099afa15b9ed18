"""Brokers as child processes beside a stand-in: `restbroker run` as users run it, on a Redis that settings name.

Used by `demo`, `verify` and `faults`. Always holds: a broker sees none of the user's RESTBROKER_* settings, and reads
its secrets from a file that only the user can read. A child has a process group of its own: Ctrl-C reaches the process
that started it, which then ends it in good order. A wire listens on loopback only, and passes bytes unchanged and
unread.
"""

import json
import os
import random
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import trio

from restbroker.config.values import duration_text
from restbroker.errors import RestbrokerError
from restbroker.job.json_types import Json
from restbroker.light import define, field, frozen
from restbroker.store.settings import StoreSettings
from restbroker.trial.stand_in import StandIn
from restbroker.trial.witness import DOMAIN, QUEUE, REPLIES, USER, Witness, open_redis

COMMAND: Final = (sys.executable, "-P", "-m", "restbroker")  # -P: not what lies in the folder where it was called
_PATIENCE_S: Final = 30.0
_POLL_S: Final = 0.05


@define(eq=False)
class RedisProxy:
    """Passes connections from a loopback port on to Redis at `host`:`port`, and can cut them.

    A wire instead of CLIENT KILL: it needs no right to CLIENT, and cannot reach other programs' connections.
    """

    host: str
    port: int
    _connections: set[trio.CancelScope] = field(factory=set)

    async def run(self, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Pass connections on until cancelled; report the port to connect to by `task_status`."""
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        task_status.started(listener.socket.getsockname()[1])
        await trio.serve_listeners(self._pass_on, [listener])

    def cut(self) -> None:
        """Break every open connection; new ones are passed on."""
        for connection in self._connections:
            connection.cancel()

    async def _pass_on(self, near: trio.SocketStream) -> None:
        with trio.CancelScope() as scope:
            self._connections.add(scope)
            try:
                async with (
                    near,
                    await trio.open_tcp_stream(self.host, self.port) as far,
                    trio.open_nursery() as nursery,
                ):
                    nursery.start_soon(_pump, near, far, scope)
                    await _pump(far, near, scope)
            except OSError:
                pass  # Redis cannot be reached: the broker sees its connection end
            finally:
                self._connections.discard(scope)


@frozen(eq=False)
class Broker:
    """One broker process, its configuration and its output. `wire`: its connection to Redis, if that can be cut."""

    process: trio.Process
    config: Path
    log: Path
    wire: RedisProxy | None = None

    @property
    def last_words(self) -> str:
        """Its last lines, as the end of a message."""
        return f"The broker's last lines:\n{last_words(self.log)}"

    def require_alive(self) -> None:
        """Raise `RestbrokerError` with its last words if it ended by itself."""
        if (code := self.process.poll()) is not None:
            raise RestbrokerError(f"The broker ended unexpectedly, with {code}. {self.last_words}")

    async def stop(self) -> None:
        """Send it SIGTERM and wait; raise `RestbrokerError` unless it ends with 0 within 30 s.

        When cancelled it is left to `Fleet.kill`: without its wire it could not end in good order.
        """
        self.process.terminate()
        with trio.move_on_after(_PATIENCE_S):
            await self.process.wait()
        if (code := self.process.returncode) != 0:
            raise RestbrokerError(f"Asked to stop, the broker ended with {code}. {self.last_words}")


@define(eq=False)
class Fleet:
    """The brokers of a run. `brokers` are those that were not killed, in the order of their starts.

    They reach Redis by `settings`, deliver to the stand-in, and take jobs with its password as their token; `more` is
    what their configuration has beside that.
    """

    settings: StoreSettings
    folder: Path
    witness: Witness
    stand_in: StandIn
    nursery: trio.Nursery
    more: Mapping[str, Json] = field(factory=dict)
    brokers: list[Broker] = field(factory=list)
    _started: int = 0

    async def start(self) -> Broker:
        """Start one more broker and return it when it sends heartbeats.

        Raise `RestbrokerError` if it ends or takes more than 30 s.
        """
        self._started += 1
        wire, url = None, self.settings.url
        parts = urlsplit(url)
        # TLS would see another host's name, a socket has no port, and sentinels name the host.
        if parts.scheme == "redis" and not self.settings.sentinels:
            wire = RedisProxy(parts.hostname or "localhost", parts.port or 6379)
            login, at, _ = parts.netloc.rpartition("@")
            place = f"127.0.0.1:{await self.nursery.start(wire.run)}"
            url = urlunsplit(parts._replace(netloc=f"{login}{at}{place}"))
        config, log = self.folder / f"{self._started}.json", self.folder / f"{self._started}.log"
        config.touch(0o600)
        config.write_text(json.dumps(self._document(url), indent=2) + "\n")
        process = await start([*COMMAND, "run", "--config", str(config)], log, without_settings())
        broker = Broker(process, config, log, wire)
        self.brokers.append(broker)
        await self.wait_for_heartbeat(broker)
        return broker

    async def wait_for_heartbeat(self, broker: Broker) -> None:
        """Wait until it sends heartbeats; raise `RestbrokerError` if it ends or takes more than 30 s."""
        with trio.move_on_after(_PATIENCE_S):
            while not await self.witness.ask(self.witness.live_identities, broker.process.pid):
                broker.require_alive()
                await trio.sleep(_POLL_S)
            return
        raise RestbrokerError(
            f"A broker sent no heartbeat within {duration_text(_PATIENCE_S)}.", "Check the machine's load."
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
            "RestURL": f"http://127.0.0.1:{self.stand_in.port}/api",
            "RestUser": USER,
            "RestPass": self.stand_in.password,
            "JabberDomain": DOMAIN,
            "RestQueue": QUEUE,
            "ResponseQueue": REPLIES,
            "Token": self.stand_in.password,
            "Backoff": {"Base": "200ms", "Factor": 1, "Cap": "200ms"},
            **self.more,
        }


@asynccontextmanager
async def open_fleet(
    settings: StoreSettings, folder: Path, token: str, signals: AsyncIterator[int], *, seed: int | None = None
) -> AsyncIterator[Fleet]:
    """Open a fleet without brokers, beside a stand-in, for the block, which a signal ends.

    However it ends, the brokers are killed first; then every key of the namespace is removed, if there is one. `seed`
    counts for the stand-in's delays.
    """
    with open_redis(settings) as redis:
        witness = Witness(redis, settings.namespace)
        try:
            async with trio.open_nursery() as nursery:
                rng = random.Random(seed)  # noqa: S311 - of delays, and of what breaks
                stand_in = StandIn(nursery, USER, token, rng)
                await stand_in.come_up()
                fleet = Fleet(settings, folder, witness, stand_in, nursery)
                nursery.start_soon(_cancel_at_signal, signals, nursery.cancel_scope)
                try:
                    yield fleet
                finally:
                    await fleet.kill()
                nursery.cancel_scope.cancel()
        finally:
            if settings.namespace:
                with trio.CancelScope(shield=True):
                    await witness.ask(witness.sweep)


async def start(words: list[str], log: Path, environ: Mapping[str, str] | None = None) -> trio.Process:
    """Start a process that writes to this log, in a process group of its own."""
    with log.open("wb") as output:
        return await trio.lowlevel.open_process(
            words, env=environ, stdin=subprocess.DEVNULL, stdout=output, stderr=output, process_group=0
        )


def without_settings() -> dict[str, str]:
    """Return the environment without the variables that would count as configuration (RESTBROKER_*)."""
    return {name: value for name, value in os.environ.items() if not name.startswith("RESTBROKER_")}


async def end(process: trio.Process, patience_s: float = 5.0) -> None:
    """Send a process SIGTERM, and kill it after `patience_s` seconds. Goes on to the end when cancelled."""
    with trio.CancelScope(shield=True):
        process.terminate()
        with trio.move_on_after(patience_s) as patience:
            await process.wait()
        if patience.cancelled_caught:
            process.kill()
            await process.wait()


def last_words(log: Path) -> str:
    """Return the last ten lines that a child wrote."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-10:])


async def _cancel_at_signal(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    async for _ in signals:
        scope.cancel()


async def _pump(source: trio.SocketStream, sink: trio.SocketStream, scope: trio.CancelScope) -> None:
    """Pass bytes on until either side ends; then both do."""
    try:
        async for received in source:
            await sink.send_all(received)
    except trio.BrokenResourceError:
        pass
    scope.cancel()
