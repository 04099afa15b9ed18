"""Checks the sources from which events are fetched, also by what the processes that read them say in Redis.

Called by `restbroker check`. Always holds: a source is read here only if its kind allows that and no process reads it.
Then what comes becomes jobs, by the same reader as in `restbroker run`: it stops when Redis has all, or says what is
lost. Where a process reads, no more is sent than a test event.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final

import attrs
import trio

from restbroker.config.core import Config
from restbroker.config.events import EventSource
from restbroker.errors import StoreRefused, StoreUnavailable
from restbroker.events import registry as sources
from restbroker.events.deliver import Deliverer, Receiver
from restbroker.operate.check.config import TEXTS
from restbroker.operate.check.events import EventTest, try_source
from restbroker.operate.connect import open_store, store_settings
from restbroker.servers.event_contract import Parties, ReaderPorts
from restbroker.servers.findings import Finding, Level
from restbroker.servers.in_redis import LeasesInRedis, ProgressInRedis, StatesInRedis
from restbroker.store.client import open_client
from restbroker.store.connection import Connection
from restbroker.store.sources import SourceState, read_states
from restbroker.telemetry.events import Event, EventHandled, OperatorWarning, SourceOpened

_AREA: Final = "Events"
_OPENING_S: Final = 12.0
_LEVELS: Final[Mapping[str, Level]] = {"EventUnwanted": "ok", "EventNotTested": "note", "EventNotSent": "warning"}
"""What a test finds that says nothing against the source."""


def check_readers(config: Config, *, reads: bool = True) -> Iterator[Finding]:
    """Yield the findings on the sources from which events are fetched.

    With `reads`, one that no process reads is read for a moment, if its kind allows that. It takes some seconds if a
    server does not answer, or does not report what was sent.
    """
    fetched = () if config.events is None else [source for source in config.events.sources if source.path is None]
    if not fetched:
        return
    states = _states(config)
    for source in fetched:
        own = [state for state in states or () if state.source == source.name]
        is_readable = sources.check_reads(source)
        if is_readable and states is None:
            yield TEXTS.finding(_AREA, "NotLookedAt-readers", source=source.name)
            continue
        found = list(sources.check(source, own))
        yield from found
        if not (is_readable and reads):
            continue
        if any(state.is_reading for state in own):
            yield trio.run(_try_event, config, source)
        elif not own and not any(one.level == "problem" for one in found):
            # Ctrl-C ends the waiting, never a reader in the middle of what it read.
            yield from trio.run(_Reading(config, source).run, restrict_keyboard_interrupt_to_checkpoints=True)


def _states(config: Config) -> Sequence[SourceState] | None:
    """Return how the reading of sources stands, as the processes say; None if Redis does not answer."""
    # What Redis says instead is a finding of `check.redis`.
    with suppress(StoreUnavailable, StoreRefused), open_store(config) as client:
        return read_states(client)
    return None


@attrs.define(eq=False)
class _Reading:
    """The reading of a source by the check."""

    config: Config
    source: EventSource
    _warnings: list[OperatorWarning] = attrs.field(factory=list)
    _is_open: bool = False
    _came_directly: bool = False
    _decided: trio.Event = attrs.field(factory=trio.Event)

    async def run(self) -> list[Finding]:
        """Read until a test event came or is late; return what the reader and the test found."""
        name, states = self.source.name, StatesInRedis(self._connection, "This check")
        leases = LeasesInRedis(name, self._connection())
        progress = ProgressInRedis(name, self._connection(), is_check=True)
        deliverer = Deliverer(self._connection())
        ports = ReaderPorts(deliverer, self._note, leases, progress, states=states.of(self.source))
        receiver = Receiver(deliverer, (), [sources.open_reader(self.source, ports)])
        tested: list[Finding] = []
        async with trio.open_nursery() as nursery:
            await nursery.start(receiver.run)
            with trio.move_on_after(_OPENING_S):
                await self._decided.wait()
            said = states.current
            if self._is_open:
                tested.append(await _try_event(self.config, self.source))
            nursery.cancel_scope.cancel()
        found = list(sources.check(self.source, said)) if said else []
        for one in self._warnings:
            if one.code not in {state.code for state in said}:
                found.append(Finding("warning", _AREA, one.code, one.message, hint=one.hint))
        if self._came_directly and any(one.code == "EventLost" for one in tested):
            return [*found, TEXTS.finding(_AREA, "EventLost-direct", source=name)]
        return [*found, *tested]

    def _note(self, event: Event) -> None:
        match event:
            case SourceOpened():
                self._is_open = True
                self._decided.set()
            case OperatorWarning():
                self._warnings.append(event)
                self._decided.set()
            case EventHandled(outcome="direct"):
                self._came_directly = True
            case _:
                pass

    def _connection(self) -> Connection:
        return Connection(open_client(store_settings(self.config, "restbroker-check")))


async def _try_event(config: Config, source: EventSource) -> Finding:
    """Return whether a message comes as an event that the server is made to report."""
    try:
        with open_store(config) as client:
            found = await try_source(client, config, source, EventTest(Parties()))
    except (StoreUnavailable, StoreRefused) as error:
        return TEXTS.finding(_AREA, "EventNotTested-store", message=error.message, hint=error.hint)
    return attrs.evolve(found, level=_LEVELS.get(found.code, found.level))
