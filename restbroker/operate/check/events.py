"""Makes servers emit an event, and waits for it at each source; checks the sources from which events are fetched.

Called by `restbroker check`, with `--events` for the test: which half is broken is a finding. Always holds: the event
becomes no job, nor does one that comes up to an hour later; messages go only to addresses that the operator names; no
finding holds a secret.

Of sources from which events are fetched, what the processes that read them say in Redis counts. One is read here only
if its kind allows that and no process reads it. Then what comes becomes jobs, by the same reader as in `restbroker
run`: it stops when Redis has all, or says what is lost. Where a process reads, no more is sent than a test event.
"""

import json
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from secrets import token_hex
from typing import Final

import attrs
import trio

from restbroker.config.core import Config
from restbroker.config.events import EventSource
from restbroker.config.target import Target
from restbroker.config.target_secrets import remove_secrets
from restbroker.config.values import duration_text
from restbroker.errors import ConfigError, StoreRefused, StoreUnavailable
from restbroker.events import registry as sources
from restbroker.events.deliver import Deliverer, Receiver
from restbroker.job.command import Call, Command
from restbroker.job.event import mark_of_test, text_of_test
from restbroker.job.outcome import Delivered, Denied, Outcome, Reason, Rejected
from restbroker.kinds import SOURCES
from restbroker.light import define, field, frozen
from restbroker.operate.check.config import TEXTS
from restbroker.operate.check.services import why_unserved
from restbroker.operate.connect import open_store, store_settings
from restbroker.operate.events import ADD_SOURCE, NO_SOURCE
from restbroker.operate.handovers import CommandJobs
from restbroker.servers import registry
from restbroker.servers.contract import DirectLink, Ports
from restbroker.servers.event_contract import Emission, Parties, ReaderPorts
from restbroker.servers.findings import Finding, Level
from restbroker.servers.in_redis import LeasesInRedis, LoginsInRedis, ProgressInRedis, StatesInRedis, logins_of
from restbroker.store import events as store
from restbroker.store import records
from restbroker.store.client import Client, open_client
from restbroker.store.connection import Connection
from restbroker.store.sources import SourceState, read_states
from restbroker.telemetry.events import Event, EventHandled, OperatorWarning, SourceOpened
from restbroker.transport.client import open_transport
from restbroker.transport.message import MaybeSent, NotSent

_AREA: Final = "Events"
_PAUSE_S: Final = 0.1
_GIVE_IT: Final = "Give the server this source's Secret: what it sent is missing or wrong (EventUnauthorized)."
_SEE_WARNING: Final = "The broker's warning EventUnauthorized says why."

_finding = partial(TEXTS.finding, _AREA)


@frozen
class EventTest:
    """How to test. `targets`: the servers that emit an event; empty: all that fit.

    `source`: the only source to test; None: all.
    """

    parties: Parties
    targets: Sequence[str] = ()
    within_s: float = 10.0
    source: str | None = None


def check_events(config: Config, test: EventTest) -> list[Finding]:
    """Return for each source whether its test events arrived, except for those that `check.events` tests.

    Each takes as long as its commands, and up to `within_s` more.
    """
    if config.events is None:
        return [_finding("EventNotTested-none", message=NO_SOURCE, hint=ADD_SOURCE)]
    named = [source for source in config.events.sources if test.source in (None, source.name)]
    tested = [trio.run(try_source, config, source, test) for source in named if not sources.check_reads(source)]
    # Redis may be away for several.
    return list(dict.fromkeys(finding for found in tested for finding in found))


async def try_source(config: Config, source: EventSource, test: EventTest) -> list[Finding]:
    """Return whether the test events of this source arrive; where no process serves it, none is sent.

    If it is cancelled, the mark that identifies the test events stays in Redis for an hour.
    """
    if not (kind := SOURCES[source.kind].emitter):
        return [_finding("EventNotTested-kind", source=source.name, kind=source.kind)]
    named = test.targets or ([] if source.target_name is None else [source.target_name])
    fitting = [target for target in config.targets if target.kind == kind and target.name in (named or [target.name])]
    if len(fitting) != 1:
        names = " and ".join(target.name for target in fitting)
        case = "EventNotTested-servers" if fitting else "EventNotTested-server"
        found = _finding(case, source=source.name, names=names, kind=kind)
        # Another program may post there; a target that was named is a mistake.
        return [attrs.evolve(found, level="problem") if test.targets else found]
    try:
        with open_store(config) as client:
            return await _Trial(client, config, source, fitting[0]).run(test)
    except ConfigError as error:
        return [_finding("EventNotTested-config", source=source.name, fault=error.message, hint=error.hint)]
    except (StoreUnavailable, StoreRefused) as error:
        return [_finding("EventNotTested-store", message=error.message, hint=error.hint)]


@frozen(eq=False)
class _Trial:
    """The test of one source by one target; `number` is in all that is sent."""

    client: Client
    config: Config
    source: EventSource
    target: Target
    number: str = field(factory=lambda: token_hex(16))

    async def run(self, test: EventTest) -> list[Finding]:
        """Send, wait, and return what came of it. Raise `ConfigError`, `StoreUnavailable` or `StoreRefused`."""
        client, source = self.client, self.source
        assert self.config.events is not None  # noqa: S101  it has this source
        text = text_of_test(self.number)
        mark = mark_of_test(text)
        assert mark is not None  # noqa: S101  it was made a line above
        emissions = sources.emissions(source, self.target, test.parties, text)
        if not emissions:
            return [self._finding("EventNotTested-types")]
        if (why := why_unserved(self.config.events, source)) is not None:
            return [self._finding("EventNotTested-unserved", fault=why)]
        store.expect_test(client, mark)
        last_refusal = store.read_refusal(client, source.name)
        began_s = time.monotonic()
        try:
            sent, found = await self._send(emissions)
        except (NotSent, MaybeSent) as error:
            fault = remove_secrets(error.message, self.target)
            return [self._finding("EventNotSent-away", what="message", fault=fault)]
        came = await self._wait(mark, sent, within_s=test.within_s)
        more = ""
        if store.read_refusal(client, source.name) not in (None, last_refusal):
            more = " Meanwhile the running broker refused a request to this source as unauthorized."
        for emission in sent:
            if emission in came:
                noted, at_s = came[emission]
                found.append(self._came(emission, noted, duration_text(at_s - began_s)))
                continue
            cause = _GIVE_IT if source.secret is not None else _SEE_WARNING
            hint = f"{cause} If that was another's: {emission.look_at}" if more else emission.look_at
            took = duration_text(test.within_s)
            found.append(self._finding("EventLost", what=emission.what, took=took, more=more, hint=hint))
        return found

    async def _send(self, emissions: Sequence[Emission]) -> tuple[list[Emission], list[Finding]]:
        """Return those that the target accepted, why not the others, and whether it has mod_push."""
        target, config = self.target, self.config
        http = open_transport(target)
        logins = logins_of(target, lambda: Connection(open_client(store_settings(config))))
        sent: list[Emission] = []
        found: list[Finding] = []
        try:
            connector = registry.open_connector(target, Ports(lambda _: None, time.time, http, {LoginsInRedis: logins}))

            async def send(command: Command) -> Outcome:
                call = Call(command, host=target.default_host, timeout_s=target.timeout_s, identity=self.number)
                return await connector.deliver(call, DirectLink(http))

            for event in emissions:
                outcome = await send(event.command)
                if event.subscriber:
                    found.append(self._subscription(event, outcome))
                elif isinstance(outcome, Delivered):
                    sent.append(event)
                else:
                    found.append(self._refusal(event, outcome.reason, is_denied=isinstance(outcome, Denied)))
                # What is wrong with the address is wrong with both; rights to the one say nothing of the other.
                match await send(event.trial) if event.trial and isinstance(outcome, Delivered | Denied) else None:
                    case Rejected(Reason("BadArgument" | "UnknownCommand" as code)):
                        found.append(self._finding(f"ModPush-{code}"))
            return sent, found
        finally:
            with trio.CancelScope(shield=True):
                await http.aclose()
                if logins is not None:
                    await logins.aclose()

    def _subscription(self, asked: Emission, outcome: Outcome) -> Finding:
        text, name = outcome.text if isinstance(outcome, Delivered) else outcome.reason.message, asked.subscriber
        case = "RoomHeard" if isinstance(outcome, Delivered) and f'"{name}"' in text else "RoomUnheard"
        return self._finding(case, room=asked.what, who=name, said=remove_secrets(text, self.target))

    def _refusal(self, emission: Emission, reason: Reason, *, is_denied: bool) -> Finding:
        fault, hint = (remove_secrets(text, self.target) or "" for text in (reason.message, reason.hint))
        if not is_denied:
            # An error of anyone who it went to may be that of the way to the source.
            hint = f"{hint} {emission.look_at}".lstrip()
        case = "EventNotSent-denied" if is_denied else "EventNotSent"
        return self._finding(case, what=emission.what, fault=fault, hint=hint)

    async def _wait(
        self, mark: str, sent: Sequence[Emission], *, within_s: float
    ) -> Mapping[Emission, tuple[Mapping[str, object], float]]:
        """Return what is recorded of the events that came to the source in time, each with when it was seen."""
        came: dict[Emission, tuple[Mapping[str, object], float]] = {}
        with trio.move_on_after(within_s):
            while len(came) < len(sent):
                for noted in map(json.loads, store.read_test_events(self.client, mark)):
                    for emission in sent:
                        if {"source": self.source.name, **emission.members}.items() <= noted.items():
                            came.setdefault(emission, (noted, time.monotonic()))
                await trio.sleep(_PAUSE_S)
        return came

    def _came(self, emission: Emission, noted: Mapping[str, object], took: str) -> Finding:
        way = f"from {noted['from'] or noted['server']}" + (f" to {noted['to']}" if noted["to"] else "")
        case = "EventCame" if noted["queue"] else "EventUnwanted"
        return self._finding(case, what=emission.what, way=way, took=took, queue=noted["queue"])

    def _finding(self, name: str, **values: object) -> Finding:
        return _finding(name, source=self.source.name, target=self.target.name, **values)


_OPENING_S: Final = 12.0
_SILENT_S: Final = 5.0
"""Seconds without a word of any reader, each of which writes every second, after which none lives."""
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
        own = [state for state in states if state.source == source.name or _is_renamed(source, state, fetched)]
        is_tested = sources.check_reads(source) and (test is None or test.source in (None, source.name))
        if is_tested and away is not None:
            if test is None:  # `check.redis` says why
                yield TEXTS.finding(_AREA, "NotLookedAt-readers", source=source.name)
            else:
                yield TEXTS.finding(_AREA, "EventNotTested-store", message=away.message, hint=away.hint)
            continue
        reading = {state.source for state in own if state.is_reading}
        if is_tested and reading and not _is_alive(config, reading):
            # It was killed: its state counts for a while.
            own, reading = [state for state in own if not state.is_reading], set()
        found = list(sources.check(source, own))
        yield from found
        if not is_tested:
            continue
        if source.name in reading:
            tested = trio.run(_try_events, config, source, test)
        elif own or any(finding.level == "problem" for finding in found):
            tested = [] if test is None else [TEXTS.finding(_AREA, "EventNotTested-unread", source=source.name)]
        else:
            # Ctrl-C ends the waiting, never a reader in the middle of what it read.
            tested = trio.run(_SourceReading(config, source, test).run, restrict_keyboard_interrupt_to_checkpoints=True)
        yield from tested


def _is_renamed(source: EventSource, state: SourceState, named: Sequence[EventSource]) -> bool:
    """Tell whether a process with another configuration, to which this state belongs, reads it by a name of its own."""
    is_other = all(state.source != source.name for source in named)
    return is_other and sources.check_reads(source) and sources.is_same(source, state)


def _is_alive(config: Config, names: Collection[str]) -> bool:
    """Tell whether one that reads writes how far it is, as each does every second; True if that is not known.

    `names`: of its source, by which it may be called in its configuration.
    """
    with suppress(StoreUnavailable, StoreRefused), open_store(config) as client:
        before, until_s = [records.read_progress(client, name) for name in names], time.monotonic() + _SILENT_S
        while [records.read_progress(client, name) for name in names] == before:
            if time.monotonic() > until_s:
                return False
            time.sleep(_PAUSE_S)
    return True


@define(eq=False)
class _SourceReading:
    """The reading of a source by the check."""

    config: Config
    source: EventSource
    test: EventTest | None
    _warnings: list[OperatorWarning] = field(factory=list)
    _is_open: bool = False
    _came_directly: bool = False
    _decided: trio.Event = field(factory=trio.Event)

    async def run(self) -> list[Finding]:
        """Read until a test event came or is late; return what the reader and the test found."""
        name, states = self.source.name, StatesInRedis(self._connection, "This check")
        leases = LeasesInRedis(name, self._connection())
        written = ProgressInRedis(name, self._connection(), is_check=True)
        deliverer = Deliverer(self._connection(), CommandJobs(self.config))
        ports = ReaderPorts(deliverer, self._note, leases, written, states.for_source(self.source))
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
        for warning in self._warnings:
            if warning.code not in {state.code for state in said}:
                found.append(Finding("warning", _AREA, warning.code, warning.message, hint=warning.hint))
        if self._came_directly:
            direct = partial(TEXTS.finding, _AREA, "EventLost-direct", source=name)
            tested = [direct(hint=finding.hint) if finding.code == "EventLost" else finding for finding in tested]
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
    return [attrs.evolve(finding, level=levels.get(finding.code, finding.level)) for finding in found]
