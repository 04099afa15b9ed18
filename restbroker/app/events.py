"""Makes the services that receive events of servers. Imported by `services` if the configuration has `Events`.

Always holds: with `--processes` the supervisor receives events for all workers.
"""

import time
from collections.abc import Callable, Mapping
from functools import partial

import trio

from restbroker.broker.plan import Service
from restbroker.config.events import Events, EventSource
from restbroker.config.target import Target
from restbroker.events import registry as kinds
from restbroker.events.deliver import Deliverer, Receiver
from restbroker.events.secrets import CurrentSecret
from restbroker.events.webhook import Webhooks
from restbroker.light import define
from restbroker.operate.handovers import CommandJobs
from restbroker.servers.contract import Ports
from restbroker.servers.event_contract import EventReader, ReaderPorts
from restbroker.servers.in_redis import LeasesInRedis, LoginsInRedis, ProgressInRedis, StatesInRedis, logins_of
from restbroker.servers.reading import LastingReader
from restbroker.serving.runner import Server
from restbroker.serving.tls import Certificate
from restbroker.store.connection import Connection
from restbroker.telemetry.events import Event, EventHandled, ListenerStarted, Report, report_bug
from restbroker.transport.client import open_transport
from restbroker.transport.readiness import Upkeep
from restbroker.transport.room import Room

_READ_AGAIN_S = 5.0
_REST_S = 120.0
"""Seconds that a sender may rest: longer than nginx (60), so that it closes first and no post meets our close."""


def event_services(
    events: Events, open_connection: Callable[[], Connection], report: Report, room: Room, commands: CommandJobs | None
) -> tuple[Service, ...]:
    """Return the services that take in events.

    `open_connection` makes a connection to Redis with a short time-out. `room`: the memory for what is received, which
    the answers of targets share. `commands` makes the jobs of events that become commands.
    """
    secrets = None if commands is None or not commands.tokens else TokenSecrets.make(commands, report)
    deliverer = Deliverer(open_connection(), commands)
    states = StatesInRedis(open_connection)

    def counted(event: Event) -> None:
        if isinstance(event, EventHandled):
            states.count(event)
        report(event)

    def open_reader(source: EventSource) -> EventReader:
        leases = LeasesInRedis(source.name, open_connection())
        progress = ProgressInRedis(source.name, open_connection())
        target = _target_ports(source.target, open_connection, report, room)
        return kinds.open_reader(
            source, ReaderPorts(deliverer, counted, leases, progress, states.for_source(source), target)
        )

    readers = [
        LastingReader(source.name, open_reader(source), partial(open_reader, source), report, states.for_source(source))
        for source in events.sources
        if source.path is None
    ]
    servers = [_server(events, bind, deliverer, counted, room, states) for bind in events.webhook_sources]
    receiver = Receiver(deliverer, servers, [states, *readers])
    return (receiver,) if secrets is None else (secrets, receiver)


@define(eq=False)
class TokenSecrets:
    """A service that reads the secrets of tokens again: a slow disk must not hold up the loop."""

    _secrets: Mapping[str, CurrentSecret]

    @classmethod
    def make(cls, commands: CommandJobs, report: Report) -> "TokenSecrets":
        """Return the service, from which `commands` gets its secrets from now on."""
        secrets = {token.name: CurrentSecret(token.secrets[0], report) for token in commands.tokens}
        commands.secret_of = lambda token: secrets[token.name].value.decode() or token.secrets[0].reveal()
        return cls(secrets)

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Read them every five seconds until cancelled."""
        for secret in self._secrets.values():
            await secret.current()
        task_status.started()
        while True:
            await trio.sleep(_READ_AGAIN_S)
            for secret in self._secrets.values():
                await secret.current()


def _server(
    events: Events, bind: tuple[str, int], deliverer: Deliverer, report: Report, room: Room, states: StatesInRedis
) -> Server:
    """Return what takes in events at this address; TLS is used only at the common address of all sources."""
    sources = events.webhook_sources[bind]

    def listening(event: Event) -> None:
        for source in sources if isinstance(event, ListenerStarted) else ():
            states.for_source(source).put(None)
        report(event)

    own = sources[0].listen is not None
    secured = None if own or events.tls is None else Certificate(events.tls, "CertFile of Events", report)
    return Server(
        f"events of {' and '.join(source.name for source in sources)}" if own else "events",
        f"Listen of the source {sources[0].name}" if own else "Listen of Events",
        *bind,
        Webhooks(sources, deliverer.deliver, deliverer.record_refusal, report, room).app,
        listening,
        rest_s=_REST_S,
        at_stop=deliverer.hurry,
        certificate=secured,
    )


def _target_ports(
    target: Target | None, open_connection: Callable[[], Connection], report: Report, room: Room
) -> Ports | None:
    """Return what the connector of a source's target may use, for a kind that reads by its users' logins."""
    if target is None or (logins := logins_of(target, open_connection)) is None:
        return None
    http = open_transport(target, shared=Upkeep(room, partial(report_bug, report)))
    return Ports(report, time.time, http, {LoginsInRedis: logins})
