"""Checks the sources from which events are fetched, also by what the processes that read them say in Redis.

Called by `restbroker check`. Always holds: a source is read here only if its kind allows that and no process reads it.
Then what comes becomes jobs, by the same reader as in `restbroker run`: it stops when Redis has all, or says what is
lost. Where a process reads, no more is sent than a test event.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
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
from restbroker.operate.handovers import CommandJobs
from restbroker.servers.event_contract import Parties, ReaderPorts
from restbroker.servers.findings import Finding, Level
from restbroker.servers.in_redis import LeasesInRedis, ProgressInRedis, StatesInRedis
from restbroker.store import records
from restbroker.store.client import open_client
from restbroker.store.connection import Connection
from restbroker.store.sources import SourceState, read_states
from restbroker.telemetry.events import Event, EventHandled, OperatorWarning, SourceOpened

_AREA: Final = "Events"
_OPENING_S: Final = 12.0
_SILENT_S: Final = 5.0
"""Seconds without a word of any reader, each of which writes every second, after which none lives."""
_PAUSE_S: Final = 0.1
_LEVELS: Final[Mapping[str, Level]] = {"EventUnwanted": "ok", "EventNotTested": "note", "EventNotSent": "warning"}
"""What a test finds that says nothing against the source."""


def check_readers(config: Config, test: EventTest | None = None) -> Iterator[Finding]:
    """Yield the findings on the sources from which events are fetched, and the results of `test` where `check_reads`.

    There one that no process reads is read for a moment. It takes some seconds if a server does not answer, or does not
    report what was sent. Without `test`, what could not be tested is no problem.
    """
    fetched = () if config.events is None else [source for source in config.events.sources if source.path is None]
    if not fetched:
        return
    states: Sequence[SourceState] = ()
    away: StoreUnavailable | StoreRefused | None = None
    try:
        with open_store(config) as client:
            states = read_states(client)
    except (StoreUnavailable, StoreRefused) as error:
        away = error
    for source in fetched:
        own = [state for state in states if state.source == source.name]
        is_tested = sources.check_reads(source) and (test is None or test.source in (None, source.name))
        if is_tested and away is not None:
            if test is None:  # `check.redis` says why
                yield TEXTS.finding(_AREA, "NotLookedAt-readers", source=source.name)
            else:
                yield TEXTS.finding(_AREA, "EventNotTested-store", message=away.message, hint=away.hint)
            continue
        is_read = any(state.is_reading for state in own)
        if is_tested and is_read and not _is_alive(config, source):
            # It was killed: its state counts for a while.
            own, is_read = [state for state in own if not state.is_reading], False
        found = list(sources.check(source, own))
        yield from found
        if not is_tested:
            continue
        if is_read:
            tested = trio.run(_try_events, config, source, test)
        elif own or any(one.level == "problem" for one in found):
            tested = [] if test is None else [TEXTS.finding(_AREA, "EventNotTested-unread", source=source.name)]
        else:
            # Ctrl-C ends the waiting, never a reader in the middle of what it read.
            reading = _Reading(config, source, test)
            tested = trio.run(reading.run, restrict_keyboard_interrupt_to_checkpoints=True)
        yield from tested


def _is_alive(config: Config, source: EventSource) -> bool:
    """Tell whether a process that reads writes how far it is, as each does every second; True if that is not known."""
    with suppress(StoreUnavailable, StoreRefused), open_store(config) as client:
        before, until_s = records.read_progress(client, source.name), time.monotonic() + _SILENT_S
        while records.read_progress(client, source.name) == before:
            if time.monotonic() > until_s:
                return False
            time.sleep(_PAUSE_S)
    return True


@attrs.define(eq=False)
class _Reading:
    """The reading of a source by the check."""

    config: Config
    source: EventSource
    test: EventTest | None
    _warnings: list[OperatorWarning] = attrs.field(factory=list)
    _is_open: bool = False
    _came_directly: bool = False
    _decided: trio.Event = attrs.field(factory=trio.Event)

    async def run(self) -> list[Finding]:
        """Read until a test event came or is late; return what the reader and the test found."""
        name, states = self.source.name, StatesInRedis(self._connection, "This check")
        leases = LeasesInRedis(name, self._connection())
        written = ProgressInRedis(name, self._connection(), is_check=True)
        deliverer = Deliverer(self._connection(), CommandJobs(self.config))
        ports = ReaderPorts(deliverer, self._note, leases, written, states.of(self.source))
        receiver = Receiver(deliverer, (), [sources.open_reader(self.source, ports)])
        tested: list[Finding] = []
        async with trio.open_nursery() as nursery:
            await nursery.start(receiver.run)
            with trio.move_on_after(_OPENING_S):
                await self._decided.wait()
            said = states.current
            if self._is_open:
                tested = await _try_events(self.config, self.source, self.test)
            nursery.cancel_scope.cancel()
        found = list(sources.check(self.source, said)) if said else []
        for one in self._warnings:
            if one.code not in {state.code for state in said}:
                found.append(Finding("warning", _AREA, one.code, one.message, hint=one.hint))
        if self._came_directly:
            direct = partial(TEXTS.finding, _AREA, "EventLost-direct", source=name)
            tested = [direct(hint=one.hint) if one.code == "EventLost" else one for one in tested]
        if self._is_open:
            unread = TEXTS.finding(_AREA, "NotServing-reader", source=name)
            tested.append(unread if self.test else attrs.evolve(unread, level="warning"))
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


async def _try_events(config: Config, source: EventSource, test: EventTest | None) -> list[Finding]:
    """Return whether what the server is made to report comes as events."""
    found = await try_source(config, source, test or EventTest(Parties()))
    levels = _LEVELS if test is None else {}
    return [attrs.evolve(one, level=levels.get(one.code, one.level)) for one in found]
