"""Makes servers emit an event, and waits for it at each source: which half is broken is a finding.

Called by `restbroker check --events`. Always holds: the event becomes no job, nor does one that comes up to an hour
later; messages go only to addresses that the operator names; no finding holds a secret.
"""

import json
import time
from collections.abc import Mapping, Sequence
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
from restbroker.job.command import Call, Command
from restbroker.job.event import mark_of_test, text_of_test
from restbroker.job.outcome import Delivered, Denied, Outcome, Reason, Rejected
from restbroker.operate.check.config import TEXTS
from restbroker.operate.check.services import why_unserved
from restbroker.operate.connect import open_store, store_settings
from restbroker.operate.events import ADD_SOURCE, NO_SOURCE
from restbroker.servers import registry
from restbroker.servers.contract import DirectLink, Ports
from restbroker.servers.event_contract import Emission, Parties
from restbroker.servers.findings import Finding
from restbroker.servers.in_redis import LoginsInRedis, logins_of
from restbroker.store import events as store
from restbroker.store.client import Client, open_client
from restbroker.store.connection import Connection
from restbroker.transport.client import open_transport
from restbroker.transport.errors import MaybeSent, NotSent

_AREA: Final = "Events"
_PAUSE_S: Final = 0.1
_GIVE_IT: Final = "Give the server this source's Secret: what it sent is missing or wrong (EventUnauthorized)."
_SEE_WARNING: Final = "The broker's warning EventUnauthorized says why."

_finding = partial(TEXTS.finding, _AREA)


@attrs.frozen
class EventTest:
    """How to test. `targets`: the servers that emit an event; empty: all that fit.

    `source`: the only source to test; None: all.
    """

    parties: Parties
    targets: Sequence[str] = ()
    within_s: float = 10.0
    source: str | None = None


def check_events(config: Config, test: EventTest) -> list[Finding]:
    """Return for each source whether its test events arrived, except for those that `check.reading` tests.

    Each takes as long as its commands, and up to `within_s` more.
    """
    if config.events is None:
        return [_finding("EventNotTested-none", message=NO_SOURCE, hint=ADD_SOURCE)]
    named = [source for source in config.events.sources if test.source in (None, source.name)]
    tested = [trio.run(try_source, config, source, test) for source in named if not sources.check_reads(source)]
    # Redis may be away for several.
    return list(dict.fromkeys(one for found in tested for one in found))


async def try_source(config: Config, source: EventSource, test: EventTest) -> list[Finding]:
    """Return whether the test events of this source arrive; where no process serves it, none is sent.

    If it is cancelled, the mark that identifies the test events stays in Redis for an hour.
    """
    if (kind := sources.emits(source.kind)) is None:
        return [_finding("EventNotTested-kind", source=source.name, kind=source.kind)]
    named = test.targets or ([] if source.target_name is None else [source.target_name])
    fitting = [one for one in config.targets if one.kind == kind and one.name in (named or [one.name])]
    if len(fitting) != 1:
        names = " and ".join(one.name for one in fitting)
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


@attrs.frozen(eq=False)
class _Trial:
    """The test of one source by one target; `number` is in all that is sent."""

    client: Client
    config: Config
    source: EventSource
    target: Target
    number: str = attrs.field(factory=lambda: token_hex(16))

    async def run(self, test: EventTest) -> list[Finding]:
        """Send, wait, and return what came of it. Raise `ConfigError`, `StoreUnavailable` or `StoreRefused`."""
        client, source = self.client, self.source
        assert self.config.events is not None  # noqa: S101  it has this source
        text = text_of_test(self.number)
        mark = mark_of_test(text)
        assert mark is not None  # noqa: S101  it was made a line above
        emissions = sources.emissions(source, self.target, test.parties, text)
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
        for one in sent:
            if one in came:
                noted, at_s = came[one]
                found.append(self._came(one, noted, duration_text(at_s - began_s)))
                continue
            cause = _GIVE_IT if source.secret is not None else _SEE_WARNING
            hint = f"{cause} If that was another's: {one.look_at}" if more else one.look_at
            took = duration_text(test.within_s)
            found.append(self._finding("EventLost", what=one.what, took=took, more=more, hint=hint))
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

            for one in emissions:
                outcome = await send(one.command)
                if isinstance(outcome, Delivered):
                    sent.append(one)
                else:
                    found.append(self._refusal(one, outcome.reason, is_denied=isinstance(outcome, Denied)))
                # What is wrong with the address is wrong with both; rights to the one say nothing of the other.
                match await send(one.trial) if one.trial and isinstance(outcome, Delivered | Denied) else None:
                    case Rejected(Reason("BadArgument" | "UnknownCommand" as code)):
                        found.append(self._finding(f"ModPush-{code}"))
            return sent, found
        finally:
            with trio.CancelScope(shield=True):
                await http.aclose()
                if logins is not None:
                    await logins.aclose()

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
                    for one in sent:
                        if {"source": self.source.name, **one.members}.items() <= noted.items():
                            came.setdefault(one, (noted, time.monotonic()))
                await trio.sleep(_PAUSE_S)
        return came

    def _came(self, emission: Emission, noted: Mapping[str, object], took: str) -> Finding:
        way = f"from {noted['from'] or noted['server']}" + (f" to {noted['to']}" if noted["to"] else "")
        case = "EventCame" if noted["queue"] else "EventUnwanted"
        return self._finding(case, what=emission.what, way=way, took=took, queue=noted["queue"])

    def _finding(self, name: str, **values: object) -> Finding:
        return _finding(name, source=self.source.name, target=self.target.name, **values)
